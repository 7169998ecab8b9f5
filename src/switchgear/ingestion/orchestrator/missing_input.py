"""Why a required stage has nothing to work on: which stages could have given it, and what each of them said.

Source: T034, INTERFACES 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from switchgear.domain.errors import Code, NextAction, Why
from switchgear.domain.run import Outcome
from switchgear.ingestion.plan import StagePlan

_UNKNOWN: Final = "it did not say why"


@dataclass(slots=True)
class StageAnswer:
    """What became of a stage: who served it, and the reason when it gave no output."""

    outcome: Outcome
    module_id: str | None = None
    reason: str = ""


def no_input(
    stage: StagePlan, missing: Sequence[str], stages: Sequence[StagePlan], answers: Mapping[str, StageAnswer]
) -> Why:
    """The reason of a run that fails because *stage* lacks *missing*: one input, or all of a group.

    Args:
        stage: The required stage.
        missing: Names of inputs; one of them would do.
        stages: The plan's stages in order.
        answers: By stage id, for the stages that are done.
    """
    givers = [each for each in stages if each.stage.contract.output_name in missing]
    told = [_told(giver, answers.get(giver.stage.id)) for giver in givers]
    said = " ".join(f"Stage {item['stage_id']} gave no {item['gives']}: {item['reason']}." for item in told)
    name = stage.stage.id
    summary = f"The run failed: stage {name} has nothing to work on, because {there_is_no(missing)}. {said}".rstrip()
    facts: dict[str, Any] = {"stage_id": name, "missing": list(missing), "stages": told}
    served = [each.stage.id for each in _leading_to(missing, stages) if _module_of(each, answers) is not None]
    if served:
        facts["last_served"] = {"stage_id": served[-1], "module": answers[served[-1]].module_id}
    return Why(Code.FAILED_NO_INPUT, summary, facts)


def there_is_no(names: Sequence[str]) -> str:
    """`there is no a`, or `there is neither a nor b`."""
    return f"there is no {names[0]}" if len(names) == 1 else f"there is neither {' nor '.join(names)}"


def next_actions(why: Why, run_id: str) -> Iterator[NextAction]:
    """Yield what helps: a better document, or another module where one could have given what is missing."""
    yield NextAction("Send a better document", cli="switchgear ingest FILE", method="POST", path="/api/v1/documents")
    stages = why.facts.get("stages", ())
    unselected = next((item["stage_id"] for item in stages if item["outcome"] == "not_selected"), None)
    stage_id = unselected or why.facts.get("last_served", {}).get("stage_id")
    if stage_id is None:
        return
    yield NextAction(
        f"See the modules of {stage_id}",
        "viewer",
        f"switchgear modules list --stage {stage_id}",
        "GET",
        f"/api/v1/modules?stage_id={stage_id}",
    )
    yield NextAction(
        f"Select another module for {stage_id}", cli=f"switchgear config set {stage_id}=MODULE -m WHY --activate"
    )
    yield NextAction(
        "Then retry it under the active configuration",
        cli=f"switchgear runs retry {run_id} --configuration active --from {stage_id}",
        method="POST",
        path=f"/api/v1/runs/{run_id}/retry",
        body={"configuration": "active", "from": stage_id},
    )


def _told(giver: StagePlan, answer: StageAnswer | None) -> dict[str, Any]:
    if answer is not None:
        outcome, reason = str(answer.outcome), answer.reason.rstrip(".") or _UNKNOWN
    elif giver.fallback is None:
        outcome, reason = "not_selected", "the configuration selects no module for it"
    else:
        outcome, reason = "not_reached", "it comes later"
    return {
        "stage_id": giver.stage.id,
        "gives": giver.stage.contract.output_name,
        "outcome": outcome,
        "module": answer.module_id if answer is not None else None,
        "reason": reason,
    }


def _leading_to(names: Sequence[str], stages: Sequence[StagePlan]) -> list[StagePlan]:
    """The stages that give *names* or anything that they are made from, in order."""
    wanted, found = set(names), []
    for each in reversed(stages):
        if each.stage.contract.output_name in wanted:
            wanted.update(each.stage.contract.inputs)
            found.append(each)
    return found[::-1]


def _module_of(stage: StagePlan, answers: Mapping[str, StageAnswer]) -> str | None:
    answer = answers.get(stage.stage.id)
    return answer.module_id if answer is not None else None
