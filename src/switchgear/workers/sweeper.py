"""The sweep: takes runs from lost workers, removes what has run out, and calls what must happen again and again.

Every process may sweep; nothing happens twice. Source: DESIGN 5, RELIABILITY I13, I18, 42.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from switchgear.core.logging import get_logger
from switchgear.core.observability import EventName
from switchgear.domain.errors import DatabaseUnreachable
from switchgear.ingestion.run_queue import RunQueue
from switchgear.ingestion.run_repository import LostRun, RunRepository

log = get_logger()

#: Files of interrupted uploads are removed when they are older, in seconds.
TEMPORARY_MAX_AGE_S: Final = 3600.0
_TIDY_EVERY_S: Final = 300.0
_TEND_EVERY_S: Final = 5.0


class TemporaryFiles(Protocol):
    """What the sweep asks the artifact store."""

    async def sweep_temporary(self, max_age_s: float = 3600.0) -> int:
        """Remove what interrupted uploads left behind; returns how many files."""


@dataclass(slots=True)
class _Job:
    name: str
    every_s: float
    action: Callable[[], Awaitable[object]]
    due_s: float = 0.0


class Sweeper:
    """Sweeps until it is told to stop.

    Args:
        repository: On the narrow path.
        artifacts: Where temporary files stand.
        queue: Told when a run was queued again, and asked to send what never came to a worker.
        every_s: Time between looks for lost workers, in seconds.
        clock_s: Seconds that never go back.
    """

    def __init__(
        self,
        repository: RunRepository,
        artifacts: TemporaryFiles,
        queue: RunQueue,
        *,
        every_s: float = 1.0,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repository = repository
        self._artifacts = artifacts
        self._queue = queue
        self._clock_s = clock_s
        self._jobs: list[_Job] = []
        self.every("leases", every_s, self.take_from_lost_workers)
        self.every("queue", _TEND_EVERY_S, queue.tend)
        self.every("tidy", _TIDY_EVERY_S, self.tidy)

    def every(
        self, name: str, seconds: float, action: Callable[[], Awaitable[object]], *, at_once: bool = True
    ) -> None:
        """Call *action* again and again; its failure is logged and stops nothing.

        A process that lives for one command only never comes to what does not begin at once.
        """
        self._jobs.append(_Job(name, seconds, action, 0.0 if at_once else self._clock_s() + seconds))

    async def take_from_lost_workers(self) -> list[LostRun]:
        """Queue or park runs whose lease ran out."""
        lost = await self._repository.take_from_lost_workers()
        for run in lost:
            log.warning(
                EventName.RUN_LOST,
                run_id=run.run_id,
                stage=run.stage_id,
                worker_id=run.worker_id,
                losses=run.losses,
                status=str(run.status),
            )
        if lost:
            self._queue.notify()
        return lost

    async def tidy(self) -> None:
        """Remove expired idempotency keys, silent workers and old temporary files."""
        keys = await self._repository.forget_idempotency_keys()
        workers = await self._repository.forget_silent_workers()
        files = await self._artifacts.sweep_temporary(TEMPORARY_MAX_AGE_S)
        if keys or workers or files:
            log.info(EventName.SWEEP_DONE, idempotency_keys=keys, workers=workers, temporary_files=files)

    async def sweep(self) -> None:
        """Do everything that is due now."""
        for job in self._jobs:
            if self._clock_s() < job.due_s:
                continue
            job.due_s = self._clock_s() + job.every_s
            try:
                await job.action()
            except DatabaseUnreachable as error:
                log.warning(EventName.DATABASE_LOST, task=job.name, summary=str(error))
            except Exception:
                log.exception(EventName.TASK_FAILED, task=job.name)

    async def run_forever(self, stop: asyncio.Event) -> None:
        """Sweep until *stop* is set."""
        while not stop.is_set():
            await self.sweep()
            next_s = min(job.due_s for job in self._jobs) - self._clock_s()
            try:
                async with asyncio.timeout(max(0.01, next_s)):
                    await stop.wait()
            except TimeoutError:
                continue
