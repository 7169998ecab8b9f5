"""Transactions of many callers at once, on both databases. Source: DESIGN 7, RELIABILITY 1."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
import time

import pytest
from sqlalchemy import make_url, text

from switchgear.core.database import Database, Statement
from switchgear.core.database.postgres import PostgresNarrow
from switchgear.domain.errors import DatabaseUnreachable

pytestmark = pytest.mark.anyio


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
    del starting
    gc.collect()  # what nobody waited for complains when it is gone
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


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_connections_that_died_unseen_cost_no_reader_an_answer(database: Database) -> None:
    """As after a restart of PostgreSQL: every connection of the pool is dead, and nobody has looked yet."""
    sleep = "SELECT pg_backend_pid() FROM (SELECT pg_sleep(0.2)) AS slept"
    pids = [row[0] for [row] in await asyncio.gather(*(database.narrow.query(sleep) for _ in range(4)))]
    async with database.transaction(write=True) as connection:
        for pid in pids:
            await connection.execute(text(f"SELECT pg_terminate_backend({pid}, 5000)"))

    answers = await asyncio.gather(*(database.narrow.query("SELECT 1") for _ in range(8)))

    assert [[tuple(row) for row in answer] for answer in answers] == [[(1,)]] * 8


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_a_read_that_takes_too_long_is_not_asked_twice(database_url: str) -> None:
    database = Database(database_url, deadline_s=0.5)
    await database.start()
    async with database.transaction(write=True) as connection:
        await connection.execute(text("CREATE SEQUENCE asked"))  # no end of a transaction takes its numbers back
        await connection.commit()
    with pytest.raises(DatabaseUnreachable):
        await database.narrow.query("SELECT pg_sleep(30 * nextval('asked'))")
    assert [tuple(row) for row in await database.narrow.query("SELECT nextval('asked')")] == [(2,)]
    await database.close()


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_after_an_outage_of_any_length_the_pool_looks_again_within_seconds(database: Database) -> None:
    """A test of its effect would have to wait for minutes: the pool's pauses double until it gives an attempt up."""
    assert isinstance(database.narrow, PostgresNarrow)
    assert database.narrow.pool.reconnect_timeout <= 5  # I32
