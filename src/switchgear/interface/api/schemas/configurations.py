"""Configurations: what is sent, and what is answered. Source: T008, T016, T024, INTERFACES 2."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints
from pydantic.config import JsonDict

from switchgear.domain.activation import Mode, OnExpiry
from switchgear.domain.configuration import MAX_SELECTIONS, Status, Terminal
from switchgear.interface.api.schemas.common import FindingView, Message, Request, Time, View, WhyView

StageId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
ModuleId = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=64)]

_LIMITS_SCHEMA: Final[JsonDict] = {
    "properties": {
        "timeout_s": {"type": "number", "exclusiveMinimum": 0},
        "retries": {"type": "integer", "minimum": 0},
        "concurrency": {"type": "integer", "minimum": 1},
        "memory_mb": {"type": "integer", "minimum": 1},
    }
}
_SETTINGS: Final = "Settings of the module, by its settings schema; secrets as references only. At most 64 KiB"


class SelectionBody(Request):
    """stage -> module + settings + limits."""

    stage_id: StageId
    module_id: ModuleId
    settings: dict[str, Any] = Field(default_factory=dict, description=_SETTINGS)
    limits: dict[str, Any] = Field(
        default_factory=dict,
        description="What differs from the stage's defaults; checked by validation",
        json_schema_extra=_LIMITS_SCHEMA,
    )


class FallbackStepBody(Request):
    """One further module of a chain."""

    module_id: ModuleId
    settings: dict[str, Any] = Field(default_factory=dict, description=_SETTINGS)
    on: list[Annotated[str, StringConstraints(max_length=32)]] = Field(
        max_length=20, description="Outcomes that lead to this module, such as `error`, `timeout`, `unavailable`"
    )
    threshold: float | None = Field(None, ge=0, le=1, description="Only with `low_confidence`")


class FallbackPolicyBody(Request):
    """What replaces a stage's module when it fails, and what happens when nothing could."""

    stage_id: StageId
    chain: list[FallbackStepBody] = Field(default_factory=list, max_length=20)
    then: Annotated[Terminal, Field(strict=False)] | None = None
    budget_s: float | None = Field(None, gt=0, le=86_400, description="Longest time for the whole stage, in seconds")


class ConfigurationBody(Request):
    """The content of a configuration; with `base`, selections and policies replace those of the base by stage."""

    base: Reference | None = Field(None, description="`cfg_...`, `v12`, `active` or `previous`")
    selections: list[SelectionBody] = Field(default_factory=list, max_length=MAX_SELECTIONS)
    fallback_policies: list[FallbackPolicyBody] | None = Field(None, max_length=MAX_SELECTIONS)
    message: Message = ""
    draft: bool = Field(False, description="Store it although it has errors; validate it later")


class ValidationBody(Request):
    """Decide about a draft."""

    message: Message = ""


class ActivationBody(Request):
    """How to activate or roll back. Without a body the defaults count."""

    message: Message = ""
    mode: Annotated[Mode, Field(strict=False)] = Mode.DRAIN
    max_wait_s: float | None = Field(
        None, ge=1, le=86_400, description="Longest wait for running runs, in seconds; 300, for a rollback 10"
    )
    on_expiry: Annotated[OnExpiry, Field(strict=False)] = OnExpiry.SWITCH
    replace_pending: bool | None = Field(None, description="Replace a pending activation; a rollback does by default")
    accept_degraded: bool = Field(False, description="Activate although a selected module is served by its fallback")
    accept_base_moved: bool = Field(False, description="Activate although the active version is not the base any more")
    unblock: bool = Field(False, description="Activate content that a rollback left")


class FallbackStepView(View):
    """One further module of a chain."""

    module_id: str
    settings: dict[str, Any] = Field(default_factory=dict)
    on: list[str] = Field(default_factory=list)
    threshold: float | None = None


class FallbackPolicyView(View):
    """A stage's chain, terminal action and budget."""

    stage_id: str
    chain: list[FallbackStepView] = Field(default_factory=list)
    then: Terminal | None = None
    budget_s: float | None = None


class SelectionView(View):
    """stage -> module + settings + limits."""

    stage_id: str
    module_id: str
    settings: dict[str, Any] = Field(default_factory=dict)
    limits: dict[str, Any] = Field(default_factory=dict)


class LockEntryView(View):
    """The code that a module had when the version was made."""

    version: str
    code_digest: str
    contract_digest: str
    editable: bool = False


class ConfigurationSummary(View):
    """One line of the history."""

    id: str
    version: int
    label: str = Field(examples=["v12"])
    status: Status
    digest: str
    lock_digest: str
    base_id: str | None = None
    message: str
    created_by: str
    created_at: Time
    activated_at: Time | None = None
    left_at: Time | None = None


class RunShares(View):
    """How the runs that held a version ended."""

    total: int
    succeeded: int
    failed: int
    parked: int
    cancelled: int
    running: int
    queued: int
    degraded: int
    success_share: float | None = Field(None, description="Succeeded of what ended or is on hold; null without any")
    fallback_share: float | None = Field(None, description="Degraded of those that succeeded; null without any")


class ConfigurationView(ConfigurationSummary):
    """A whole version."""

    pipeline: str
    selections: list[SelectionView]
    fallback_policies: list[FallbackPolicyView]
    module_lock: dict[str, LockEntryView]
    findings: list[FindingView] = Field(default_factory=list, description="What validation said last")
    runs: RunShares | None = None


class DegradedStage(View):
    """A stage whose selected module does not serve now."""

    stage_id: str
    selected: str | None = None
    serves: str = Field(description="`fallback` or `nobody`")
    module_id: str | None = Field(None, description="Who serves instead")
    then: Terminal | None = Field(None, description="What happens to runs when nobody serves")
    message: str
    why: WhyView | None = None


class PendingActivation(View):
    """The activation that waits now, in short."""

    id: str
    state: str
    configuration_id: str
    configuration_version: int


class ActiveConfigurationView(ConfigurationView):
    """The active version, what waits to replace it, and which stages are degraded."""

    generation: int = Field(description="Grows by one with each switch")
    pending_activation: PendingActivation | None = None
    degraded: list[DegradedStage] = Field(default_factory=list)


class FindingsView(View):
    """The answer of validation."""

    is_valid: bool
    errors: list[FindingView]
    warnings: list[FindingView]


class DiffEntry(View):
    """One difference in meaning."""

    stage_id: str
    kind: str = Field(description="What differs, such as `module`, `settings`, `limits`, `fallback`")
    path: str = Field(description="Where, such as `/settings/languages`")
    before: Any = None
    after: Any = None
    message: str


class DiffView(View):
    """What differs between two versions; empty `changes` means the same content."""

    from_id: str
    from_version: int
    to_id: str
    to_version: int
    same: bool
    changes: list[DiffEntry]
