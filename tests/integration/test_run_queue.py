"""The worker that carries runs, with each queue backend on each database that it supports."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from factories.backends import Backend
from factories.runs import PIPELINE, Room, attempt, output
from switchgear.core import admission
from switchgear.core.database import Database, Refused, Result, Statement, Statements
from switchgear.core.database.statements import wall_time_us
from switchgear.core.unit_of_work import Units
from switchgear.domain.errors import DatabaseUnreachable
from switchgear.domain.run import MAX_LOSSES, Outcome, RunStatus
from switchgear.ingestion.run_queue import BuiltinQueue, RunQueue
from switchgear.ingestion.run_repository import ClaimedRun, Ride, RunFilter, RunRepository, Stop, WorkerRow
from switchgear.workers.builtin import BuiltinWorker, Execute

pytestmark = pytest.mark.anyio

MakeQueue = Callable[..., RunQueue]
LEASE_S = 20.0
LIMIT_S = 30.0
_DRAINING = Statement(
    """INSERT INTO activations (id, pipeline, configuration_id, kind, mode, state, max_wait_s, on_expiry, options,
    actor, message, requested_at, switch_now)
    VALUES ('act_1', 'tiny', 'cfg_1', 'activate', 'drain', 'draining', 9, 'switch', '{}', 'x', '', 0, FALSE)"""
)


@pytest.fixture
def dialect(backend: Backend) -> str:
    return backend.dialect


@pytest.fixture
async def room(database: Database) -> Room:
    return await Room(database).prepare()


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    """Wait until *look* says yes."""
    async with asyncio.timeout(LIMIT_S):
        while not await look():
            await asyncio.sleep(0.005)


async def ended(room: Room, *run_ids: str) -> None:
    """Wait until these runs have succeeded."""

    async def look() -> bool:
        return all([(await room.repository.get(run)).status is RunStatus.SUCCEEDED for run in run_ids])

    await until(look)


def executing(room: Room) -> Execute:
    """Carries a run to success."""

    async def execute(claim: ClaimedRun) -> None:
        await room.repository.end(
            claim, status=RunStatus.SUCCEEDED, attempts=[attempt()], outputs=[output()], stage_id=None
        )

    return execute


@asynccontextmanager
async def working(
    room: Room,
    queue: RunQueue,
    execute: Execute,
    *,
    worker_id: str = "wrk_1",
    repository: RunRepository | None = None,
    advance: Callable[[], Awaitable[object]] | None = None,
    concurrency: int = 4,
    heartbeat_s: float = 0.05,
    lease_s: float = LEASE_S,
    grace_s: float = LIMIT_S,
) -> AsyncIterator[BuiltinWorker]:
    """A worker at work; leaving asks it to stop and waits for it."""
    row = WorkerRow(worker_id, "host", 1, "boot")
    worker = BuiltinWorker(
        lambda: row,
        repository or room.repository,
        queue,
        execute,
        advance=advance,
        concurrency=concurrency,
        heartbeat_s=heartbeat_s,
        lease_s=lease_s,
        grace_s=grace_s,
    )
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run_forever(stop))
    try:
        yield worker
    finally:
        stop.set()
        async with asyncio.timeout(LIMIT_S):
            await task


class Gate:
    """Runs stand here until the gate opens."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self.claims: list[ClaimedRun] = []
        self.most = 0
        self._inside = 0
        self.open = asyncio.Event()
        self.somebody = asyncio.Event()

    async def __call__(self, claim: ClaimedRun) -> None:
        self.claims.append(claim)
        self._inside += 1
        self.most = max(self.most, self._inside)
        self.somebody.set()
        try:
            await self.open.wait()
        finally:
            self._inside -= 1
        await self._execute(claim)


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
        await room.database.narrow.run(_DRAINING)
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
        await room.database.narrow.run(_DRAINING)

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


async def test_heartbeats_keep_a_long_run(room: Room, make_queue: MakeQueue) -> None:
    queue = make_queue(room.repository)
    accepted = await room.submit()
    gate = Gate(executing(room))
    async with working(room, queue, gate):
        await gate.somebody.wait()
        for _ in range(3):
            await room.database.narrow.run(Statement("UPDATE runs SET lease_expires_at = lease_us() - 1"))

            async def renewed() -> bool:
                return await room.repository.count_running(room.database.narrow) == 1

            await until(renewed)
        gate.open.set()
        await ended(room, accepted.run.id)


async def test_a_worker_that_lost_its_run_stops_it_and_writes_nothing(room: Room, make_queue: MakeQueue) -> None:
    queue = make_queue(room.repository)
    accepted = await room.submit()
    gate, stops = Gate(executing(room)), []

    async def execute(claim: ClaimedRun) -> None:
        try:
            await gate(claim)
        except asyncio.CancelledError:
            stops.append(claim.stop)
            raise

    async with working(room, queue, execute, heartbeat_s=0.3) as worker:
        await gate.somebody.wait()
        await room.hold()
        await room.database.narrow.run(Statement("UPDATE runs SET fencing_token = fencing_token + 1, claimed_by = 'x'"))

        async def stopped() -> bool:
            return worker.held == ()

        await until(stopped)
    assert stops == [Stop.LOST]
    run = await room.repository.get(accepted.run.id)
    assert (run.status, run.claimed_by) == (RunStatus.RUNNING, "x")


