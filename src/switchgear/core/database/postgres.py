"""The narrow path on PostgreSQL: writers that commit groups together, a pool to read. Source: DESIGN 7."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Self

import psycopg
from psycopg.adapt import AdaptersMap
from psycopg.rows import tuple_row
from psycopg.types.numeric import Int8Dumper
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from switchgear.core.database.errors import unreachable
from switchgear.core.database.postgres_writer import PostgresWriter
from switchgear.core.database.statements import Parameters, Result, Row, Statement, for_postgres
from switchgear.domain.errors import DatabaseUnreachable

#: A table that grew since it was analysed looks small to the planner, which then sorts the whole queue for each claim.
#: What is written here is found by indexes, and a plan made once serves for all values.
BY_INDEX: Final = "-c enable_sort=off -c enable_seqscan=off -c plan_cache_mode=force_generic_plan"
#: How long the pool tries to replace a connection by itself, in seconds; then whoever asks next makes it try at once.
#: It doubles its pauses: left alone it would look away for half a minute after a long outage (I32: 5 s).
_RECONNECT_S: Final = 2.0


class PostgresNarrow:
    """A writer for groups that begin with a lock, one for all others, and a pool of connections to read with."""

    dialect = "postgresql"
    boot_id = ""

    def __init__(
        self, conninfo: str, *, clock: Callable[[], int] | None = None, deadline_s: float = 5.0, size: int = 8
    ) -> None:
        self._clock = clock
        self._deadline_s = deadline_s
        self._conninfo = conninfo
        self._size = size
        self._options = f"-c statement_timeout={int(deadline_s * 1000)}"
        words = conninfo, f"{self._options} {BY_INDEX}", _Adapters(), clock, deadline_s
        self._writer = PostgresWriter(*words)
        self._locking_writer = PostgresWriter(*words)  # nobody else waits for whoever waits for a lock
        self._failures: list[psycopg.Error] = []  #: why the pool made no connection the last time; else empty
        self.pool = self._make_pool()

    def _make_pool(self) -> AsyncConnectionPool[psycopg.AsyncConnection[Row]]:
        return AsyncConnectionPool(
            self._conninfo,
            connection_class=_remembering(self._failures),
            min_size=1,
            max_size=self._size,
            open=False,
            timeout=self._deadline_s,
            reconnect_timeout=_RECONNECT_S,
            kwargs={
                "autocommit": True,
                "row_factory": tuple_row,
                "connect_timeout": max(1, int(self._deadline_s)),
                "options": self._options,
            },
        )

    async def start(self) -> None:
        """Open the pool and wait for one connection."""
        try:
            await self.pool.open(wait=True, timeout=self._deadline_s)
        except psycopg.Error as error:
            self.pool = self._make_pool()  # one that could not be opened is closed for good
            raise self._unreachable(error) from error

    async def close(self) -> None:
        """Commit what waits, then close every connection."""
        await self._writer.close()
        await self._locking_writer.close()
        await self.pool.close()

    def version(self) -> int | None:
        """See `Narrow.version`: no such number comes without a round trip."""
        return None

    async def run(self, *statements: Statement) -> list[Result]:
        """See `Statements.run`."""
        takes_lock = bool(statements) and statements[0].is_lock
        return await (self._locking_writer if takes_lock else self._writer).run(*statements)

    async def query(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """See `Statements.query`."""
        worded = for_postgres(sql, self._clock() if self._clock else None)
        try:
            async with asyncio.timeout(self._deadline_s + 1):
                try:
                    return await self._ask(worded, parameters)
                except _DeadConnection:
                    # After a restart of the server all connections are dead, and the pool finds out one by one.
                    await self.pool.check()
                    return await self._ask(worded, parameters)
        except (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError) as error:
            raise self._unreachable(error) from error
        except _DeadConnection as error:
            raise self._unreachable(error.cause) from error

    async def _ask(self, worded: str, parameters: Parameters | None) -> list[Row]:
        async with self.pool.connection() as connection:
            try:
                return await (await connection.execute(worded, parameters or {})).fetchall()
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if connection.closed:
                    raise _DeadConnection(error) from error
                raise

    async def scan(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """See `Statements.scan`."""
        return await self.query(sql, parameters)

    def _unreachable(self, error: Exception) -> DatabaseUnreachable:
        """As `unreachable`; the pool itself only says that no connection came in time, not why."""
        return unreachable(self._failures[-1] if isinstance(error, PoolTimeout) and self._failures else error)


class _DeadConnection(Exception):
    """The connection ended under a statement, maybe long before it."""

    def __init__(self, cause: psycopg.Error) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _remembering(failures: list[psycopg.Error]) -> type[psycopg.AsyncConnection[Row]]:
    """A connection that keeps in *failures* why it could not be made, until one is made."""

    class Connection(psycopg.AsyncConnection[Row]):
        @classmethod
        async def connect(cls, conninfo: str = "", **options: Any) -> Self:
            """Connect, and remember how it went."""
            try:
                made = await super().connect(conninfo, **options)
            except psycopg.Error as error:
                failures[:] = [error]
                raise
            failures.clear()
            return made

    return Connection


class _Adapters:
    """Every number is sent as the same type: a statement is prepared once for each combination of types."""

    connection: None = None

    def __init__(self) -> None:
        self.adapters = AdaptersMap(psycopg.adapters)
        self.adapters.register_dumper(int, Int8Dumper)
