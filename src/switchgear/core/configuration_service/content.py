"""Content before it is stored: partial content over its base, and numbers as every database gives them back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from switchgear.domain.configuration import Content


def over(base: Content, change: Content) -> Content:
    """Return *base* with the selections and policies of *change*, stage by stage.

    Those of *change* come first and in their order, so that a finding's pointer leads into what was sent.
    """
    selected = {item.stage_id for item in change.selections}
    decided = {item.stage_id for item in change.policies}
    return Content(
        (*change.selections, *(item for item in base.selections if item.stage_id not in selected)),
        (*change.policies, *(item for item in base.policies if item.stage_id not in decided)),
    )


def portable(content: Content) -> Content:
    """Return the same content in the one form that survives storage, so that its digest can be computed again."""
    return Content(
        tuple(
            replace(item, settings=_portable(item.settings), limits=_portable(item.limits))
            for item in content.selections
        ),
        tuple(
            replace(
                policy,
                chain=tuple(
                    replace(
                        step,
                        on=tuple(sorted(set(step.on))),
                        settings=_portable(step.settings),
                        threshold=None if step.threshold is None else float(step.threshold),
                    )
                    for step in policy.chain
                ),
                budget_s=None if policy.budget_s is None else float(policy.budget_s),
            )
            for policy in content.policies
        ),
    )


def ordered(content: Content) -> Content:
    """Return the same content in the order of storage: by stage."""
    return Content(
        tuple(sorted(content.selections, key=lambda item: item.stage_id)),
        tuple(sorted(content.policies, key=lambda item: item.stage_id)),
    )


def _portable(value: Any) -> Any:
    """Write 1.0 as 1: PostgreSQL and SQLite do not keep the difference in all cases."""
    if isinstance(value, Mapping):
        return {str(key): _portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(item) for item in value]
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return int(value)
    return value
