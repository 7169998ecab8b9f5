"""Tries follow the limits, pauses grow, and no try goes on beyond budget and deadline. DESIGN 5."""

import asyncio
import time

import pytest

from factories.modules import FakePools
from factories.stage_runner import Bench, configuration, failed, seen, value
from switchgear.domain.errors import Code
from switchgear.domain.run import AttemptResult, Outcome
from switchgear.ingestion.module_pool import Call
from switchgear.ingestion.stage_runner import StageEndKind

pytestmark = pytest.mark.anyio


async def test_retries_follow_the_limits_with_growing_pauses() -> None:
    bench = Bench(FakePools(a=[failed(Outcome.ERROR), failed(Outcome.CRASH), value()]))

    end = await bench.run(configuration(limits={"retries": 2}))

    assert seen(end) == [("a", 1, "error"), ("a", 2, "crash"), ("a", 3, "succeeded")]
    assert bench.slept == [0.2, 0.4]
    assert not end.degraded


async def test_a_retryable_error_is_tried_twice_more_without_any_limit_set() -> None:
    busy = failed(Outcome.ERROR, "Retryable", retryable=True, after_s=0.5)
    bench = Bench(FakePools(a=[busy, busy, busy], b=[value()]))

    end = await bench.run(configuration({"module_id": "b", "on": ["error"]}))

    assert [item[1] for item in seen(end)] == [1, 2, 3, 1]
    assert bench.slept == [0.5, 0.5]


async def test_a_longer_pause_gives_the_run_back() -> None:
    bench = Bench(FakePools(a=[failed(Outcome.ERROR, "Retryable", retryable=True, after_s=60.0)]))

    end = await bench.run(configuration({"module_id": "b", "on": ["error"]}))

    assert (end.kind, end.back_off_s) == (StageEndKind.BACK_OFF, 60.0)
    assert end.why is not None
    assert end.why.code is Code.WAITING_RETRY_BACKOFF
    assert bench.slept == []


async def test_tries_before_a_longer_pause_count() -> None:
    later = failed(Outcome.ERROR, "Retryable", retryable=True, after_s=60.0)
    bench = Bench(FakePools(a=[later], b=[value()]))

    end = await bench.run(configuration({"module_id": "b", "on": ["error"]}), tries_before={0: 2})

    assert seen(end) == [("a", 3, "error"), ("b", 1, "succeeded")]


async def test_an_effect_that_is_perhaps_done_is_tried_once_more_by_the_same_module_with_the_same_key() -> None:
    held = configuration({"module_id": "b", "on": ["timeout"]})
    done = Bench(FakePools(a=[failed(Outcome.TIMEOUT), value()]))
    not_done = Bench(FakePools(a=[failed(Outcome.TIMEOUT), failed(Outcome.TIMEOUT)], b=[value()]))

    first = await done.run(held, effects="external", delivery_base="base")
    second = await not_done.run(held, effects="external", delivery_base="base")

    assert seen(first) == [("a", 1, "timeout"), ("a", 2, "succeeded")]
    assert seen(second) == [("a", 1, "timeout"), ("a", 2, "timeout"), ("b", 1, "succeeded")]
    assert {call.delivery_base for _, call in not_done.pools.calls} == {"base"}


async def test_without_effects_a_timeout_goes_to_the_chain_at_once() -> None:
    bench = Bench(FakePools(a=[failed(Outcome.TIMEOUT)], b=[value()]))

    assert seen(await bench.run(configuration({"module_id": "b", "on": ["timeout"]})))[1] == ("b", 1, "succeeded")


async def test_no_attempt_gets_more_time_than_budget_and_deadline_leave() -> None:
    bench = Bench(FakePools(a=[value(), value()]))

    await bench.run(configuration(budget_s=7))
    await bench.run(configuration(), deadline=time.monotonic() + 3)

    assert 6 < bench.pools.calls[0][1].timeout_s <= 7
    assert 2 < bench.pools.calls[1][1].timeout_s <= 3


async def test_a_used_up_budget_ends_the_stage() -> None:
    async def slow(call: Call) -> AttemptResult:
        await asyncio.sleep(0.02)
        return failed(Outcome.ERROR)

    bench = Bench(FakePools(a=[slow]))

    end = await bench.run(configuration({"module_id": "b", "on": ["error"]}, budget_s=0.01))

    assert end.kind is StageEndKind.FAIL
    assert end.why is not None
    assert end.why.code is Code.FAILED_BUDGET


async def test_the_runs_deadline_ends_it_whatever_the_policy_says() -> None:
    async def slow(call: Call) -> AttemptResult:
        await asyncio.sleep(0.02)
        return failed(Outcome.TIMEOUT)

    bench = Bench(FakePools(a=[slow]))
    held = configuration({"module_id": "b", "on": ["timeout"]}, then="park")

    end = await bench.run(held, deadline=time.monotonic() + 0.01)

    assert end.kind is StageEndKind.FAIL
    assert end.why is not None
    assert end.why.code is Code.FAILED_DEADLINE
