"""The narrow path for documents, runs, attempts and outputs: plain statements, one group per transition.

`RunRepository(database.narrow, pipeline)` commits each call; `repository.on(unit.statements)` works inside a unit of
work. Source: DESIGN 5, 7.
"""

from __future__ import annotations

from switchgear.core.database import Statements
from switchgear.ingestion.run_repository.claims import Claims
from switchgear.ingestion.run_repository.files import Files
from switchgear.ingestion.run_repository.intake import Intake
from switchgear.ingestion.run_repository.jobs import Jobs
from switchgear.ingestion.run_repository.losses import Losses
from switchgear.ingestion.run_repository.people import People
from switchgear.ingestion.run_repository.records import (
    AcceptedDocument,
    AttemptRow,
    ClaimedRun,
    Counts,
    DeliveryRow,
    DocumentRow,
    Heartbeat,
    LostRun,
    OutputRow,
    Page,
    ResultRow,
    RetryFilter,
    Ride,
    RunFilter,
    RunRow,
    RunsOfVersion,
    Stop,
    StoredAttempt,
    StoredOutput,
    WorkerRow,
)
from switchgear.ingestion.run_repository.results import Results
from switchgear.ingestion.run_repository.retention import Removed, Retention
from switchgear.ingestion.run_repository.work import LIVE_WORKER_US, Waiting, Work
from switchgear.sdk import Pipeline

__all__ = [
    "LIVE_WORKER_US",
    "AcceptedDocument",
    "AttemptRow",
    "ClaimedRun",
    "Counts",
    "DeliveryRow",
    "DocumentRow",
    "Heartbeat",
    "LostRun",
    "OutputRow",
    "Page",
    "Removed",
    "ResultRow",
    "RetryFilter",
    "Ride",
    "RunFilter",
    "RunRepository",
    "RunRow",
    "RunsOfVersion",
    "Stop",
    "StoredAttempt",
    "StoredOutput",
    "Waiting",
    "WorkerRow",
]


class RunRepository(Claims, Jobs, Losses, Intake, People, Results, Work, Files, Retention):
    """Everything that is read from and written to the tables of runs; see its parts."""

    @classmethod
    def of(cls, pipeline: Pipeline, name: str, statements: Statements) -> RunRepository:
        """The runs of a pipeline; *name* is that of its entry point, under which it is stored."""
        result = next(stage.id for stage in pipeline.stages if stage.contract.output_name == pipeline.result)
        effects = [stage.id for stage in pipeline.stages if stage.contract.effects != "none"]
        return cls(statements, name, result_stage=result, effects=effects)

    def on(self, statements: Statements) -> RunRepository:
        """The same inside an open unit of work: pass `unit.statements`."""
        return RunRepository(statements, self.pipeline, result_stage=self.result_stage, effects=self.effects)
