"""What is read from and written to the tables of runs: plain records, no ORM. Source: DESIGN 5, 7.

Times are microseconds UTC. JSON stands as text where it may be large (`value`), as Python values elsewhere.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Generic, TypeVar

from switchgear.core.database import Statement
from switchgear.domain.run import Outcome, RunStatus
from switchgear.sdk.pipeline import DEFAULT_QUEUE

T = TypeVar("T")


class Stop(StrEnum):
    """Why a worker cancels the execution of a run that it holds."""

    CANCEL = "cancel"  #: a person asked for it: the run ends `cancelled`
    LOST = "lost"  #: the lease is lost or can no longer be renewed: nothing may be written any more
    SHUTDOWN = "shutdown"  #: the worker ends: the run is handed back with its version


@dataclass(slots=True)
class Ride:
    """A worker's wish to get its next run in the commit that ends one, and what came of it.

    Attributes:
        worker_id: Who takes it.
        statements: What claims it.
        place: Which of them returns the run.
        claim: The next run; None when there was none, or the commit was not made.
        is_activation_pending: Whether an activation waits; None when the commit was not made.
    """

    worker_id: str
    statements: Sequence[Statement]
    place: int = 0
    claim: ClaimedRun | None = None
    is_activation_pending: bool | None = None


@dataclass(slots=True)
class ClaimedRun:
    """A run that a worker holds, with the document it is about.

    Attributes:
        token: Fencing token; every write names it, and is refused when another worker holds the run.
        losses: How often its worker was lost before. Whoever took the lease away has recorded the `lost` attempt.
        running_us: Time that it was running in earlier claims, in microseconds.
        decision: `{action, actor, message, at, stage_id}` of a person, when it comes back from review, and the `facts`
            of the hold that it answers.
        stage_id: The stage it goes on at; None = the first.
        at_stage_id: The stage it is at now, committed or not; heartbeats show it. None until the first one begins.
        first: Whether this claim has pinned the configuration.
        cancel_requested: Whether a person asked to cancel it; the worker sets it later too.
        stop: Why the task that executes it is being cancelled; see `Stop`. None while it goes on.
        ride: Asked when its end is written: whether another claim goes along. None = no.
        claimed_at_s: `time.monotonic()` of the claim.
        renewed_at_s: `time.monotonic()` of the last heartbeat.
    """

    run_id: str
    document_id: str
    configuration_id: str
    configuration_version: int
    token: int
    losses: int
    running_us: int
    decision: dict[str, Any] | None
    stage_id: str | None
    first: bool
    cancel_requested: bool
    retry_of: str | None
    worker_id: str
    sha256: str
    size_bytes: int
    file_name: str
    media_type: str
    accepted_at: int
    at_stage_id: str | None = None
    stop: Stop | None = None
    ride: Callable[[], Ride | None] | None = None
    claimed_at_s: float = field(default_factory=time.monotonic)
    renewed_at_s: float = field(default_factory=time.monotonic)

    def total_running_us(self) -> int:
        """Running time of all claims until now, in microseconds; the run's deadline counts it."""
        return self.running_us + int((time.monotonic() - self.claimed_at_s) * 1_000_000)


class Encoded(dict[str, Any]):
    """A mapping that is recorded again and again: its JSON text is made once."""

    @cached_property
    def text(self) -> str:
        """The mapping as JSON text; it must not be changed any more."""
        return json.dumps(self, separators=(",", ":"))


@dataclass(slots=True, kw_only=True)
class AttemptRow:
    """One try of one module on one stage, to be recorded; run, version and token come from the claim.

    Times are microseconds: UTC, and a duration. It is changed as long as the try goes on.

    Attributes:
        candidate: 0 is the selection, then the chain.
        try_number: From 1; 0 stands in the record that a worker was lost.
        limits: The limits that held.
        rules_not_matched: Steps of the chain that did not match, `Rule.as_json()` each.
    """

    stage_id: str
    candidate: int
    try_number: int
    outcome: Outcome
    started_at: int
    duration_us: int
    module_id: str | None = None
    module_version: str | None = None
    code_digest: str | None = None
    detail: str = ""
    message: str = ""
    limits: Mapping[str, Any] = field(default_factory=dict)
    rules_not_matched: Sequence[Mapping[str, Any]] = ()
    confidence: float | None = None


@dataclass(slots=True, kw_only=True)
class StoredAttempt(AttemptRow):
    """An attempt as it stands in the database."""

    run_id: str
    fencing_token: int
    configuration_id: str
    configuration_version: int


@dataclass(slots=True, kw_only=True)
class OutputRow:
    """The accepted output of a stage, to be recorded.

    Attributes:
        outcome: succeeded, not_applicable or skipped.
        module_id: Who served it.
        wanted_module_id: The selection.
        why: Why the selection was not used, `Why.as_json()`.
        value: JSON text of at most 64 KiB; None when there is no value or it is an artifact.
        artifact_sha256: Where a larger value stands in the artifact store.
        size_bytes: Length of the JSON text.
    """

    stage_id: str
    outcome: Outcome
    module_id: str | None = None
    wanted_module_id: str | None = None
    degraded: bool = False
    why: Mapping[str, Any] | None = None
    value: str | None = None
    artifact_sha256: str | None = None
    size_bytes: int = 0