async def test_a_run_that_was_lost_and_comes_back_to_the_same_worker_costs_it_no_place(
    room: Room, make_queue: MakeQueue
) -> None:
    queue = make_queue(room.repository)
    accepted = await room.submit()
    gate = Gate(executing(room))

    async def both_are_busy() -> bool:
        return gate.most == 2

    async with working(room, queue, gate, concurrency=2, heartbeat_s=LIMIT_S, lease_s=10 * LIMIT_S) as worker:
        await gate.somebody.wait()
        await room.repository.hand_back(gate.claims[0])  # as the sweep does when a machine stood still beyond the lease
        queue.notify()
        await until(both_are_busy)
        gate.open.set()
        await ended(room, accepted.run.id)
        gate.open.clear()
        gate.most = 0
        others = [(await room.submit(name)).run.id for name in ("one", "two")]
        queue.notify()
        await until(both_are_busy)
        assert sorted(worker.held) == sorted(others)
        gate.open.set()
        await ended(room, *others)


async def test_a_heartbeat_stops_the_older_of_two_claims_on_one_run(room: Room, make_queue: MakeQueue) -> None:
    queue = make_queue(room.repository)
    accepted = await room.submit()
    gate = Gate(executing(room))

    async def only_the_newer_is_at_work() -> bool:
        return len(gate.claims) == 2 and gate._inside == 1

    async with working(room, queue, gate, concurrency=2, heartbeat_s=0.3):
        await gate.somebody.wait()
        await room.repository.hand_back(gate.claims[0])
        queue.notify()
        await until(only_the_newer_is_at_work)
        assert [claim.stop for claim in gate.claims] == [Stop.LOST, None]
        gate.open.set()
        await ended(room, accepted.run.id)


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


class Away:
    """Statements to a database that can be away."""

    def __init__(self, statements: Statements) -> None:
        self.dialect = statements.dialect
        self.boot_id = statements.boot_id
        self.away = False
        self._statements = statements

    async def run(self, *statements: Statement) -> list[Result]:
        self._answer()
        return await self._statements.run(*statements)

    async def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        self._answer()
        return await self._statements.query(sql, parameters)

    async def scan(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        self._answer()
        return await self._statements.scan(sql, parameters)

    def _answer(self) -> None:
        if self.away:
            raise DatabaseUnreachable("away")


async def test_it_waits_for_a_database_that_is_away_and_goes_on_without_a_loss(
    room: Room, make_queue: MakeQueue
) -> None:
    away = Away(room.database.narrow)
    repository = RunRepository(away, room.repository.pipeline)
    accepted = await room.submit()
    gate = Gate(lambda claim: repository.end(claim, status=RunStatus.SUCCEEDED))
    async with working(room, make_queue(repository), gate, repository=repository):
        await gate.somebody.wait()
        away.away = True
        gate.open.set()

        async def asked_again() -> bool:
            return gate._inside == 0

        await until(asked_again)
        other = await room.submit("other")
        away.away = False
        await ended(room, accepted.run.id, other.run.id)
    assert (await room.repository.get(accepted.run.id)).losses == 0
    assert Outcome.LOST not in [item.outcome for item in await room.repository.attempts(accepted.run.id)]


async def test_it_stops_work_whose_lease_it_cannot_renew_before_it_ends(room: Room, make_queue: MakeQueue) -> None:
    away = Away(room.database.narrow)
    repository = RunRepository(away, room.repository.pipeline)
    await room.submit()
    stops: list[tuple[Stop | None, float]] = []

    async def execute(claim: ClaimedRun) -> None:
        away.away = True
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stops.append((claim.stop, time.monotonic() - claim.renewed_at_s))
            raise

    async with working(room, make_queue(repository), execute, repository=repository, heartbeat_s=0.3, lease_s=1.2):

        async def stopped() -> bool:
            return bool(stops)

        await until(stopped)
        away.away = False
        await room.hold()
    stop, age_s = stops[0]
    assert stop is Stop.LOST
    assert age_s < 1.2
    assert (await room.repository.list(RunFilter())).items[0].status is RunStatus.RUNNING


async def test_a_write_that_is_fenced_off_is_no_fault(room: Room, make_queue: MakeQueue) -> None:
    await room.submit()
    refused = asyncio.Event()

    async def execute(claim: ClaimedRun) -> None:
        taken = Statement(
            "UPDATE runs SET status = 'cancelled', fencing_token = fencing_token + 1 WHERE id = :run",
            {"run": claim.run_id},
        )
        await room.database.narrow.run(taken)
        refused.set()
        raise Refused("another worker holds it")

    async with working(room, make_queue(room.repository), execute, heartbeat_s=LIMIT_S):
        async with asyncio.timeout(LIMIT_S):
            await refused.wait()
    run = (await room.repository.list(RunFilter())).items[0]
    assert (run.status, run.losses) == (RunStatus.CANCELLED, 0)


# --- the next claim goes along with the commit that ends a run ---


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
    await room.database.narrow.run(_DRAINING)
    await room.hold()

    await room.repository.end(claim, status=RunStatus.SUCCEEDED)

    assert (ride.claim, ride.is_activation_pending) == (None, True)
    assert await room.repository.count_running(room.database.narrow) == 0


async def test_a_drain_and_a_claim_that_rides_exclude_each_other(room: Room, make_queue: MakeQueue) -> None:
    """Either the drain counts what was claimed, or it was refused and the drain was seen, in any interleaving. I7"""
    await room.database.narrow.run(_DRAINING)
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
