"""A lease lasts as long as its heartbeats; what a lost worker held goes on once, and is parked after the third loss."""

from __future__ import annotations

import asyncio

import pytest

from factories.runs import LEASE_S, Room, attempt, output
from switchgear.core.database import Statement
from switchgear.domain.run import MAX_LOSSES, Outcome, RunStatus

pytestmark = pytest.mark.anyio


async def test_a_heartbeat_renews_what_is_held_and_says_what_is_lost_or_cancelled(room: Room) -> None:
    for text in "abc":
        await room.submit(text)
    kept, lost, cancelled = [await room.held() for _ in range(3)]
    await room.lose(lost)
    await room.repository.cancel(cancelled.run_id)
    await room.expire(kept)
    beat = await room.repository.heartbeat("wrk_1", [kept, lost, cancelled], LEASE_S)
    assert beat.lost == {(lost.run_id, lost.token)}
    assert beat.cancel_requested == {cancelled.run_id}
    assert await room.repository.take_from_lost_workers() == []


async def test_a_heartbeat_does_not_renew_runs_that_the_worker_has_forgotten(room: Room) -> None:
    await room.submit("a")
    await room.submit("b")
    known, forgotten = await room.held(), await room.held()
    await room.expire(known)
    await room.expire(forgotten)
    await room.repository.heartbeat("wrk_1", [known], LEASE_S)
    assert [run.run_id for run in await room.repository.take_from_lost_workers()] == [forgotten.run_id]


async def test_a_heartbeat_writes_at_which_stage_each_run_is(room: Room) -> None:
    for text in "abc":
        await room.submit(text)
    reading, beginning, extracting = [await room.held() for _ in range(3)]
    await room.repository.checkpoint(extracting, attempts=[], outputs=[], next_stage_id="extract")
    reading.at_stage_id = "read"

    await room.repository.heartbeat("wrk_1", [reading, beginning, extracting], LEASE_S)

    blocking = await room.repository.blocking(room.database.narrow, 10)
    assert {run.id: run.stage_id for run in blocking} == {
        reading.run_id: "read",
        beginning.run_id: None,  # no stage of it has begun
        extracting.run_id: "extract",
    }


async def test_a_lost_run_goes_on_at_its_checkpoint_under_its_version(room: Room) -> None:
    await room.submit()
    first = await room.held("wrk_1")
    await room.repository.checkpoint(first, attempts=[attempt()], outputs=[output()], next_stage_id="extract")
    await room.configure(2)
    await room.activate(2)
    await room.lose(first)
    second = await room.held("wrk_2")
    assert (second.stage_id, second.losses, second.configuration_version) == ("extract", 1, 1)
    assert second.running_us > 0
    records = [
        (item.stage_id, item.outcome, item.fencing_token) for item in await room.repository.attempts(first.run_id)
    ]
    assert records == [("read", Outcome.SUCCEEDED, 1), ("extract", Outcome.LOST, 1)]


async def test_a_document_that_kills_its_workers_is_parked_after_the_third(room: Room) -> None:
    poison = await room.submit("poison")
    for _ in range(MAX_LOSSES):
        await room.lose(await room.held())
    run = await room.repository.get(poison.run.id)
    assert (run.status, run.losses, run.why_code) == (RunStatus.PARKED, MAX_LOSSES, "parked.worker_lost")
    assert [item.outcome for item in await room.repository.attempts(run.id)] == [Outcome.LOST] * MAX_LOSSES
    other = await room.submit("other")
    assert (await room.held()).run_id == other.run.id


async def test_an_engine_fault_counts_as_a_loss_but_a_shutdown_does_not(room: Room) -> None:
    await room.submit()
    assert await room.repository.hand_back(await room.held()) is RunStatus.QUEUED
    for _ in range(MAX_LOSSES - 1):
        assert await room.repository.hand_back(await room.held(), loss=True) is RunStatus.QUEUED
    assert await room.repository.hand_back(await room.held(), loss=True) is RunStatus.PARKED


async def test_a_lost_run_that_was_to_be_cancelled_is_cancelled(room: Room) -> None:
    await room.submit()
    claim = await room.held()
    await room.repository.cancel(claim.run_id)
    await room.lose(claim)
    run = await room.repository.get(claim.run_id)
    assert run.status is RunStatus.CANCELLED
    assert run.ended_at is not None


async def test_many_sweepers_take_a_lost_run_once(room: Room) -> None:
    await room.submit()
    claim = await room.held()
    await room.expire(claim)
    taken = await asyncio.gather(*(room.repository.take_from_lost_workers() for _ in range(10)))
    assert sum(len(runs) for runs in taken) == 1
    assert (await room.repository.get(claim.run_id)).losses == 1
    assert len(await room.repository.attempts(claim.run_id)) == 1


async def test_a_lease_of_another_boot_has_run_out(room: Room) -> None:
    if room.database.dialect == "postgresql":
        pytest.skip("leases are measured with the server's clock there")
    await room.submit()
    claim = await room.held()
    await room.database.narrow.run(Statement("UPDATE runs SET lease_boot_id = 'before'"))
    assert await room.repository.count_running(room.database.narrow) == 0
    assert [run.run_id for run in await room.repository.take_from_lost_workers()] == [claim.run_id]
