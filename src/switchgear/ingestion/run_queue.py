"""Who carries runs to workers: the seam of queue backends, and the built-in one. Source: DESIGN 5.

In the built-in backend the run table is the queue. Whoever queues a run in this process wakes a waiting worker at once;
what other processes queue is found by looking, often at first and then less often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from switchgear.ingestion.run_repository import ClaimedRun, Ride, RunRepository

#: How long an idle worker waits before it looks again, in seconds: at first, and at the longest.
FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 1.0
_GROWTH: Final = 1.5


class RunQueue(Protocol):
    """What workers and services ask of a backend. Lease, fencing and checkpoints are the repository's in each."""

    def notify(self) -> None:
        """Say that a run may have been queued; call it after the commit."""

    async def wait(self) -> None:
        """Return when there may be something to claim, at the latest after a bounded time."""

    async def claim(self, worker_id: str) -> ClaimedRun | None:
        """Take the next run that may be claimed, or None. Raises `DatabaseUnreachable`."""

    async def listen(self) -> None:
        """Hear of runs that other processes queue, where the backend tells of them, until cancelled."""

    async def tend(self) -> None:
        """Send what was queued and never came to a worker; called by the sweep. Raises `DatabaseUnreachable`."""

    def ride(self, worker_id: str) -> Ride | None:
        """How the next claim goes along with the commit that ends a run; None while no runs are taken here.

        Whoever got none, or no run by it, asks `claim`.
        """


class BuiltinQueue:
    """The run table as the queue.

    Args:
        repository: On the narrow path.
        lease_s: How long a claim holds without a heartbeat, in seconds.
        queues: Which queues are served here; none = all.
        may_claim: Whether this process takes runs now.
        is_ready: The same, as far as it is known without a look into the database.
    """

    def __init__(
        self,
        repository: RunRepository,
        lease_s: float,
        queues: Sequence[str] = (),
        may_claim: Callable[[], Awaitable[bool]] | None = None,
        is_ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self._may_claim = may_claim
        self._is_ready = is_ready
        self._repository = repository
        self._lease_s = lease_s
        self._queues = tuple(queues)
        self._something = asyncio.Event()
        self._wait_s = FIRST_WAIT_S

    def notify(self) -> None:
        """See `RunQueue.notify`."""
        self._something.set()

    async def wait(self) -> None:
        """See `RunQueue.wait`; waits longer and longer while nothing comes."""
        try:
            async with asyncio.timeout(self._wait_s):
                await self._something.wait()
        except TimeoutError:
            self._wait_s = min(LONGEST_WAIT_S, self._wait_s * _GROWTH)
        else:
            self._something.clear()
            self._wait_s = FIRST_WAIT_S

    async def claim(self, worker_id: str) -> ClaimedRun | None:
        """See `RunQueue.claim`."""
        if self._may_claim is not None and not await self._may_claim():
            return None
        claimed = await self._take(worker_id)
        if claimed is not None:
            self._wait_s = FIRST_WAIT_S
        return claimed

    async def _take(self, worker_id: str) -> ClaimedRun | None:
        return await self._repository.claim(worker_id, self._lease_s, self._queues)

    async def listen(self) -> None:
        """Nothing tells of other processes: `wait` looks."""

    async def tend(self) -> None:
        """Nothing is sent: a run that is queued can be claimed."""

    def ride(self, worker_id: str) -> Ride | None:
        """See `RunQueue.ride`."""
        return self._repository.ride(worker_id, self._lease_s, self._queues) if self._is_ready() else None
