"""The check at start: per stage, which module serves, and what happens when none can. Source: T036, DESIGN 4."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from switchgear.domain.configuration import Content, FallbackPolicy, Terminal, sha256_of
from switchgear.domain.errors import Code
from switchgear.domain.run import Outcome
from switchgear.domain.stage import Lack, Snapshot, StageDescription


class Serves(StrEnum):
    """Who serves a stage at start."""

    SELECTED = "selected"
    FALLBACK = "fallback"  #: degraded
    NOBODY = "nobody"  #: `then` says what happens to runs
    NOT_SELECTED = "not_selected"  #: an optional stage that the configuration leaves out


@dataclass(frozen=True, slots=True)
class StageAvailability:
    """One line of the start-up report.

    Attributes:
        stage_id: The stage.
        selected: Module id of the selection, or None.
        serves: Who serves it.
        module_id: The module that serves, or None.
        lack: Why the selected module does not serve.
        then: What happens to runs that reach the stage when nobody serves.
        message: The same in one sentence, for logs, console and `/status`.
    """

    stage_id: str
    selected: str | None
    serves: Serves
    module_id: str | None
    lack: Lack | None
    then: Terminal | None
    message: str

    @property
    def is_degraded(self) -> bool:
        """Whether a selected module is served by its fallback, or by nobody."""
        return self.serves in (Serves.FALLBACK, Serves.NOBODY)


def startup_report(content: Content, snapshot: Snapshot) -> list[StageAvailability]:
    """Say for every stage of the pipeline, in order, who serves it. Pure.

    Without a usable module the policy's `then` counts; without one `park`, since nothing could be tried.
    """
    return [_stage(stage, content, snapshot) for stage in snapshot.pipeline.stages]


def _stage(stage: StageDescription, content: Content, snapshot: Snapshot) -> StageAvailability:
    selection = content.selection(stage.id)
    policy = content.policy(stage.id)
    if selection is None and not stage.required:
        message = f"Stage {stage.id} is optional and has no module."
        return StageAvailability(stage.id, None, Serves.NOT_SELECTED, None, None, None, message)
    if selection is None:
        lack = Lack(Code.SELECTION_MISSING_STAGE, f"The configuration selects no module for stage {stage.id}.")
        return _nobody(stage, None, lack, policy)
    lack_or_none = snapshot.lack_of(selection.module_id, sha256_of(selection.settings))
    if lack_or_none is None:
        message = f"Stage {stage.id}: {selection.module_id}."
        return StageAvailability(
            stage.id, selection.module_id, Serves.SELECTED, selection.module_id, None, None, message
        )
    is_breaker = lack_or_none.code is Code.MODULE_BREAKER_OPEN
    trigger = Outcome.BREAKER_OPEN if is_breaker else Outcome.UNAVAILABLE
    for step in policy.chain:
        if trigger in step.on and snapshot.lack_of(step.module_id, sha256_of(step.settings)) is None:
            message = f"Stage {stage.id}: fallback {step.module_id} serves. {lack_or_none.message}"
            return StageAvailability(
                stage.id, selection.module_id, Serves.FALLBACK, step.module_id, lack_or_none, None, message
            )
    return _nobody(stage, selection.module_id, lack_or_none, policy)


def _nobody(stage: StageDescription, selected: str | None, lack: Lack, policy: FallbackPolicy) -> StageAvailability:
    then = policy.then or Terminal.PARK
    if then is Terminal.SKIP and stage.required:
        then = Terminal.PARK
    verb = {Terminal.PARK: "are put on hold", Terminal.FAIL: "fail", Terminal.SKIP: "go on without it"}[then]
    message = f"Stage {stage.id}: no module can serve; runs that reach it {verb}. {lack.message}"
    return StageAvailability(stage.id, selected, Serves.NOBODY, None, lack, then, message)
