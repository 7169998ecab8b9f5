"""What every queue backend must keep, on each database that it supports. A further one joins in factories/backends.py.

Each run is given out once, in the order in which it was queued, whatever queued it, and nothing is lost between a
queue and a claim. DESIGN 5, RELIABILITY I13.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from factories.backends import Backend
from factories.runs import PeopleRoom
from switchgear.core.database import Database, Statement
from switchgear.core.unit_of_work import Units
from switchgear.domain.errors import Code, Why
from switchgear.domain.run import RunStatus
from switchgear.ingestion.run_queue import FIRST_WAIT_S, LONGEST_WAIT_S, RunQueue
from switchgear.ingestion.run_repository import ClaimedRun
from switchgear.workers.sweeper import Sweeper

pytestmark = pytest.mark.anyio

MakeQueue = Callable[..., RunQueue]


@pytest.fixture
def dialect(backend: Backend) -> str:
    return backend.dialect


@pytest.fixture
async def room(make_queue: MakeQueue, database: Database, units: Units, tmp_path: Path) -> PeopleRoom:
    """A room whose database has what the backend needs."""
    return await PeopleRoom(database, units, tmp_path).prepare()


async def given_out(queue: RunQueue, worker_id: str = "wrk_1") -> list[ClaimedRun]:
    """Everything that can be claimed now."""
    found = []
    while (claim := await queue.claim(worker_id)) is not None:
        found.append(claim)
    return found


async def taken(queue: RunQueue) -> ClaimedRun:
    """The next run; there must be one."""
    claim = await queue.claim("wrk_1")
    assert claim is not None
    return claim


async def test_each_run_is_given_once_in_the_order_of_its_coming_and_nothing_when_empty(
    room: PeopleRoom, make_queue: MakeQueue
) -> None:
    queue = make_queue(room.repository)
    accepted = [(await room.submit(str(number))).run.id for number in range(5)]
    assert [claim.run_id for claim in await given_out(queue)] == accepted
    assert await queue.claim("wrk_1") is None


async def test_the_same_bytes_again_are_not_given_again_unless_that_is_asked_for(
    room: PeopleRoom, make_queue: MakeQueue
) -> None:
    queue = make_queue(room.repository)
    first = (await room.submit("known")).run.id
    await room.submit("known")
    again = (await room.submit("known", again=True)).run.id
    assert [claim.run_id for claim in await given_out(queue)] == [first, again]


async def test_notify_wakes_whoever_waits_and_is_remembered(room: PeopleRoom, make_queue: MakeQueue) -> None:
    queue = make_queue(room.repository)
    waiting = asyncio.create_task(queue.wait())
    await asyncio.sleep(0)
    queue.notify()
    await waiting
    queue.notify()  # between a look that found nothing and the wait
    waited_s = time.monotonic()
    await queue.wait()
    assert time.monotonic() - waited_s < FIRST_WAIT_S


async def test_waiting_is_bounded_so_that_runs_of_other_processes_are_found(
    room: PeopleRoom, make_queue: MakeQueue
) -> None:
    queue = make_queue(room.repository)
    async with asyncio.timeout(10 * LONGEST_WAIT_S):
        for _ in range(3):
            await queue.wait()


async def test_many_processes_at_one_database_give_each_run_once(room: PeopleRoom, make_queue: MakeQueue) -> None:
    queues = [make_queue(room.repository) for _ in range(4)]
    accepted = [(await room.submit(str(number))).run.id for number in range(40)]
    claims: list[str] = []

    async def take(queue: RunQueue, worker_id: str) -> None:
        claims.extend(claim.run_id for claim in await given_out(queue, worker_id))

    await asyncio.gather(*(take(queue, f"wrk_{number}") for number, queue in enumerate(queues)))
    for queue in queues:  # one that met only what others were about to take may have found nothing
        claims += [claim.run_id for claim in await given_out(queue)]
    assert sorted(claims) == sorted(accepted)


async def test_a_cancelled_run_is_given_to_nobody_and_does_not_hold_up_the_next(
    room: PeopleRoom, make_queue: MakeQueue
) -> None:
    queue = make_queue(room.repository)
    first, second, third = [(await room.submit(text)).run.id for text in "abc"]
    await room.repository.cancel(first)
    await room.repository.cancel(second)
    assert [claim.run_id for claim in await given_out(queue)] == [third]


# --- whatever queues a run again ---


async def _handed_back(room: PeopleRoom, claim: ClaimedRun) -> None:
    await room.repository.hand_back(claim)


async def _lost(room: PeopleRoom, claim: ClaimedRun) -> None:
    await room.lose(claim)


async def _retried(room: PeopleRoom, claim: ClaimedRun) -> None:
    await room.repository.end(claim, status=RunStatus.FAILED, why=Why(Code.FAILED_POLICY, "It failed."))
    await room.repository.retry(await room.repository.get(claim.run_id), stage_id=None)


async def _released(room: PeopleRoom, claim: ClaimedRun) -> None:
    await room.repository.end(claim, status=RunStatus.PARKED, why=Why(Code.PARKED_REVIEW, "A person decides."))
    await room.repository.decide(await room.repository.get(claim.run_id), {"action": "release"})


@pytest.mark.parametrize("queue_again", [_handed_back, _lost, _retried, _released], ids=lambda each: each.__name__)
async def test_what_is_queued_again_is_given_once_more(
    room: PeopleRoom, make_queue: MakeQueue, queue_again: Callable[[PeopleRoom, ClaimedRun], Awaitable[None]]
) -> None:
    queue = make_queue(room.repository)
    run_id = (await room.submit()).run.id
    for _ in range(2):
        claim = await taken(queue)
        assert await queue.claim("wrk_2") is None
        await queue_again(room, claim)
    assert [claim.run_id for claim in await given_out(queue)] == [run_id]


async def test_a_further_run_of_a_document_is_given_when_it_is_committed_and_not_before(
    room: PeopleRoom, make_queue: MakeQueue
) -> None:
    queue = make_queue(room.repository)
    document_id = (await room.submit()).document.id
    await taken(queue)
    async with room.units() as unit:
        await room.repository.on(unit.statements).add_run(document_id, "tok_1")
    assert await queue.claim("wrk_1") is None
    async with room.units() as unit:
        added = await room.repository.on(unit.statements).add_run(document_id, "tok_1")
        await unit.commit()
    assert [claim.run_id for claim in await given_out(queue)] == [added.id]


async def test_a_run_that_waits_out_a_pause_is_given_after_it(room: PeopleRoom, make_queue: MakeQueue) -> None:
    queue = make_queue(room.repository)
    run_id = (await room.submit()).run.id
    await room.repository.hand_back(await taken(queue), available_in_us=200_000)
    assert await queue.claim("wrk_1") is None
    async with asyncio.timeout(10 * LONGEST_WAIT_S):
        while (claim := await queue.claim("wrk_1")) is None:
            await queue.wait()
    assert claim.run_id == run_id


# --- work queues ---


async def test_a_run_that_is_handed_over_is_given_by_its_new_queue_alone(
    room: PeopleRoom, make_queue: MakeQueue
) -> None:
    light, heavy, both = (make_queue(room.repository, *names) for names in (["default"], ["ocr"], ["default", "ocr"]))
    first, second = [(await room.submit(text)).run.id for text in "ab"]
    assert await heavy.claim("wrk_2") is None
    await room.repository.hand_back(await taken(light), queue="ocr")
    assert [claim.run_id for claim in await given_out(light)] == [second]
    claim = await taken(heavy)
    assert claim.run_id == first
    await room.repository.hand_back(claim, queue="default")
    assert await heavy.claim("wrk_2") is None
    assert [claim.run_id for claim in await given_out(both)] == [first]


# --- drains ---


async def test_a_drain_holds_first_claims_lets_the_others_pass_and_afterwards_all_come_in_order(
    room: PeopleRoom, make_queue: MakeQueue
) -> None:
    queue = make_queue(room.repository)
    begun = (await room.submit("begun")).run.id
    claim = await taken(queue)
    held = [(await room.submit(str(number))).run.id for number in range(3)]
    await room.hold()
    assert await queue.claim("wrk_1") is None
    await room.repository.hand_back(claim)
    assert [claim.run_id for claim in await given_out(queue)] == [begun]
    late = (await room.submit("late")).run.id

    await room.release_hold()

    assert [claim.run_id for claim in await given_out(queue)] == [*held, late]


async def test_without_an_active_version_runs_wait_for_one(room: PeopleRoom, make_queue: MakeQueue) -> None:
    queue = make_queue(room.repository)
    await room.database.narrow.run(Statement("UPDATE admission SET active_configuration_id = NULL"))
    run_id = (await room.submit()).run.id
    assert await queue.claim("wrk_1") is None
    await room.activate(1)
    assert (await taken(queue)).run_id == run_id


async def test_runs_that_a_drain_holds_count_as_waiting(room: PeopleRoom, make_queue: MakeQueue) -> None:
    queue = make_queue(room.repository)
    for number in range(3):
        await room.submit(str(number))
    await taken(queue)
    await room.hold()
    await queue.claim("wrk_1")
    assert (await room.repository.queued())[0] == 2
    assert await room.repository.count_held(room.database.narrow) == 2


# --- nothing is lost between a queue and a claim ---


async def test_a_worker_that_dies_between_pick_up_and_claim_loses_no_run(
    room: PeopleRoom, make_queue: MakeQueue, backend: Backend
) -> None:
    """Permanent. The sweep sends what was queued and never claimed."""
    queue = make_queue(room.repository)
    run_id = (await room.submit()).run.id
    await backend.die_after_pick_up(room.database)
    sweeper = Sweeper(room.repository, room.artifacts, queue)

    await sweeper.sweep()

    claim = await taken(queue)
    assert (claim.run_id, claim.losses, claim.token) == (run_id, 0, 1)
    assert await queue.claim("wrk_1") is None


async def test_the_sweep_sends_nothing_twice(room: PeopleRoom, make_queue: MakeQueue) -> None:
    queues = [make_queue(room.repository) for _ in range(3)]
    accepted = [(await room.submit(str(number))).run.id for number in range(5)]
    claim = await taken(queues[0])
    await asyncio.gather(*(queue.tend() for queue in queues))
    assert sorted(each.run_id for each in await given_out(queues[1])) == sorted(set(accepted) - {claim.run_id})
