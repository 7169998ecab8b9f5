"""Carries one claimed run through its stages, and commits what is finished. Source: DESIGN 5, T034, RELIABILITY I7.

Every module comes from the version that the run holds; the version never changes. Finished stages are committed when
unsaved work exceeds `checkpoint_after_ms`, and always before a stage with outside effects; what is not committed is
shown nowhere and runs again after a crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from switchgear.core.database import Refused
from switchgear.core.observability import Metrics
from switchgear.ingestion.artifact_store import ArtifactStore
from switchgear.ingestion.orchestrator.commits import Commits
from switchgear.ingestion.orchestrator.execution import Execution
from switchgear.ingestion.orchestrator.signals import RunEnd, Runs, Signals
from switchgear.ingestion.plan import Plans
from switchgear.ingestion.run_repository.records import ClaimedRun, Stop
from switchgear.ingestion.stage_runner import StageRunner

__all__ = ["Orchestrator", "RunEnd", "Runs", "Signals"]


class Orchestrator:
    """Executes claimed runs; any number at the same time.

    Args:
        plans: The versions that runs hold, made ready.
        runner: Runs single stages.
        runs: Where runs are recorded.
        artifacts: Documents and large outputs.
        metrics: Told after each commit, as is the log.
        clock: Microseconds UTC.
        run_deadline_s: Longest running time of a run, all claims together, in seconds.
        checkpoint_after_ms: Unsaved work that is committed without waiting for more, in milliseconds; 0 commits each
            stage.
        sleep: Waits so many seconds while the database does not answer.
    """

    def __init__(
        self,
        *,
        plans: Plans,
        runner: StageRunner,
        runs: Runs,
        artifacts: ArtifactStore,
        metrics: Metrics,
        clock: Callable[[], int],
        run_deadline_s: float = 900.0,
        checkpoint_after_ms: float = 50.0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._plans = plans
        self._runner = runner
        self._runs = runs
        self._artifacts = artifacts
        self._signals = Signals(metrics)
        self._clock = clock
        self._run_deadline_s = run_deadline_s
        self._checkpoint_after_s = checkpoint_after_ms / 1000
        self._sleep = sleep

    async def execute(self, claim: ClaimedRun) -> RunEnd:
        """Carry the run to its end, or until it is parked, waits, or is stopped.

        A worker that wants it stopped sets `claim.stop` and cancels the task. `cancel` ends the run and `shutdown`
        hands it back, with the attempt that was under way; both then return as usual. After `lost` nothing is
        written and the cancellation goes on.
        """
        commits = Commits(self._runs, self._artifacts, self._signals, claim, self._clock, self._sleep)
        execution = Execution(
            claim,
            commits,
            plans=self._plans,
            runner=self._runner,
            runs=self._runs,
            artifacts=self._artifacts,
            run_deadline_s=self._run_deadline_s,
            checkpoint_after_s=self._checkpoint_after_s,
        )
        try:
            return await execution.run()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if claim.stop not in (Stop.CANCEL, Stop.SHUTDOWN) or task is None:
                raise
            task.uncancel()
            return await self._stopped(execution, commits)
        except Refused:
            return commits.fenced()
        except Exception as error:
            self._signals.engine_failed(claim, error)
            return await self._broken(commits)

    async def _stopped(self, execution: Execution, commits: Commits) -> RunEnd:
        try:
            return await execution.stopped()
        except Refused:
            return commits.fenced()

    async def _broken(self, commits: Commits) -> RunEnd:
        """The engine itself failed on this run: hand it back; the third time it parks and others go on."""
        try:
            return await commits.give_up()
        except Refused:
            return commits.fenced()
