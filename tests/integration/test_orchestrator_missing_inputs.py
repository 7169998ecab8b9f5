"""A stage without its input is left out or fails the run, and the reason leads to the stage that did not give it."""

from __future__ import annotations

from typing import Any

import pytest

from factories.orchestration import EXTRACT, READ, Fields, Plant, Receipt, Text, version
from switchgear.domain.errors import Code
from switchgear.domain.run import AttemptResult, Outcome, RunStatus
from switchgear.sdk import Contract, Pipeline, Stage

pytestmark = pytest.mark.anyio


async def test_a_required_stage_without_input_fails_the_run_and_says_which_stage_did_not_give_it_and_why(
    plant: Plant,
) -> None:
    plant.pools.answers["read-a"][0] = AttemptResult(Outcome.NOT_APPLICABLE, "", "no page has text")
    run_id = await plant.submit()

    end = await plant.carry()

    assert end.status is RunStatus.FAILED
    assert end.why is not None
    assert end.why.code is Code.FAILED_NO_INPUT
    assert end.why.summary == (
        "The run failed: stage extract has nothing to work on, because there is no text. "
        "Stage read gave no text: no page has text."
    )
    assert end.why.facts["missing"] == ["text"]
    assert end.why.facts["stages"] == [
        {
            "stage_id": "read",
            "gives": "text",
            "outcome": "not_applicable",
            "module": "read-a",
            "reason": "no page has text",
        }
    ]
    assert [action.cli for action in end.why.next_actions] == [
        "switchgear ingest FILE",
        "switchgear modules list --stage read",
        "switchgear config set read=MODULE -m WHY --activate",
        f"switchgear runs retry {run_id} --configuration active --from read",
    ]
    assert plant.pools.called() == ["read-a"]
    assert (await plant.outputs(run_id))["read"].outcome is Outcome.NOT_APPLICABLE


async def test_a_retry_without_input_knows_the_reasons_of_the_run_that_it_repeats(plant: Plant) -> None:
    plant.pools.answers["read-a"][0] = AttemptResult(Outcome.NOT_APPLICABLE, "", "no page has text")
    run_id = await plant.submit()
    first = await plant.carry()
    run = await plant.room.repository.get(run_id)
    await plant.room.repository.retry(run, stage_id="extract")
    again = await plant.carry()
    await plant.room.repository.add_run(
        run.document_id, "tok_1", retry_of=run_id, stage_id="extract", copy_from=run_id, copied_stages=["read"]
    )
    repeated = await plant.carry()

    assert first.why is not None
    assert again.why is not None
    assert repeated.why is not None
    assert "no page has text" in first.why.summary
    assert first.why.summary == again.why.summary == repeated.why.summary


async def test_what_is_missing_is_followed_back_to_the_stages_that_could_not_give_it(plant: Plant) -> None:
    def concerns(inputs: Any) -> str | None:
        return "the text is empty" if inputs["text"] is not None else None

    fields = Contract(
        name="fields", version="1.0", inputs={"text": Text}, output_name="fields", output=Fields, applies=concerns
    )
    table = Contract(name="table", version="1.0", inputs={"text": Text}, output_name="table", output=Fields)
    either = Contract(
        name="either",
        version="1.0",
        inputs={"fields": Fields | None, "table": Fields | None},
        any_of=(("fields", "table"),),
        output_name="receipt",
        output=Receipt,
    )
    plant.pipeline = Pipeline(
        "tiny",
        (
            Stage("read", 10, READ),
            Stage("extract", 20, fields),
            Stage("tabulate", 30, table, required=False),
            Stage("deliver", 40, either),
        ),
        result="fields",
    )
    await plant.submit()

    end = await plant.carry()

    assert end.why is not None
    assert end.why.summary == (
        "The run failed: stage deliver has nothing to work on, because there is neither fields nor table. "
        "Stage extract gave no fields: the text is empty. "
        "Stage tabulate gave no table: the configuration selects no module for it."
    )
    assert end.why.facts["last_served"] == {"stage_id": "read", "module": "read-a"}
    assert "switchgear config set tabulate=MODULE -m WHY --activate" in [action.cli for action in end.why.next_actions]


async def test_optional_stages_are_left_out_without_a_call_when_they_do_not_concern_the_document(plant: Plant) -> None:
    def concerns(inputs: Any) -> str | None:
        return "there is no table" if inputs["text"] is not None else None

    scan = Contract(name="s", version="1.0", inputs={"text": Text}, output_name="s", output=Text, applies=concerns)
    needs = Contract(name="n", version="1.0", inputs={"s": Text}, output_name="n", output=Text)
    either = Contract(
        name="e",
        version="1.0",
        inputs={"s": Text | None, "n": Text | None},
        output_name="e",
        output=Text,
        any_of=(("s", "n"),),
    )
    stages = (
        Stage("read", 10, READ),
        Stage("scan", 11, scan, required=False),
        Stage("needs", 12, needs, required=False),
        Stage("either", 13, either, required=False),
        Stage("unselected", 14, either_named("u"), required=False),
        Stage("extract", 20, EXTRACT),
    )
    plant.pipeline = Pipeline("tiny", stages, result="fields")
    plant.hold(version(1, stages=("read", "scan", "needs", "either", "extract")))
    run_id = await plant.submit()

    end = await plant.carry()

    assert end.status is RunStatus.SUCCEEDED
    assert plant.pools.called() == ["read-a", "extract-a"]
    notes = {item.stage_id: item.message for item in await plant.room.repository.attempts(run_id)}
    assert notes["scan"] == "there is no table"
    assert notes["needs"] == "there is no s"
    assert notes["either"] == "there is neither s nor n"
    assert "unselected" not in notes
    assert [item.stage_id for item in await plant.room.repository.attempts(run_id)] == [
        *("read", "scan", "needs", "either", "extract"),
    ]


def either_named(name: str) -> Contract:
    return Contract(name=name, version="1.0", inputs={"text": Text}, output_name=name, output=Text)
