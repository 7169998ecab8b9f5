"""Runs: one document through all stages under one configuration version, and the tables of their life.

Source: DESIGN 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from switchgear.domain.errors import Code, DomainError

#: After this many lost workers a run is parked instead of tried again. RELIABILITY I18
MAX_LOSSES: Final = 3
#: Detail of a timeout in the queue of a module's own pool: the module was not asked.
NO_FREE_WORKER: Final = "no_free_worker"
#: Detail of an error by which a module leaves a document to another one. ADR 0018
UNSUPPORTED: Final = "unsupported"
#: A back-off of at most this many seconds keeps the lease and is part of running. DESIGN 4
SHORT_BACKOFF_S: Final = 10.0


class RunStatus(StrEnum):
    """The states of a run."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    PARKED = "parked"
    CANCELLED = "cancelled"


class RunEvent(StrEnum):
    """What happens to a run."""

    CLAIM = "claim"
    SUCCEED = "succeed"
    FAIL = "fail"
    PARK = "park"
    CANCEL = "cancel"
    HAND_BACK = "hand_back"  #: the worker stops and gives it back
    LOSE = "lose"  #: the worker's lease ran out
    BACK_OFF = "back_off"  #: a module asked for a longer pause
    RETRY = "retry"  #: a person: same run, same version
    DECIDE = "decide"  #: a person released or rejected it


#: DESIGN 5, first table; an absent pair is illegal. The third `lose` parks instead (see `MAX_LOSSES`).
TRANSITIONS: Final[Mapping[tuple[RunStatus, RunEvent], RunStatus]] = {
    (RunStatus.QUEUED, RunEvent.CLAIM): RunStatus.RUNNING,
    (RunStatus.QUEUED, RunEvent.CANCEL): RunStatus.CANCELLED,
    (RunStatus.RUNNING, RunEvent.SUCCEED): RunStatus.SUCCEEDED,
    (RunStatus.RUNNING, RunEvent.FAIL): RunStatus.FAILED,
    (RunStatus.RUNNING, RunEvent.PARK): RunStatus.PARKED,
    (RunStatus.RUNNING, RunEvent.CANCEL): RunStatus.CANCELLED,
    (RunStatus.RUNNING, RunEvent.HAND_BACK): RunStatus.QUEUED,
    (RunStatus.RUNNING, RunEvent.LOSE): RunStatus.QUEUED,
    (RunStatus.RUNNING, RunEvent.BACK_OFF): RunStatus.QUEUED,
    (RunStatus.FAILED, RunEvent.RETRY): RunStatus.QUEUED,
    (RunStatus.PARKED, RunEvent.RETRY): RunStatus.QUEUED,
    (RunStatus.PARKED, RunEvent.DECIDE): RunStatus.QUEUED,
    (RunStatus.PARKED, RunEvent.CANCEL): RunStatus.CANCELLED,
}


#: What people ask for, in the words of a refusal.
_ASKED: Final[Mapping[RunEvent, str]] = {
    RunEvent.CANCEL: "be cancelled",
    RunEvent.RETRY: "be retried",
    RunEvent.DECIDE: "be released or rejected",
}


class RunTransitionRefused(DomainError):
    """The run's status does not allow it."""

    code = Code.RUN_ILLEGAL_TRANSITION


def transition(status: RunStatus, event: RunEvent) -> RunStatus:
    """Return the status after *event*.

    Raises:
        RunTransitionRefused: The table has no such pair.
    """
    after = TRANSITIONS.get((status, event))
    if after is None:
        *others, last = before(event)
        those = f"{', '.join(others)} or {last}" if others else last
        raise RunTransitionRefused(
            f"A run that is {status} cannot {_ASKED.get(event, event)}; those that are {those} can.",
            status=str(status),
            event=str(event),
        )
    return after


def before(event: RunEvent) -> tuple[RunStatus, ...]:
    """Return the statuses that allow *event*; statements guard their UPDATE with them."""
    return tuple(status for status, known in TRANSITIONS if known is event)


class Outcome(StrEnum):
    """How one stage attempt ended; closed list, `detail` says more. DESIGN 5"""

    SUCCEEDED = "succeeded"
    NOT_APPLICABLE = "not_applicable"
    SKIPPED = "skipped"
    ERROR = "error"
    TIMEOUT = "timeout"
    CRASH = "crash"
    CONTRACT_VIOLATION = "contract_violation"
    UNAVAILABLE = "unavailable"
    BREAKER_OPEN = "breaker_open"
    LOW_CONFIDENCE = "low_confidence"
    BAD_INPUT = "bad_input"
    LOST = "lost"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class AttemptResult:
    """What one call of a module gave: an outcome, and the output when it succeeded.

    The output is JSON bytes from an isolated module, the model itself from an inline one.

    A module that asks for a review gives `skipped` with `needs_review`, its sentence in `message` and its facts in
    `facts`; an unavailable one gives the repair line in `facts["fix"]`.
    """

    outcome: Outcome
    detail: str = ""
    message: str = ""
    output: Any = None
    confidence: float | None = None
    duration_us: int = 0
    retryable: bool = False
    after_s: float | None = None
    needs_review: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
