"""What the stage runner is given and what it gives back. Source: DESIGN 5."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from switchgear.core.breaker_service import Admission
from switchgear.domain.errors import Why
from switchgear.domain.run import AttemptResult, Outcome
from switchgear.ingestion.module_pool import Call, DocumentFile, ModuleUse, StageValue
from switchgear.ingestion.run_repository.records import AttemptRow
from switchgear.sdk.values import Decision, Earlier


class ModuleCalls(Protocol):
    """What the runner asks the module pools."""

    def call(self, use: ModuleUse, call: Call) -> Coroutine[Any, Any, AttemptResult]:
        """Run one attempt."""


class ModuleBreakers(Protocol):
    """What the runner asks the breakers."""

    async def admit(self, module_id: str, settings_digest: str, *, timeout_s: float) -> Admission:
        """Whether a module may be called now."""

    async def record(
        self, module_id: str, settings_digest: str, admission: Admission, outcome: Outcome, detail: str, message: str
    ) -> None:
        """Count how a call ended."""


@dataclass(slots=True)
class StageCall:
    """What one stage of one run works on.

    Attributes:
        run_id: The run.
        document_id: Its document.
        document: The stored original.
        inputs: Outputs of earlier stages by name; None for what was skipped or does not apply.
        deadline: When the run's time is over, in seconds of `time.monotonic()`.
        decision: What a person decided, when the run comes back from review.
        earlier: Earlier results with the same identity.
        delivery_base: What delivery keys are made from: the document, a NUL, and the result.
        tries_before: Candidate -> tries in earlier claims, when the run comes back from a back-off.
    """

    run_id: str
    document_id: str
    document: DocumentFile
    inputs: Mapping[str, StageValue | None]
    deadline: float
    decision: Decision | None = None
    earlier: Sequence[Earlier] = ()
    delivery_base: str = ""
    tries_before: Mapping[int, int] = field(default_factory=dict)


class StageEndKind(StrEnum):
    """How a stage of one claim ended."""

    OUTPUT = "output"
    NOT_APPLICABLE = "not_applicable"
    SKIPPED = "skipped"
    FAIL = "fail"
    PARK = "park"
    BACK_OFF = "back_off"


@dataclass(slots=True)
class StageEnd:
    """The end of a stage, and every attempt that led to it.

    Attributes:
        kind: How it ended.
        attempts: In order.
        value: The output, for `OUTPUT`.
        module_id: Who gave the answer.
        degraded: Whether that was a fallback.
        why: Why the selection was not used, or why the run ends, waits or goes on without the stage.
        back_off_s: For `BACK_OFF`: seconds until the next try.
    """

    kind: StageEndKind
    attempts: Sequence[AttemptRow] = ()
    value: StageValue | None = None
    module_id: str | None = None
    degraded: bool = False
    why: Why | None = None
    back_off_s: float = 0.0
