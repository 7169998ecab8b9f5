"""Tokens: who may do what, made, changed, revoked, and checked on each request. Source: INTERFACES 2, 5, T014.

A token is 256 random bits, stored as their SHA-256. A revocation acts on the next request, whichever process takes it
(`known_callers.py`).
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from switchgear.core.access_repository import StoredToken
from switchgear.core.known_callers import KnownCallers
from switchgear.core.logging import get_logger
from switchgear.core.observability import EventName
from switchgear.core.unit_of_work import UnitOfWork, Units
from switchgear.domain.access import LONGEST_SECRET, SHORTEST_SECRET, SYSTEM, Actor, Need, Role
from switchgear.domain.audit import AuditAction
from switchgear.domain.errors import Forbidden, InvalidRequest, NotFound, PreconditionFailed, Unauthenticated
from switchgear.domain.ids import new_id

log = get_logger()

LOCAL_ADMIN: Final = "local-admin"
BOOTSTRAP: Final = "bootstrap"
ADMIN_FILE: Final = "admin.token"
_RESERVED: Final = frozenset({SYSTEM.name, LOCAL_ADMIN, BOOTSTRAP, "anonymous"})
_NAME: Final = re.compile(r"[\w][\w .@:+/-]{0,63}")
_MINUTE_US: Final = 60_000_000
_LONGEST_CLIENT: Final = 64
#: Marks an argument that was not given, where None has a meaning of its own.
_UNCHANGED: Final[Any] = object()


@dataclass(frozen=True, slots=True)
class RefusalCount:
    """How often a client was refused in one minute, which began *minute* seconds after 1970."""

    action: AuditAction
    client: str
    minute: int
    count: int


@dataclass(frozen=True, slots=True)
class TokenPage:
    """Tokens, newest first; `next_cursor` goes on where they end."""

    items: tuple[StoredToken, ...]
    next_cursor: str | None


class AccessService:
    """Everything about tokens.

    Args:
        units: Makes units of work.
        clock: Microseconds UTC.
        random: Gives as many random bytes as asked.
    """

    def __init__(self, units: Units, clock: Callable[[], int], random: Callable[[int], bytes] = os.urandom) -> None:
        self._units = units
        self._clock = clock
        self._random = random
        self._callers = KnownCallers(units.database, clock)

    def known(self, secret: str, version: int | None) -> Actor | None:
        """Whom *secret* belongs to, where that is known at *version* of the database; None = ask `authenticate`."""
        return self._callers.known(digest_of(secret), version)

    async def authenticate(self, secret: str) -> Actor:
        """Return whom *secret* belongs to.

        Raises:
            Unauthenticated: It is unknown, expired or revoked; the three are not told apart.
            DatabaseUnreachable: It cannot be looked up now.
        """
        if 0 < len(secret) <= LONGEST_SECRET:
            actor = await self._callers.find(digest_of(secret))
            if actor is not None:
                return actor
        raise Unauthenticated(
            "The token is not known here, has expired, or was revoked. Send a valid one as `Authorization: Bearer ...`."
        )

    async def create_token(
        self, name: str, role: Role, expires_at: int | None, by: Actor, message: str = ""
    ) -> tuple[StoredToken, str]:
        """Make a token and return it with its secret, which is shown this once and never stored.

        Args:
            name: Who will use it; stands in the audit trail as the actor. Unique among tokens that are not revoked.
            role: What it may do.
            expires_at: Microseconds UTC after which it opens nothing, or None.
            by: The verified caller.
            message: Why; stands in the audit trail.

        Raises:
            Forbidden: The caller is no admin; recorded in the audit trail.
            InvalidRequest: The name is taken or malformed, or the time has passed.
        """
        async with self._units() as unit:
            await self._refuse_others(unit, by, AuditAction.TOKEN_CREATE_REFUSED, subjects=())
            await unit.audit.lock()
            now = await unit.now_us()
            await self._check(unit, name, expires_at, now)
            secret = self._new_secret()
            token = await self._add(unit, name, role, secret, by=by, expires_at=expires_at, now=now, message=message)
            await unit.commit()
        log.info(EventName.TOKEN_CREATED, token_id=token.id, name=name, role=str(role))
        return token, secret

    async def get(self, token_id: str) -> StoredToken:
        """Return a token by its id; raises `NotFound`."""
        async with self._units(write=False) as unit:
            return await _get(unit, token_id)

    async def list(self, limit: int = 50, cursor: str | None = None) -> TokenPage:
        """Return tokens, newest first, revoked ones included; *cursor* is `next_cursor` of the page before."""
        async with self._units(write=False) as unit:
            found = await unit.access.tokens(limit=limit + 1, after_id=cursor)
        return TokenPage(tuple(found[:limit]), found[limit - 1].id if len(found) > limit else None)

    async def update(
        self,
        token_id: str,
        by: Actor,
        if_match: str | None,
        *,
        name: str | None = None,
        role: Role | None = None,
        expires_at: int | None = _UNCHANGED,
        message: str = "",
    ) -> StoredToken:
        """Change a token's name, role or end; what is left out stays.

        Raises:
            NotFound: There is no such token.
            PreconditionFailed: *if_match* names another state of it.
            InvalidRequest: It is revoked, the name is taken or malformed, or the time has passed.
            Forbidden: The caller is no admin; recorded in the audit trail.
        """
        async with self._units() as unit:
            await self._refuse_others(unit, by, AuditAction.ACCESS_REFUSED, subjects=(token_id,))
            await unit.audit.lock()
            token = await _get(unit, token_id, if_match)
            if token.revoked_at is not None:
                raise _invalid("/", "The token was revoked; that is final. Make a new one.")
            end = token.expires_at if expires_at is _UNCHANGED else expires_at
            new_name = token.name if name is None else name
            new_end = None if end == token.expires_at else end
            await self._check(unit, None if new_name == token.name else new_name, new_end, await unit.now_us())
            values = {"name": new_name, "role": str(role or token.role), "expires_at": end}
            changed = await self._change(unit, token, AuditAction.TOKEN_CHANGED, by, values, message)
            await unit.commit()
        log.info(EventName.TOKEN_CHANGED, token_id=token_id, role=str(changed.role))
        return changed

    async def revoke(self, token_id: str, by: Actor, if_match: str | None = None, message: str = "") -> StoredToken:
        """Make a token open nothing from the next request on; a revoked one stays as it is.

        Raises:
            NotFound: There is no such token.
            PreconditionFailed: *if_match* names another state of it.
            Forbidden: The caller is no admin; recorded in the audit trail.
        """
        async with self._units() as unit:
            await self._refuse_others(unit, by, AuditAction.ACCESS_REFUSED, subjects=(token_id,))
            await unit.audit.lock()
            token = await _get(unit, token_id, if_match)
            if token.revoked_at is not None:
                return token
            revoked = await self._change(
                unit, token, AuditAction.TOKEN_REVOKED, by, {"revoked_at": await unit.now_us()}, message
            )
            await unit.commit()
        log.info(EventName.TOKEN_REVOKED, token_id=token_id)
        return revoked

    async def ensure_admin_token(self, home: Path) -> Path:
        """Make sure that `HOME/admin.token` holds an admin's secret, and return its path.

        A file that is gone is made anew, and so is one whose secret this database has never seen. A token that was
        revoked stays revoked: delete the file to get another. Whoever can write HOME is admin (INTERFACES 5).
        """
        path = home / ADMIN_FILE
        async with self._units() as unit:
            await unit.audit.lock()  # two servers that start together make one
            secret = _read_secret(path)
            known = await unit.access.token_by_secret(digest_of(secret)) if secret else None
            if known is not None:
                path.chmod(0o600)
                return path
            now = await unit.now_us()
            earlier = await unit.access.tokens_named(LOCAL_ADMIN)
            if unit.statements.dialect == "sqlite":  # one HOME per database; elsewhere each machine has its own
                for token in (each for each in earlier if each.revoked_at is None):
                    await self._change(unit, token, AuditAction.TOKEN_REVOKED, SYSTEM, {"revoked_at": now})
            secret = self._new_secret()
            action = AuditAction.TOKEN_RESTORED if earlier else AuditAction.TOKEN_CREATED
            await self._add(unit, LOCAL_ADMIN, Role.ADMIN, secret, by=SYSTEM, now=now, action=action)
            _write_secret(path, secret)
            await unit.commit()
        return path

    async def ensure_bootstrap_token(self, secret: str) -> None:
        """Make the admin token that the setting BOOTSTRAP_TOKEN names, unless it was made before, revoked or not.

        Raises:
            InvalidRequest: It is shorter than 32 characters.
        """
        if not SHORTEST_SECRET <= len(secret) <= LONGEST_SECRET:
            raise _invalid(
                "/bootstrap_token", f"BOOTSTRAP_TOKEN must have {SHORTEST_SECRET} to {LONGEST_SECRET} characters."
            )
        async with self._units() as unit:
            await unit.audit.lock()
            if await unit.access.token_by_secret(digest_of(secret)) is None:
                await self._add(unit, BOOTSTRAP, Role.ADMIN, secret, by=SYSTEM, now=await unit.now_us())
                await unit.commit()

    async def record_refusal(self, by: Actor, what: str) -> None:
        """Write to the audit trail that *by* asked for something that its role does not allow (403)."""
        async with self._units() as unit:
            await unit.audit.append(
                AuditAction.ACCESS_REFUSED,
                actor=by,
                subjects=(what,),
                result="refused",
                message="role does not allow it",
            )
            await unit.commit()

    async def record_counts(self, counts: Sequence[RefusalCount]) -> None:
        """Write counted refusals (401, 429) to the audit trail, one entry per client and minute."""
        if not counts:
            return
        async with self._units() as unit:
            for count in counts:
                await unit.audit.append(
                    count.action,
                    actor=SYSTEM,
                    subjects=(count.client,),
                    after={"count": count.count, "minute": count.minute},
                    result="refused",
                )
            await unit.commit()

    def _new_secret(self) -> str:
        return "swg_" + base64.urlsafe_b64encode(self._random(32)).rstrip(b"=").decode()

    async def _refuse_others(self, unit: UnitOfWork, by: Actor, action: AuditAction, subjects: Sequence[str]) -> None:
        if by.may(Need.TOKENS):
            return
        await unit.audit.append(action, actor=by, subjects=subjects, result="refused", message="only an admin may")
        await unit.commit()
        raise Forbidden("Tokens are managed by admins only. Ask one, or use a token with the role admin.", role="admin")

    async def _check(self, unit: UnitOfWork, name: str | None, expires_at: int | None, now: int) -> None:
        """Refuse a new name or end that cannot be; None is not looked at."""
        if name is not None:
            if _NAME.fullmatch(name) is None or name != name.strip():
                raise _invalid("/name", "A token's name has 1 to 64 letters, digits, spaces or any of _.@:+/-.")
            if name.lower() in _RESERVED:
                raise _invalid("/name", f"The name {name} belongs to the server itself. Choose another one.")
            if any(token.is_valid(now) for token in await unit.access.tokens_named(name)):
                raise _invalid(
                    "/name", f"A token named {name} exists already. Revoke it first, or choose another name."
                )
        if expires_at is not None and expires_at <= now:
            raise _invalid("/expires_at", "The token would have expired already. Give a time to come.")

    async def _add(
        self,
        unit: UnitOfWork,
        name: str,
        role: Role,
        secret: str,
        *,
        by: Actor,
        now: int,
        expires_at: int | None = None,
        action: AuditAction = AuditAction.TOKEN_CREATED,
        message: str = "",
    ) -> StoredToken:
        token = StoredToken(new_id("tok"), name, role, by.name, now, expires_at, None, 1)
        await unit.access.add_token(token, digest_of(secret))
        await unit.audit.append(action, actor=by, subjects=(token.id,), message=message, after=_facts(token))
        return token

    async def _change(
        self,
        unit: UnitOfWork,
        token: StoredToken,
        action: AuditAction,
        by: Actor,
        values: dict[str, Any],
        message: str = "",
    ) -> StoredToken:
        if not await unit.access.change_token(token.id, token.version, **values):
            raise _moved_on()
        changed = await _get(unit, token.id)
        await unit.audit.append(
            action, actor=by, subjects=(token.id,), message=message, before=_facts(token), after=_facts(changed)
        )
        return changed


class RefusalCounter:
    """Counts refused requests per client and minute, so that an attack fills memory no more than the audit trail.

    Args:
        clock: Microseconds UTC.
        clients: Most clients counted apart in a minute; the others are counted together.
    """

    def __init__(self, clock: Callable[[], int], clients: int = 200) -> None:
        self._clock = clock
        self._clients = clients
        self._counts: dict[tuple[int, AuditAction, str], int] = {}

    def count(self, action: AuditAction, client: str) -> None:
        """Count one refusal of *client*, its address."""
        minute = self._clock() // _MINUTE_US
        key = (minute, action, client[:_LONGEST_CLIENT])
        if key not in self._counts and sum(1 for known in self._counts if known[0] == minute) >= self._clients:
            key = (minute, action, "others")
        self._counts[key] = self._counts.get(key, 0) + 1

    def take(self, *, everything: bool = False) -> list[RefusalCount]:
        """Return and forget the counts of past minutes; with *everything* of this one too, at the end."""
        now = self._clock() // _MINUTE_US
        ready = sorted(key for key in self._counts if everything or key[0] < now)
        return [
            RefusalCount(action, client, minute * 60, self._counts.pop((minute, action, client)))
            for minute, action, client in ready
        ]


def digest_of(secret: str) -> str:
    """What is stored and looked up instead of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


async def _get(unit: UnitOfWork, token_id: str, if_match: str | None = None) -> StoredToken:
    token = await unit.access.token(token_id)
    if token is None:
        raise NotFound("There is no such token. `switchgear tokens list` shows all.")
    if if_match is not None and if_match not in (token.etag, "*"):
        raise _moved_on()
    return token


def _facts(token: StoredToken) -> dict[str, Any]:
    return {
        "name": token.name,
        "role": str(token.role),
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
    }


def _moved_on() -> PreconditionFailed:
    return PreconditionFailed("The token was changed meanwhile; nothing was done. Read it again and repeat the change.")


def _invalid(pointer: str, sentence: str) -> InvalidRequest:
    error = {"code": "request.invalid", "pointer": pointer, "detail": sentence, "hint": ""}
    return InvalidRequest(sentence, errors=[error])


def _read_secret(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def _write_secret(path: Path, secret: str) -> None:
    """Put the file there whole and readable by its owner alone, also when a crash comes between."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(secret + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
