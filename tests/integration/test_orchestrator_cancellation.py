"""A run that is cancelled ends as cancelled, and a worker that stops hands back what has not ended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from factories.orchestration import Plant, failed, given
from switchgear.domain.run import AttemptResult, Outcome, RunStatus
from switchgear.ingestion.module_pool import Call
from switchgear.ingestion.orchestrator import RunEnd
from switchgear.ingestion.run_repository import ClaimedRun, Stop

pytestmark = pytest.mark.anyio


async def stopped(plant: Plant, why: Stop) -> tuple[str, RunEnd]:
    reached = asyncio.Event()

    async def hangs(call: Call) -> AttemptResult:
        reached.set()
        await asyncio.sleep(3600)
        raise AssertionError

    plant.pools.answers["extract-a"].appendleft(hangs)
    run_id = await plant.submit()
    claim = await plant.room.held()
    task = asyncio.create_task(plant.orchestrator().execute(claim))
    await reached.wait()
    claim.stop = why
    task.cancel()
    return run_id, await task


async def test_a_cancelled_run_ends_with_the_attempt_that_was_under_way(plant: Plant) -> None:
    run_id, end = await stopped(plant, Stop.CANCEL)

    assert end.status is RunStatus.CANCELLED
    assert await plant.attempts(run_id) == [
        ("read", "read-a", "succeeded"),
        ("extract", "extract-a", "cancelled"),
    ]
    assert (await plant.room.repository.get(run_id)).status is RunStatus.CANCELLED


async def test_a_run_that_was_to_be_cancelled_before_its_claim_calls_nothing(plant: Plant) -> None:
    await plant.submit()
    claim = await plant.room.held()
    claim.cancel_requested = True

    end = await plant.orchestrator().execute(claim)

    assert end.status is RunStatus.CANCELLED
    assert plant.pools.called() == []


async def test_a_cancel_is_heard_at_a_checkpoint(plant: Plant) -> None:
    async def cancels(call: Call) -> AttemptResult:
        await plant.room.repository.cancel(call.run_id)
        return given(number="A1")

    plant.pools.answers["extract-a"][0] = cancels
    await plant.submit()

    end = await plant.carry()

    assert end.status is RunStatus.CANCELLED
    assert "deliver-a" not in plant.pools.called()


@pytest.mark.parametrize(
    "answer",
    [
        AttemptResult(Outcome.SKIPPED, message="Look at it.", needs_review=True),
        failed(Outcome.ERROR, "Retryable", retryable=True, after_s=60.0),
    ],
    ids=["it asks for a person", "it asks for a longer pause"],
)
async def test_what_is_cancelled_while_it_runs_is_neither_put_on_hold_nor_queued_again(
    plant: Plant, answer: AttemptResult
) -> None:
    async def cancels(call: Call) -> AttemptResult:
        await plant.room.repository.cancel(call.run_id)
        return answer

    plant.pools.answers["extract-a"][0] = cancels
    run_id = await plant.submit()

    end = await plant.carry()

    run = await plant.room.repository.get(run_id)
    assert (end.status, end.why) == (RunStatus.CANCELLED, None)
    assert (run.status, run.why, run.ended_at is not None) == (RunStatus.CANCELLED, None, True)


async def test_a_worker_that_stops_hands_its_run_back_with_its_version(plant: Plant) -> None:
    run_id, end = await stopped(plant, Stop.SHUTDOWN)
    assert end.status is RunStatus.QUEUED
    await plant.room.configure(2)
    await plant.room.activate(2)

    again = await plant.carry()

    assert again.status is RunStatus.SUCCEEDED
    run = await plant.room.repository.get(run_id)
    assert (run.configuration_version, run.losses) == (1, 0)
    assert plant.pools.called() == ["read-a", "extract-a", "extract-a", "deliver-a"]


async def test_a_stop_does_not_undo_an_end_that_is_being_committed(plant: Plant) -> None:
    class Slow:
        def __init__(self) -> None:
            self.reached, self.go_on = asyncio.Event(), asyncio.Event()

        def __getattr__(self, name: str) -> Any:
            return getattr(plant.room.repository, name)

        async def end(self, claim: ClaimedRun, **values: Any) -> RunStatus:
            self.reached.set()
            await self.go_on.wait()
            return await plant.room.repository.end(claim, **values)

    slow = plant.repository = Slow()
    await plant.submit()
    claim = await plant.room.held()
    task = asyncio.create_task(plant.orchestrator().execute(claim))
    await slow.reached.wait()
    claim.stop = Stop.SHUTDOWN
    task.cancel()
    slow.go_on.set()
    end = await task

    assert end.status is RunStatus.SUCCEEDED
    assert 'switchgear_runs_total{result="succeeded"} 1.0' in plant.metric("switchgear_runs_total")
