"""The built-in worker: carries runs in this process, as many at a time as it is told. Source: DESIGN 5.

One task per place claims and carries; of idle places only one looks into the queue. A task of its own renews leases,
learns of cancellations and of lost runs, and stops work whose lease can no longer be renewed before it ends
(RELIABILITY 26). Nothing here knows what a run does: that is `execute`.

A run's task is cancelled only after `claim.stop` says why. What the executor does not settle itself is settled here:
`cancel` ends the run, `shutdown` hands it back, `lost` writes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cached_property
from typing import Final

from switchgear.core.database import Refused
from switchgear.core.logging import get_logger
from switchgear.core.observability import EventName
from switchgear.domain.errors import DatabaseUnreachable
from switchgear.domain.run import RunStatus
from switchgear.ingestion.run_queue import RunQueue
from switchgear.ingestion.run_repository import ClaimedRun, Ride, RunRepository, Stop, WorkerRow

Execute = Callable[[ClaimedRun], Awaitable[object]]
_Held = tuple[ClaimedRun, asyncio.Task[object]]

log = get_logger()

#: Pause after the database did not answer, in seconds: at first, and at the longest.
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0
#: A run that this process broke on is not claimed again at once.
_AFTER_FAULT_US: Final = 1_000_000
#: Whoever has just committed the end of a run gets this long to return before its task counts as lost, in seconds.
_RETURN_S: Final = 0.5
#: How often a worker with running work looks whether an activation waits for it, in seconds.
_LOOK_S: Final = 1.0
#: Longest wait for tasks that were cancelled, in seconds.
_CANCEL_S: Final = 5.0


class BuiltinWorker:
    """Carries runs until it is told to stop.

    Args:
        describe: This worker as it is now: id, host, what it loaded, which modules do not work here.
        repository: On the narrow path.
        queue: Where runs come from.
        execute: Carries one run to its end; it commits everything itself.
        advance: Looks after a pending activation; called when one waits while a run has just ended.
        concurrency: Most runs at a time.
        lease_s: Lease of a claim, in seconds; at least four heartbeats.
        heartbeat_s: Time between heartbeats, in seconds.
        grace_s: How long running work may take after a stop, in seconds.
    """

    def __init__(
        self,
        describe: Callable[[], WorkerRow],
        repository: RunRepository,
        queue: RunQueue,
        execute: Execute,
        *,
        advance: Callable[[], Awaitable[object]] | None = None,
        concurrency: int = 2,
        lease_s: float = 20.0,
        heartbeat_s: float = 5.0,
        grace_s: float = 20.0,
    ) -> None:
        self._describe = describe
        self._repository = repository
        self._queue = queue
        self._execute = execute
        self._advance = advance
        self._concurrency = concurrency
        self._lease_s = lease_s
        self._heartbeat_s = heartbeat_s
        self._grace_s = grace_s
        #: By run and fencing token: a run that this worker lost may come back to it while the first claim winds down.
        self._held: dict[tuple[str, int], _Held] = {}
        self._idle = asyncio.Lock()
        self._stopping = False
        self._registered: WorkerRow | None = None

    @cached_property
    def id(self) -> str:
        """Its id among the workers."""
        return self._describe().id

    @property
    def held(self) -> tuple[str, ...]:
        """Ids of the runs that it carries now."""
        return tuple(run_id for run_id, _ in self._held)

    async def run_forever(self, stop: asyncio.Event) -> None:
        """Carry runs until *stop* is set; then finish or hand back what is at work, and leave."""
        self._stopping = False
        beats = asyncio.create_task(self._beat(), name="heartbeat")
        places = [asyncio.create_task(self._carry_on(), name=f"place-{n}") for n in range(self._concurrency)]
        log.info(EventName.WORKER_STARTED, worker_id=self.id, concurrency=self._concurrency)
        try:
            await stop.wait()
        finally:
            await self._wind_down(places)
            beats.cancel()
            await asyncio.wait({beats})
            with suppress(DatabaseUnreachable):
                await self._repository.forget_worker(self.id)
            log.info(EventName.WORKER_STOPPED, worker_id=self.id)

    async def _wind_down(self, places: list[asyncio.Task[None]]) -> None:
        self._stopping = True
        self._queue.notify()
        _, busy = await asyncio.wait(places, timeout=self._grace_s)
        if busy:
            for claim, task in list(self._held.values()):
                self._stop(claim, task, Stop.SHUTDOWN)
            await asyncio.wait(busy, timeout=_CANCEL_S)

    # --- claiming and carrying ---

    async def _carry_on(self) -> None:
        pause_s = _FIRST_PAUSE_S
        claim: ClaimedRun | None = None
        while claim is not None or not self._stopping:
            try:
                if claim is None:
                    claim = await self._next()
            except DatabaseUnreachable as error:
                log.warning(EventName.DATABASE_LOST, worker_id=self.id, summary=str(error), retry_in_s=pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)
                continue
            except Exception:
                log.exception(EventName.TASK_FAILED, worker_id=self.id, task="claim")
                await asyncio.sleep(_LONGEST_PAUSE_S)
                continue
            pause_s = _FIRST_PAUSE_S
            if claim is not None:
                claim = await self._carried(claim)

    async def _next(self) -> ClaimedRun | None:
        """The next run; an idle place waits for its turn to look. None when the worker stops."""
        claim = await self._queue.claim(self.id)
        if claim is not None:
            return claim
        async with self._idle:
            while not self._stopping:
                claim = await self._queue.claim(self.id)
                if claim is not None:
                    return claim
                await self._queue.wait()
        self._queue.notify()  # wakes the next idle place, which has to stop as well
        return None

    async def _carried(self, claim: ClaimedRun) -> ClaimedRun | None:
        """As `_carry`; whatever breaks beside the run, the place stays. The run goes on when its lease ends."""
        try:
            return await self._carry(claim)
        except Exception:
            log.exception(EventName.TASK_FAILED, run_id=claim.run_id, worker_id=self.id, task="carry")
            return None

    async def _carry(self, claim: ClaimedRun) -> ClaimedRun | None:
        """Carry a run to its end; returns the next one when that was claimed in the same commit."""
        log.debug(EventName.RUN_CLAIMED, run_id=claim.run_id, configuration_id=claim.configuration_id)
        if self._stopping:
            await self._settle(claim, Stop.SHUTDOWN)
            return None
        if claim.cancel_requested:
            await self._settle(claim, Stop.CANCEL)
            return None
        ride: Ride | None = None

        def following() -> Ride | None:
            nonlocal ride
            ride = None if self._stopping else self._queue.ride(self.id)
            return ride

        claim.ride = following
        task: asyncio.Task[object] = asyncio.ensure_future(self._executed(claim))
        self._held[claim.run_id, claim.token] = (claim, task)
        try:
            await asyncio.wait({task})
            await self._look_back(claim, task)
        finally:
            del self._held[claim.run_id, claim.token]
        if ride is None or ride.is_activation_pending is not False:
            await self._look_for_activation()
        return ride.claim if ride is not None else None

    async def _executed(self, claim: ClaimedRun) -> object:
        return await self._execute(claim)

    async def _look_back(self, claim: ClaimedRun, task: asyncio.Task[object]) -> None:
        """Settle what the executor left open."""
        if task.cancelled():
            await self._settle(claim, claim.stop)
            return
        error = task.exception()
        if error is None:
            return
        if isinstance(error, Refused):
            log.warning(EventName.WRITE_FENCED, run_id=claim.run_id, worker_id=self.id)
        elif isinstance(error, DatabaseUnreachable):
            await self._settle(claim, Stop.SHUTDOWN)
        else:
            log.error(EventName.TASK_FAILED, run_id=claim.run_id, worker_id=self.id, task="execute", exc_info=error)
            await self._settle(claim, None)

    async def _settle(self, claim: ClaimedRun, stop: Stop | None) -> None:
        """Write how the run goes on; None = the engine broke on it, which counts as a loss."""
        if stop is Stop.LOST:
            log.warning(EventName.RUN_LOST, run_id=claim.run_id, worker_id=self.id)
            return
        pause_s = _FIRST_PAUSE_S
        while time.monotonic() < claim.renewed_at_s + self._lease_s:
            try:
                await self._write_settlement(claim, stop)
            except Refused:
                log.info(EventName.WRITE_FENCED, run_id=claim.run_id, worker_id=self.id)
            except DatabaseUnreachable:
                await asyncio.sleep(pause_s)
                pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)
                continue
            return

    async def _write_settlement(self, claim: ClaimedRun, stop: Stop | None) -> None:
        if stop is Stop.CANCEL:
            await self._repository.end(claim, status=RunStatus.CANCELLED, stage_id=claim.stage_id)
            log.info(EventName.RUN_CANCELLED, run_id=claim.run_id)
        elif stop is Stop.SHUTDOWN:
            await self._repository.hand_back(claim)
            log.info(EventName.RUN_HANDED_BACK, run_id=claim.run_id, worker_id=self.id)
        else:
            status = await self._repository.hand_back(claim, loss=True, available_in_us=_AFTER_FAULT_US)
            log.warning(EventName.RUN_HANDED_BACK, run_id=claim.run_id, worker_id=self.id, status=str(status))

    async def _look_for_activation(self) -> None:
        """The run's end is committed; now look whether somebody waited for it. DESIGN 4"""
        if self._advance is None:
            return
        try:
            if await self._repository.is_activation_pending():
                await self._advance()
        except DatabaseUnreachable as error:
            log.warning(EventName.DATABASE_LOST, worker_id=self.id, summary=str(error))
        except Exception:
            log.exception(EventName.TASK_FAILED, worker_id=self.id, task="advance")

    # --- leases ---

    async def _beat(self) -> None:
        pause_s = 0.0
        while True:
            try:
                await self._pause(pause_s)
                async with asyncio.timeout(self._heartbeat_s):
                    await self._register()
                    lost = await self._renew()
                await self._let_go(lost)
                pause_s = self._heartbeat_s
            except (DatabaseUnreachable, TimeoutError) as error:
                log.warning(EventName.DATABASE_LOST, worker_id=self.id, summary=str(error) or "no answer in time")
                pause_s = self._heartbeat_s / 5
                self._stop_what_runs_out()
            except Exception:
                log.exception(EventName.TASK_FAILED, worker_id=self.id, task="heartbeat")
                pause_s = self._heartbeat_s / 5
                self._stop_what_runs_out()

    async def _pause(self, seconds: float) -> None:
        """Wait for the next heartbeat; no longer when an activation waits, whose runs must show where they are."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    await asyncio.sleep(_LOOK_S)
                    if self._held and await self._repository.is_activation_pending():
                        return

    async def _register(self) -> None:
        worker = self._describe()
        if worker != self._registered:
            await self._repository.register_worker(worker)
            self._registered = worker

    async def _renew(self) -> list[_Held]:
        """Renew the leases, and stop what a person wants cancelled; returns what is no longer held."""
        now_s = time.monotonic()
        held = list(self._held.values())
        beat = await self._repository.heartbeat(self.id, [claim for claim, _ in held], self._lease_s)
        for claim, task in held:
            if (claim.run_id, claim.token) in beat.lost:
                continue
            claim.renewed_at_s = now_s
            if claim.run_id in beat.cancel_requested:
                claim.cancel_requested = True
                self._stop(claim, task, Stop.CANCEL)
        return [(claim, task) for claim, task in held if (claim.run_id, claim.token) in beat.lost]

    async def _let_go(self, lost: list[_Held]) -> None:
        """Stop what is no longer held, unless it has ended by itself a moment ago."""
        if lost:
            await asyncio.wait({task for _, task in lost}, timeout=_RETURN_S)
        for claim, task in lost:
            self._stop(claim, task, Stop.LOST)

    def _stop_what_runs_out(self) -> None:
        """Stop runs whose lease would end before the next look: another worker may take them then."""
        next_look_s = time.monotonic() + 1.2 * self._heartbeat_s
        for claim, task in list(self._held.values()):
            if next_look_s >= claim.renewed_at_s + self._lease_s:
                self._stop(claim, task, Stop.LOST)

    def _stop(self, claim: ClaimedRun, task: asyncio.Task[object], why: Stop) -> None:
        if not task.done() and claim.stop is None:
            claim.stop = why
            task.cancel()
