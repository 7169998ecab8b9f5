"""A worker keeps the leases of its runs, stops what it has lost or cannot renew, and writes nothing for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest

from factories.backends import Backend, MakeQueue
from factories.builtin_worker import LIMIT_S, Gate, ended, executing, until, working
from factories.runs import Room
from switchgear.core.database import Refused, Result, Statement, Statements
from switchgear.domain.errors import DatabaseUnreachable
from switchgear.domain.run import Outcome, RunStatus
from switchgear.ingestion.run_repository import ClaimedRun, RunFilter, RunRepository, Stop

pytestmark = pytest.mark.anyio


@pytest.fixture
def dialect(backend: Backend) -> str:
    return backend.dialect


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
