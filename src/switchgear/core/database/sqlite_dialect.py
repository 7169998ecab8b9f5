"""SQLite for the ORM without a thread for each connection: statements run where they are asked for.

In WAL mode a reader waits for nobody, and a writer that has the lock for nothing but its commit. Handing each call to
a thread, as asynchronous drivers do, costs more than most statements take. So only two things are waited for: the
lock, by asking again, and the disk, in a thread that nobody overtakes. Source: ADR 0008.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import AsyncAdaptedQueuePool, Pool
from sqlalchemy.util import await_only

from switchgear.core.database.sqlite import BUSY_MS, run_here
from switchgear.core.database.statements import Result, Statement, UnitStatements

NAME: Final = "sqlite+inline"  #: for `create_async_engine`
#: How long to wait before asking for the lock again, in seconds: at first, and at most.
_FIRST_PAUSE_S: Final = 0.0005
_LONGEST_PAUSE_S: Final = 0.02

registry.register("sqlite.inline", __name__, "InlineSqlite")
_disk = ThreadPoolExecutor(max_workers=2, thread_name_prefix="database-commit")


class _Cursor(sqlite3.Cursor):
    async def _async_soft_close(self) -> None:
        """What the engine asks of asynchronous cursors once a result is there; this one closes when it is read."""


class _Connection(sqlite3.Connection):
    def cursor(self, factory: Any = _Cursor) -> Any:
        """A cursor that the asynchronous engine knows how to treat."""
        return super().cursor(factory)


class InlineSqlite(SQLiteDialect_pysqlite):
    """The standard library's driver under an asynchronous engine."""

    driver = "inline"
    is_async = True
    supports_statement_cache = True

    def create_connect_args(self, url: URL) -> tuple[Any, Any]:
        """What the driver is called with."""
        words, options = super().create_connect_args(url)
        return words, {**options, "factory": _Connection}

    @classmethod
    def get_pool_class(cls, url: URL) -> type[Pool]:
        """A pool that waits without blocking the loop."""
        return AsyncAdaptedQueuePool

    def get_driver_connection(self, connection: DBAPIConnection) -> Any:
        """There is nothing between the engine and the driver."""
        return connection

    def do_execute(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        """Run a statement here; the engine insists on being awaited once."""
        cursor.execute(statement, parameters)
        await_only(_nothing())

    def do_executemany(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        """Run a statement for each set of parameters here."""
        cursor.executemany(statement, parameters)
        await_only(_nothing())

    def do_commit(self, dbapi_connection: Any) -> None:
        """Wait for the disk in a thread."""
        await_only(_undisturbed(dbapi_connection.commit))


class InlineStatements(UnitStatements):
    """Groups inside an open transaction, on the driver's own connection: the engine has nothing to add to them."""

    async def run(self, *statements: Statement) -> list[Result]:
        """See `Statements.run`; the surrounding unit of work commits."""
        if not self._connection.in_transaction():
            await self._connection.begin()
        assert self._connection.sync_connection is not None
        driver = self._connection.sync_connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        return [run_here(driver, statement) for statement in statements]


async def _nothing() -> None:
    """Over at once: the loop does not turn."""


def begin_immediate(connection: sqlite3.Connection, deadline: float) -> None:
    """Take the write lock, which another process or the narrow path may hold.

    Args:
        connection: The driver's connection.
        deadline: Until when to ask for it, in seconds as `time.monotonic` counts them; it is asked for once at least.

    Raises:
        sqlite3.OperationalError: The lock was not free in time, or the database cannot be written.
    """
    pause = _FIRST_PAUSE_S
    while not _begun(connection, last_time=time.monotonic() >= deadline):
        await_only(asyncio.sleep(pause))
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _begun(connection: sqlite3.Connection, *, last_time: bool) -> bool:
    connection.execute("PRAGMA busy_timeout=0")
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if last_time or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        return False
    finally:
        connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    return True


async def _undisturbed(work: Callable[[], None]) -> None:
    """Run *work* in a thread; whoever cancels waits as well, because two threads must not touch one connection."""
    future = asyncio.get_running_loop().run_in_executor(_disk, work)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError as error:
            cancelled = error
    failure = future.exception()
    if cancelled is not None:
        raise cancelled
    if failure is not None:
        raise failure
