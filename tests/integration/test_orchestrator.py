"""Runs go stage by stage under the version that they hold; only the modules are fakes. T034, RELIABILITY I7, I20."""

from __future__ import annotations

import asyncio

import pytest

from factories.core import version_of
from factories.orchestration import ALL, PIPELINE, READ, Plant, failed, given, version
from switchgear.domain.configuration import content_from_json
from switchgear.domain.errors import Code
from switchgear.domain.run import AttemptResult, Outcome, RunStatus
from switchgear.ingestion.module_pool import Call
from switchgear.sdk import Pipeline, Stage, StageLimits

pytestmark = pytest.mark.anyio


async def test_a_document_goes_through_every_stage_under_the_held_version(plant: Plant) -> None:
    run_id = await plant.submit()

    end = await plant.carry()

    assert (end.status, end.degraded, end.why) == (RunStatus.SUCCEEDED, False, None)
    assert await plant.attempts(run_id) == [
        ("read", "read-a", "succeeded"),
        ("extract", "extract-a", "succeeded"),
        ("deliver", "deliver-a", "succeeded"),
    ]
    stored = await plant.room.repository.attempts(run_id)
    assert {(item.configuration_id, item.configuration_version) for item in stored} == {("cfg_1", 1)}
    assert [item.code_digest for item in stored] == ["code of read-a", "code of extract-a", "code of deliver-a"]
    outputs = await plant.outputs(run_id)
    assert outputs["extract"].value == '{"number":"A1"}'
    assert plant.pools.calls[1][1].inputs["text"].raw == b'{"text":"hello"}'  # type: ignore[union-attr]
    assert 'switchgear_runs_total{result="succeeded"} 1.0' in plant.metric("switchgear_runs_total")


async def test_a_fallback_completes_the_run_and_says_why(plant: Plant) -> None:
    plant.hold(version(1, extract={"chain": [{"module_id": "extract-b", "on": ALL}], "then": "park"}))
    plant.pools.answers["extract-a"][0] = failed(Outcome.CRASH, "signal:SEGV")
    run_id = await plant.submit()

    end = await plant.carry()

    assert (end.status, end.degraded) == (RunStatus.SUCCEEDED, True)
    extract = (await plant.outputs(run_id))["extract"]
    assert (extract.module_id, extract.wanted_module_id, extract.degraded) == ("extract-b", "extract-a", True)
    assert extract.why["code"] == "fallback.crash"
    assert (await plant.room.repository.get(run_id)).degraded
    counted = plant.metric("switchgear_fallbacks_total{")
    assert 'from_module="extract-a"' in counted
    assert 'reason="fallback.crash"' in counted
    assert 'outcome="crash"' in plant.metric("switchgear_stage_attempts_total{")


@pytest.mark.parametrize(("then", "status", "code"), [("park", "parked", "parked"), ("fail", "failed", "failed")])
async def test_without_a_fallback_only_that_run_parks_or_fails(plant: Plant, then: str, status: str, code: str) -> None:
    plant.hold(version(1, extract={"chain": [{"module_id": "extract-b", "on": ALL}], "then": then}))
    bad, good = failed(Outcome.ERROR, "ValueError"), given(number="A2")
    plant.pools.answers["extract-a"].extend([bad, good])
    plant.pools.answers["extract-a"].popleft()
    plant.pools.answers["extract-b"][0] = bad
    first = await plant.submit(b"one")
    second = await plant.submit(b"two")

    ends = [await plant.carry(), await plant.carry()]

    assert [str(end.status) for end in ends] == [status, "succeeded"]
    run = await plant.room.repository.get(first)
    assert run.why is not None
    assert run.why["code"] == f"{code}.chain_exhausted"
    assert f"switchgear runs retry {first}" in [action["cli"] for action in run.why["next_actions"]]
    assert run.stage_id == "extract"
    assert set(await plant.outputs(first)) == {"read"}
    assert (await plant.room.repository.get(second)).status is RunStatus.SUCCEEDED


