"""The writer on PostgreSQL: groups that wait go together, and one round trip makes them durable. Source: ADR 0016.

What is sent before the driver's "sync" is one transaction, and the server commits it there. What a group expects is
checked by the server too, so nothing has to come back before the commit. When anything fails nothing was done; groups
that went together are then tried one by one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import psycopg
from psycopg import pq
from psycopg.abc import AdaptContext
from psycopg.adapt import PyFormat, Transformer

from switchgear.core.database.errors import commit_unanswered, unreachable
from switchgear.core.database.statements import Job, Result, Row, Statement, for_rows, in_places, refusal, with_time

_MAX_GROUP: Final = 64
#: Rows that are inserted by one statement.
_MOST_ROWS: Final = 50
#: Kinds of statements that are prepared on the server; with more it forgets all and begins again.
_MOST_PREPARED: Final = 400
#: A statement is prepared once for each combination of types.
_Kind = tuple[str, tuple[int, ...]]
_FAILED: Final = pq.ExecStatus.FATAL_ERROR


@dataclass(frozen=True, slots=True)
class _Part:
    """One message to the server."""

    kind: _Kind
    values: Sequence[Any]
    formats: Sequence[pq.Format]


@dataclass(frozen=True, slots=True, eq=False)
class _Sent:
    """A statement as it goes over the wire, in several parts where it has many rows; and what came back."""

    statement: Statement
    parts: list[_Part]
    answers: list[pq.abc.PGresult]


@dataclass(frozen=True, slots=True)
class _Expected:
    """What is answered: a statement, or that it is prepared under a name from here on."""

    sent: _Sent | None = None
    prepares: _Kind | None = None
    name: bytes = b""


@dataclass(frozen=True, slots=True)
class _Group:
    job: Job
    sent: list[_Sent]


class _Undone(Exception):
    """A statement failed: nothing of what went with it was done."""

    def __init__(self, sent: _Sent | None, error: psycopg.Error) -> None:
        super().__init__(str(error))
        self.reason: Exception = error
        if isinstance(error, psycopg.errors.DivisionByZero) and sent is not None and sent.statement.expect is not None:
            self.reason = refusal(sent.statement)
        elif isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
            self.reason = unreachable(error)


class PostgresWriter:
    """One connection that commits waiting groups together.

    Args:
        conninfo: Where the database is.
        options: What the session is set to.
        adapters: How values are written and read.
        clock: Microseconds UTC; the database's own when None.
        deadline_s: Longest wait for one group, in seconds.
    """

    def __init__(
        self, conninfo: str, options: str, adapters: AdaptContext, clock: Callable[[], int] | None, deadline_s: float
    ) -> None:
        self._conninfo = conninfo
        self._options = options
        self._adapters = adapters
        self._clock = clock
        self._deadline_s = deadline_s
        self._waiting: deque[Job] = deque()
        self._committing: asyncio.Task[None] | None = None
        self._connection: psycopg.AsyncConnection[Row] | None = None
        self._prepared: dict[_Kind, bytes] = {}
        self._names = 0

    async def run(self, *statements: Statement) -> list[Result]:
        """See `Statements.run`."""
        loop = asyncio.get_running_loop()
        job = Job(statements, loop.create_future())
        timer = loop.call_later(self._deadline_s, job.give_up)
        self._waiting.append(job)
        if self._committing is None:
            self._committing = loop.create_task(self._commit_waiting(), name="database-writer")
        try:
            return await job.future
        finally:
            timer.cancel()

    async def close(self) -> None:
        """Commit what waits, then close the connection."""
        if self._committing is not None:
            await asyncio.wait({self._committing})
        self._hang_up()

    # --- groups ---

    async def _commit_waiting(self) -> None:
        try:
            while self._waiting:
                groups: list[_Group] = []
                while self._waiting and len(groups) < _MAX_GROUP:
                    job = self._waiting.popleft()
                    try:
                        groups.append(_Group(job, [self._encoded(statement) for statement in job.statements]))
                    except Exception as error:  # a value that no database takes
                        job.answer(error)
                await self._commit(groups)
        finally:
            self._committing = None

    async def _commit(self, groups: Sequence[_Group]) -> None:
        """Commit the groups together; where that fails, each alone."""
        groups = _wanted(groups)
        if not groups:
            return
        try:
            async with asyncio.timeout(self._deadline_s + 1):
                line = await self._line()
                groups = _wanted(groups)
                await self._exchange(line, groups)
        except _Undone as undone:
            if len(groups) == 1:
                groups[0].job.answer(undone.reason)
            else:
                for group in groups:
                    await self._commit([group])
        except BaseException as error:
            self._hang_up()
            for group in groups:
                group.job.answer(commit_unanswered(error) if group.job.has_begun else unreachable(error))
            if not isinstance(error, Exception):
                raise
        else:
            for group in groups:
                group.job.answer([self._result(sent) for sent in group.sent])

    async def _exchange(self, line: pq.abc.PGconn, groups: Sequence[_Group]) -> None:
        """Send everything and read every answer; raises `_Undone`, or what the connection broke with."""
        for group in groups:
            group.job.has_begun = True
            for sent in group.sent:
                sent.answers.clear()  # what came back before something failed was undone
        expected = list(self._send_all(line, groups))
        line.pipeline_sync()
        while line.flush():
            await _ready(line, to_write=True)
            line.consume_input()
        answers = await _answers(line)
        for wanted, answer in zip(expected, answers, strict=False):
            if answer.status == _FAILED:
                raise _Undone(wanted.sent, psycopg.errors.error_from_result(answer))
            if wanted.prepares is not None:  # stays so, whatever becomes of the transaction
                self._prepared[wanted.prepares] = wanted.name
            elif wanted.sent is not None:
                wanted.sent.answers.append(answer)
        if not answers or answers[-1].status != pq.ExecStatus.PIPELINE_SYNC:
            raise psycopg.OperationalError("the connection was lost before the commit was answered")
        for answer in answers[len(expected) :]:
            if answer.status == _FAILED:
                raise _Undone(None, psycopg.errors.error_from_result(answer))

    def _send_all(self, line: pq.abc.PGconn, groups: Sequence[_Group]) -> Iterator[_Expected]:
        """Send all statements, and yield what will be answered, in order."""
        if len(self._prepared) > _MOST_PREPARED:
            self._prepared.clear()
            line.send_query_params(b"DEALLOCATE ALL", None)
            yield _Expected()
        new: dict[_Kind, bytes] = {}
        for sent in _in_order(groups):
            for part in sent.parts:
                name = self._prepared.get(part.kind) or new.get(part.kind)
                if name is None:
                    self._names += 1
                    name = new[part.kind] = b"w%d" % self._names
                    line.send_prepare(name, part.kind[0].encode(), part.kind[1])
                    yield _Expected(sent, part.kind, name)
                line.send_query_prepared(name, part.values, part.formats)
                yield _Expected(sent)

    # --- statements ---

    def _encoded(self, statement: Statement) -> _Sent:
        parameters = statement.parameters or {}
        if isinstance(parameters, Mapping):
            return _Sent(statement, [self._part(statement, None, [parameters])], [])
        most = _MOST_ROWS if for_rows(statement.sql, 1) is not None else 1
        chunks = [parameters[first : first + most] for first in range(0, len(parameters), most)]
        return _Sent(statement, [self._part(statement, len(rows), rows) for rows in chunks], [])

    def _part(self, statement: Statement, rows: int | None, parameters: Sequence[Mapping[str, Any]]) -> _Part:
        now = self._clock() if self._clock is not None else None
        sql, in_order = _worded(statement.sql, rows, statement.expect, now)
        values = [value for row in parameters for value in in_order(row)]
        transformer = Transformer(self._adapters)
        sent = transformer.dump_sequence(values, [PyFormat.AUTO] * len(values))
        return _Part((sql, transformer.types or ()), sent, transformer.formats or ())

    def _result(self, sent: _Sent) -> Result:
        rows: list[Row] = []
        changed = 0
        for answer in sent.answers:
            if sent.statement.fetch and answer.ntuples:
                transformer = Transformer(self._adapters)
                transformer.set_pgresult(answer)
                rows += transformer.load_rows(0, answer.ntuples, tuple)
            changed += answer.command_tuples or 0
        return Result(rows, max(changed, len(rows)))

    # --- the connection ---

    async def _line(self) -> pq.abc.PGconn:
        """The connection, made anew where the server has closed it."""
        if self._connection is not None:
            try:
                for _ in range(2):  # the server's last words, then the end
                    self._connection.pgconn.consume_input()
            except psycopg.OperationalError:
                self._hang_up()
        if self._connection is None:
            connection = await psycopg.AsyncConnection.connect(
                self._conninfo, connect_timeout=max(1, int(self._deadline_s)), options=self._options
            )
            connection.pgconn.enter_pipeline_mode()
            self._connection = connection
            self._prepared.clear()
        return self._connection.pgconn

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.pgconn.finish()
            self._connection = None


def _wanted(groups: Sequence[_Group]) -> list[_Group]:
    """Without those that nobody waits for any more: they do not begin."""
    return [group for group in groups if not group.job.future.done()]


def _in_order(groups: Sequence[_Group]) -> Iterator[_Sent]:
    """Locks first, each once and in one order for all: or two that commit together could wait for each other."""
    everything = [sent for group in groups for sent in group.sent]
    locks = {_lock_key(sent.statement): sent for sent in everything if sent.statement.is_lock}
    yield from (locks[key] for key in sorted(locks))
    yield from (sent for sent in everything if not sent.statement.is_lock)


def _lock_key(statement: Statement) -> tuple[str, str]:
    return statement.sql, repr(statement.parameters)


async def _answers(line: pq.abc.PGconn) -> list[pq.abc.PGresult]:
    """Every answer up to that of the commit, which is the last one; fewer where the connection is lost."""
    found: list[pq.abc.PGresult] = []
    while not found or found[-1].status != pq.ExecStatus.PIPELINE_SYNC:
        with suppress(psycopg.OperationalError):  # what came before the end of the connection is read all the same
            while line.is_busy():
                await _ready(line)
                line.consume_input()
        answer = line.get_result()
        if answer is not None:
            found.append(answer)
        elif line.status == pq.ConnStatus.BAD:
            break
    return found


async def _ready(line: pq.abc.PGconn, *, to_write: bool = False) -> None:
    """Wait until something can be read, or written."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    socket = line.socket
    loop.add_reader(socket, tell)
    if to_write:
        loop.add_writer(socket, tell)
    try:
        await ready
    finally:
        loop.remove_reader(socket)
        if to_write:
            loop.remove_writer(socket)


@lru_cache(maxsize=1024)
def _worded(
    sql: str, rows: int | None, expect: int | None, now: int | None
) -> tuple[str, Callable[[Mapping[str, Any]], tuple[Any, ...]]]:
    """The statement as the server gets it, and what puts the parameters of one row into their order."""
    text, in_order = in_places(sql, "$")
    if rows is not None:
        text = for_rows(sql, rows) or text
    if expect is not None:
        returning = text if text.lstrip().startswith("SELECT") or " RETURNING " in text else f"{text} RETURNING 1"
        # Another number of rows than expected fails as a division by zero, and with it all that was sent along.
        text = f"""WITH changed AS ({returning}) SELECT changed.* FROM (
            SELECT 1 / CASE count(*) WHEN {expect} THEN 1 ELSE 0 END AS met FROM changed
        ) AS expected LEFT JOIN changed ON expected.met = 1"""  # noqa: S608 - only what the repositories say
    return with_time(text, now), in_order
