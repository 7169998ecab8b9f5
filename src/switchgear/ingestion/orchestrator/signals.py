"""What the orchestrator asks of the run repository, and what it tells logs and metrics. Source: INTERFACES 6."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from switchgear.core.logging import get_logger
from switchgear.core.observability import EventName, Metrics
from switchgear.domain.errors import Why
from switchgear.domain.run import Outcome, RunStatus
from switchgear.ingestion.run_repository.records import (
    AttemptRow,
    ClaimedRun,
    DeliveryRow,
    OutputRow,
    ResultRow,
    RunRow,
    StoredAttempt,
    StoredOutput,
)

log = get_logger()


@dataclass(frozen=True, slots=True)
class RunEnd:
    """What became of a claimed run.

    Attributes:
        run_id: The run.
        status: Its status now; None when another worker holds it.
        why: The reason, for anything but success.
        degraded: Whether a fallback's output was used.
    """

    run_id: str
    status: RunStatus | None
    why: Why | None = None
    degraded: bool = False

    def as_written(self, status: RunStatus) -> RunEnd:
        """What it is with the status that was written; what a person cancelled needs no other reason."""
        return replace(self, status=status, why=None if status is RunStatus.CANCELLED else self.why)


class Signals:
    """Logs and metrics of runs; each is told after the commit."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def attempt_recorded(self, claim: ClaimedRun, attempt: AttemptRow) -> None:
        """An attempt is durable; a stage that was left out without a call is none to count."""
        if attempt.module_id is None:
            return
        self._metrics.record_attempt(
            stage=attempt.stage_id,
            module=attempt.module_id,
            outcome=attempt.outcome,
            duration_us=attempt.duration_us,
            detail=attempt.detail,
            message="" if attempt.outcome is Outcome.SUCCEEDED else attempt.message,  # notes repeat the document
            run_id=claim.run_id,
            configuration_version=claim.configuration_version,
        )

    def output_recorded(self, claim: ClaimedRun, output: OutputRow, why: Why | None) -> None:
        """A stage's answer is durable; a fallback's is counted with its reason."""
        if why is None or output.module_id is None or output.wanted_module_id in (None, output.module_id):
            return
        self._metrics.record_fallback(
            stage=output.stage_id,
            from_module=str(output.wanted_module_id),
            to_module=output.module_id,
            why=why,
            run_id=claim.run_id,
            configuration_version=claim.configuration_version,
        )

    def run_ended(self, claim: ClaimedRun, end: RunEnd) -> None:
        """A run ended or was put on hold."""
        assert end.status is not None
        self._metrics.record_run_end(
            status=end.status,
            degraded=end.degraded,
            duration_us=claim.total_running_us(),
            run_id=claim.run_id,
            document_id=claim.document_id,
            configuration_version=claim.configuration_version,
            why=end.why,
        )

    def run_handed_back(self, claim: ClaimedRun, end: RunEnd) -> None:
        """A run was given back with its version; one that a person cancelled has ended."""
        if end.status is RunStatus.CANCELLED:
            self.run_ended(claim, end)
            return
        log.info(
            EventName.RUN_HANDED_BACK,
            run_id=claim.run_id,
            document_id=claim.document_id,
            status=str(end.status),
            reason=str(end.why.code) if end.why else None,
        )

    def write_fenced(self, claim: ClaimedRun) -> None:
        """A write was refused: another worker holds the run."""
        log.warning(EventName.WRITE_FENCED, run_id=claim.run_id, fencing_token=claim.token, worker_id=claim.worker_id)

    def engine_failed(self, claim: ClaimedRun, error: Exception) -> None:
        """The engine itself failed on this run."""
        log.error(EventName.TASK_FAILED, task="execute", run_id=claim.run_id, exc_info=error)

    def database_lost(self, claim: ClaimedRun, pause_s: float) -> None:
        """The database did not answer; the commit is tried again after a pause."""
        log.warning(EventName.DATABASE_LOST, run_id=claim.run_id, next_try_in_s=pause_s)


class Runs(Protocol):
    """What the orchestrator asks of the run repository."""

    async def checkpoint(
        self,
        claim: ClaimedRun,
        *,
        attempts: Sequence[AttemptRow],
        outputs: Sequence[OutputRow],
        next_stage_id: str,
        identity: str | None = None,
    ) -> bool:
        """Make finished stages, and the result's identity, durable; returns whether a cancel was requested."""

    async def end(
        self,
        claim: ClaimedRun,
        *,
        status: RunStatus,
        attempts: Sequence[AttemptRow] = (),
        outputs: Sequence[OutputRow] = (),
        deliveries: Sequence[DeliveryRow] = (),
        degraded: bool = False,
        why: Why | None = None,
        identity: str | None = None,
        stage_id: str | None = None,
    ) -> RunStatus:
        """End or park the run; one that a person wants cancelled is cancelled instead of parked."""

    async def hand_back(
        self,
        claim: ClaimedRun,
        *,
        attempts: Sequence[AttemptRow] = (),
        outputs: Sequence[OutputRow] = (),
        next_stage_id: str | None = None,
        available_in_us: int = 0,
        why: Why | None = None,
        loss: bool = False,
        queue: str | None = None,
    ) -> RunStatus:
        """Give the run back with its version; one that a person wants cancelled is cancelled instead."""

    async def get(self, run_id: str) -> RunRow:
        """The run as it stands."""

    async def outputs(self, run_id: str) -> Sequence[StoredOutput]:
        """Its committed outputs."""

    async def attempts(self, run_id: str) -> Sequence[StoredAttempt]:
        """Its attempts."""

    async def earlier(self, identity: str, document_id: str, run_id: str) -> Sequence[ResultRow]:
        """Earlier results with the same identity, of other documents, newest first; asked after its checkpoint."""
