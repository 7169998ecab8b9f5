"""Modules, stages and contracts as answers. Source: INTERFACES 2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from switchgear.core.module_registry import ModuleChange, StageAvailability
from switchgear.domain.breaker import ANY_SETTINGS, Breaker, BreakerState
from switchgear.domain.configuration import Content, StoredConfiguration, sha256_of
from switchgear.domain.stage import ContractDescription, ModuleDescription, PipelineDescription, StageDescription
from switchgear.interface.api.schemas.common import time_of
from switchgear.interface.api.schemas.modules import (
    BreakerView,
    CandidateView,
    ContractView,
    InputView,
    ModuleChangeView,
    ModuleSummary,
    ModuleView,
    StageView,
    UseView,
)
from switchgear.interface.api.views.configurations import policy_views, selection_views, why_of_lack

#: States of breakers that moved by themselves, what stops most first; what a person said stands before them.
_STOPPING: Final = (BreakerState.OPEN, BreakerState.HALF_OPEN)

Answer = Literal["compatible", "incompatible", "unknown"]


def uses_of(module_id: str, active: StoredConfiguration | None) -> Iterator[UseView]:
    """Where the active configuration names a module."""
    if active is None:
        return
    for selection in active.content.selections:
        if selection.module_id == module_id:
            yield UseView(configuration=active.label, stage_id=selection.stage_id, role="selection")
    for policy in active.content.policies:
        if any(step.module_id == module_id for step in policy.chain):
            yield UseView(configuration=active.label, stage_id=policy.stage_id, role="fallback")


def _used_digests(module_id: str, active: StoredConfiguration | None) -> set[str]:
    """Settings whose breaker says something about now: those of the active configuration, and what a person said."""
    content = active.content if active is not None else Content(())
    selected = [item.settings for item in content.selections if item.module_id == module_id]
    steps = [step.settings for policy in content.policies for step in policy.chain if step.module_id == module_id]
    return {ANY_SETTINGS, *(sha256_of(dict(settings)) for settings in (*selected, *steps))}


def _summary(
    module: ModuleDescription, active: StoredConfiguration | None, breakers: Sequence[Breaker]
) -> dict[str, Any]:
    used = _used_digests(module.id, active)
    states = {
        breaker.settings_digest: breaker.state
        for breaker in breakers
        if breaker.module_id == module.id and breaker.settings_digest in used
    }
    uses = list(uses_of(module.id, active))
    return {
        "id": module.id,
        "title": module.title,
        "version": module.version,
        "stage_id": module.stage_id,
        "contract": module.contract,
        "status": module.status,
        "breaker": states.get(ANY_SETTINGS) or min(states.values(), key=_STOPPING.index, default=BreakerState.CLOSED),
        "enabled": module.enabled,
        "why": why_of_lack(module.lack),
        "is_selected": any(use.role == "selection" for use in uses),
        "is_fallback": any(use.role == "fallback" for use in uses),
        "used_by": uses,
        "deprecated": module.deprecated,
        "distribution": module.distribution,
        "distribution_version": module.distribution_version,
    }


def module_summary(
    module: ModuleDescription, active: StoredConfiguration | None, breakers: Sequence[Breaker]
) -> ModuleSummary:
    """One line of the list of modules."""
    return ModuleSummary(**_summary(module, active, breakers))


def module_view(
    module: ModuleDescription, active: StoredConfiguration | None, breakers: Sequence[Breaker]
) -> ModuleView:
    """Everything about a module."""
    return ModuleView(
        **_summary(module, active, breakers),
        breakers=[_breaker_view(breaker) for breaker in breakers if breaker.module_id == module.id],
        guarantees=sorted(module.guarantees),
        requires=dict(module.requires),
        min_isolation=module.min_isolation,
        editable=module.editable,
        code_digest=module.code_digest,
        contract_digest=module.contract_digest,
        settings_schema=dict(module.settings_schema),
        secret_pointers=list(module.secret_pointers),
    )


def _breaker_view(breaker: Breaker) -> BreakerView:
    return BreakerView(
        state=breaker.state,
        settings_digest=breaker.settings_digest or None,
        until=time_of(breaker.until),
        why=breaker.why,
        actor=breaker.actor,
        changed_at=time_of(breaker.changed_at),
    )


def change_view(change: ModuleChange) -> ModuleChangeView:
    """A module that a rescan found in another state."""
    return ModuleChangeView(
        module_id=change.module_id, before=change.before, after=change.after, why=why_of_lack(change.lack)
    )


def stage_view(
    stage: StageDescription,
    active: StoredConfiguration | None,
    modules: Mapping[str, ModuleDescription],
    availability: StageAvailability,
    compatibility: Mapping[str, tuple[Answer, list[str]]],
) -> StageView:
    """A stage, what the active configuration does there, and which modules could.

    Args:
        stage: The stage.
        active: The active configuration.
        modules: Every installed module.
        availability: Who serves the stage now.
        compatibility: Module id -> answer and reasons.
    """
    selections = {item.stage_id: item for item in selection_views(active.content)} if active else {}
    policies = {item.stage_id: item for item in policy_views(active.content)} if active else {}
    return StageView(
        id=stage.id,
        order=stage.order,
        required=stage.required,
        contract=f"{stage.contract.name}@{stage.contract.version}",
        limits=dict(stage.limits),
        chain_is_ordered=stage.chain_is_ordered,
        selection=selections.get(stage.id),
        fallback_policy=policies.get(stage.id),
        serves=str(availability.serves),
        serving_module_id=availability.module_id,
        then=availability.then,
        message=availability.message,
        candidates=list(_candidates(stage, active, modules, compatibility)),
    )


def _candidates(
    stage: StageDescription,
    active: StoredConfiguration | None,
    modules: Mapping[str, ModuleDescription],
    compatibility: Mapping[str, tuple[Answer, list[str]]],
) -> Iterator[CandidateView]:
    selection = active.content.selection(stage.id) if active else None
    chain = {step.module_id for step in active.content.policy(stage.id).chain} if active else set()
    for module_id in sorted(set(compatibility) & set(modules)):
        module = modules[module_id]
        answer, reasons = compatibility[module_id]
        yield CandidateView(
            module_id=module_id,
            version=module.version,
            status=module.status,
            compatibility=answer,
            reasons=reasons,
            is_selected=selection is not None and selection.module_id == module_id,
            is_fallback=module_id in chain,
            why=why_of_lack(module.lack),
        )


def contract_view(contract: ContractDescription, pipeline: PipelineDescription) -> ContractView:
    """A contract and the stages that require it."""
    reference = (contract.name, contract.version)
    return ContractView(
        id=f"{contract.name}@{contract.version}",
        name=contract.name,
        version=contract.version,
        stage_ids=[stage.id for stage in pipeline.stages if (stage.contract.name, stage.contract.version) == reference],
        inputs={
            name: InputView(json_schema=dict(item.schema), optional=item.optional)
            for name, item in contract.inputs.items()
        },
        any_of=[list(group) for group in contract.any_of],
        output_name=contract.output_name,
        output_schema=dict(contract.output_schema),
        guarantees=sorted(contract.guarantees),
        confidence=contract.confidence,
        effects=contract.effects,
        digest=contract.digest,
    )
