"""Configurations and activations as answers. Source: INTERFACES 2."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final

from switchgear.core.configuration_validation.identity_cache import IdentityCache
from switchgear.core.module_registry import StageAvailability
from switchgear.domain import configuration as domain
from switchgear.domain.activation import StoredActivation
from switchgear.domain.configuration import Content, StoredConfiguration
from switchgear.domain.errors import repair
from switchgear.domain.run import RunStatus
from switchgear.domain.stage import Lack
from switchgear.ingestion.run_repository import RunsOfVersion
from switchgear.interface.api.schemas.activations import AcknowledgementView, ActivationView, BlockingRunView
from switchgear.interface.api.schemas.common import FindingView, NextActionView, WhyView, time_of
from switchgear.interface.api.schemas.configurations import (
    ActiveConfigurationView,
    ConfigurationSummary,
    DegradedStage,
    FallbackPolicyView,
    FindingsView,
    PendingActivation,
    RunShares,
    SelectionView,
)


def why_of_lack(lack: Lack | None) -> WhyView | None:
    """Show why a module cannot be used, with the exact line that repairs it."""
    if lack is None:
        return None
    return WhyView(
        code=str(lack.code),
        summary=lack.message,
        facts={"fix": lack.fix} if lack.fix else {},
        next_actions=[NextActionView(**action.as_json()) for action in repair(lack.fix)],
        help=f"/problems/{lack.code}",
    )


def finding_of(item: Any) -> FindingView:
    """Show a finding, be it a record of validation or its stored JSON form."""
    if isinstance(item, Mapping):
        return FindingView(**{name: item.get(name) for name in FindingView.model_fields})
    return FindingView.model_validate(item.as_json())


def findings_view(errors: Sequence[Any], warnings: Sequence[Any]) -> FindingsView:
    """Show what validation found."""
    return FindingsView(
        is_valid=not errors,
        errors=[finding_of(item) for item in errors],
        warnings=[finding_of(item) for item in warnings],
    )


def selection_views(content: Content) -> list[SelectionView]:
    """The selections, ordered by stage id."""
    return [SelectionView(**item) for item in content.as_json()["selections"]]


def policy_views(content: Content) -> list[FallbackPolicyView]:
    """The fallback policies, ordered by stage id."""
    return [FallbackPolicyView.model_validate(item) for item in content.as_json()["fallback_policies"]]


def summary_of(stored: domain.ConfigurationSummary) -> ConfigurationSummary:
    """One line of the history."""
    return ConfigurationSummary(**_summary(stored))


def configuration_body(
    stored: StoredConfiguration, *, findings: Sequence[FindingView] | None = None, runs: RunShares | None = None
) -> bytes:
    """A whole version as `ConfigurationView` shows it, in JSON; *findings* in place of those that are stored.

    What it takes over from its base is text already.
    """
    selections, policies = stored.content.in_order()
    said = [finding_of(item) for item in stored.findings] if findings is None else findings
    parts = {
        "pipeline": json.dumps(stored.pipeline),
        "selections": _array(_texts.get(item, make=partial(_selection_text, item)) for item in selections),
        "fallback_policies": _array(_texts.get(item, make=partial(_policy_text, item)) for item in policies),
        "module_lock": stored.lock.canonical,
        "findings": _array(finding.model_dump_json() for finding in said),
        "runs": "null" if runs is None else runs.model_dump_json(),
    }
    rest = "".join(f',"{name}":{text}' for name, text in parts.items())
    return f"{summary_of(stored).model_dump_json()[:-1]}{rest}}}".encode()


#: JSON of selections and policies; each may be as long as settings are.
_texts: Final[IdentityCache[str]] = IdentityCache(512)


def _selection_text(item: domain.Selection) -> str:
    return SelectionView(**item.as_json()).model_dump_json()


def _policy_text(item: domain.FallbackPolicy) -> str:
    return FallbackPolicyView.model_validate(item.as_json()).model_dump_json()


def _array(texts: Iterable[str]) -> str:
    return f"[{','.join(texts)}]"


def run_shares(runs: RunsOfVersion) -> RunShares:
    """How the runs that held a version ended, and which share was served by fallbacks."""
    counts = {str(status): runs.by_status.get(str(status), 0) for status in RunStatus}
    over = counts["succeeded"] + counts["failed"] + counts["parked"]
    return RunShares(
        total=sum(counts.values()),
        **counts,
        degraded=runs.degraded,
        success_share=counts["succeeded"] / over if over else None,
        fallback_share=runs.degraded / counts["succeeded"] if counts["succeeded"] else None,
    )


def active_view(
    stored: StoredConfiguration,
    *,
    generation: int,
    pending: StoredActivation | None,
    stages: Sequence[StageAvailability],
) -> ActiveConfigurationView:
    """The active version with what waits to replace it and what is degraded."""
    waiting = None
    if pending is not None:
        waiting = PendingActivation(
            id=pending.id,
            state=str(pending.state),
            configuration_id=pending.configuration_id,
            configuration_version=pending.configuration_version,
        )
    return ActiveConfigurationView(
        **_whole(stored),
        generation=generation,
        pending_activation=waiting,
        degraded=[degraded_stage(stage) for stage in stages if stage.is_degraded],
    )


def degraded_stage(stage: StageAvailability) -> DegradedStage:
    """A stage whose selected module does not serve."""
    return DegradedStage(
        stage_id=stage.stage_id,
        selected=stage.selected,
        serves=str(stage.serves),
        module_id=stage.module_id,
        then=stage.then,
        message=stage.message,
        why=why_of_lack(stage.lack),
    )


@lru_cache(maxsize=2048)
def summary_line(stored: domain.ConfigurationSummary) -> bytes:
    """One line of the history as JSON; it stays the same until the version's status changes."""
    return ConfigurationSummary(**_summary(stored)).model_dump_json().encode()


