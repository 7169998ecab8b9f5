"""Modules, stages and contracts. Source: T008, T015, INTERFACES 2."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from switchgear.domain.breaker import BreakerState
from switchgear.domain.configuration import Terminal
from switchgear.domain.stage import ModuleStatus
from switchgear.interface.api.schemas.common import Message, Request, Time, View, WhyView
from switchgear.interface.api.schemas.configurations import FallbackPolicyView, SelectionView


class ModulePatch(Request):
    """Enable or disable a module."""

    enabled: bool
    message: Message = ""


class RescanBody(Request):
    """Look for modules again."""

    message: Message = ""


class BreakerBody(Request):
    """Set a module's breaker by hand."""

    state: Literal["forced_open", "disabled", "closed"] = Field(
        description="Call the module no more; never stop calling it; back to counting failures"
    )
    message: Message = ""


class BreakerView(View):
    """A breaker that is not closed."""

    state: BreakerState
    settings_digest: str | None = Field(description="Digest of the settings that it belongs to; null: set by hand")
    until: Time | None = Field(None, description="When the next try, or the present one's time, is due")
    why: str = ""
    actor: str
    changed_at: Time


class UseView(View):
    """Where the active configuration names a module."""

    configuration: str = Field(examples=["v12"])
    stage_id: str
    role: Literal["selection", "fallback"]


class ModuleSummary(View):
    """One installed module."""

    id: str
    title: str = ""
    version: str
    stage_id: str
    contract: str
    status: ModuleStatus
    breaker: BreakerState = Field(description="Of its breakers the one that stops most; `breakers` has all")
    enabled: bool
    why: WhyView | None = Field(None, description="Why it is unavailable, and the exact line that repairs it")
    is_selected: bool
    is_fallback: bool = Field(description="Named in a chain of the active configuration")
    used_by: list[UseView] = Field(default_factory=list)
    deprecated: str | None = None
    distribution: str
    distribution_version: str


class ModuleView(ModuleSummary):
    """A module with everything that is known about it."""

    guarantees: list[str]
    requires: dict[str, Any]
    min_isolation: str
    editable: bool
    code_digest: str
    contract_digest: str
    settings_schema: dict[str, Any]
    breakers: list[BreakerView] = Field(description="Those that are not closed")
    secret_pointers: list[str] = Field(description="JSON pointers of settings that hold a secret reference")


class ModuleChangeView(View):
    """A module that a rescan found in another state than before."""

    module_id: str
    before: ModuleStatus | None = None
    after: ModuleStatus | None = None
    why: WhyView | None = None


class RescanView(View):
    """What a rescan found."""

    modules: int
    changes: list[ModuleChangeView]


class CandidateView(View):
    """A module that may be selected for a stage."""

    module_id: str
    version: str
    status: ModuleStatus
    compatibility: Literal["compatible", "incompatible", "unknown"]
    reasons: list[str] = Field(default_factory=list, description="JSON path and a sentence each")
    is_selected: bool
    is_fallback: bool
    why: WhyView | None = None


class StageView(View):
    """One step of the pipeline, what the active configuration does there, and who could."""

    id: str
    order: int
    required: bool
    contract: str
    limits: dict[str, Any] = Field(description="Defaults of a selection's limits")
    chain_is_ordered: bool = Field(
        description="Whether an earlier module of the fallback chain must never stand in for a later one"
    )
    selection: SelectionView | None = None
    fallback_policy: FallbackPolicyView | None = None
    serves: str = Field(description="`selected`, `fallback`, `nobody` or `not_selected`")
    serving_module_id: str | None = None
    then: Terminal | None = None
    message: str = ""
    candidates: list[CandidateView]


class InputView(View):
    """A named input of a contract."""

    json_schema: dict[str, Any]
    optional: bool


class ContractView(View):
    """A capability contract."""

    id: str = Field(examples=["invoice-extract@1.0"])
    name: str
    version: str
    stage_ids: list[str]
    inputs: dict[str, InputView]
    any_of: list[list[str]]
    output_name: str
    output_schema: dict[str, Any]
    guarantees: list[str]
    confidence: str | None = None
    effects: str
    digest: str
