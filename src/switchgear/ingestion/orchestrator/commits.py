"""Writes what one claim of a run has done: checkpoints, ends, hand-backs. Source: DESIGN 5, RELIABILITY I14, I15.

A commit is never cut in the middle: when the run is stopped meanwhile, it ends first. While the database does not
answer, it is tried again until the worker has to give the run up; then the database is asked what became of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from switchgear.domain.errors import Code, DatabaseUnreachable, Why
from switchgear.domain.run import RunStatus
from switchgear.ingestion.artifact_store import ArtifactStore
from switchgear.ingestion.orchestrator.signals import RunEnd, Runs, Signals
from switchgear.ingestion.orchestrator.work import OUTCOMES, RunWork, with_next_actions
from switchgear.ingestion.plan import StagePlan
from switchgear.ingestion.run_repository.records import AttemptRow, ClaimedRun, OutputRow, Stop
from switchgear.ingestion.stage_runner import StageEnd

T = TypeVar("T")

#: A larger output is kept as an artifact. DESIGN 7
LARGEST_VALUE: Final = 64 * 1024
_FIRST_PAUSE_S: Final = 0.2
#: A run that this process broke on is not claimed again at once.
_AFTER_FAULT_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 2.0


@dataclass(slots=True)
class _Finished:
    stage: StagePlan
    end: StageEnd


class Commits:
    """Collects what is finished, and makes it durable."""

    def __init__(
        self,
        runs: Runs,
        artifacts: ArtifactStore,
        signals: Signals,
        claim: ClaimedRun,
        clock: Callable[[], int],
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._runs = runs
        self._artifacts = artifacts
        self._signals = signals
        self._claim = claim
        self._clock = clock
        self._sleep = sleep
        self._finished: list[_Finished] = []
        self.attempts: list[AttemptRow] = []  #: not yet durable; the running stage appends to it

    @property
    def is_pending(self) -> bool:
        """Whether anything is not yet durable."""
        return bool(self._finished or self.attempts)

    def add(self, stage: StagePlan, end: StageEnd) -> None:
        """A stage has given its answer; its attempts are among `attempts` already."""
        self._finished.append(_Finished(stage, end))

    def note(self, attempts: Sequence[AttemptRow]) -> None:
        """Record what needed no call, at this time."""
        for attempt in attempts:
            attempt.started_at = self._clock()
            self.attempts.append(attempt)

    # --- the three writes ---

    async def checkpoint(self, next_stage_id: str, identity: str | None = None) -> bool:
        """Make finished stages, and the result's identity, durable; returns whether a cancel was requested.

        Raises `Refused`.
        """
        attempts, outputs = await self.ask(self._rows)

        async def write() -> bool:
            return await self._runs.checkpoint(
                self._claim, attempts=attempts, outputs=outputs, next_stage_id=next_stage_id, identity=identity
            )

        async def is_written() -> bool | None:
            run = await self._runs.get(self._claim.run_id)
            if run.fencing_token != self._claim.token or not (attempts or outputs):
                return None
            known = {item.stage_id for item in await self._runs.outputs(self._claim.run_id)}
            is_there = all(output.stage_id in known for output in outputs) and run.stage_id == next_stage_id
            return run.cancel_requested if is_there and outputs else None

        return await self._commit(write, is_written, lambda: self._recorded(attempts, outputs))

    async def end(
        self, status: RunStatus, work: RunWork | None, *, why: Why | None = None, stage_id: str | None = None
    ) -> RunEnd:
        """End or park the run with everything that is not yet durable. Raises `Refused`.

        What a person cancelled in the meantime is cancelled instead of parked.
        """
        attempts, outputs = await self.ask(self._rows)
        why = None if why is None else with_next_actions(why, self._claim)
        degraded = work is not None and work.degraded
        identity = work.identity if work is not None and status is RunStatus.SUCCEEDED else None
        over = RunEnd(self._claim.run_id, status, why, degraded)

        async def write() -> bool:
            nonlocal over
            written = await self._runs.end(
                self._claim,
                status=status,
                attempts=attempts,
                outputs=outputs,
                deliveries=work.deliveries() if work is not None else [],
                degraded=degraded,
                why=why,
                identity=identity,
                stage_id=stage_id,
            )
            over = over.as_written(written)
            return True

        async def is_written() -> bool | None:
            nonlocal over
            run = await self._runs.get(self._claim.run_id)
            if run.fencing_token != self._claim.token or run.status not in (status, RunStatus.CANCELLED):
                return None
            over = over.as_written(run.status)
            return True

        def recorded() -> None:
            self._recorded(attempts, outputs)
            self._signals.run_ended(self._claim, over)

        await self._commit(write, is_written, recorded, is_last=True)
        return over

    async def hand_back(
        self,
        next_stage_id: str | None,
        *,
        pause_s: float = 0.0,
        why: Why | None = None,
        loss: bool = False,
        queue: str | None = None,
    ) -> RunEnd:
        """Give the run back with its version, to the workers of *queue* when one is named. Raises `Refused`."""
        attempts, outputs = await self.ask(self._rows)
        over = RunEnd(self._claim.run_id, RunStatus.QUEUED, why)

        async def write() -> bool:
            nonlocal over
            written = await self._runs.hand_back(
                self._claim,
                attempts=attempts,
                outputs=outputs,
                next_stage_id=next_stage_id,
                available_in_us=int(pause_s * 1e6),
                why=why,
                loss=loss,
                queue=queue,
            )
            over = over.as_written(written)
            return True

        async def is_written() -> bool | None:
            run = await self._runs.get(self._claim.run_id)
            return True if run.fencing_token != self._claim.token or run.status is not RunStatus.RUNNING else None

        def recorded() -> None:
            self._recorded(attempts, outputs)
            self._signals.run_handed_back(self._claim, over)

        await self._commit(write, is_written, recorded, is_last=True)
        return over

    # --- special ends ---

    async def give_up(self) -> RunEnd:
        """Hand back what the engine itself failed on, without what is not yet durable; counts as a lost worker."""
        self._finished.clear()
        self.attempts.clear()
        return await self.hand_back(None, pause_s=_AFTER_FAULT_S, loss=True)

    def fenced(self) -> RunEnd:
        """Another worker holds the run: nothing was written, which is recorded."""
        self._signals.write_fenced(self._claim)
        return RunEnd(self._claim.run_id, None)

    # --- how ---

    async def _rows(self) -> tuple[list[AttemptRow], list[OutputRow]]:
        attempts = list(self.attempts)
        outputs = []
        for item in self._finished:
            raw = None if item.end.value is None else item.end.value.raw
            artifact = None
            if raw is not None and len(raw) > LARGEST_VALUE:
                artifact = (await self._artifacts.put_bytes(raw)).sha256
            outputs.append(self._output(item, raw, artifact))
        return attempts, outputs

    def _output(self, item: _Finished, raw: bytes | None, artifact: str | None) -> OutputRow:
        end, fallback = item.end, item.stage.fallback
        return OutputRow(
            stage_id=item.stage.stage.id,
            outcome=OUTCOMES[end.kind],
            module_id=end.module_id,
            wanted_module_id=fallback.selection.module_id if fallback is not None else None,
            degraded=end.degraded,
            why=end.why.as_json() if end.why is not None else None,
            value=raw.decode() if raw is not None and artifact is None else None,
            artifact_sha256=artifact,
            size_bytes=len(raw) if raw is not None else 0,
        )

    async def ask(self, read: Callable[[], Awaitable[T]]) -> T:
        """Read or prepare something; while database or disk do not serve, wait and try again."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return await read()
            except DatabaseUnreachable:
                self._signals.database_lost(self._claim, pause_s)
            await self._sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _commit(
        self,
        write: Callable[[], Awaitable[bool]],
        is_written: Callable[[], Awaitable[bool | None]],
        recorded: Callable[[], None],
        *,
        is_last: bool = False,
    ) -> bool:
        """Write to the end, even when the run is stopped meanwhile; what is over by then cannot be stopped any more."""
        task = asyncio.ensure_future(self._insist(write, is_written))
        try:
            answer = await asyncio.shield(task)
        except asyncio.CancelledError:
            is_wanted = self._claim.stop in (Stop.CANCEL, Stop.SHUTDOWN)
            try:
                if is_wanted and not task.done():
                    await asyncio.wait([task])
            finally:
                task.cancel()
            if task.cancelled() or not task.done() or task.exception() is not None:
                raise
            recorded()
            current = asyncio.current_task()
            if not (is_last and is_wanted) or current is None:
                raise
            current.uncancel()
            return task.result()
        recorded()
        return answer

    async def _insist(
        self, write: Callable[[], Awaitable[bool]], is_written: Callable[[], Awaitable[bool | None]]
    ) -> bool:
        is_unknown = False

        async def once() -> bool:
            nonlocal is_unknown
            known = await is_written() if is_unknown else None
            if known is not None:
                return known
            is_unknown = True  # until it says otherwise
            return await write()

        return await self.ask(once)

    def _recorded(self, attempts: Sequence[AttemptRow], outputs: Sequence[OutputRow]) -> None:
        whys = {item.stage.stage.id: item.end.why for item in self._finished if item.end.why is not None}
        self._finished.clear()
        self.attempts.clear()
        for attempt in attempts:
            self._signals.attempt_recorded(self._claim, attempt)
        for output in outputs:
            self._signals.output_recorded(self._claim, output, whys.get(output.stage_id))


def corrupt_artifact(claim: ClaimedRun, what: str) -> Why:
    """Why a run is on hold whose stored files are damaged."""
    return Why(
        Code.PARKED_CORRUPT_ARTIFACT,
        f"The run is on hold: {what} is missing or damaged on disk. Restore the file from a backup, then retry.",
        {"sha256": claim.sha256},
    )
