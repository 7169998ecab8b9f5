"""Refuses documents while too many wait, and says when it is worth to send again. Source: DESIGN 5, INTERFACES 2."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from switchgear.domain.errors import Code, DomainError

#: The queue is looked at again after so many seconds.
_FRESH_S: Final = 1.0
_LONGEST_WAIT_S: Final = 60.0


class TooManyWaiting(DomainError):
    """The queue is full; nothing was stored. `fields["retry_after_s"]` says when to send again."""

    code = Code.WAITING_BACKPRESSURE


class QueueDepth(Protocol):
    """What is asked of the run repository."""

    async def queued(self) -> tuple[int, float]:
        """How many runs wait, and how long the oldest one has, in seconds."""


class Backpressure:
    """Looks at the queue at most once a second, however many documents come.

    Args:
        runs: Knows the queue.
        most: Waiting runs above which documents are refused; 0 = never.
        monotonic: Seconds; for tests.
    """

    def __init__(self, runs: QueueDepth, most: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._runs = runs
        self._most = most
        self._monotonic = monotonic
        self._looked_at = float("-inf")
        self._depth = 0
        self._oldest_s = 0.0

    async def check(self) -> None:
        """Let a document pass.

        Raises:
            TooManyWaiting: Too many runs wait already.
            DatabaseUnreachable: It cannot be seen how many.
        """
        if not self._most:
            return
        now = self._monotonic()
        if now - self._looked_at >= _FRESH_S:
            self._looked_at = now
            self._depth, self._oldest_s = await self._runs.queued()
        if self._depth >= self._most:
            wait_s = self.retry_after_s(self._depth, self._oldest_s)
            raise TooManyWaiting(
                f"{self._depth} documents wait, the oldest for {self._oldest_s:.0f} s; at most {self._most} may. "
                f"Nothing was stored. Send it again in {wait_s:.0f} s.",
                retry_after_s=wait_s,
            )
        self._depth += 1  # until the next look, whatever passes waits

    def retry_after_s(self, depth: int, oldest_s: float) -> float:
        """Seconds until the queue is short enough, when it goes on as fast as the oldest run has come forward."""
        excess = depth - self._most + 1
        return min(_LONGEST_WAIT_S, max(1.0, excess * oldest_s / depth))
