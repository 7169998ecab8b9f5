"""Documents, runs, results. Source: T008, INTERFACES 2."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from switchgear.domain.run import Outcome, RunStatus
from switchgear.interface.api.schemas.common import MAX_MESSAGE, Message, Moment, Request, Time, View, WhyView

Word = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Decision = Annotated[
    dict[str, Any] | None,
    Field(description="What a person decided in a review: `action`, `actor`, `message`, `at`, `stage_id`"),
]


class RetryBody(Request):
    """Retry a run: on the version it holds, on the active one, or on a named one."""

    configuration: Word = Field("original", description="`original`, `active`, or a configuration")
    from_: Word = Field("failed", alias="from", description="`failed`, `start`, or a stage")
    message: Message = ""


class RetryFilterBody(Request):
    """Which failed and parked runs; what is absent means any. Runs that were repeated as a new run are left out."""

    degraded: Literal[True] | None = Field(
        None, description="Instead, those that succeeded although a fallback served somewhere"
    )
    status: Literal["failed", "parked"] | None = None
    code: Word | None = Field(None, description="Reason code, such as `parked.nothing_available`")
    stage_id: Word | None = Field(None, description="Where they stopped; with `degraded` where a fallback served")
    module_id: Word | None = Field(None, description="A module that was tried there; with `degraded`, that served")
    configuration: Word | None = Field(None, description="The version that they hold")
    since: Moment | None = Field(None, description="Accepted at this time or later")
    until: Moment | None = Field(None, description="Accepted before this time")
    after: Word | None = Field(None, description="Only runs newer than this one: `last` of the answer before")


class RetryManyBody(RetryBody):
    """Retry many runs, the oldest first."""

    filter: RetryFilterBody
    dry_run: bool = Field(False, description="Only say what would happen")
    limit: int = Field(1000, ge=1, le=1000, description="Most runs that are looked at")


class CancelBody(Request):
    """Cancel a run."""

    message: Message = ""


class DecisionBody(Request):
    """A person's decision on a run that waits for review."""

    message: Annotated[str, StringConstraints(min_length=1, max_length=MAX_MESSAGE)]


class DocumentView(View):
    """An accepted document. `name` is for display only."""

    id: str
    sha256: str
    size_bytes: int
    name: str
    media_type: str
    received_at: Time
    last_run_id: str | None = None
    last_run_status: RunStatus | None = None
    last_run_decision: Decision = None
    file_removed_at: Time | None = None


class NamedRun(View):
    """Which run of which document, and how it stands."""

    id: str
    document_id: str
    document_name: str = ""
    status: RunStatus


class RunSummary(NamedRun):
    """One run."""

    degraded: bool
    configuration_id: str | None = Field(None, description="Held from the first claim on")
    configuration_version: int | None = None
    stage_id: str | None = Field(None, description="Where it is, or where it goes on")
    queue: str = Field(description="Work queue whose workers carry it")
    losses: int = 0
    retry_of: str | None = None
    accepted_at: Time
    started_at: Time | None = None
    ended_at: Time | None = None
    why: WhyView | None = None
    decision: Decision = None


class RuleView(View):
    """A step of the fallback chain: it serves after these outcomes of the candidate before, below this confidence."""

    candidate: int
    module_id: str
    on: list[str]
    threshold: float | None = None


class AttemptView(View):
    """One try of one module on one stage."""

    stage_id: str
    candidate: int = Field(description="0 is the selection, then the chain")
    try_number: int
    module_id: str | None = None
    module_version: str | None = None
    code_digest: str | None = None
    configuration_id: str
    configuration_version: int
    outcome: Outcome
    detail: str = ""
    message: str = ""
    limits: dict[str, Any] = Field(default_factory=dict)
    rules_not_matched: list[RuleView] = Field(
        default_factory=list, description="Steps of the chain that this outcome did not lead to"
    )
    confidence: float | None = None
    started_at: Time
    duration_us: int


class StageOutputView(View):
    """Which module served a stage, what was wanted, and why that was not used."""

    stage_id: str
    outcome: Outcome
    module_id: str | None = None
    wanted_module_id: str | None = None
    degraded: bool
    why: WhyView | None = None
    value: Any = Field(None, description="The output; null when it is stored as a file")
    artifact_sha256: str | None = None
    size_bytes: int
    committed_at: Time


class RunView(RunSummary):
    """A run with its stages, its attempts and the reason for where it stands."""

    stages: list[StageOutputView]
    attempts: list[AttemptView]
    cancel_requested: bool = False
    result: Any = Field(None, description="The pipeline's result so far; null when there is none or it is a file")


class StoppedRun(NamedRun):
    """A run as it was when many were retried: where it stopped and why."""

    stage_id: str | None = None
    code: str | None = None


class RetriedRun(StoppedRun):
    """A run that is retried, as it was before."""

    retried_as: str | None = Field(None, description="The run that goes on: itself, or a new one; null in a dry run")


class SkippedRun(StoppedRun):
    """A run that was left as it is."""

    reason: str


class RetriedView(View):
    """Which runs are retried, which are not and why."""

    dry_run: bool
    retried: list[RetriedRun]
    skipped: list[SkippedRun]
    more: bool = Field(description="Whether further runs match; send the same request with `filter.after`")
    last: str | None = Field(None, description="The last run that was looked at, for `filter.after`")


class AcceptedView(View):
    """A document that is stored durably, and its run."""

    document: DocumentView
    run: RunSummary
    duplicate_of: str | None = Field(None, description="The same bytes were known already; `run` is the last one")


class ResultEntry(View):
    """One accepted result, for systems that pull."""

    run_id: str
    document_id: str
    configuration_version: int | None = None
    degraded: bool
    ended_at: Time
    invoice: Any
