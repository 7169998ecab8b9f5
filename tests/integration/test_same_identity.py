"""Documents with one identity at the same time: of two, exactly one sees the other, whatever the order of the commits.

Each side commits its own identity and only then reads the others' (DESIGN 4, the race).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pytest

from factories.runs import Room, output
from switchgear.core.database import Database
from switchgear.domain.errors import Code, Why
from switchgear.domain.run import RunStatus
from switchgear.ingestion.run_repository import ClaimedRun

pytestmark = pytest.mark.anyio

#: What each of two runs does; the tests pause after each step, in every order.
STEPS = ("commit", "read", "end")
ORDERS = sorted(set(itertools.permutations([0] * len(STEPS) + [1] * len(STEPS))))


class Pair:
    """Runs with one identity that are at work together."""

    def __init__(self, room: Room, *claims: ClaimedRun) -> None:
        self.room = room
        self.claims = claims
        self.seen: list[set[int]] = [set() for _ in claims]

    async def commit(self, number: int) -> None:
        claim = self.claims[number]
        outputs = [] if claim.losses else [output("extract")]
        await self.room.repository.checkpoint(
            claim, attempts=[], outputs=outputs, next_stage_id="deliver", identity="same"
        )

    async def read(self, number: int) -> None:
        claim = self.claims[number]
        rows = await self.room.repository.earlier("same", claim.document_id, claim.run_id)
        documents = [claim.document_id for claim in self.claims]
        self.seen[number] = {documents.index(row.document_id) for row in rows}

    async def end(self, number: int, status: RunStatus = RunStatus.SUCCEEDED, stage: str | None = None) -> None:
        identity = "same" if status is RunStatus.SUCCEEDED else None
        await self.room.repository.end(self.claims[number], status=status, identity=identity, stage_id=stage)

    async def again(self, number: int) -> None:
        """The worker of this run is lost, and another one claims it."""
        await self.room.lose(self.claims[number])
        claims = list(self.claims)
        claims[number] = await self.room.held("wrk_2")
        self.claims = tuple(claims)


@pytest.fixture
async def room(database: Database) -> Room:
    return await Room(database).prepare()


async def at_work(room: Room, count: int = 2) -> Pair:
    for number in range(count):
        await room.submit(f"document {number}")
    return Pair(room, *[await room.held() for _ in range(count)])


async def retried(room: Room, claim: ClaimedRun) -> ClaimedRun:
    await room.repository.retry(await room.repository.get(claim.run_id), stage_id="deliver")
    return await room.held()


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "".join("ab"[number] for number in order))
async def test_in_every_order_of_commits_one_run_is_new_and_the_other_one_sees_it(
    room: Room, order: Sequence[int]
) -> None:
    pair = await at_work(room)
    steps = [iter(STEPS), iter(STEPS)]

    for number in order:
        await getattr(pair, next(steps[number]))(number)

    first = order[0]  # who committed first is the earlier one
    other = 1 - first
    places = [[place for place, number in enumerate(order) if number == side] for side in (0, 1)]
    other_is_done = places[other][STEPS.index("end")] < places[first][STEPS.index("read")]
    assert pair.seen[other] == {first}
    assert pair.seen[first] == ({other} if other_is_done else set())  # nobody is kept from seeing what is done


async def test_many_that_commit_at_the_same_moment_are_in_one_order(room: Room) -> None:
    pair = await at_work(room, 8)

    await asyncio.gather(*(pair.commit(number) for number in range(8)))
    await asyncio.gather(*(pair.read(number) for number in range(8)))

    assert sorted(len(seen) for seen in pair.seen) == list(range(8))
    assert all((a in pair.seen[b]) != (b in pair.seen[a]) for a, b in itertools.combinations(range(8), 2))


async def test_a_run_that_lost_its_worker_keeps_its_place(room: Room) -> None:
    pair = await at_work(room)
    await pair.commit(0)
    await pair.commit(1)
    await pair.again(0)

    await pair.commit(0)
    await pair.read(0)
    await pair.read(1)

    assert pair.seen == [set(), {0}]


@pytest.mark.parametrize(
    ("status", "stage"),
    [(RunStatus.FAILED, "extract"), (RunStatus.CANCELLED, "extract"), (RunStatus.CANCELLED, "deliver")],
)
async def test_a_run_that_came_to_nothing_holds_nobody_back(room: Room, status: RunStatus, stage: str) -> None:
    pair = await at_work(room)
    await pair.commit(0)
    await pair.end(0, status, stage)

    await pair.commit(1)
    await pair.read(1)

    assert pair.seen[1] == set()


@pytest.mark.parametrize(
    ("status", "stage"), [(RunStatus.PARKED, "extract"), (RunStatus.PARKED, "deliver"), (RunStatus.FAILED, "deliver")]
)
async def test_a_run_that_a_person_may_still_let_go_on_is_seen_by_whoever_comes_after_it(
    room: Room, status: RunStatus, stage: str
) -> None:
    pair = await at_work(room)
    await pair.commit(0)
    await pair.end(0, status, stage)

    await pair.commit(1)
    await pair.read(1)
    await pair.read(0)

    assert pair.seen == [set(), {0}]


async def test_a_run_whose_workers_were_all_lost_is_still_seen(room: Room) -> None:
    pair = await at_work(room)
    await pair.commit(0)
    await pair.again(0)
    await pair.again(0)
    await pair.room.lose(pair.claims[0])

    await pair.commit(1)
    await pair.read(1)

    assert (await room.repository.get(pair.claims[0].run_id)).status is RunStatus.PARKED
    assert pair.seen[1] == {0}


@pytest.mark.parametrize("status", [RunStatus.PARKED, RunStatus.FAILED])
async def test_a_retry_behind_every_check_is_seen_all_the_time(room: Room, status: RunStatus) -> None:
    pair = await at_work(room)
    await pair.commit(0)
    await pair.end(0, status, "deliver")
    run = await room.repository.get(pair.claims[0].run_id)

    await room.repository.retry(run, stage_id="deliver")
    await pair.commit(1)
    await pair.read(1)

    assert pair.seen[1] == {0}


async def test_a_retry_that_finds_its_result_anew_comes_after_those_who_did_not_see_it(room: Room) -> None:
    pair = await at_work(room)
    await pair.commit(0)
    await pair.end(0, RunStatus.PARKED, "deliver")
    run = await room.repository.get(pair.claims[0].run_id)
    await room.repository.retry(run, stage_id="extract", forgotten=["extract"])
    await pair.commit(1)
    await pair.read(1)
    again = await room.held()

    await room.repository.checkpoint(
        again, attempts=[], outputs=[output("extract")], next_stage_id="deliver", identity="same"
    )
    rows = await room.repository.earlier("same", again.document_id, again.run_id)

    assert pair.seen[1] == set()
    assert [row.document_id for row in rows] == [pair.claims[1].document_id]


async def test_whoever_comes_back_after_a_failure_comes_after_those_who_did_not_see_it(room: Room) -> None:
    pair = await at_work(room)
    await pair.commit(0)
    await pair.end(0, RunStatus.FAILED, "extract")
    await pair.commit(1)
    await pair.read(1)
    claim = await retried(room, pair.claims[0])

    await room.repository.checkpoint(claim, attempts=[], outputs=[], next_stage_id="deliver", identity="same")
    rows = await room.repository.earlier("same", claim.document_id, claim.run_id)

    assert pair.seen[1] == set()
    assert [row.document_id for row in rows] == [pair.claims[1].document_id]


async def test_what_was_delivered_is_told_before_what_waits_for_a_person_however_many_those_are(room: Room) -> None:
    pair = await at_work(room, 24)
    delivered, running, last = 0, 1, 23
    await pair.commit(delivered)
    await pair.end(delivered)
    await pair.commit(running)
    for number in range(2, last):
        await pair.commit(number)
        why = Why(Code.PARKED_REVIEW, "Somebody has to look.")
        await room.repository.end(pair.claims[number], status=RunStatus.PARKED, why=why, stage_id="deliver")
    await pair.commit(last)

    rows = await room.repository.earlier("same", pair.claims[last].document_id, pair.claims[last].run_id)

    assert len(rows) == 20
    first_two = [pair.claims[delivered].document_id, pair.claims[running].document_id]
    assert [row.document_id for row in rows[:2]] == first_two


async def test_a_run_that_was_repeated_is_seen_until_the_newer_one_is(room: Room) -> None:
    pair = await at_work(room)
    await pair.commit(0)
    await pair.end(0, RunStatus.PARKED, "deliver")
    old = await room.repository.get(pair.claims[0].run_id)
    await room.repository.add_run(
        old.document_id, "tok_1", retry_of=old.id, stage_id="deliver", copy_from=old.id, copied_stages=["extract"]
    )
    await pair.commit(1)
    await pair.read(1)
    assert pair.seen[1] == {0}

    newer = await room.held()
    await room.repository.checkpoint(newer, attempts=[], outputs=[], next_stage_id="deliver", identity="same")
    await room.repository.end(newer, status=RunStatus.CANCELLED, stage_id="deliver")
    await pair.read(1)
    assert pair.seen[1] == set()


async def test_a_rejected_run_whose_review_is_asked_anew_comes_after_those_who_did_not_see_it(room: Room) -> None:
    pair = await at_work(room)
    await pair.commit(0)
    why = Why(Code.PARKED_REVIEW, "Somebody has to look.")
    await room.repository.end(pair.claims[0], status=RunStatus.PARKED, why=why, stage_id="deliver")
    run = await room.repository.get(pair.claims[0].run_id)
    await room.repository.decide(run, {"action": "reject", "actor": "ada", "message": "no"})
    rejected = await room.held()
    await room.repository.end(rejected, status=RunStatus.PARKED, stage_id="deliver")
    await pair.commit(1)
    await pair.read(1)

    run = await room.repository.get(rejected.run_id)
    await room.repository.retry(run, stage_id="deliver", anew=True)
    again = await room.held()
    await room.repository.checkpoint(again, attempts=[], outputs=[], next_stage_id="deliver", identity="same")
    rows = await room.repository.earlier("same", again.document_id, again.run_id)

    assert pair.seen[1] == set()
    assert [row.document_id for row in rows] == [pair.claims[1].document_id]
