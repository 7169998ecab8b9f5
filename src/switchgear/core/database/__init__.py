"""Connections to SQLite or PostgreSQL: the ORM engine, and the narrow write path for runs and attempts.

There are two ways to the database on purpose (DESIGN 7): the ORM for what an administrator touches, and plain
statements for runs and attempts (`database/statements.py`). Both see the same rules: SQLite in WAL mode
with `synchronous=FULL` and `BEGIN IMMEDIATE` for writers; PostgreSQL through psycopg 3. Every call has a deadline on
the client's side, because a black-holed database answers never (RELIABILITY 1).
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import event, make_url, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from switchgear.core.database import sqlite_dialect
from switchgear.core.database.errors import (
    DiskFull,
    ReadOnly,
    commit_unanswered,
    errors_of_drivers,
    translate,
    unreachable,
)
from switchgear.core.database.sqlite import BUSY_MS, SqliteNarrow, prepare
from switchgear.core.database.statements import Narrow, Refused, Result, Statement, Statements, UnitStatements
from switchgear.domain.errors import DatabaseUnreachable

__all__ = [
    "SWITCH_LOCK",
    "Clock",
    "Database",
    "DiskFull",
    "ReadOnly",
    "Refused",
    "Result",
    "Statement",
    "Statements",
    "translate",
]

Clock = Callable[[], int]  #: microseconds UTC

#: Key of the transaction advisory lock that a switch takes alone and first claims share. DESIGN 4
SWITCH_LOCK: Final = 0x5357_4745

#: Where a connection to SQLite says until when it asks for the write lock; a reader asks for none.
_WRITE_BY: Final = "switchgear_write_by"


class Database:
    """One database: the ORM's engine and the narrow path, opened and closed together.

    Args:
        url: SQLAlchemy URL, `sqlite:///FILE` or `postgresql+psycopg://...`.
        clock: Microseconds UTC; on PostgreSQL only used when given (tests), else the database's own time.
        deadline_s: Longest wait for one call, in seconds.
        pool_size: Connections kept to PostgreSQL by each of the two ways.
    """

    def __init__(self, url: str, *, clock: Clock | None = None, deadline_s: float = 5.0, pool_size: int = 8) -> None:
        self.url = make_url(url)
        self.dialect: str = self.url.get_backend_name()
        self._file = Path(self.url.database or "") if self.dialect == "sqlite" else None
        self.deadline_s = deadline_s
        self.clock = clock
        # SQLite lets whoever asks at the right moment write next; at 16 writers some would wait beyond their deadline.
        self._turn = asyncio.Lock() if self.dialect == "sqlite" else None
        self._writer: AsyncConnection | None = None  #: SQLite's, handed on from turn to turn
        self.engine: AsyncEngine = self._make_engine(pool_size)
        self.narrow: Narrow
        if self.dialect == "sqlite":
            self.narrow = SqliteNarrow(self.url.database or "", clock=clock, deadline_s=deadline_s)
        else:
            from switchgear.core.database.postgres import PostgresNarrow  # its driver takes a tenth of a start

            conninfo = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
            self.narrow = PostgresNarrow(conninfo, clock=clock, deadline_s=deadline_s, size=pool_size)

    async def start(self) -> None:
        """Open the narrow path; raises `DatabaseUnreachable` when the database does not answer."""
        await self.narrow.start()

    async def close(self) -> None:
        """Close every connection."""
        await self.narrow.close()
        if self._writer is not None:
            await self._writer.close()
            self._writer = None
        await self.engine.dispose()

    async def ping(self) -> None:
        """Answer from a fresh connection, because an old session may outlive a dead server.

        Raises:
            DatabaseUnreachable: No answer within the deadline.
        """
        engine = self._make_engine(1)
        try:
            async with self._until(time.monotonic() + self.deadline_s), engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        except SQLAlchemyError as error:
            raise unreachable(error, self._file) from error
        finally:
            await engine.dispose()

    @asynccontextmanager
    async def transaction(self, *, write: bool) -> AsyncIterator[AsyncConnection]:
        """One transaction; leaving with an error, or without `commit()`, rolls back. Writers are exclusive on SQLite.

        Raises:
            DatabaseUnreachable: The database did not answer, or other writers did not finish, within the deadline.
        """
        deadline = time.monotonic() + self.deadline_s  # one for the turn, the connection and the lock together
        try:
            async with self._turn_to_write(write, deadline), self._connect(deadline, write) as connection:
                connection.info[_WRITE_BY] = deadline if write else None
                yield connection
        except errors_of_drivers(SQLAlchemyError, TimeoutError) as error:
            ours = translate(error, self._file)
            if ours is None:
                raise
            raise ours from error

    async def commit(self, connection: AsyncConnection) -> None:
        """Make the transaction durable.

        Raises:
            DatabaseUnreachable: PostgreSQL did not answer; it may be durable or not.
        """
        try:
            await connection.commit()
        except errors_of_drivers(SQLAlchemyError) as error:
            if self.dialect == "sqlite" or translate(error) is None:  # a file that fails has committed nothing
                raise
            raise commit_unanswered(error) from error

    async def lock_switch(self, connection: AsyncConnection) -> None:
        """Take the switch lock alone until the transaction ends; must be the transaction's first statement.

        SQLite's `BEGIN IMMEDIATE` is that lock already. On PostgreSQL it has to be a statement of its own, before the
        one that reads (RELIABILITY 4).
        """
        if self.dialect == "postgresql":
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SWITCH_LOCK})

    def statements(self, connection: AsyncConnection) -> Statements:
        """Plain statements inside the transaction of *connection*."""
        kind = sqlite_dialect.InlineStatements if self.dialect == "sqlite" else UnitStatements
        return kind(connection, self.narrow, self.clock)

    @asynccontextmanager
    async def _connect(self, deadline: float, write: bool) -> AsyncIterator[AsyncConnection]:
        """A connection; of SQLite's writers each hands its own on to the next, if nothing went wrong."""
        hands_on = write and self._turn is not None
        connection, self._writer = (self._writer, None) if hands_on else (None, self._writer)
        if connection is None:
            async with self._until(deadline):
                connection = await self.engine.connect()
        try:
            yield connection
            if hands_on:
                if connection.in_transaction():
                    await connection.rollback()
                self._writer = connection
        finally:
            if self._writer is not connection:
                await connection.close()

    @asynccontextmanager
    async def _turn_to_write(self, write: bool, deadline: float) -> AsyncIterator[None]:
        if self._turn is None or not write:
            yield
            return
        async with self._until(deadline):
            await self._turn.acquire()
        try:
            yield
        finally:
            self._turn.release()

    @asynccontextmanager
    async def _until(self, deadline: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                yield
        except TimeoutError as error:
            raise DatabaseUnreachable(
                f"The database did not answer within {self.deadline_s:g} s; nothing was changed. Try again."
            ) from error

    def _make_engine(self, pool_size: int) -> AsyncEngine:
        if self.dialect == "sqlite":
            engine = create_async_engine(self.url.set(drivername=sqlite_dialect.NAME), pool_size=pool_size)
            event.listen(engine.sync_engine, "connect", partial(_prepare_sqlite, self.clock))
            event.listen(engine.sync_engine, "begin", _begin_sqlite)
            return engine
        return create_async_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=self.deadline_s,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": max(1, int(self.deadline_s)),
                "options": f"-c statement_timeout={int(self.deadline_s * 1000)}",
            },
        )


def _prepare_sqlite(clock: Clock | None, connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    prepare(connection, clock, BUSY_MS)


def _begin_sqlite(connection: Connection) -> None:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    deadline = connection.info.get(_WRITE_BY)
    if deadline is not None:
        sqlite_dialect.begin_immediate(driver, deadline)
    else:
        driver.execute("BEGIN")
