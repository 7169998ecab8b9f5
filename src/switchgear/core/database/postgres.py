"""The narrow path on PostgreSQL: a pool of psycopg connections. Source: DESIGN 7."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import psycopg
from psycopg.rows import tuple_row
from psycopg.types.numeric import Int8Dumper
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from switchgear.core.database.errors import commit_unanswered, unreachable
from switchgear.core.database.statements import Parameters, Result, Row, Statement, for_postgres, for_rows, refuse

#: Rows that are inserted by one statement.
_MOST_ROWS: Final = 50


class PostgresNarrow:
    """A pool of psycopg connections; a group is one transaction."""

    dialect = "postgresql"
    boot_id = ""

    def __init__(
        self, conninfo: str, *, clock: Callable[[], int] | None = None, deadline_s: float = 5.0, size: int = 8
    ) -> None:
        self._clock = clock
        self._deadline_s = deadline_s
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[Row]] = AsyncConnectionPool(
            conninfo,
            min_size=1,
            max_size=size,
            open=False,
            timeout=deadline_s,
            configure=_configure,
            kwargs={
                "autocommit": True,
                "row_factory": tuple_row,
                "connect_timeout": max(1, int(deadline_s)),
                "options": f"-c statement_timeout={int(deadline_s * 1000)}",
            },
        )

    async def start(self) -> None:
        """Open the pool and wait for one connection."""
        try:
            await self._pool.open(wait=True, timeout=self._deadline_s)
        except (psycopg.Error, PoolTimeout) as error:
            raise unreachable(error) from error

    async def close(self) -> None:
        """Close the pool."""
        await self._pool.close()

    def version(self) -> int | None:
        """See `Narrow.version`: no such number comes without a round trip."""
        return None

    async def run(self, *statements: Statement) -> list[Result]:
        """See `Statements.run`: all statements are sent at once, then their answers are read, then it is committed."""
        is_committing = False
        try:
            async with asyncio.timeout(self._deadline_s + 1), self._pool.connection() as connection:
                try:
                    async with connection.pipeline() as pipeline:
                        # Said by hand: the driver's own transaction waits at its begin, and twice at its end.
                        await connection.execute("BEGIN")
                        sent = [(statement, await self._send(connection, statement)) for statement in statements]
                        await _answered(pipeline, sent)
                        results = [await _result(statement, cursor) for statement, cursor in sent]
                        is_committing = True
                        await connection.execute("COMMIT")
                    return results
                except BaseException:
                    if not connection.closed:
                        await connection.rollback()
                    raise
        except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, TimeoutError) as error:
            raise (commit_unanswered(error) if is_committing else unreachable(error)) from error

    async def query(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """See `Statements.query`."""
        try:
            async with asyncio.timeout(self._deadline_s + 1), self._pool.connection() as connection:
                statement = Statement(sql, parameters or {}, fetch=True)
                return (await _result(statement, await self._send(connection, statement))).rows
        except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, TimeoutError) as error:
            raise unreachable(error) from error

    async def scan(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """See `Statements.scan`."""
        return await self.query(sql, parameters)

    async def _send(self, connection: psycopg.AsyncConnection[Row], statement: Statement) -> psycopg.AsyncCursor[Row]:
        now = self._clock() if self._clock else None
        cursor = connection.cursor()
        rows = statement.parameters or {}
        if isinstance(rows, Mapping):
            await cursor.execute(for_postgres(statement.sql, now), rows)
            return cursor
        together = for_rows(statement.sql, len(rows)) if len(rows) <= _MOST_ROWS else None
        if together is None:
            await cursor.executemany(for_postgres(statement.sql, now), rows)
        else:  # the driver sends and prepares each statement by itself, which costs more than a row does
            numbered = {f"{name}_{number}": value for number, row in enumerate(rows) for name, value in row.items()}
            await cursor.execute(for_postgres(together, now), numbered)
        return cursor


async def _configure(connection: psycopg.AsyncConnection[Row]) -> None:
    """Send every number as the same type: a statement is prepared once for each combination of types."""
    connection.adapters.register_dumper(int, Int8Dumper)


async def _answered(
    pipeline: psycopg.AsyncPipeline, sent: Sequence[tuple[Statement, psycopg.AsyncCursor[Row]]]
) -> None:
    """Wait for every answer; a guard that did not hold comes before what a later statement ran into."""
    try:
        await pipeline.sync()
    except psycopg.Error:
        for statement, cursor in sent:
            if cursor.pgresult is None:
                raise
            refuse(statement, cursor.rowcount)
        raise


async def _result(statement: Statement, cursor: psycopg.AsyncCursor[Row]) -> Result:
    rows = await cursor.fetchall() if statement.fetch else []
    changed = max(cursor.rowcount, len(rows))
    await cursor.close()
    refuse(statement, changed)
    return Result(rows, changed)
