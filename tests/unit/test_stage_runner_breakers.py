"""A module whose breaker is open is not called, and every candidate's end is told to the breakers once."""

import pytest

from factories.modules import FakePools
from factories.stage_runner import ALL, Bench, configuration, failed, seen, value
from switchgear.domain.errors import Code
from switchgear.domain.run import Outcome
from switchgear.domain.stage import Lack
from switchgear.ingestion.stage_runner import StageEndKind

pytestmark = pytest.mark.anyio

OPEN = Lack(Code.MODULE_BREAKER_OPEN, "The breaker of a is open for another 20 s.", "close it")


async def test_a_module_whose_breaker_is_open_is_not_called_and_its_fallback_serves() -> None:
    bench = Bench(FakePools(b=[value()]))
    bench.breakers.lacks["a"] = OPEN

    end = await bench.run(configuration({"module_id": "b", "on": ["breaker_open"]}))

    assert (end.module_id, end.degraded) == ("b", True)
    assert bench.pools.called() == ["b"]
    assert seen(end) == [("a", 1, "breaker_open"), ("b", 1, "succeeded")]
    assert (end.attempts[0].detail, end.attempts[0].duration_us) == ("module.breaker_open", 0)
    assert end.why is not None
    assert end.why.code is Code.FALLBACK_BREAKER_OPEN
    assert end.why.summary.endswith("The breaker of a is open for another 20 s.")


async def test_a_chain_that_does_not_name_an_open_breaker_is_not_used_and_the_run_waits() -> None:
    bench = Bench(FakePools())
    bench.breakers.lacks["a"] = OPEN

    end = await bench.run(configuration({"module_id": "b", "on": ["error"]}))

    assert end.kind is StageEndKind.PARK  # nothing was tried
    assert end.why is not None
    assert end.why.code is Code.PARKED_NOTHING_AVAILABLE


async def test_what_came_of_each_candidate_is_told_to_the_breakers_once() -> None:
    bench = Bench(FakePools(a=[failed(Outcome.ERROR), failed(Outcome.CRASH)], b=[value()]))

    await bench.run(configuration({"module_id": "b", "on": ALL}, limits={"retries": 1}))

    assert bench.breakers.recorded == [("a", False, Outcome.CRASH), ("b", False, Outcome.SUCCEEDED)]


async def test_what_breaks_the_contract_counts_as_a_failure_of_the_module() -> None:
    bench = Bench(FakePools(a=[value("quiet")], b=[value()]))

    await bench.run(configuration({"module_id": "b", "on": ALL}))

    assert bench.breakers.recorded[0] == ("a", False, Outcome.CONTRACT_VIOLATION)


async def test_a_module_that_asks_for_a_long_pause_has_failed_for_its_breaker() -> None:
    bench = Bench(FakePools(a=[failed(Outcome.ERROR, retryable=True, after_s=60.0)]))
    bench.breakers.probing.add("a")

    end = await bench.run(configuration())

    assert end.kind is StageEndKind.BACK_OFF
    assert bench.breakers.recorded == [("a", True, Outcome.ERROR)]
