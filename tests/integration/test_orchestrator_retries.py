"""A run that is retried, reviewed or sent to wait goes on where it stopped, and not for ever."""

from __future__ import annotations

import pytest

from factories.orchestration import ALL, Plant, failed, given, version
from switchgear.core.database import Statement
from switchgear.domain.configuration import StoredConfiguration
from switchgear.domain.errors import Code, NotFound
from switchgear.domain.run import AttemptResult, Outcome, RunStatus
from switchgear.ingestion.module_pool import Call

pytestmark = pytest.mark.anyio


async def test_a_retry_goes_on_where_it_stopped_under_the_same_version(plant: Plant) -> None:
    plant.pools.answers["extract-a"].appendleft(failed(Outcome.ERROR))
    run_id = await plant.submit()
    assert (await plant.carry()).status is RunStatus.FAILED
    await plant.room.configure(2)
    await plant.room.activate(2)
    plant.hold(version(2, suffix="b"))

    await plant.room.repository.retry(await plant.room.repository.get(run_id), stage_id=None)
    end = await plant.carry()

    assert end.status is RunStatus.SUCCEEDED
    assert plant.pools.called() == ["read-a", "extract-a", "extract-a", "deliver-a"]
    assert (await plant.room.repository.get(run_id)).configuration_version == 1


async def test_a_review_goes_on_at_that_stage_with_the_decision(plant: Plant) -> None:
    async def asks(call: Call) -> AttemptResult:
        if call.decision is None:
            facts = {"total": "12.00"}
            return AttemptResult(Outcome.SKIPPED, message="Look at it.", needs_review=True, facts=facts)
        told = call.decision.facts["total"]
        return given(number=f"{call.decision.action} by {call.decision.actor}, told {told}")

    plant.pools.answers["extract-a"][0] = asks
    run_id = await plant.submit()
    parked = await plant.carry()
    run = await plant.room.repository.get(run_id)
    assert parked.why is not None
    assert (run.status, parked.why.code) == (RunStatus.PARKED, Code.PARKED_REVIEW)
    assert run.why is not None
    assert run.why["facts"]["total"] == "12.00"
    assert run.why["next_actions"][0]["cli"] == f"switchgear documents release {run.document_id} -m WHY"

    said = {"action": "release", "actor": "ada", "message": "fine", "at": 1_700_000_000_000_000}
    await plant.room.repository.decide(run, {**said, "facts": run.why["facts"]})
    end = await plant.carry()

    assert end.status is RunStatus.SUCCEEDED
    assert (await plant.outputs(run_id))["extract"].value == '{"number":"release by ada, told 12.00"}'
    assert plant.pools.called() == ["read-a", "extract-a", "extract-a", "deliver-a"]


async def test_a_longer_pause_gives_the_run_back_and_its_tries_count(plant: Plant) -> None:
    later = failed(Outcome.ERROR, "Retryable", retryable=True, after_s=60.0)
    plant.hold(version(1, extract={"chain": [{"module_id": "extract-b", "on": ALL}]}))
    plant.pools.answers["extract-a"][0] = later
    run_id = await plant.submit()

    for _ in range(2):
        end = await plant.carry()
        assert end.status is RunStatus.QUEUED
        run = await plant.room.repository.get(run_id)
        assert run.why_code == "waiting.retry_backoff"
        assert run.losses == 0
        assert await plant.room.claim() is None
        await plant.room.database.narrow.run(
            Statement("UPDATE runs SET available_at = 0 WHERE id = :run", {"run": run_id})
        )
    end = await plant.carry()

    assert (end.status, end.degraded) == (RunStatus.SUCCEEDED, True)
    stored = [item for item in await plant.room.repository.attempts(run_id) if item.stage_id == "extract"]
    assert [(item.module_id, item.try_number) for item in stored] == [
        ("extract-a", 1),
        ("extract-a", 2),
        ("extract-a", 3),
        ("extract-b", 1),
    ]


async def test_the_running_time_of_all_claims_is_bounded(plant: Plant) -> None:
    plant.run_deadline_s = 10
    run_id = await plant.submit()
    await plant.room.database.narrow.run(
        Statement("UPDATE runs SET running_us = 11000000 WHERE id = :run", {"run": run_id})
    )

    end = await plant.carry()

    assert end.status is RunStatus.FAILED
    assert end.why is not None
    assert end.why.code is Code.FAILED_DEADLINE
    assert plant.pools.called() == []


async def test_a_fault_of_the_engine_parks_the_run_the_third_time(plant: Plant) -> None:
    async def gone(configuration_id: str) -> StoredConfiguration:
        raise NotFound("no such configuration")

    plant._find = gone  # type: ignore[method-assign]
    run_id = await plant.submit()
    statuses = []
    for _ in range(3):
        statuses.append((await plant.carry()).status)
        await plant.room.database.narrow.run(
            Statement("UPDATE runs SET available_at = 0 WHERE id = :run", {"run": run_id})
        )

    assert statuses == [RunStatus.QUEUED, RunStatus.QUEUED, RunStatus.PARKED]
    assert (await plant.room.repository.get(run_id)).why_code == "parked.worker_lost"