def _summary(stored: domain.ConfigurationSummary) -> dict[str, Any]:
    return {
        "id": stored.id,
        "version": stored.version,
        "label": stored.label,
        "status": stored.status,
        "digest": stored.digest,
        "lock_digest": stored.lock_digest,
        "base_id": stored.base_id,
        "message": stored.message,
        "created_by": stored.created_by,
        "created_at": time_of(stored.created_at),
        "activated_at": time_of(stored.activated_at),
        "left_at": time_of(stored.left_at),
    }


def _whole(stored: StoredConfiguration) -> dict[str, Any]:
    """Plain values: built all at once, the parts of a view cost two thirds of what they cost one by one."""
    return {
        **_summary(stored),
        **stored.content.as_json(),
        "pipeline": stored.pipeline,
        "module_lock": {name: entry.as_json() for name, entry in sorted(stored.lock.items())},
        "findings": stored.findings,
    }


def activation_view(
    stored: StoredActivation,
    *,
    runs_remaining: int | None = None,
    runs_held: int | None = None,
    blocking: Sequence[Any] = (),
    why: Mapping[str, Any] | None = None,
) -> ActivationView:
    """An activation; while it is pending with what it waits for."""
    return ActivationView(
        id=stored.id,
        kind=stored.kind,
        state=stored.state,
        mode=stored.mode,
        configuration_id=stored.configuration_id,
        configuration_version=stored.configuration_version,
        from_id=stored.from_id,
        from_version=stored.from_version,
        max_wait_s=stored.max_wait_s,
        on_expiry=stored.on_expiry,
        accept_degraded=bool(stored.options.get("accept_degraded", False)),
        switch_now=stored.switch_now,
        actor=stored.actor,
        message=stored.message,
        requested_at=time_of(stored.requested_at),
        warming_at=time_of(stored.warming_at),
        draining_at=time_of(stored.draining_at),
        ended_at=time_of(stored.ended_at),
        is_pending=stored.is_pending,
        runs_remaining=runs_remaining,
        runs_held=runs_held,
        blocking=[_blocking(run) for run in blocking],
        acknowledgements=[_acknowledgement(item) for item in stored.acknowledgements],
        why=WhyView.of(why or stored.why),
    )


def _blocking(run: Any) -> BlockingRunView:
    return BlockingRunView(
        id=run.id,
        document_name=run.document_name,
        stage_id=run.stage_id,
        age_s=run.age_s,
        configuration_version=run.configuration_version,
    )


def _acknowledgement(item: Mapping[str, Any]) -> AcknowledgementView:
    return AcknowledgementView(
        worker_id=str(item["worker_id"]),
        answer=str(item["answer"]),
        why=WhyView.of(item.get("why")),
        answered_at=time_of(item.get("answered_at")),
    )
