"""The narrow path: groups of plain statements, each group one transaction. Used for runs and attempts only.

Statements name parameters as `:name`. Two words are replaced by what the backend knows best: `now_us()` is the time in
microseconds UTC (on PostgreSQL the database's own), `lease_us()` the clock that leases are measured with (on SQLite
the machine's boot time, so that a changed wall clock expires no lease). Source: DESIGN 7.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from switchgear.core.database.errors import unknown_outcome, unreachable
from switchgear.domain.errors import DomainError

Parameters = Mapping[str, Any]
Row = tuple[Any, ...]

_POSTGRES_NOW: Final = "(extract(epoch from clock_timestamp()) * 1000000)::bigint"
_PARAMETER: Final = re.compile(r"(?<![:\w]):([a-z][a-z0-9_]*)")
_NUMBERED: Final = re.compile(r"\$(\d+)")


class Refused(DomainError):
    """A guarded statement changed another number of rows than expected; its whole group was rolled back.

    For runs this means that the fencing token is old: another worker holds the run.
    """


@dataclass(slots=True)
class Statement:
    """One statement of a group.

    Attributes:
        sql: Text with `:name` parameters.
        parameters: One mapping, or several to run the statement for each.
        expect: Number of rows that must change; another number rolls the group back with `Refused`.
        fetch: Whether rows are wanted (SELECT, RETURNING).
        is_lock: Whether it takes a lock that the group needs first; groups that go together take it once.
    """

    sql: str
    parameters: Parameters | Sequence[Parameters] = ()
    expect: int | None = None
    fetch: bool = False
    is_lock: bool = False


@dataclass(slots=True)
class Result:
    """Rows when they were wanted, and how many rows changed."""

    rows: list[Row]
    changed: int


#: Statements that go with every group of the present request that changes something: all or nothing.
riders_var: ContextVar[tuple[Statement, ...]] = ContextVar("riders", default=())


class Statements(Protocol):
    """Runs groups of statements; the narrow path and a unit of work both can."""

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""

    @property
    def boot_id(self) -> str:
        """What leases are valid for: the machine's boot on SQLite, empty on PostgreSQL."""

    async def run(self, *statements: Statement) -> list[Result]:
        """Run the group in one transaction; all or nothing. Raises `Refused` and `DatabaseUnreachable`."""

    async def query(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """Read rows that an index finds; on SQLite that happens where it is asked for."""

    async def scan(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """Read rows for which many may have to be gone through; nobody else waits for that."""


class Narrow(Statements, Protocol):
    """The narrow path itself."""

    async def start(self) -> None:
        """Open it."""

    async def close(self) -> None:
        """Finish what waits, then close."""

    def version(self) -> int | None:
        """A number that is another one once anybody has committed; None where only asking everything again tells.

        Raises:
            DatabaseUnreachable: It cannot be read.
        """


def refusal(statement: Statement) -> Refused:
    """For a statement that changed another number of rows than it expects."""
    sentence = "The stored state has moved on meanwhile; nothing was changed. Read it again."
    return Refused(sentence, expected=statement.expect)


def refuse(statement: Statement, changed: int) -> None:
    """Raise `Refused` when *changed* is not what the statement expects."""
    if statement.expect is not None and changed != statement.expect:
        raise refusal(statement)


@dataclass(slots=True, eq=False)
class Job:
    """A group that waits for a writer. Once its future is done, because nobody waits any more, it does not begin."""

    statements: tuple[Statement, ...]
    future: asyncio.Future[list[Result]]
    has_begun: bool = False

    def give_up(self) -> None:
        """Its time is over."""
        if not self.future.done():
            self.future.set_exception(unknown_outcome() if self.has_begun else unreachable(TimeoutError()))

    def answer(self, answer: list[Result] | BaseException) -> None:
        """Tell whoever waits what came of it."""
        if self.future.done():
            return
        if isinstance(answer, BaseException):
            self.future.set_exception(answer)
            self.future.exception()  # seen: whoever asked may be gone, which is no fault to log
        else:
            self.future.set_result(answer)


def boot_time_us() -> int:
    """Microseconds since the machine started, suspended time included where the system counts it."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1000


def wall_time_us() -> int:
    """Microseconds UTC."""
    return time.time_ns() // 1000


def machine_boot_id() -> str:
    """An id that changes when the machine is started anew; empty where the system has none."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


@lru_cache(maxsize=1024)
def in_places(sql: str, mark: str) -> tuple[str, Callable[[Parameters], tuple[Any, ...]]]:
    """*sql* with numbered marks in place of names, and what puts parameters into their order."""
    names = list(dict.fromkeys(_PARAMETER.findall(sql)))
    numbered = _PARAMETER.sub(lambda match: f"{mark}{names.index(match[1]) + 1}", sql)
    if len(names) > 1:
        return numbered, itemgetter(*names)
    return numbered, lambda parameters: tuple(parameters[name] for name in names)


def for_sqlite(sql: str) -> tuple[str, Callable[[Parameters], tuple[Any, ...]]]:
    """As `in_places`: the driver looks each name up for each row, which takes as long as writing the row."""
    return in_places(sql, "?")


@lru_cache(maxsize=1024)
def _translated(sql: str) -> str:
    return _PARAMETER.sub(r"%(\1)s", sql.replace("%", "%%"))


def for_postgres(sql: str, now: int | None = None) -> str:
    """Write *sql* in psycopg's style, with the time as the database knows it, or *now* when a clock was given."""
    return with_time(_translated(sql), now)


def with_time(sql: str, now: int | None) -> str:
    """Say on PostgreSQL where the time comes from: from the database, or *now* when a clock was given."""
    words = _POSTGRES_NOW if now is None else str(now)
    return sql.replace("now_us()", words).replace("lease_us()", words)


@lru_cache(maxsize=256)
def for_rows(sql: str, rows: int) -> str | None:
    """*sql*, which inserts one row, for so many, with $1, $2, ... in their order, row by row. None for others."""
    numbered, _ = in_places(sql, "$")
    width = len(set(_PARAMETER.findall(sql)))
    head, values, rest = numbered.partition("VALUES (")
    if not values:
        return None
    depths = accumulate({"(": 1, ")": -1}.get(character, 0) for character in rest)
    end = next(place for place, depth in enumerate(depths) if depth < 0)
    row, tail = rest[:end], rest[end + 1 :]

    def of_row(number: int) -> str:
        return "(" + _NUMBERED.sub(lambda match: f"${int(match[1]) + number * width}", row) + ")"

    return f"{head}VALUES {', '.join(map(of_row, range(rows)))}{tail}"


class UnitStatements:
    """Runs groups inside an open transaction of the ORM, so that runs and audit change together or not at all.

    On SQLite `sqlite_dialect.InlineStatements` does it.
    """

    def __init__(self, connection: AsyncConnection, narrow: Statements, clock: Callable[[], int] | None) -> None:
        self.dialect = narrow.dialect
        self.boot_id = narrow.boot_id
        self._connection = connection
        self._clock = clock

    async def run(self, *statements: Statement) -> list[Result]:
        """See `Statements.run`; the surrounding unit of work commits."""
        results = []
        for statement in statements:
            cursor = await self._connection.exec_driver_sql(self._worded(statement.sql), statement.parameters or None)
            rows = [tuple(row) for row in cursor.fetchall()] if statement.fetch else []
            changed = max(cursor.rowcount, len(rows))
            refuse(statement, changed)
            results.append(Result(rows, changed))
        return results

    async def query(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """See `Statements.query`."""
        results = await self.run(Statement(sql, parameters or {}, fetch=True))
        return results[0].rows

    async def scan(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """See `Statements.scan`."""
        return await self.query(sql, parameters)

    def _worded(self, sql: str) -> str:
        return for_postgres(sql, self._clock() if self._clock else None)
