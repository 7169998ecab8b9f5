"""The narrow path on SQLite: one writer thread that commits waiting groups together. Source: DESIGN 7."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from switchgear.core.database.errors import unreachable
from switchgear.core.database.statements import (
    Job,
    Parameters,
    Result,
    Row,
    Statement,
    boot_time_us,
    for_sqlite,
    machine_boot_id,
    refuse,
    wall_time_us,
)

PRAGMAS: Final = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
_MAX_GROUP: Final = 64
#: How long a reader in the loop waits while another process opens or repairs the file, in milliseconds.
BUSY_MS: Final = 250


def prepare(connection: sqlite3.Connection, clock: Callable[[], int] | None, busy_ms: int) -> None:
    """Make a new connection durable, and teach it the words of `statements.py`.

    Args:
        connection: A connection that begins no transaction by itself.
        clock: Microseconds UTC; the machine's when None.
        busy_ms: How long a statement waits for a lock, in milliseconds.
    """
    for pragma in (f"busy_timeout={busy_ms}", *PRAGMAS):
        connection.execute(f"PRAGMA {pragma}")
    connection.create_function("now_us", 0, clock or wall_time_us)
    connection.create_function("lease_us", 0, boot_time_us)


class SqliteNarrow:
    """One writer thread that commits waiting groups together; what an index finds is read without a thread.

    On a disk where a sync is slow, committing together is worth a factor of ten (DESIGN 7).
    """

    dialect = "sqlite"

    def __init__(self, path: str, *, clock: Callable[[], int] | None = None, deadline_s: float = 5.0) -> None:
        self.boot_id = machine_boot_id()
        self._path = path
        self._clock = clock
        self._deadline_s = deadline_s
        self._waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._readers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="database-reader")
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._here: sqlite3.Connection | None = None  #: used in the loop's thread only
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Start the writer, unless it is at work: who could not come up for another reason starts again."""
        if self._thread is not None and self._thread.is_alive():
            return
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        self._thread = threading.Thread(target=self._write, args=(loop, ready), name="database-writer", daemon=True)
        self._thread.start()
        try:
            await ready
        except sqlite3.Error as error:
            raise unreachable(error, Path(self._path)) from error

    async def close(self) -> None:
        """Commit what waits, then stop."""
        if self._thread is not None:
            self._waiting.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        await asyncio.to_thread(self._readers.shutdown)
        while self._opened:
            self._opened.pop().close()
        if self._here is not None:
            self._here.close()
            self._here = None

    async def run(self, *statements: Statement) -> list[Result]:
        """See `Statements.run`."""
        loop = asyncio.get_running_loop()
        job = Job(statements, loop.create_future())
        timer = loop.call_later(self._deadline_s, job.give_up)
        self._waiting.put(job)
        try:
            return await job.future
        finally:
            timer.cancel()

    async def query(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """See `Statements.query`."""
        worded, in_order = for_sqlite(sql)
        return self._ask(worded, in_order(parameters or {}))

    def version(self) -> int | None:
        """See `Narrow.version`; the connection that reads commits nothing itself."""
        return int(self._ask("PRAGMA data_version", ())[0][0])

    def _ask(self, sql: str, parameters: tuple[object, ...]) -> list[Row]:
        try:
            if self._here is None:
                self._here = self._connect(busy_ms=BUSY_MS)
            return self._here.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise unreachable(error, Path(self._path)) from error

    async def scan(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """See `Statements.scan`."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._readers, self._read, sql, parameters or {})
        except sqlite3.Error as error:
            raise unreachable(error, Path(self._path)) from error

    def _connect(self, busy_ms: int | None = None) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, cached_statements=256)
        prepare(connection, self._clock, int(self._deadline_s * 1000) if busy_ms is None else busy_ms)
        return connection

    def _read(self, sql: str, parameters: Parameters) -> list[Row]:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
            self._opened.append(connection)
        worded, in_order = for_sqlite(sql)
        return connection.execute(worded, in_order(parameters)).fetchall()

    def _write(self, loop: asyncio.AbstractEventLoop, ready: asyncio.Future[None]) -> None:
        try:
            connection = self._connect()
        except sqlite3.Error as error:
            loop.call_soon_threadsafe(_tell, ready, error)
            return
        loop.call_soon_threadsafe(_tell, ready, None)
        stop = False
        while not stop:
            group: list[Job] = []
            job = self._waiting.get()
            while True:
                if job is None:
                    stop = True
                    break
                group.append(job)
                if len(group) >= _MAX_GROUP:
                    break
                try:
                    job = self._waiting.get_nowait()
                except queue.Empty:
                    break
            if group:
                answers = _commit_together(connection, group)
                loop.call_soon_threadsafe(_answer, answers)
        connection.close()


def _tell(ready: asyncio.Future[None], error: sqlite3.Error | None) -> None:
    if ready.done():  # whoever waited for the start was cancelled
        return
    if error is None:
        ready.set_result(None)
    else:
        ready.set_exception(error)


_Answer = tuple[Job, list[Result] | BaseException]


def _answer(answers: list[_Answer]) -> None:
    for job, answer in answers:
        job.answer(answer)


def _commit_together(connection: sqlite3.Connection, group: list[Job]) -> list[_Answer]:
    answers: list[_Answer] = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        for job in group:
            job.has_begun = True  # before the look: whoever cancels reads it afterwards
            if job.future.done():
                continue
            answers.append((job, _in_savepoint(connection, job, alone=len(group) == 1)))
        if len(group) == 1 and answers and isinstance(answers[0][1], BaseException):
            connection.execute("ROLLBACK")
        else:
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        return [(job, unreachable(error)) for job in group]
    return answers


def _in_savepoint(connection: sqlite3.Connection, job: Job, *, alone: bool) -> list[Result] | BaseException:
    """Run one group; alone in its transaction it needs no savepoint, because the transaction is undone instead."""
    if not alone:
        connection.execute("SAVEPOINT one")
    try:
        results = [run_here(connection, statement) for statement in job.statements]
    except sqlite3.OperationalError:
        raise  # of the file or the lock: it concerns everybody
    except Exception as error:  # of these statements: a refusal, a constraint, a value that is none
        if not alone:
            connection.execute("ROLLBACK TO one")
            connection.execute("RELEASE one")
        return error
    if not alone:
        connection.execute("RELEASE one")
    return results


def run_here(connection: sqlite3.Connection, statement: Statement) -> Result:
    """Run one statement in the transaction that is open. Raises `Refused`."""
    sql, in_order = for_sqlite(statement.sql)
    parameters = statement.parameters or {}
    if isinstance(parameters, Mapping):
        cursor = connection.execute(sql, in_order(parameters))
    else:
        cursor = connection.executemany(sql, map(in_order, parameters))
    rows = cursor.fetchall() if statement.fetch else []
    changed = max(cursor.rowcount, len(rows))
    refuse(statement, changed)
    return Result(rows, changed)
