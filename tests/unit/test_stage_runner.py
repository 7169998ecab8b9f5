"""One stage of one run: the selection serves or its fallback does, and every other end has its reason. DESIGN 3, 5."""

import asyncio
import time
from typing import Any

import pytest

from factories.modules import FakePools
from factories.stage_runner import ALL, DOCUMENT, Bench, Word, configuration, failed, pipeline, seen, value
from switchgear.domain.errors import Code
from switchgear.domain.run import AttemptResult, Outcome
from switchgear.ingestion.module_pool import Call
from switchgear.ingestion.plan import ExecutionPlan
from switchgear.ingestion.stage_runner import StageCall, StageEndKind

pytestmark = pytest.mark.anyio


async def test_the_selection_serves_when_it_works() -> None:
    bench = Bench(FakePools(a=[value()]))

    end = await bench.run(configuration({"module_id": "b", "on": ALL}))

    assert (end.kind, end.module_id, end.degraded, end.why) == (StageEndKind.OUTPUT, "a", False, None)
    assert end.value is not None
    assert end.value.model == Word(text="HELLO")
    assert seen(end) == [("a", 1, "succeeded")]
    assert (end.attempts[0].module_version, end.attempts[0].code_digest) == ("1.0", "code of a")
    assert end.attempts[0].limits["timeout_s"] == 30


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.TIMEOUT, Outcome.CRASH])
async def test_the_fallback_serves_with_the_reason(outcome: Outcome) -> None:
    bench = Bench(FakePools(a=[failed(outcome, "why")], b=[value()]))

    end = await bench.run(configuration({"module_id": "b", "on": ALL}))

    assert (end.kind, end.module_id, end.degraded) == (StageEndKind.OUTPUT, "b", True)
    assert end.why is not None
    assert end.why.code == f"fallback.{outcome}"
    assert seen(end) == [("a", 1, str(outcome)), ("b", 1, "succeeded")]


async def test_an_unsure_value_is_compared_with_the_fallbacks() -> None:
    held = configuration({"module_id": "b", "on": ["low_confidence"], "threshold": 0.6})

    better = await Bench(FakePools(a=[value(sure=0.3)], b=[value("OTHER", 0.5)])).run(held)
    worse = await Bench(FakePools(a=[value(sure=0.3)], b=[value("OTHER", 0.2)])).run(held)

    assert (better.module_id, better.degraded) == ("b", True)
    assert better.why is not None
    assert better.why.code is Code.FALLBACK_LOW_CONFIDENCE
    assert seen(better)[0] == ("a", 1, "low_confidence")
    assert better.attempts[0].confidence == 0.3
    assert (worse.module_id, worse.degraded, worse.why) == ("a", False, None)


async def test_rules_that_did_not_match_are_recorded_with_the_attempt() -> None:
    bench = Bench(FakePools(a=[failed(Outcome.ERROR)], c=[value()]))

    end = await bench.run(configuration({"module_id": "b", "on": ["timeout"]}, {"module_id": "c", "on": ["error"]}))

    assert [rule["module_id"] for rule in end.attempts[0].rules_not_matched] == ["b"]
    assert end.attempts[1].rules_not_matched == []


async def test_a_question_to_a_person_parks_with_its_facts() -> None:
    asked = AttemptResult(Outcome.SKIPPED, message="Look at the total.", needs_review=True, facts={"total": "12.00"})

    end = await Bench(FakePools(a=[asked])).run(configuration({"module_id": "b", "on": ALL}))

    assert end.kind is StageEndKind.PARK
    assert end.why is not None
    assert (end.why.code, end.why.summary) == (Code.PARKED_REVIEW, "Look at the total.")
    assert end.why.facts["total"] == "12.00"


async def test_a_stage_that_does_not_apply_gives_no_value() -> None:
    end = await Bench(FakePools(a=[AttemptResult(Outcome.NOT_APPLICABLE, message="no words")])).run(configuration())

    assert (end.kind, end.value, end.degraded) == (StageEndKind.NOT_APPLICABLE, None, False)


async def test_an_optional_stage_can_be_skipped_and_that_is_a_degraded_run() -> None:
    bench = Bench(FakePools(a=[failed(Outcome.CRASH)]))

    end = await bench.run(configuration(then="skip"), required=False)

    assert (end.kind, end.degraded) == (StageEndKind.SKIPPED, True)
    assert end.why is not None


async def test_a_missing_document_parks_the_run() -> None:
    end = await Bench(FakePools(a=[FileNotFoundError(2, "No such file")])).run(configuration())

    assert end.kind is StageEndKind.PARK
    assert end.why is not None
    assert end.why.code is Code.PARKED_CORRUPT_ARTIFACT


async def test_a_stopped_attempt_is_recorded_as_cancelled() -> None:
    started = asyncio.Event()

    async def hangs(call: Call) -> AttemptResult:
        started.set()
        await asyncio.sleep(3600)
        raise AssertionError

    attempts: list[Any] = []
    bench = Bench(FakePools(a=[hangs]))
    plan = ExecutionPlan(configuration(), pipeline())
    call = StageCall("run_1", "doc_1", DOCUMENT, {}, time.monotonic() + 900)
    task = asyncio.create_task(bench.runner.run(plan, plan.stages[0], call, attempts))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [(item.module_id, item.outcome) for item in attempts] == [("a", Outcome.CANCELLED)]
