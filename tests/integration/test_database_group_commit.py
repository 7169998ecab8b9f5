"""Groups of statements of many callers, committed together: each group whole or not at all, none harms another."""

from __future__ import annotations

import asyncio
import sqlite3
import time

import pytest
from sqlalchemy import make_url

from switchgear.core.database import Database, Refused, Result, Statement
from switchgear.core.database.postgres_writer import _MOST_PREPARED
from switchgear.domain.errors import DatabaseUnreachable
from switchgear.ingestion.run_repository.claiming import SHARED_LOCK

pytestmark = pytest.mark.anyio

_LATE = Statement("INSERT INTO admission (pipeline, generation) VALUES ('late', 0)")


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_the_narrow_path_gives_up_at_its_deadline_and_what_had_not_begun_never_will(database_url: str) -> None:
    database = Database(database_url, deadline_s=1.0)
    await database.start()
    await database.narrow.run(Statement("CREATE TABLE numbers (a INTEGER)"))
    other = sqlite3.connect(make_url(database_url).database or "", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()

    with pytest.raises(DatabaseUnreachable):
        await database.narrow.run(Statement("INSERT INTO numbers VALUES (1)"))

    assert time.monotonic() - began < 10
    other.execute("ROLLBACK")
    await database.narrow.run(Statement("INSERT INTO numbers VALUES (2)"))
    assert await database.narrow.query("SELECT a FROM numbers") == [(2,)]
    other.close()
    await database.close()


async def test_a_value_that_no_database_takes_fails_its_own_group_alone(database: Database) -> None:
    await database.narrow.run(Statement("CREATE TABLE texts (a TEXT)"))
    wrong = [Statement("INSERT INTO texts VALUES (:a)", {"a": value}) for value in ("\ud800", object())]
    right = Statement("INSERT INTO texts VALUES (:a)", {"a": "fine"})

    answers = await asyncio.gather(
        *(database.narrow.run(right, statement) for statement in wrong),
        database.narrow.run(right),
        return_exceptions=True,
    )

    assert [isinstance(answer, Exception) for answer in answers[:2]] == [True] * 2
    assert not isinstance(answers[2], BaseException)
    assert await database.narrow.query("SELECT count(*) FROM texts") == [(1,)]


async def test_parameters_find_their_places_whatever_their_order_and_however_often_they_stand(
    database: Database,
) -> None:
    swapped = Statement(
        "INSERT INTO modules (id, version, stage_id, contract, distribution, distribution_version, code_digest, "
        "enabled, installed, status, changed_at) "
        "VALUES (:id, :version, :stage, 'x', :id, :version, '', TRUE, TRUE, 'available', 0)",
        [{"stage": "s", "version": "2", "id": "one"}, {"id": "two", "version": "3", "stage": "s", "more": "?"}],
    )
    await database.narrow.run(swapped)
    assert await database.narrow.query("SELECT id, distribution, distribution_version FROM modules ORDER BY id") == [
        ("one", "one", "2"),
        ("two", "two", "3"),
    ]
    assert await database.narrow.query("SELECT :only", {"only": "x"}) == [("x",)]
    assert await database.narrow.scan("SELECT version FROM modules WHERE id = :id", {"id": "two"}) == [("3",)]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_whoever_is_cancelled_while_a_group_waits_to_begin_finds_it_undone(database_url: str) -> None:
    database = Database(database_url)
    await database.start()
    holder = sqlite3.connect(database.url.database or "", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    first = asyncio.create_task(database.narrow.run(Statement("DELETE FROM workers")))
    while database.narrow._waiting.qsize():  # type: ignore[attr-defined]
        await asyncio.sleep(0.001)
    second = asyncio.create_task(database.narrow.run(_LATE))
    await asyncio.sleep(0.01)
    second.cancel()
    await asyncio.wait({second})
    holder.execute("ROLLBACK")
    await first
    assert await database.narrow.query("SELECT * FROM admission WHERE pipeline = 'late'") == []
    holder.close()
    await database.close()


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_whoever_waits_for_a_lock_holds_up_only_those_who_want_one_and_leaves_undone_what_is_cancelled(
    database: Database,
) -> None:
    async with database.transaction(write=True) as holder:
        await database.lock_switch(holder)
        first = asyncio.create_task(database.narrow.run(SHARED_LOCK))
        waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while not await database.narrow.query(waits):
            await asyncio.sleep(0.001)
        second = asyncio.create_task(database.narrow.run(SHARED_LOCK, _LATE))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait({second})
        await database.narrow.run(Statement("INSERT INTO admission (pipeline, generation) VALUES ('beside', 0)"))
    await first
    found = await database.narrow.query("SELECT pipeline FROM admission WHERE pipeline IN ('late', 'beside')")
    assert found == [("beside",)]


async def test_a_group_that_fails_harms_none_of_those_that_went_along(database: Database) -> None:
    insert = "INSERT INTO admission (pipeline, generation) VALUES (:name, :number)"
    never = Statement("UPDATE admission SET generation = 9 WHERE pipeline = 'nobody'", expect=1)
    right = [Statement(insert, {"name": f"p{number}", "number": number}) for number in range(3)]
    wrong = Statement(insert, {"name": "refused", "number": 0})

    answers = await asyncio.gather(
        database.narrow.run(right[0]),
        database.narrow.run(wrong, never),
        database.narrow.run(right[1]),
        database.narrow.run(wrong, wrong),
        database.narrow.run(right[2]),
        return_exceptions=True,
    )

    assert [isinstance(answer, Exception) for answer in answers] == [False, True, False, True, False]
    assert isinstance(answers[1], Refused)
    names = await database.narrow.query("SELECT pipeline FROM admission WHERE pipeline <> 'invoice' ORDER BY pipeline")
    assert names == [("p0",), ("p1",), ("p2",)]


async def test_a_group_that_is_tried_again_sees_only_what_it_did_then(database: Database) -> None:
    await database.narrow.run(Statement("INSERT INTO admission (pipeline, generation) VALUES ('job', 0)"))
    never = Statement("UPDATE admission SET generation = 9 WHERE pipeline = 'nobody'", expect=1)
    claim = "UPDATE admission SET generation = 1 WHERE pipeline = 'job' AND generation = 0 RETURNING pipeline"

    first, second, *refused = await asyncio.gather(
        database.narrow.run(Statement(claim, fetch=True)),
        database.narrow.run(Statement(claim, fetch=True)),
        database.narrow.run(Statement(claim, fetch=True), never),
        database.narrow.run(never),
        return_exceptions=True,
    )

    assert all(isinstance(answer, Refused) for answer in refused)
    assert first == [Result([("job",)], 1)]
    assert second == [Result([], 0)]


async def test_what_a_group_expects_leaves_the_rows_as_they_were_asked_for(database: Database) -> None:
    insert = "INSERT INTO admission (pipeline, generation) VALUES (:name, 1)"
    update = "UPDATE admission SET generation = generation + 1 WHERE pipeline = :name"

    made, changed, read = await database.narrow.run(
        Statement(insert, {"name": "one"}, expect=1),
        Statement(f"{update} RETURNING pipeline, generation", {"name": "one"}, expect=1, fetch=True),
        Statement("SELECT generation FROM admission WHERE pipeline = :name", {"name": "one"}, expect=1, fetch=True),
    )

    assert (made.rows, made.changed) == ([], 1)
    assert (changed.rows, changed.changed) == ([("one", 2)], 1)
    assert (read.rows, read.changed) == ([(2,)], 1)


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_a_connection_that_the_server_closed_is_made_anew_before_anything_is_sent(database: Database) -> None:
    [[own]] = (await database.narrow.run(Statement("SELECT pg_backend_pid()", fetch=True)))[0].rows
    await database.narrow.query("SELECT pg_terminate_backend(:own, 5000)", {"own": own})

    await database.narrow.run(_LATE)

    assert await database.narrow.query("SELECT count(*) FROM admission WHERE pipeline = 'late'") == [(1,)]


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_more_kinds_of_statements_than_are_kept_prepared_are_prepared_anew(database: Database) -> None:
    for kind in range(_MOST_PREPARED + 10):
        [result] = await database.narrow.run(Statement(f"SELECT {kind}", fetch=True))
        assert result.rows == [(kind,)]
    for _ in range(_MOST_PREPARED):  # what is undone was prepared all the same
        with pytest.raises(Refused):
            await database.narrow.run(Statement("SELECT 1 FROM runs WHERE id = 'nobody'", expect=1))
    [count] = await database.narrow.run(Statement("SELECT count(*) FROM pg_prepared_statements", fetch=True))
    [[kept]] = count.rows
    assert kept <= _MOST_PREPARED + 2


async def test_many_rows_are_inserted_like_one_whatever_the_sizes_of_their_numbers(database: Database) -> None:
    insert = (
        "INSERT INTO admission (pipeline, generation, held_by, held_until) "
        "VALUES (:name, :number, NULL, now_us() * 0 + :number) ON CONFLICT (pipeline) DO NOTHING"
    )
    numbers = [0, 7, 40_000, 2_000_000_000]
    rows = [{"name": f"p{number}", "number": number} for number in numbers]
    [result] = await database.narrow.run(Statement(insert, rows, expect=4))
    assert result.changed == 4
    many = [{"name": f"q{number:04}", "number": number} for number in range(200)]
    [result] = await database.narrow.run(Statement(insert, [*many, *rows]))
    assert result.changed == 200, "rows that are there already were counted, or new ones were not"
    found = await database.narrow.query("SELECT generation, held_until FROM admission WHERE pipeline LIKE 'p%'")
    assert sorted(found) == [(number, number) for number in numbers]
