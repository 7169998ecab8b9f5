"""Whom a token belongs to: looked up in the database, and remembered until anybody commits anything.

A revocation, or a role that was changed, is a commit: it acts on the next request, whichever process made it (I29).
Where the database does not tell cheaply that nothing was committed, nothing is remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from switchgear.core.database import Database
from switchgear.domain.access import Actor, Role

_LOOK_UP: Final = (
    "SELECT id, name, role, expires_at, revoked_at, now_us() FROM api_tokens WHERE secret_sha256 = :digest"
)
#: More tokens than this are in use at once nowhere; beyond it everything is forgotten.
_MOST: Final = 1_000


class KnownCallers:
    """Callers by the digest of their secret.

    Args:
        database: Where tokens stand.
        clock: Microseconds UTC.
    """

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, tuple[Actor, int | None]] = {}
        self._version: int | None = None

    def known(self, digest: str, version: int | None) -> Actor | None:
        """Whom it belongs to, when that was looked up and nothing was committed since; else None.

        *version* is that of the database now, or None where it does not tell.
        """
        if version != self._version or version is None:
            self._known.clear()
            self._version = version
            return None
        actor, expires_at = self._known.get(digest, (None, None))
        return actor if expires_at is None or self._clock() < expires_at else None

    async def find(self, digest: str) -> Actor | None:
        """Whom it belongs to; None when it is unknown, expired or revoked.

        Raises:
            DatabaseUnreachable: It cannot be looked up now.
        """
        actor = self.known(digest, self._database.narrow.version())
        if actor is not None:
            return actor
        version = self._version  # read before the row: a commit in between makes another version
        for token_id, name, role, expires_at, revoked_at, now_us in await self._database.narrow.query(
            _LOOK_UP, {"digest": digest}
        ):
            if revoked_at is None and (expires_at is None or now_us < expires_at):
                actor = Actor(name, Role(role), token_id)
                if version is not None and version == self._version and len(self._known) < _MOST:
                    self._known[digest] = (actor, expires_at)
        return actor
