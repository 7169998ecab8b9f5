"""Idempotency keys: the same request again gets the same answer and has one effect. Source: INTERFACES 2, I10.

A key is reserved before the work, marked in the transaction of the effect, and completed with its answer. A process
that dies before the effect blocks nobody for long: a reservation runs out after two minutes, and the same request is
then done again. When it dies after the effect, the mark says so and nothing is done twice (RELIABILITY 27).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from switchgear.core.access_repository import StoredAnswer
from switchgear.core.database.statements import Statement, riders_var
from switchgear.core.unit_of_work import Units
from switchgear.domain.access import Actor
from switchgear.domain.errors import Code, DomainError, InvalidRequest

#: Stands for a status while the effect is committed and the answer is not stored yet.
DONE: Final = 0
_MARK: Final = "UPDATE idempotency_keys SET status = :done, expires_at = :expires WHERE actor = :actor AND key = :key"
KEPT_US: Final = 24 * 3600 * 1_000_000
RESERVED_US: Final = 120 * 1_000_000
_LONGEST_KEY: Final = 200


class IdempotencyMismatch(DomainError):
    """The key was used for another request."""

    code = Code.REQUEST_IDEMPOTENCY_MISMATCH


class AnswerLost(DomainError):
    """The first request with this key took effect, but its process died before the answer was stored."""

    code = Code.REQUEST_ANSWER_LOST


class StillAtWork(DomainError):
    """The first request with this key has not been answered yet; `fields["retry_after_s"]` says when to ask again."""

    code = Code.REQUEST_RATE_LIMITED


@dataclass(frozen=True, slots=True)
class Replay:
    """The answer that the first request got."""

    status: int
    response: str
    headers: Mapping[str, Any]


class Idempotency:
    """Keys of requests that must not happen twice.

    Args:
        units: Makes units of work.
        clock: Microseconds UTC.
    """

    def __init__(self, units: Units, clock: Callable[[], int]) -> None:
        self.units = units
        self._clock = clock

    async def reserve(self, actor: Actor, key: str, route: str, body: bytes) -> Replay | None:
        """Reserve *key* for this request, or return the answer that it got before.

        Args:
            actor: The verified caller; keys of different callers never meet.
            key: The header's value, 1 to 200 characters.
            route: Method and path.
            body: The request's body as it came.

        Returns:
            None when the work is to be done now; `complete` or `release` must follow.

        Raises:
            InvalidRequest: The key is empty or too long.
            IdempotencyMismatch: The key was used for another route or body in the last 24 hours.
            StillAtWork: The first request is being worked on.
            AnswerLost: It took effect, and what came of it is not known.
        """
        _check(key)
        owner, now = _owner(actor), self._clock()
        values = {
            "route": route[:_LONGEST_KEY],
            "body_sha256": hashlib.sha256(body).hexdigest(),
            "expires_at": now + RESERVED_US,
        }
        async with self.units() as unit:
            while not await unit.access.reserve_key(owner, key, values):
                stored = await unit.access.key(owner, key)
                if stored is None:
                    continue  # forgotten in this very moment
                if now < stored.expires_at:
                    return _answer(stored, values, now)
                # Changed, not made anew: others that wait for the row then see that it is taken.
                await unit.access.change_key(owner, key, status=None, response=None, headers=None, **values)
                break
            await unit.commit()
        return None

    @contextmanager
    def at_work(self, actor: Actor, key: str) -> Iterator[None]:
        """Let every transaction that is committed inside mark the key: what it did must not be done again."""
        now = self._clock()
        marked = {"actor": _owner(actor), "key": key, "done": DONE, "expires": now + KEPT_US}
        token = riders_var.set((Statement(_MARK, marked),))
        try:
            yield
        finally:
            riders_var.reset(token)

    async def complete(
        self, actor: Actor, key: str, status: int, response: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Keep the answer for 24 hours; *response* must not hold a token's secret."""
        async with self.units() as unit:
            await unit.access.change_key(
                _owner(actor),
                key,
                status=status,
                response=response,
                headers=dict(headers or {}),
                expires_at=self._clock() + KEPT_US,
            )
            await unit.commit()

    async def release(self, actor: Actor, key: str, *, unless_done: bool = False) -> None:
        """Forget a reservation whose request had no effect, so that it can be sent again at once.

        Args:
            actor: The verified caller.
            key: The key.
            unless_done: Keep it when a transaction has marked it: the request failed after it had an effect.
        """
        async with self.units() as unit:
            await unit.access.drop_key(_owner(actor), key, but_not=DONE if unless_done else None)
            await unit.commit()

    async def sweep(self) -> int:
        """Forget keys past their time; returns how many."""
        async with self.units() as unit:
            dropped = await unit.access.drop_expired_keys(self._clock())
            await unit.commit()
        return dropped


def _owner(actor: Actor) -> str:
    return actor.token_id or actor.name


def _check(key: str) -> None:
    if not (1 <= len(key) <= _LONGEST_KEY and key.isprintable()):
        sentence = (
            f"Idempotency-Key must have 1 to {_LONGEST_KEY} printable characters. Send a random one, such as a UUID."
        )
        error = {"code": "request.invalid", "pointer": "", "detail": sentence, "hint": ""}
        raise InvalidRequest(sentence, errors=[error])


def _answer(stored: StoredAnswer, values: Mapping[str, Any], now_us: int) -> Replay:
    if (stored.route, stored.body_sha256) != (values["route"], values["body_sha256"]):
        raise IdempotencyMismatch(
            "This Idempotency-Key was used for another request in the last 24 hours; nothing was done. "
            "Send a new key for a new request."
        )
    if stored.status == DONE and now_us >= stored.expires_at - KEPT_US + RESERVED_US:
        raise AnswerLost(
            "The first request with this Idempotency-Key took effect, but its answer was lost with the process that "
            "worked on it. It is not done again. Look at what is there; the audit trail names the change. "
            "To do it once more send a new key."
        )
    if stored.status in (None, DONE):
        raise StillAtWork(
            "The first request with this Idempotency-Key is still being worked on. Ask again in a second.",
            retry_after_s=1,
        )
    return Replay(stored.status, stored.response or "", stored.headers or {})
