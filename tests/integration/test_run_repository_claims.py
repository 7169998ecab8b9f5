"""Each run is claimed by one worker at a time, in the order of acceptance, under the version of its first claim."""

from __future__ import annotations

import asyncio

import pytest

from factories.runs import LEASE_S, Room
from switchgear.core.database import Database, Statement
from switchgear.domain.errors import Code, Why
from switchgear.domain.run import RunStatus

pytestmark = pytest.mark.anyio


async def test_the_first_claim_pins_the_active_version_and_later_claims_keep_it(room: Room) -> None:
    await room.submit()
    first = await room.held()
    assert (first.first, first.configuration_id, first.configuration_version, first.token) == (True, "cfg_1", 1, 1)
    assert (first.file_name, first.media_type, first.size_bytes) == ("a.txt", "text/plain", 1)
    await room.configure(2)
    await room.activate(2)
    await room.repository.hand_back(first)
    second = await room.held()
    assert (second.first, second.configuration_id, second.configuration_version, second.token) == (False, "cfg_1", 1, 2)


async def test_the_oldest_run_is_found_by_an_index_also_when_the_table_grew_a_moment_ago(room: Room) -> None:
    await asyncio.gather(*(room.submit(f"document {number}") for number in range(4000)))
    claiming = room.repository.ride("wrk_1", LEASE_S).statements[0]
    how = "EXPLAIN" if room.database.dialect == "postgresql" else "EXPLAIN QUERY PLAN"
    [plan] = await room.database.narrow.run(Statement(f"{how} {claiming.sql}", claiming.parameters, fetch=True))
    words = str(plan.rows)
    assert "ix_runs_queue" in words
    assert "Sort" not in words
    assert "TEMP B-TREE" not in words
    assert "Seq Scan" not in words


async def test_nothing_is_claimed_without_an_active_configuration(database: Database) -> None:
    room = await Room(database).prepare(version=None)
    accepted = await room.submit()
    assert await room.claim() is None
    await room.configure(1)
    await room.activate(1)
    assert (await room.held()).run_id == accepted.run.id


async def test_forty_claimers_share_twenty_runs_without_overlap(room: Room) -> None:
    for number in range(20):
        await room.submit(str(number))
    claims = await asyncio.gather(*(room.claim(f"wrk_{number}") for number in range(40)))
    taken = [claim.run_id for claim in claims if claim is not None]
    while len(taken) < 20:  # SKIP LOCKED may pass one that another claimer looks at
        taken.append((await room.held()).run_id)
    assert len(set(taken)) == len(taken) == 20
    assert await room.claim() is None


async def test_runs_are_claimed_in_the_order_of_acceptance(room: Room) -> None:
    accepted = [(await room.submit(str(number))).run.id for number in range(5)]
    assert [(await room.held()).run_id for _ in range(5)] == accepted


async def test_a_run_that_backs_off_is_not_claimed_before_its_time(room: Room) -> None:
    await room.submit()
    claim = await room.held()
    why = Why(Code.WAITING_RETRY_BACKOFF, "The service asked for a pause.")
    await room.repository.hand_back(claim, available_in_us=3_600_000_000, why=why)
    assert await room.claim() is None
    run = await room.repository.get(claim.run_id)
    assert (run.status, run.why_code, run.losses) == (RunStatus.QUEUED, "waiting.retry_backoff", 0)
    assert await room.repository.count_running(room.database.narrow) == 0
    await room.database.narrow.run(Statement("UPDATE runs SET available_at = now_us()"))
    assert (await room.held()).run_id == claim.run_id
    assert (await room.repository.get(claim.run_id)).why is None
