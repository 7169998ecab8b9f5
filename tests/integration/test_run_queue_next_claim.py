"""The next claim goes along with the commit that ends a run, and neither into a drain nor past a refusal."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from factories.backends import Backend, MakeQueue
from factories.builtin_worker import DRAINING, LIMIT_S, ended, working
from factories.runs import PIPELINE, Room, attempt, output
from switchgear.core import admission
from switchgear.core.database import Refused, Result, Statement, Statements
from switchgear.core.database.statements import wall_time_us
from switchgear.core.unit_of_work import Units
from switchgear.domain.run import RunStatus
from switchgear.ingestion.run_repository import ClaimedRun, Ride, RunRepository

pytestmark = pytest.mark.anyio


@pytest.fixture
def dialect(backend: Backend) -> str:
    return backend.dialect


class Counting:
    """The narrow path, counting its commits that end a run or claim one."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self.dialect, self.boot_id = statements.dialect, statements.boot_id
        self.commits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._statements, name)

    async def run(self, *statements: Statement) -> list[Result]:
        self.commits += any("claimed_by" in statement.sql for statement in statements)
        return await self._statements.run(*statements)


async def test_a_worker_gets_its_next_run_in_the_commit_that_ends_one(room: Room, make_queue: MakeQueue) -> None:
    counting = Counting(room.database.narrow)
    repository = RunRepository(counting, room.repository.pipeline)
    queue = make_queue(repository)
    runs = [(await room.submit(str(number))).run.id for number in range(10)]
    begun = asyncio.Event()

    async def execute(claim: ClaimedRun) -> None:
        await begun.wait()
        await repository.end(claim, status=RunStatus.SUCCEEDED, attempts=[attempt()], outputs=[output()])

    async with working(room, queue, execute, repository=repository, concurrency=1):
        begun.set()
        await ended(room, *runs)
        commits = counting.commits
    # The first claim, and looks after the last end: a queue of jobs is looked at in two places each time.
    assert commits <= len(runs) + 6


def wanted(ride: Ride | None) -> Ride:
    assert ride is not None
    return ride


async def test_no_first_claim_rides_into_a_drain_and_the_drain_is_seen(room: Room, make_queue: MakeQueue) -> None:
    await room.submit("one")
    await room.submit("two")
    claim = await room.held()
    ride = wanted(make_queue(room.repository).ride("wrk_1"))
    claim.ride = lambda: ride
    await room.database.narrow.run(DRAINING)
    await room.hold()

    await room.repository.end(claim, status=RunStatus.SUCCEEDED)

    assert (ride.claim, ride.is_activation_pending) == (None, True)
    assert await room.repository.count_running(room.database.narrow) == 0


async def test_a_drain_and_a_claim_that_rides_exclude_each_other(room: Room, make_queue: MakeQueue) -> None:
    """Either the drain counts what was claimed, or it was refused and the drain was seen, in any interleaving. I7"""
    await room.database.narrow.run(DRAINING)
    units = Units(room.database, wall_time_us)
    for number in range(30):
        await room.submit(f"{number} one")
        await room.submit(f"{number} two")
        claim = await room.held()
        ride = wanted(make_queue(room.repository).ride("wrk_1"))
        claim.ride = partial(wanted, ride)

        async def drain() -> int:
            async with units() as unit:
                await unit.lock_switch()
                await admission.hold(unit.statements, PIPELINE, "act_1", await unit.now_us() + 60_000_000)
                await unit.commit()
            return await room.repository.count_running(room.database.narrow)

        end = room.repository.end(claim, status=RunStatus.SUCCEEDED)
        _, running = await asyncio.gather(end, drain()) if number % 2 else (await asyncio.gather(drain(), end))[::-1]
        assert ride.is_activation_pending
        if ride.claim is None:
            assert running <= 1  # the one that was about to end
        else:
            assert running >= 1, "claimed for the first time, and the drain did not count it"
            await room.repository.end(ride.claim, status=RunStatus.SUCCEEDED)
        await room.release_hold()
        while (left := await room.claim()) is not None:
            await room.repository.end(left, status=RunStatus.SUCCEEDED)


async def test_an_end_that_is_refused_brings_no_next_run(room: Room, make_queue: MakeQueue) -> None:
    await room.submit("one")
    waiting = await room.submit("two")
    claim = await room.held()
    ride = wanted(make_queue(room.repository).ride("wrk_1"))
    claim.ride = lambda: ride
    await room.database.narrow.run(Statement("UPDATE runs SET fencing_token = fencing_token + 1 WHERE id <> 'x'"))

    with pytest.raises(Refused):
        await room.repository.end(claim, status=RunStatus.SUCCEEDED)

    assert (ride.claim, ride.is_activation_pending) == (None, None)
    assert (await room.repository.get(waiting.run.id)).status is RunStatus.QUEUED


async def test_a_worker_that_stops_gives_back_the_run_that_came_with_its_last_commit(
    room: Room, make_queue: MakeQueue
) -> None:
    first, second = (await room.submit("one")).run.id, (await room.submit("two")).run.id
    stopping = asyncio.Event()

    class Slow(Counting):
        async def run(self, *statements: Statement) -> list[Result]:
            results = await super().run(*statements)
            if any("ended_at" in statement.sql for statement in statements):
                stopping.set()  # asked to stop between the commit and its answer
                await asyncio.sleep(0.05)
            return results

    repository = RunRepository(Slow(room.database.narrow), room.repository.pipeline)

    async def execute(claim: ClaimedRun) -> None:
        await repository.end(claim, status=RunStatus.SUCCEEDED)

    async with working(room, make_queue(repository), execute, repository=repository, concurrency=1):
        async with asyncio.timeout(LIMIT_S):
            await stopping.wait()

    assert (await room.repository.get(first)).status is RunStatus.SUCCEEDED
    left = await room.repository.get(second)
    assert (left.status, left.claimed_by, left.losses) == (RunStatus.QUEUED, None, 0)
