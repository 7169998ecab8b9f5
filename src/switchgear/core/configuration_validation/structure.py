"""What can be said without knowing a module's code: stages, modules, chains, triggers, bounds. Source: DESIGN 4."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from switchgear.core.configuration_validation.findings import Collector, Finding, Kind, Purpose, listed, pointer
from switchgear.domain.configuration import (
    MAX_SELECTIONS,
    MAX_SETTINGS_BYTES,
    Content,
    FallbackPolicy,
    FallbackStep,
    Selection,
    Terminal,
    canonical_json,
)
from switchgear.domain.errors import Code
from switchgear.domain.fallback import TRIGGERS
from switchgear.domain.run import Outcome
from switchgear.domain.stage import ModuleDescription, Snapshot, StageDescription
from switchgear.domain.wanted_values import did_you_mean, wanted_of
from switchgear.sdk.pipeline import StageLimits

MAX_CHAIN: Final = 20
MAX_BUDGET_S: Final = 86_400.0
_TRIGGERS: Final = frozenset(map(str, TRIGGERS))


@dataclass(frozen=True, slots=True)
class Use:
    """A module that content names for a stage, where it stands, and its settings. `step` is None for the selection."""

    stage: StageDescription
    module_id: str
    settings: Mapping[str, Any]
    pointer: str
    step: FallbackStep | None = None


@dataclass(frozen=True, slots=True)
class Structure:
    """Checks the shape of *content*, and lists the uses of modules that further checks look at.

    Attributes:
        content: Selections and policies.
        snapshot: What is installed.
        collector: Where findings go.
        distributions: Module id -> distribution, for modules that were installed once.
        skipped: Stages whose selection and policy are not looked at.
    """

    content: Content
    snapshot: Snapshot
    collector: Collector
    distributions: Mapping[str, str] = field(default_factory=dict)
    skipped: Collection[str] = frozenset()

    def check(self) -> list[Use]:
        """Report findings; return the uses whose stage and module are known and belong together."""
        if not self._is_bounded():
            return []
        stages = {stage.id: stage for stage in self.snapshot.pipeline.stages}
        selected = list(self._selections(stages))
        self._missing(stages)
        return [*selected, *self._policies(stages)]

    def check_part(self) -> list[Use]:
        """As `check`, of a part of a version: other stages may be missing."""
        stages = {stage.id: stage for stage in self.snapshot.pipeline.stages}
        return [*self._selections(stages), *self._policies(stages)]

    def _is_bounded(self) -> bool:
        for name, items in (("selections", self.content.selections), ("fallback_policies", self.content.policies)):
            if len(items) > MAX_SELECTIONS:
                self._content(
                    Code.REQUEST_TOO_LARGE, pointer(name), None, f"There are more than {MAX_SELECTIONS} {name}."
                )
                return False
        return True

    # --- selections ---

    def _selections(self, stages: Mapping[str, StageDescription]) -> Iterator[Use]:
        seen: set[str] = set()
        for index, selection in enumerate(self.content.selections):
            place = f"/selections/{index}"
            stage = self._stage(selection.stage_id, place, stages)
            if selection.stage_id in seen:
                message = f"{self._named_stage(stage)} is selected twice; a stage has one module."
                self._content(Code.SELECTION_DUPLICATE, place + "/stage_id", stage, message, "Leave one of them out.")
            seen.add(selection.stage_id)
            if selection.stage_id in self.skipped:
                continue
            self._limits(selection, place, stage)
            use = self._use(stage, selection.module_id, selection.settings, place)
            if use is not None:
                yield use

    def _missing(self, stages: Mapping[str, StageDescription]) -> None:
        selected = {selection.stage_id for selection in self.content.selections}
        for stage in stages.values():
            if stage.required and stage.id not in selected:
                candidates = [m.id for m in self.snapshot.modules.values() if m.stage_id == stage.id]
                message = f"Stage {stage.id} is required and no module is selected for it."
                hint = f"Select one of: {listed(candidates)}."
                self._content(Code.SELECTION_MISSING_STAGE, "/selections", stage, message, hint)

    def _limits(self, selection: Selection, place: str, stage: StageDescription | None) -> None:
        if not selection.limits:
            return
        defaults = dict(stage.limits) if stage is not None else {}
        known = StageLimits.model_fields
        for name in selection.limits:
            if name not in known:
                self._content(
                    Code.SELECTION_BAD_SETTINGS,
                    place + "/limits",
                    stage,
                    f"There is a limit that does not exist.{_meant(name, known)}",
                    f"Limits are: {listed(known)}.",
                )
        mine = {name: value for name, value in selection.limits.items() if name in known}
        try:
            StageLimits.model_validate({**defaults, **mine}, strict=True)
        except ValidationError as error:
            for item in error.errors(include_input=False, include_url=False):
                name = str(item["loc"][0]) if item["loc"] else ""
                self._content(
                    Code.SELECTION_BAD_SETTINGS,
                    place + pointer("limits", name),
                    stage,
                    f"Limit {name} {wanted_of(item['type'], item.get('ctx')) or 'does not fit'}.",
                    StageLimits.model_fields[name].description if name in known else None,
                )

    # --- policies ---

    def _policies(self, stages: Mapping[str, StageDescription]) -> Iterator[Use]:
        seen: set[str] = set()
        for index, policy in enumerate(self.content.policies):
            place = f"/fallback_policies/{index}"
            stage = self._stage(policy.stage_id, place, stages)
            if policy.stage_id in seen:
                message = f"{self._named_stage(stage)} has two fallback policies."
                self._content(Code.SELECTION_DUPLICATE, place + "/stage_id", stage, message, "Put them into one.")
            seen.add(policy.stage_id)
            if policy.stage_id in self.skipped:
                continue
            self._ending(policy, place, stage)
            self._chain(policy, place, stage)
            for position, step in enumerate(policy.chain[:MAX_CHAIN]):
                step_place = f"{place}/chain/{position}"
                self._triggers(step, step_place, stage)
                use = self._use(stage, step.module_id, step.settings, step_place, step)
                if use is not None:
                    yield use

    def _ending(self, policy: FallbackPolicy, place: str, stage: StageDescription | None) -> None:
        if stage is not None and stage.required and policy.then is Terminal.SKIP:
            message = f"Stage {stage.id} is required and cannot be skipped."
            self._content(Code.REQUEST_INVALID, place + "/then", stage, message, "Write park or fail.")
        budget = policy.budget_s
        if budget is not None and not (math.isfinite(budget) and 0 < budget <= MAX_BUDGET_S):
            message = f"A stage's budget is more than 0 and at most {MAX_BUDGET_S:g} seconds."
            self._content(Code.REQUEST_INVALID, place + "/budget_s", stage, message)
        if stage is not None and not stage.required and self.content.selection(stage.id) is None:
            message = f"Stage {stage.id} has a fallback policy and no selected module, so the policy would do nothing."
            hint = "Select a module for the stage, or leave its policy out."
            self._content(Code.REQUEST_INVALID, place, stage, message, hint)

    def _chain(self, policy: FallbackPolicy, place: str, stage: StageDescription | None) -> None:
        if len(policy.chain) > MAX_CHAIN:
            message = f"A chain has at most {MAX_CHAIN} modules."
            self._content(Code.REQUEST_TOO_LARGE, place + "/chain", stage, message)
        selection = self.content.selection(policy.stage_id)
        path = [selection.module_id] if selection is not None else []
        for position, step in enumerate(policy.chain[:MAX_CHAIN]):
            if step.module_id in path:
                step_place = place + pointer("chain", position, "module_id")
                shown = " -> ".join(
                    self._shown_module(name) for name in (*path[path.index(step.module_id) :], step.module_id)
                )
                if selection is not None and step.module_id == selection.module_id:
                    message = f"The chain comes back to the selected module: {shown}."
                    self._content(Code.POLICY_CYCLE, step_place, stage, message, "A module is tried once per stage.")
                else:
                    message = f"The chain names a module twice: {shown}."
                    hint = "A module is tried once per stage."
                    self._content(Code.POLICY_REPEATED_MODULE, step_place, stage, message, hint)
            path.append(step.module_id)

    def _triggers(self, step: FallbackStep, place: str, stage: StageDescription | None) -> None:
        for position, name in enumerate(step.on):
            if name not in _TRIGGERS:
                message = f"There is no such trigger.{_meant(name, _TRIGGERS)}"
                hint = f"Triggers are: {listed(_TRIGGERS)}."
                self._content(Code.REQUEST_INVALID, place + pointer("on", position), stage, message, hint)
        if not step.on:
            message = "Without a trigger this module would never be tried."
            self._content(Code.REQUEST_INVALID, place + "/on", stage, message, f"Triggers are: {listed(_TRIGGERS)}.")
        self._threshold(step, place, stage)

    def _threshold(self, step: FallbackStep, place: str, stage: StageDescription | None) -> None:
        wants = str(Outcome.LOW_CONFIDENCE) in step.on
        where = place + "/threshold"
        if wants and step.threshold is None:
            message = "The trigger low_confidence needs a threshold between 0 and 1."
            self._content(Code.REQUEST_INVALID, where, stage, message)
        if not wants and step.threshold is not None:
            message = "A threshold does something only together with the trigger low_confidence."
            self._content(Code.REQUEST_INVALID, where, stage, message)
        if step.threshold is not None and not 0 <= step.threshold <= 1:
            self._content(Code.REQUEST_INVALID, where, stage, "A threshold is between 0 and 1.")
        if wants and stage is not None and stage.contract.confidence is None:
            message = f"Modules of stage {stage.id} give no confidence, so low_confidence would never happen."
            self._content(Code.REQUEST_INVALID, place + "/on", stage, message)

    # --- both ---

    def _stage(self, stage_id: str, place: str, stages: Mapping[str, StageDescription]) -> StageDescription | None:
        stage = stages.get(stage_id)
        if stage is None:
            message = f"Pipeline {self.snapshot.pipeline.name} has no such stage.{_meant(stage_id, stages)}"
            hint = f"Its stages are: {listed(stages)}."
            self._content(Code.SELECTION_UNKNOWN_STAGE, place + "/stage_id", None, message, hint)
        return stage

    def _use(
        self,
        stage: StageDescription | None,
        module_id: str,
        settings: Mapping[str, Any],
        place: str,
        step: FallbackStep | None = None,
    ) -> Use | None:
        if settings and len(canonical_json(dict(settings)).encode()) > MAX_SETTINGS_BYTES:
            message = f"The settings of one module take at most {MAX_SETTINGS_BYTES // 1024} KiB."
            self._content(Code.REQUEST_TOO_LARGE, place + "/settings", stage, message)
            return None
        module = self.snapshot.modules.get(module_id)
        if module is None:
            self._unknown_module(stage, module_id, place)
            return None
        if stage is None:
            return None
        if module.stage_id and module.stage_id != stage.id:
            self._wrong_stage(stage, module, place)
            return None
        return Use(stage, module_id, settings, place, step)

    def _unknown_module(self, stage: StageDescription | None, module_id: str, place: str) -> None:
        fitting = [m.id for m in self.snapshot.modules.values() if stage is None or m.stage_id == stage.id]
        hint = f"Installed for this stage: {listed(fitting)}." if stage is not None else None
        distribution = self.distributions.get(module_id)
        if distribution:
            message = f"Module {module_id} was installed once and is not any more."
            hint = f"pip install {distribution}, then: switchgear modules rescan"
        elif self.collector.purpose is not Purpose.CREATE:
            message = f"Module {module_id} is not installed."
        else:
            message = f"No installed module has this id.{_meant(module_id, self.snapshot.modules)}"
        self._content(Code.SELECTION_UNKNOWN_MODULE, place + "/module_id", stage, message, hint)

    def _wrong_stage(self, stage: StageDescription, module: ModuleDescription, place: str) -> None:
        fitting = [m.id for m in self.snapshot.modules.values() if m.stage_id == stage.id]
        message = f"Module {module.id} is for stage {module.stage_id}, not for {stage.id}."
        hint = f"Modules for {stage.id}: {listed(fitting)}."
        self._content(Code.SELECTION_WRONG_STAGE, place + "/module_id", stage, message, hint)

    def _shown_module(self, module_id: str) -> str:
        return module_id if module_id in self.snapshot.modules else "(unknown)"

    def _named_stage(self, stage: StageDescription | None) -> str:
        return f"Stage {stage.id}" if stage is not None else "A stage"

    def _content(
        self, code: Code, place: str, stage: StageDescription | None, message: str, hint: str | None = None
    ) -> None:
        self.collector.add(Kind.CONTENT, Finding(code, place, stage.id if stage is not None else None, message, hint))


def _meant(name: str, known: Iterable[str]) -> str:
    meant = did_you_mean(name, known)
    return f" {meant}" if meant else ""
