"""Wrappers that fail the N-th call of the database, or of the store of files. Source: RELIABILITY 5."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from switchgear.core.database import Database, Result, Statement
from switchgear.core.database.statements import Narrow, Parameters, Row
from switchgear.domain.errors import DatabaseUnreachable
from switchgear.ingestion.artifact_store import ArtifactStore

T = TypeVar("T")


class Deed(StrEnum):
    """What happens at the chosen call.

    Only what writes is chosen for the last two: without a write nothing differs from the first, or from a kill before.
    """

    BEFORE = "the call fails before it"
    AFTER = "the call is done, but its answer is lost"
    KILL = "the process ends after the call"


@dataclass
class Faults:
    """Counts calls of the database, and does the deed at one of them.

    Attributes:
        at: Which call, from 1; 0 for none.
        deed: What happens there.
        of: Only calls with this word in a statement count; "" for all.
        calls: How many there were.
        ended: Set when the process was killed.
    """

    at: int = 0
    deed: Deed = Deed.BEFORE
    of: str = ""
    calls: int = 0
    armed: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def happened(self) -> bool:
        """Whether the chosen call came."""
        return self.calls >= self.at > 0

    async def around(self, call: Callable[[], Awaitable[T]], *, writes: bool = False, words: str = "") -> T:
        """Make the call, unless it is the chosen one; *words* are its statements."""
        if self.ended.is_set():
            await _for_ever()
        counts = self.armed and self.of in words and (writes or self.deed is Deed.BEFORE)
        self.calls += counts
        if not counts or self.calls != self.at:
            return await call()
        if self.deed is not Deed.BEFORE:
            await call()
        if self.deed is Deed.KILL:
            self.ended.set()
            await _for_ever()
        raise self.trouble()

    def trouble(self) -> Exception:
        """What the caller hears of a call that failed."""
        return DatabaseUnreachable("The database did not answer in time; this is a test.")

    def wrap(self, name: str, part: Any) -> Any:
        """For `bootstrap.build(wrap=...)`."""
        if name == "database":
            self._wrap_database(part)
        return part

    def wrap_store(self, store: ArtifactStore) -> None:
        """For the store of files of what was built: its calls are others'."""

    def _wrap_database(self, database: Database) -> None:
        database.narrow = FaultyNarrow(database.narrow, self)
        connection_class = self._connection_class()
        transaction = database.transaction

        @asynccontextmanager
        async def opened(*, write: bool) -> AsyncIterator[AsyncConnection]:
            await self.around(_nothing)
            async with transaction(write=write) as connection:
                connection.__class__ = connection_class
                yield connection

        database.transaction = opened  # type: ignore[method-assign]

    def _connection_class(self) -> type[AsyncConnection]:
        faults = self

        class FaultyConnection(AsyncConnection):
            """A connection whose commit is a call as well."""

            __slots__ = ()

            async def commit(self) -> None:
                await faults.around(super().commit, writes=True)

        return FaultyConnection


class FileFaults(Faults):
    """As `Faults`, for calls of the store of files."""

    def trouble(self) -> Exception:
        """See `Faults.trouble`."""
        return OSError(errno.EIO, "this is a test")

    def wrap(self, name: str, part: Any) -> Any:
        """The database does not fail."""
        return part

    def wrap_store(self, store: ArtifactStore) -> None:
        """See `Faults.wrap_store`."""
        for name in ("put", "put_bytes", "read", "verify"):
            setattr(store, name, self._around(getattr(store, name), writes=name.startswith("put")))

    def _around(self, call: Callable[..., Awaitable[T]], *, writes: bool) -> Callable[..., Awaitable[T]]:
        def made(*arguments: Any, **options: Any) -> Awaitable[T]:
            return self.around(lambda: call(*arguments, **options), writes=writes)

        return made


async def _for_ever() -> None:
    """The process is no more: nothing of it goes on. The test cancels what stands here."""
    await asyncio.get_running_loop().create_future()


async def _nothing() -> None:
    """A transaction that begins has no effect."""


class FaultyNarrow:
    """The narrow path, each call of which may be the chosen one."""

    def __init__(self, narrow: Narrow, faults: Faults) -> None:
        self._narrow = narrow
        self._faults = faults
        self.dialect = narrow.dialect
        self.boot_id = narrow.boot_id
        self.start = narrow.start
        self.close = narrow.close
        self.version = narrow.version

    async def run(self, *statements: Statement) -> list[Result]:
        """See `Statements.run`."""
        words = " ".join(statement.sql for statement in statements)
        return await self._faults.around(lambda: self._narrow.run(*statements), writes=True, words=words)

    async def query(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """See `Statements.query`."""
        return await self._faults.around(lambda: self._narrow.query(sql, parameters))

    async def scan(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """See `Statements.scan`."""
        return await self._faults.around(lambda: self._narrow.scan(sql, parameters))
