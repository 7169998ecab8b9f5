"""Remembers about which stages, and about which modules with which settings, nothing was to be said.

Most of a version is its base's. Only what follows from content and descriptions alone is remembered. What may change
without them, secrets on this machine, what the code of modules refuses, what workers saw, is looked at each time.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from switchgear.core.configuration_validation.availability import check_availability, check_deprecation
from switchgear.core.configuration_validation.contracts import check_contract
from switchgear.core.configuration_validation.findings import Collector, Purpose, TooManyFindings, ValidationOptions
from switchgear.core.configuration_validation.identity_cache import IdentityCache
from switchgear.core.configuration_validation.settings import check_settings, secrets_in
from switchgear.core.configuration_validation.structure import Structure, Use
from switchgear.domain.configuration import Content, FallbackPolicy, FallbackStep, Selection
from switchgear.domain.stage import ModuleDescription, Snapshot, StageDescription

#: Settings that anybody may send are kept with an answer, 64 KiB at most: enough for the versions in use, and no more.
_sound: Final[IdentityCache[bool]] = IdentityCache(512)


#: The same of stages.
_quiet: Final[IdentityCache[bool]] = IdentityCache(512)
#: Most settings are empty, and each request brings new empty ones.
_EMPTY: Final[dict[str, Any]] = {}


def quiet_stages(content: Content, snapshot: Snapshot) -> frozenset[str]:
    """Return ids of stages whose selection and policy have no findings, whatever they are validated for."""
    selections = {item.stage_id: item for item in content.selections}
    policies = {item.stage_id: item for item in content.policies}
    if (
        snapshot.mistakes
        or snapshot.probes
        or (len(selections), len(policies)) != (len(content.selections), len(content.policies))
    ):
        return frozenset()
    return frozenset(
        stage.id
        for stage in snapshot.pipeline.stages
        if stage.id in selections and _is_quiet(stage, selections[stage.id], policies.get(stage.id), snapshot)
    )


def _is_quiet(stage: StageDescription, selection: Selection, policy: FallbackPolicy | None, snapshot: Snapshot) -> bool:
    named: list[Selection | FallbackStep] = [selection, *(policy.chain if policy else ())]
    modules = [snapshot.modules.get(item.module_id) for item in named]

    def says_nothing() -> bool:
        for item, module in zip(named, modules, strict=True):
            if module is None or any(secrets_in(item.settings, module.secret_pointers)):
                return False
        found = Collector(Purpose.CREATE, ValidationOptions())
        part = Content((selection,), (policy,) if policy else ())
        with suppress(TooManyFindings):
            check_uses(Structure(part, snapshot, found).check_part(), part, None, snapshot, found)
        return not found.found

    return _quiet.get(stage, selection, policy, *modules, make=says_nothing)


def check_uses(
    uses: Iterable[Use], content: Content, active: Content | None, snapshot: Snapshot, to: Collector
) -> None:
    """Report what is wrong with modules that *content* names, with their settings, and what cannot be used now."""
    for use in uses:
        module = snapshot.modules[use.module_id]
        if module.stage_id:  # a module that could not be described is unavailable, and nothing else is known of it
            _check_use(use, module, snapshot, to)
        check_availability(use, content, active, snapshot, to)


def _check_use(use: Use, module: ModuleDescription, snapshot: Snapshot, to: Collector) -> None:
    settings = use.settings or _EMPTY
    if not snapshot.mistakes and _sound.get(settings, module, use.stage, make=lambda: _is_sound(use, module)):
        return
    check_settings(use, module, to, snapshot.mistakes)
    check_contract(use, module, to)
    check_deprecation(use, module, to)


def _is_sound(use: Use, module: ModuleDescription) -> bool:
    if any(secrets_in(use.settings, module.secret_pointers)):
        return False
    found = Collector(Purpose.CREATE, ValidationOptions())
    check_settings(use, module, found, {})
    check_contract(use, module, found)
    check_deprecation(use, module, found)
    return not found.found
