"""A worker carries every run that is queued, no more at a time than told, with each backend on each database."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from factories.backends import Backend, MakeQueue
from factories.builtin_worker import DRAINING, LIMIT_S, Gate, ended, executing, until, working
from factories.runs import LEASE_S, Room
from switchgear.core.database import Statement
from switchgear.domain.run import MAX_LOSSES, RunStatus
from switchgear.ingestion.run_queue import BuiltinQueue
from switchgear.ingestion.run_repository import ClaimedRun, RunRepository, WorkerRow

pytestmark = pytest.mark.anyio


@pytest.fixture
def dialect(backend: Backend) -> str:
    return backend.dialect


async def test_it_carries_everything_with_no_more_at_a_time_than_told(room: Room, make_queue: MakeQueue) -> None:
    queue = make_queue(room.repository)
    runs = [(await room.submit(str(number))).run.id for number in range(20)]
    gate = Gate(executing(room))
    async with working(room, queue, gate, concurrency=3):

        async def three_wait() -> bool:
            return len(gate.claims) == 3

        await until(three_wait)
        gate.open.set()
        await ended(room, *runs)
    assert gate.most == 3
    assert len(gate.claims) == 20


async def test_a_run_whose_worker_is_killed_between_pick_up_and_claim_is_found_by_others(
    room: Room, make_queue: MakeQueue
) -> None:
    """Permanent: what a backend hands out before the claim is a hint only, and may die with whoever got it. I13"""
    killed, other = make_queue(room.repository), make_queue(room.repository)
    run_id = (await room.submit()).run.id
    killed.notify()
    await killed.wait()  # it has picked the run up, and does nothing any more
    left = await room.repository.get(run_id)
    assert (left.status, left.claimed_by, left.fencing_token) == (RunStatus.QUEUED, None, 0)

    async with working(room, other, executing(room), worker_id="wrk_2"):  # nobody notifies it
        await ended(room, run_id)

    assert (await room.repository.get(run_id)).losses == 0


async def test_a_run_queued_here_starts_at_once_though_all_places_are_idle(room: Room, make_queue: MakeQueue) -> None:
    queue = make_queue(room.repository)
    async with working(room, queue, executing(room)) as worker:
        accepted = await room.submit()
        queue.notify()
        await ended(room, accepted.run.id)
    assert worker.held == ()


async def test_after_each_end_it_looks_after_a_pending_activation(room: Room, make_queue: MakeQueue) -> None:
    queue = make_queue(room.repository)
    seen = asyncio.Event()

    async def advance() -> None:
        assert await room.repository.count_running(room.database.narrow) == 0  # the end is committed
        seen.set()

    gate = Gate(executing(room))
    async with working(room, queue, gate, advance=advance):
        await room.submit("before")
        queue.notify()
        await gate.somebody.wait()
        await room.database.narrow.run(DRAINING)
        gate.open.set()
        async with asyncio.timeout(LIMIT_S):
            await seen.wait()


async def test_a_drain_is_told_where_a_run_hangs_long_before_the_next_heartbeat(
    room: Room, make_queue: MakeQueue
) -> None:
    queue = make_queue(room.repository)
    gate = Gate(executing(room))

    async def hangs(claim: ClaimedRun) -> None:
        claim.at_stage_id = "read"
        await gate(claim)

    async def has_beaten() -> bool:
        return bool(await room.database.narrow.query("SELECT 1 FROM workers WHERE heartbeat_at > started_at"))

    async with working(room, queue, hangs, heartbeat_s=LIMIT_S, lease_s=10 * LIMIT_S):
        await until(has_beaten)
        accepted = await room.submit()
        queue.notify()
        await gate.somebody.wait()
        assert (await room.repository.get(accepted.run.id)).stage_id is None  # a short run writes nothing for it
        await room.database.narrow.run(DRAINING)

        async def is_told() -> bool:
            return [run.stage_id for run in await room.repository.blocking(room.database.narrow, 10)] == ["read"]

        async with asyncio.timeout(LIMIT_S / 3):
            await until(is_told)
        gate.open.set()


async def test_a_cancelled_run_ends_cancelled_within_a_heartbeat(room: Room, make_queue: MakeQueue) -> None:
    queue = make_queue(room.repository)
    accepted = await room.submit()
    gate = Gate(executing(room))
    async with working(room, queue, gate):
        await gate.somebody.wait()
        await room.repository.cancel(accepted.run.id)

        async def cancelled() -> bool:
            return (await room.repository.get(accepted.run.id)).status is RunStatus.CANCELLED

        await until(cancelled)


async def test_whatever_breaks_beside_a_run_costs_the_worker_no_place(room: Room, make_queue: MakeQueue) -> None:
    class Breaks(RunRepository):
        async def hand_back(self, *_arguments: Any, **_named: Any) -> RunStatus:
            raise OSError("no space left on device")

    async def fails_first(claim: ClaimedRun) -> None:
        if claim.run_id == accepted.run.id:
            raise RuntimeError("a fault of the engine")
        await executing(room)(claim)

    repository = Breaks(room.database.narrow, room.repository.pipeline)
    accepted = await room.submit()
    async with working(room, make_queue(repository), fails_first, repository=repository, concurrency=1):
        await ended(room, (await room.submit("other")).run.id)


async def test_a_stopping_worker_finishes_within_its_grace(room: Room, make_queue: MakeQueue) -> None:
    queue = make_queue(room.repository)
    accepted = await room.submit()
    gate = Gate(executing(room))
    async with working(room, queue, gate):
        await gate.somebody.wait()
        asyncio.get_running_loop().call_later(0.05, gate.open.set)
    assert (await room.repository.get(accepted.run.id)).status is RunStatus.SUCCEEDED
    assert (await room.repository.waiting()).serving("default") == 0


async def test_what_does_not_finish_in_time_is_handed_back_without_a_loss(room: Room, make_queue: MakeQueue) -> None:
    queue = make_queue(room.repository)
    runs = [(await room.submit(str(number))).run.id for number in range(20)]
    gate = Gate(executing(room))
    async with working(room, queue, gate, grace_s=0.05):
        await gate.somebody.wait()
    for run_id in runs:
        run = await room.repository.get(run_id)
        assert (run.status, run.losses, run.claimed_by) == (RunStatus.QUEUED, 0, None)
    gate.open.set()
    async with working(room, queue, gate, worker_id="wrk_2"):
        await ended(room, *runs)


async def test_a_fault_of_the_engine_stops_only_that_run_and_at_last_parks_it(
    room: Room, make_queue: MakeQueue
) -> None:
    queue = make_queue(room.repository)
    poison = (await room.submit("poison")).run.id
    good = [(await room.submit(str(number))).run.id for number in range(3)]

    async def execute(claim: ClaimedRun) -> None:
        if claim.run_id == poison:
            raise RuntimeError("a bug")
        await executing(room)(claim)

    async with working(room, queue, execute):
        await ended(room, *good)

        async def parked() -> bool:
            await room.database.narrow.run(Statement("UPDATE runs SET available_at = 0 WHERE status = 'queued'"))
            queue.notify()
            return (await room.repository.get(poison)).status is RunStatus.PARKED

        await until(parked)
    run = await room.repository.get(poison)
    assert (run.losses, run.why_code) == (MAX_LOSSES, "parked.worker_lost")


async def test_a_worker_that_may_not_claim_takes_nothing_until_it_may(room: Room) -> None:
    may = False

    async def may_claim() -> bool:
        return may

    queue = BuiltinQueue(room.repository, LEASE_S, may_claim=may_claim)
    run_id = (await room.submit()).run.id
    assert await queue.claim("wrk_1") is None
    assert (await room.repository.get(run_id)).fencing_token == 0
    may = True
    assert await queue.claim("wrk_1") is not None


async def test_it_is_known_which_workers_have_made_a_generation_ready(room: Room) -> None:
    for number, generation in enumerate((None, 3, 4)):
        row = WorkerRow(f"wrk_{number}", "host", number, "boot", generation_loaded=generation)
        await room.repository.register_worker(row)
    assert [worker.generation_loaded for worker in await room.repository.live_workers()] == [None, 3, 4]
    assert await room.repository.has_loaded(4, but="wrk_1")
    assert not await room.repository.has_loaded(4, but="wrk_2")
    await room.database.narrow.run(Statement("UPDATE workers SET heartbeat_at = 0 WHERE id = 'wrk_2'"))
    assert not await room.repository.has_loaded(4, but="wrk_1")
