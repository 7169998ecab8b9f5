"""Transactions of many callers at once, on both databases. Source: DESIGN 7, RELIABILITY 1."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time

import pytest
from sqlalchemy import make_url, text

from switchgear.core.database import Database, Refused, Result, Statement
from switchgear.core.database.postgres_writer import _MOST_PREPARED
from switchgear.domain.errors import DatabaseUnreachable
from switchgear.ingestion.run_repository.claiming import SHARED_LOCK

pytestmark = pytest.mark.anyio

_LATE = Statement("INSERT INTO admission (pipeline, generation) VALUES ('late', 0)")


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_writers_on_sqlite_are_served_in_the_order_they_came(database: Database) -> None:
    served: list[int] = []

    async def write(number: int) -> None:
        async with database.transaction(write=True) as connection:
            await connection.execute(text("SELECT 1"))
            served.append(number)
            await asyncio.sleep(0.01)
            await connection.commit()

    await asyncio.gather(*(write(number) for number in range(24)))

    assert served == list(range(24))


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_writer_waits_for_another_one_no_longer_than_its_deadline(database_url: str) -> None:
    database = Database(database_url, deadline_s=0.1)
    await database.start()
    entered = asyncio.Event()

    async def hold() -> None:
        async with database.transaction(write=True) as connection:
            await connection.execute(text("SELECT 1"))
            entered.set()
            await asyncio.sleep(1)

    holding = asyncio.create_task(hold())
    await entered.wait()
    with pytest.raises(DatabaseUnreachable, match="nothing was changed"):
        async with database.transaction(write=True) as connection:
            await connection.execute(text("SELECT 1"))

    await holding
    async with database.transaction(write=True) as connection:  # the lock is free again
        await connection.execute(text("SELECT 1"))
    await database.close()


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_waiting_for_other_writers_and_for_the_lock_share_one_deadline(database_url: str) -> None:
    database = Database(database_url, deadline_s=1.0)
    await database.start()
    elsewhere = sqlite3.connect(str(make_url(database_url).database), isolation_level=None)
    elsewhere.execute("BEGIN IMMEDIATE")

    async def write(after_s: float) -> float:
        await asyncio.sleep(after_s)
        began = time.monotonic()
        with pytest.raises(DatabaseUnreachable, match="nothing was changed"):
            async with database.transaction(write=True) as connection:
                await connection.execute(text("SELECT 1"))
        return time.monotonic() - began

    waited = await asyncio.gather(write(0), write(0.6))  # the second gets its turn when 0.6 s of its time are left

    elsewhere.close()
    assert max(waited) < 1.3
    await database.close()


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_statements_on_sqlite_run_where_they_are_asked_for_and_only_the_disk_is_waited_for_elsewhere(
    database: Database,
) -> None:
    seen: list[tuple[str, bool]] = []
    here = threading.get_ident()

    async with database.transaction(write=False) as connection:
        raw = await connection.get_raw_connection()
        assert isinstance(raw.driver_connection, sqlite3.Connection)
        raw.driver_connection.set_trace_callback(lambda sql: seen.append((sql, threading.get_ident() == here)))
        await connection.execute(text("SELECT 1"))
    async with database.transaction(write=True) as connection:
        await connection.execute(text("CREATE TABLE t (a INTEGER)"))
        await connection.commit()

    assert [words for words in seen if words[0].partition(" ")[0] != "PRAGMA"] == [
        ("BEGIN", True),
        ("SELECT 1", True),
        ("ROLLBACK", True),
        ("BEGIN IMMEDIATE", True),
        ("CREATE TABLE t (a INTEGER)", True),
        ("COMMIT", False),
    ]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_writer_on_sqlite_hands_its_connection_on_unless_something_went_wrong(database: Database) -> None:
    async def write(sql: str, *, commits: bool = True) -> object:
        async with database.transaction(write=True) as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            await connection.execute(text(sql))
            if commits:
                await connection.commit()
            return driver

    first = await write("CREATE TABLE t (a INTEGER)")
    assert await write("INSERT INTO t VALUES (1)", commits=False) is first
    assert await write("INSERT INTO t VALUES (2)") is first
    with pytest.raises(DatabaseUnreachable):
        await write("INSERT INTO t SELECT name FROM no_such_table")
    await write("INSERT INTO t VALUES (3)")
    assert await database.narrow.query("SELECT a FROM t ORDER BY a") == [(2,), (3,)]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_writer_of_another_process_holds_up_nobody_but_writers(database_url: str) -> None:
    database = Database(database_url, deadline_s=0.5)
    other = sqlite3.connect(make_url(database_url).database or "", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    longest, turn = 0.0, time.monotonic()

    async def write() -> None:
        async with database.transaction(write=True) as connection:
            await connection.execute(text("SELECT 1"))

    writing = asyncio.create_task(write())
    while not writing.done():
        await asyncio.sleep(0.001)
        longest, turn = max(longest, time.monotonic() - turn), time.monotonic()

    with pytest.raises(DatabaseUnreachable, match="nothing was changed"):
        await writing
    assert longest < 0.25  # the loop went on; waiting in it would have taken the whole half second
    other.execute("ROLLBACK")
    await write()
    other.close()
    await database.close()


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_writers_that_are_cancelled_at_any_moment_leave_nothing_half_done(database: Database) -> None:
    async with database.transaction(write=True) as connection:
        await connection.execute(text("CREATE TABLE pairs (a INTEGER)"))
        await connection.commit()

    async def write(number: int) -> None:
        async with database.transaction(write=True) as connection:
            await connection.execute(text("INSERT INTO pairs VALUES (:a)"), {"a": number})
            await connection.execute(text("INSERT INTO pairs VALUES (:a)"), {"a": number})
            await connection.commit()

    for steps in range(60):
        writing = [asyncio.create_task(write(number)) for number in range(4)]
        beside = asyncio.create_task(database.narrow.run(Statement("INSERT INTO pairs VALUES (7), (7)")))
        for _ in range(steps % 15):
            await asyncio.sleep(0)
        await asyncio.sleep(0.0002 * (steps % 4))
        for each in writing:
            each.cancel()
        await asyncio.gather(*writing, return_exceptions=True)
        await beside

    await write(99)
    async with database.transaction(write=False) as connection:
        counted = (await connection.execute(text("SELECT a, count(*) % 2 FROM pairs GROUP BY a"))).all()
    assert {odd for _, odd in counted} == {0}
    assert 99 in {number for number, _ in counted}


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_the_narrow_path_gives_up_at_its_deadline_and_what_had_not_begun_never_will(database_url: str) -> None:
    database = Database(database_url, deadline_s=0.2)
    await database.start()
    await database.narrow.run(Statement("CREATE TABLE numbers (a INTEGER)"))
    other = sqlite3.connect(make_url(database_url).database or "", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()

    with pytest.raises(DatabaseUnreachable):
        await database.narrow.run(Statement("INSERT INTO numbers VALUES (1)"))

    assert time.monotonic() - began < 2
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


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_start_that_is_repeated_makes_no_second_writer(database: Database) -> None:
    before = threading.active_count()
    await database.start()  # as an application does that could not come up the first time
    assert threading.active_count() == before  # a second one would be waited for without end at the close


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_start_that_is_cancelled_leaves_nothing_to_complain_about(database_url: str) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    database = Database(database_url)
    starting = asyncio.create_task(database.start())
    await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait({starting})

    await database.close()
    await asyncio.sleep(0)

    assert complaints == []


#: A commit whose connection dies before the answer: this cannot be told from a commit whose answer is lost.
_DIES_AT_COMMIT = """
CREATE TABLE dying (id int);
CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER dies AFTER INSERT ON dying DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION die()"""


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_a_commit_without_an_answer_is_not_said_to_have_changed_nothing(database: Database) -> None:
    async with database.transaction(write=True) as connection:
        for statement in _DIES_AT_COMMIT.split(";\n"):
            await connection.execute(text(statement))
        await connection.commit()
    insert = "INSERT INTO dying VALUES (1)"

    with pytest.raises(DatabaseUnreachable, match="whether the change was made is not known"):
        await database.narrow.run(Statement(insert))
    async with database.transaction(write=True) as connection:
        await connection.execute(text(insert))
        with pytest.raises(DatabaseUnreachable, match="whether the change was made is not known"):
            await database.commit(connection)
    with pytest.raises(DatabaseUnreachable, match="nothing was changed"):
        await database.narrow.run(Statement("SELECT pg_terminate_backend(pg_backend_pid())"))


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
