"""A module that is not called leaves the run to its fallback, or on hold. RELIABILITY 3 (row 18)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from factories.plugin import change_code
from factories.works import FAULTS, ON_SQLITE, Plugged, Works, chain
from switchgear.domain.breaker import MINIMUM_CALLS
from switchgear.domain.run import RunStatus
from switchgear.ingestion.plan import Plans

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="module processes are held by Linux's means"),
]


@ON_SQLITE
async def test_a_selected_module_that_lacks_a_program_is_served_by_its_fallback(works: Works) -> None:
    works.configure(chain(), upper="upper-nobinary")

    run_id, end = await works.ingest()

    assert (end.status, end.degraded) == (RunStatus.SUCCEEDED, True)
    first = (await works.room.repository.attempts(run_id))[1]
    assert (first.stage_id, str(first.outcome), first.detail) == ("upper", "unavailable", "module.missing_binary")
    assert "apt-get install switchgear-no-such-binary" in first.message


@ON_SQLITE
async def test_without_a_fallback_an_unavailable_module_parks(works: Works) -> None:
    works.configure(upper="upper-nobinary")

    _, end = await works.ingest()

    assert end.why is not None
    assert (end.status, end.why.code) == (RunStatus.PARKED, "parked.nothing_available")


@ON_SQLITE
async def test_a_disabled_module_is_not_called(works: Works) -> None:
    works.configure(chain(), settings={"mode": "ok"})
    works.registry.set_enabled("upper-faulty", False)

    run_id, end = await works.ingest()

    assert end.degraded
    assert (await works.upper(run_id))[0] == ("upper-faulty", "unavailable", "module.disabled")


@ON_SQLITE
async def test_code_that_changed_under_a_held_version_is_not_run(
    works: Works, plugged: Plugged, tmp_path: Path
) -> None:
    works.configure(chain(), upper="upper-text")
    run_id = await works.submit("one")
    code = plugged.site / "switchgear_tiny" / "upper_text" / "__init__.py"
    before = code.read_text()
    try:
        change_code(plugged.site)
        await works.registry.rescan()
        end = await works.carry()
    finally:
        code.write_text(before)

    assert (end.status, end.degraded) == (RunStatus.SUCCEEDED, True)
    assert (await works.upper(run_id))[0] == ("upper-text", "unavailable", "module.version_changed")


@ON_SQLITE
async def test_warming_makes_the_selection_ready_or_its_fallback(works: Works) -> None:
    covered = works.configure(chain(), settings={"open": "raise"})
    assert await works.plans.warm(covered) is None
    warm = {pool["module"] for pool in works.pools.describe() if pool["workers"]}
    assert "upper-other" in warm

    alone = works.configure(settings={"open": "raise", "seconds": 0.1})
    works.plans = Plans(
        pipeline=works.plans.pipeline, find=works._find, registry=works.registry, pools=works.pools, allow_inline=True
    )
    why = await works.plans.warm(alone)
    assert why is not None
    assert why.code == "activation.worker_refused"
    assert "upper-faulty" in why.summary


async def test_a_module_that_fails_every_time_is_not_called_any_more_and_its_fallback_serves_at_once(
    works: Works,
) -> None:
    works.configure(chain(on=[*FAULTS, "breaker_open"]), settings={"mode": "raise"})
    failing = [await works.ingest(f"document {number}") for number in range(MINIMUM_CALLS)]
    assert {(await works.upper(run_id))[0][1] for run_id, _ in failing} == {"error"}

    run_id, end = await works.ingest("one more")

    assert (end.status, end.degraded) == (RunStatus.SUCCEEDED, True)
    assert await works.upper(run_id) == [
        ("upper-faulty", "breaker_open", "module.breaker_open"),
        ("upper-other", "succeeded", ""),
    ]
    skipped = next(item for item in await works.room.repository.attempts(run_id) if item.outcome == "breaker_open")
    assert skipped.duration_us == 0
    assert f"{MINIMUM_CALLS} of its last {MINIMUM_CALLS} calls failed" in skipped.message
    output = next(item for item in await works.room.repository.outputs(run_id) if item.stage_id == "upper")
    assert output.why is not None
    assert output.why["code"] == "fallback.breaker_open"


@ON_SQLITE
async def test_without_a_fallback_runs_wait_on_hold_while_the_breaker_is_open(works: Works) -> None:
    works.configure({"stage_id": "upper", "chain": [], "then": None}, settings={"mode": "raise"})
    for number in range(MINIMUM_CALLS):
        assert (await works.ingest(f"document {number}"))[1].status is RunStatus.FAILED

    _, end = await works.ingest("one more")

    assert end.status is RunStatus.PARKED
    assert end.why is not None
    assert end.why.code == "parked.nothing_available"
    assert "switchgear modules breaker upper-faulty closed -m WHY" in [action.cli for action in end.why.next_actions]
