"""Where a finding is: in what was sent, in the base that it was sent with, or in what is stored.

Validation looks at the whole content. A sender who wrote a part of it needs pointers into that part, and words about
the rest; a reader of a stored version needs pointers into the order of storage. Source: INTERFACES 1, 2, T023.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from switchgear.core.configuration_service.content import ordered
from switchgear.core.configuration_validation import Finding, Findings
from switchgear.domain.configuration import (
    Content,
    FallbackPolicy,
    Selection,
    StoredConfiguration,
    canonical_json,
)
from switchgear.domain.errors import Code
from switchgear.domain.stage import PipelineDescription, StageDescription

_PLACE: Final = re.compile(r"/(selections|fallback_policies)/(\d+)(.*)", re.DOTALL)
#: A longer entry is described instead of written out: a problem stays readable.
_LONGEST_ENTRY: Final = 480


def as_sent(
    findings: Findings, whole: Content, sent: Content, base: StoredConfiguration, pipeline: PipelineDescription
) -> Findings:
    """Return findings about *whole* with pointers into *sent*; what *base* brought in points to `/base` and says so.

    Args:
        findings: Of the validation of *whole*.
        whole: `over(base.content, sent)`.
        sent: The part that was sent.
        base: What it was laid over.
        pipeline: Says in which stages an earlier module never stands in for a later one.
    """

    def told(finding: Finding, name: str, index: int, rest: str) -> Finding:
        if index < len(_items(sent, name)):
            return finding
        policy = _items(whole, name)[index]
        if finding.code is Code.POLICY_CYCLE and isinstance(policy, FallbackPolicy):
            cycle = _closed_by(finding, policy, sent, base, pipeline.stage(policy.stage_id))
            if cycle is not None:
                return cycle
        there = f"/{name}/{_position(base.content, name, policy)}{rest}"
        message = f"{finding.message} It comes from the base {base.label}, at {there} there."
        return replace(finding, pointer="/base", message=message)

    return _each(findings, told)


def as_stored(findings: Findings, whole: Content) -> Findings:
    """Return findings about *whole* with pointers into `ordered(whole)`, which is what is stored and shown."""
    kept = ordered(whole)

    def moved(finding: Finding, name: str, index: int, rest: str) -> Finding:
        return replace(finding, pointer=f"/{name}/{_position(kept, name, _items(whole, name)[index])}{rest}")

    return _each(findings, moved)


def _each(findings: Findings, change: Callable[[Finding, str, int, str], Finding]) -> Findings:
    def changed(finding: Finding) -> Finding:
        place = _PLACE.fullmatch(finding.pointer)
        return finding if place is None else change(finding, place[1], int(place[2]), place[3])

    return Findings(
        tuple(changed(finding) for finding in findings.errors),
        tuple(changed(finding) for finding in findings.warnings),
    )


def _items(content: Content, name: str) -> Sequence[Selection | FallbackPolicy]:
    return content.selections if name == "selections" else content.policies


def _position(content: Content, name: str, item: Selection | FallbackPolicy) -> int:
    return next(index for index, other in enumerate(_items(content, name)) if other is item)


def _closed_by(
    finding: Finding,
    policy: FallbackPolicy,
    sent: Content,
    base: StoredConfiguration,
    stage: StageDescription | None,
) -> Finding | None:
    """The same cycle where it was closed: at the selection that was sent; None when the base has it already."""
    before, now = base.content.selection(policy.stage_id), sent.selection(policy.stage_id)
    if before is None or now is None or before.module_id == now.module_id:
        return None
    if stage is not None and stage.chain_is_ordered:
        advice, change = "An earlier module never stands in for a later one", f"only what follows {now.module_id}"
        mended = _cut(policy, now)
    else:
        advice, change = "Let the two change places", f"{before.module_id} in place of {now.module_id}"
        mended = _exchanged(policy, before, now)
    entry = canonical_json(mended.as_json())
    if len(entry) > _LONGEST_ENTRY:
        entry = f"that of the base for stage {policy.stage_id}, with {change}."
    return replace(
        finding,
        pointer=f"/selections/{sent.selections.index(now)}/module_id",
        message=f"{finding.message} The chain is that of the base {base.label}.",
        hint=f"{advice}: send in fallback_policies also {entry}",
    )


def _exchanged(policy: FallbackPolicy, before: Selection, now: Selection) -> FallbackPolicy:
    """The policy with the module that was selected *before* in the place of the one that is *now*."""
    steps = (
        replace(step, module_id=before.module_id, settings=before.settings) if step.module_id == now.module_id else step
        for step in policy.chain
    )
    return replace(policy, chain=tuple(steps))


def _cut(policy: FallbackPolicy, now: Selection) -> FallbackPolicy:
    """The policy with the steps that follow the module that is selected *now*."""
    place = [step.module_id for step in policy.chain].index(now.module_id)
    return replace(policy, chain=policy.chain[place + 1 :])