@dataclass(slots=True, kw_only=True)
class StoredOutput(OutputRow):
    """An output as it stands in the database."""

    run_id: str
    committed_at: int

    @property
    def is_removed(self) -> bool:
        """Whether retention took the file that it was."""
        return self.outcome is Outcome.SUCCEEDED and self.value is None and self.artifact_sha256 is None


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """An effect that happened outside, under its key; `receipt` is what the target or module answered."""

    key: str
    target: str
    receipt: Any
    delivered_at: int | None = None


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """An accepted document; `last_run_*` is its newest run, `file_removed_at` when retention took the original.

    `last_run_decision` is what a person decided in that run's review, as in `RunRow`.
    """

    id: str
    sha256: str
    size_bytes: int
    name: str
    media_type: str
    parent_id: str | None
    actor: str
    received_at: int
    last_run_id: str | None = None
    last_run_status: RunStatus | None = None
    file_removed_at: int | None = None
    last_run_decision: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as it stands in the database; `available_at` is when it may be claimed at the earliest."""

    id: str
    document_id: str
    document_name: str
    status: RunStatus
    degraded: bool
    configuration_id: str | None
    configuration_version: int | None
    pinned_configuration_id: str | None
    fencing_token: int
    claimed_by: str | None
    losses: int
    stage_id: str | None
    available_at: int
    accepted_at: int
    started_at: int | None
    ended_at: int | None
    running_us: int
    cancel_requested: bool
    retry_of: str | None
    actor: str
    identity: str | None
    decision: dict[str, Any] | None
    why: dict[str, Any] | None
    why_code: str | None
    document_actor: str = ""  #: who sent the document first
    queue: str = DEFAULT_QUEUE


@dataclass(frozen=True, slots=True)
class AcceptedDocument:
    """An accepted document, its newest run, and whether these very bytes were known before."""

    document: DocumentRow
    run: RunRow
    duplicate: bool


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs are wanted; None means any. `actor` is the token id of who asked for the run."""

    status: RunStatus | None = None
    document_id: str | None = None
    configuration_id: str | None = None
    why_code: str | None = None
    degraded: bool | None = None
    actor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryFilter:
    """Which failed and parked runs are wanted; None means any.

    Attributes:
        degraded: Instead, those that succeeded although a fallback served somewhere.
        status: failed or parked.
        code: Why it stands there.
        stage_id: Where it stopped; with `degraded` where a fallback served.
        module_id: A module that was tried there; with `degraded` the one that served.
        configuration_id: The version that it holds.
        since: Accepted at this time or later, microseconds UTC.
        until: Accepted before this time, microseconds UTC.
        after: Only runs that are newer than this one.
    """

    degraded: bool = False
    status: RunStatus | None = None
    code: str | None = None
    stage_id: str | None = None
    module_id: str | None = None
    configuration_id: str | None = None
    since: int | None = None
    until: int | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Part of a list, newest first; `next_cursor` is None at the end."""

    items: tuple[T, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Counts:
    """Runs by status, parked ones by code, and by queue how long the oldest run that may be claimed has waited.

    What was repeated as a new run is parked still, but no code counts it: it waits for nobody.
    """

    by_status: Mapping[str, int]
    parked_by_code: Mapping[str, int]
    oldest_queued_s: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RunsOfVersion:
    """How the runs that hold a configuration stand; `degraded` counts those that succeeded by a fallback."""

    by_status: Mapping[str, int]
    degraded: int


@dataclass(frozen=True, slots=True)
class ResultRow:
    """The result of a run: JSON text, or the artifact that holds it."""

    run_id: str
    document_id: str
    status: RunStatus
    configuration_version: int | None
    degraded: bool
    ended_at: int | None
    value: str | None
    artifact_sha256: str | None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a heartbeat found: claims that no longer hold, by run and token, and runs that a person wants cancelled."""

    lost: frozenset[tuple[str, int]]
    cancel_requested: frozenset[str]


@dataclass(frozen=True, slots=True)
class LostRun:
    """A run whose lease ran out, and what became of it: queued, parked, or cancelled when that was asked for."""

    run_id: str
    stage_id: str
    worker_id: str | None
    losses: int
    status: RunStatus


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A process that carries runs; `unavailable` is module id -> why, as it sees it; no `queues` means all."""

    id: str
    host: str
    process_id: int
    boot_id: str
    generation_loaded: int | None = None
    unavailable: Mapping[str, Any] = field(default_factory=dict)
    isolation: Mapping[str, Any] = field(default_factory=dict)
    queues: tuple[str, ...] = ()