async def test_selecting_another_module_changes_the_module_that_executes_and_no_other(plant: Plant) -> None:
    await plant.submit(b"one")
    await plant.carry()
    await plant.room.configure(2)
    await plant.room.activate(2)
    other = version(2)
    body = other.content.as_json()
    body["selections"][1]["module_id"] = "extract-b"
    plant.hold(version_of(content_from_json(body), 2))
    assert body["selections"][1]["stage_id"] == "extract"

    run_id = await plant.submit(b"two")
    await plant.carry()

    assert plant.pools.called()[3:] == ["read-a", "extract-b", "deliver-a"]
    assert (await plant.outputs(run_id))["extract"].value == '{"number":"B1"}'


@pytest.mark.parametrize("stage", ["read", "extract"])
async def test_whoever_waits_for_a_run_sees_at_which_stage_it_hangs_before_any_checkpoint(
    plant: Plant, stage: str
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    answer = plant.pools.answers[f"{stage}-a"][0]

    async def hangs(call: Call) -> AttemptResult:
        reached.set()
        await go_on.wait()
        assert isinstance(answer, AttemptResult)
        return answer

    plant.pools.answers[f"{stage}-a"][0] = hangs
    plant.checkpoint_after_ms = 60_000.0
    run_id = await plant.submit()
    claim = await plant.room.held()
    task = asyncio.create_task(plant.orchestrator().execute(claim))
    await reached.wait()

    await plant.room.repository.heartbeat("wrk_1", [claim], 20.0)

    assert [run.stage_id for run in await plant.room.repository.blocking(plant.room.database.narrow, 10)] == [stage]
    assert await plant.outputs(run_id) == {}
    go_on.set()
    assert (await task).status is RunStatus.SUCCEEDED


async def test_the_same_document_and_version_give_the_same_bytes(plant: Plant) -> None:
    first = await plant.submit()
    await plant.carry()
    second = await plant.submit(again=True)
    await plant.carry()

    one, two = await plant.outputs(first), await plant.outputs(second)
    assert {stage: item.value for stage, item in one.items()} == {stage: item.value for stage, item in two.items()}


async def test_a_required_stage_without_a_module_parks(plant: Plant) -> None:
    plant.hold(version(1, stages=("read", "deliver")))
    await plant.submit()

    end = await plant.carry()

    assert end.why is not None
    assert end.why.code is Code.PARKED_NOTHING_AVAILABLE
    assert plant.pools.called() == ["read-a"]


async def test_a_rejected_document_fails_with_the_reason_in_plain_words(plant: Plant) -> None:
    plant.hold(version(1, read={"chain": [{"module_id": "read-b", "on": ALL}], "then": "park"}))
    plant.pools.answers["read-a"][0] = AttemptResult(Outcome.BAD_INPUT, "encrypted", "The document is encrypted.")
    run_id = await plant.submit()

    end = await plant.carry()

    assert end.status is RunStatus.FAILED
    assert end.why is not None
    assert (end.why.code, end.why.summary) == (Code.FAILED_INPUT_REJECTED, "The document is encrypted.")
    assert plant.pools.called() == ["read-a"]
    assert plant.artifacts.path(
        (await plant.room.repository.document((await plant.room.repository.get(run_id)).document_id)).sha256
    ).exists()


async def test_limits_of_the_selection_reach_the_attempt(plant: Plant) -> None:
    stages = (Stage("read", 10, READ, limits=StageLimits(timeout_s=7)), *PIPELINE.stages[1:])
    plant.pipeline = Pipeline("tiny", stages, result="fields")
    run_id = await plant.submit()

    await plant.carry()

    assert plant.pools.calls[0][1].timeout_s == 7
    assert (await plant.room.repository.attempts(run_id))[0].limits["timeout_s"] == 7
