"""Counts refused credentials per client and minute, for the audit trail and against guessing.

Ten thousand wrong keys must not become ten thousand audit entries, and must not lock out who shares the address: a
valid token is always served. Source: RELIABILITY I26 and fault 57.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from switchgear.core.access_service import AccessService, RefusalCounter
from switchgear.domain.audit import AuditAction
from switchgear.domain.errors import DatabaseUnreachable

#: Wrong credentials that one client may send in a minute before it is told to wait.
PER_MINUTE: Final = 300
_FLUSH_EVERY_S: Final = 10.0


class Refusals:
    """What was refused with 401 and 429.

    Args:
        access: Writes the counts to the audit trail.
        clock: Microseconds UTC.
    """

    def __init__(self, access: AccessService, clock: Callable[[], int]) -> None:
        self._access = access
        self._counter = RefusalCounter(clock)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._limit = RateLimitItemPerMinute(PER_MINUTE)

    def count(self, client: str, *, gave_one: bool) -> int | None:
        """Count a refused request; returns None for 401, or for 429 the seconds that the client is to wait.

        Args:
            client: Its address.
            gave_one: Whether it sent a credential at all; who sent none does not guess.
        """
        if not gave_one or self._limiter.hit(self._limit, client):
            self._counter.count(AuditAction.ACCESS_UNAUTHENTICATED_COUNTED, client)
            return None
        self._counter.count(AuditAction.ACCESS_RATE_LIMITED_COUNTED, client)
        reset_at = self._limiter.get_window_stats(self._limit, client).reset_time
        return max(1, int(reset_at - time.time()) + 1)

    async def flush(self, *, everything: bool = False) -> None:
        """Write the counts of past minutes to the audit trail; *everything* includes the present minute."""
        counts = self._counter.take(everything=everything)
        try:
            await self._access.record_counts(counts)
        except DatabaseUnreachable:
            for each in counts:  # counted again, as of now: nothing is lost while the database is away
                for _ in range(min(each.count, PER_MINUTE)):
                    self._counter.count(each.action, each.client)

    async def keep_flushing(self) -> None:
        """Flush until cancelled; then flush everything."""
        try:
            while True:
                await asyncio.sleep(_FLUSH_EVERY_S)
                await self.flush()
        finally:
            await self.flush(everything=True)
