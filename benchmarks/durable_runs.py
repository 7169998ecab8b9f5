"""Durable runs a second: five trivial inline stages, each attempt recorded, on SQLite and PostgreSQL.

Usage: python -m benchmarks.durable_runs [--runs 2000] [--profile]
Beside the engine stand the same rows, written by the bare driver with the engine's own statements: one transaction
for the end of a run and the next claim. The stages have no effects outside; one that has costs a commit more.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from benchmarks import pure_stages
from benchmarks.engine_overhead import Waited, engine
from benchmarks.queue_backends import postgres
from benchmarks.tables import Figure, show, sync_latency_ms  # before the factories: it makes them importable
from factories.runs import attempt, output
from switchgear.bootstrap import Application, build
from switchgear.core.database import Statement
from switchgear.core.database.postgres import BY_INDEX
from switchgear.core.database.sqlite import prepare
from switchgear.core.database.statements import for_postgres, for_sqlite
from switchgear.core.logging import configure_logging
from switchgear.core.settings import Settings
from switchgear.domain.access import SYSTEM
from switchgear.domain.run import RunStatus
from switchgear.ingestion.run_repository import RunRepository
from switchgear.ingestion.run_repository.claiming import claimed
from switchgear.interface.cli.server_process import loop_factory

IN_FLIGHT: Final = 16
_BARS: Final = {"SQLite FULL": (1500, 2500, 400), "PostgreSQL": (1000, 2400, 275)}
#: Rows of runs that the bare driver wrote a second where the bars were set: one at a time, and with 16 in flight.
_BARE: Final = {"SQLite FULL": (4351, 7710), "PostgreSQL": (3024, 7841)}


@dataclass
class Said:
    """What the repository would have sent: the statements of one call."""

    dialect: str
    boot_id: str
    statements: tuple[Statement, ...] = ()

    async def run(self, *statements: Statement) -> list[Any]:
        """Keep the statements; there is no answer."""
        self.statements = statements
        raise InterruptedError


def statements_of(app: Application, call: Any) -> tuple[Statement, ...]:
    """The statements of one call of the repository."""
    said = Said(app.database.dialect, app.database.narrow.boot_id)
    coroutine = call(app.repository.on(said))  # type: ignore[arg-type]
    try:
        coroutine.send(None)
    except InterruptedError:
        return said.statements
    raise AssertionError("the repository sent nothing")


async def application(folder: Path, url: str | None, **more: Any) -> Application:
    """A fresh instance of the pipeline without effects."""
    settings: dict[str, Any] = {"home": folder, "pipeline": "pure", "allow_inline": True, "min_free_bytes": 0, **more}
    if url is not None:
        settings["database_url"] = url
    configure_logging(level="error")
    app = build(Settings(**settings), with_worker=False)
    await app.start()
    return app


async def fill(app: Application, runs: int) -> None:
    """Accept so many documents."""

    async def bytes_of(text: str) -> AsyncIterator[bytes]:
        yield text.encode()

    async def accept(number: int) -> None:
        await app.intake.accept(bytes_of(f"document {number}"), file_name="a b.txt", media_type="text/plain", by=SYSTEM)

    for first in range(0, runs, 64):
        await asyncio.gather(*(accept(number) for number in range(first, min(first + 64, runs))))


async def carried(folder: Path, url: str | None, runs: int, workers: int, profile: bool = False, **more: Any) -> Waited:
    """Seconds of a run through the whole engine."""
    if url is not None:
        more["database_url"] = url
    folder.mkdir(parents=True)
    return await engine(folder, runs, workers, profile, **more)


# --- the same rows by the bare driver ---


class Bare:
    """Claims and ends runs with the engine's statements and nothing else."""

    def __init__(self, app: Application) -> None:
        self.app = app
        self.dialect = app.database.dialect
        self.claiming = self._statements(lambda runs: runs.claim("wrk_1", 20.0))
        self.attempts = [attempt(stage) for stage in pure_stages.STAGES]
        self.outputs = [output(stage) for stage in pure_stages.STAGES]

    def _statements(self, call: Any) -> tuple[Statement, ...]:
        return statements_of(self.app, call)

    def ending(self, row: Any) -> tuple[Statement, ...]:
        """The statements that end a claimed run with its attempts and outputs."""
        claim, attempts, outputs = claimed(row, "wrk_1"), self.attempts, self.outputs

        def end(runs: RunRepository) -> Any:
            return runs.end(claim, status=RunStatus.SUCCEEDED, attempts=attempts, outputs=outputs)

        return self._statements(end)

    def sqlite(self, path: Path, runs: int, together: int) -> float:
        """Runs a second, so many in each transaction."""
        connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
        prepare(connection, None, busy_ms=5000)
        rows: list[Any] = []
        ending: tuple[Statement, ...]
        begin = time.perf_counter()
        for _ in range(0, runs + together, together):
            connection.execute("BEGIN IMMEDIATE")
            before, rows = rows, []
            for number in range(together):
                ending = self.ending(before[number]) if before else ()
                for statement in ending:
                    _run_sqlite(connection, statement)
                rows += [row for statement in self.claiming for row in _run_sqlite(connection, statement)]
            connection.execute("COMMIT")
        rate = runs / (time.perf_counter() - begin)
        connection.close()
        return rate

    def postgres(self, conninfo: str, runs: int) -> float:
        """Runs a second over one connection."""
        with psycopg.connect(conninfo, autocommit=True, options=BY_INDEX) as connection:
            row = None
            begin = time.perf_counter()
            for _ in range(runs + 1):
                with connection.pipeline():
                    connection.execute("BEGIN")
                    ending: tuple[Statement, ...] = self.ending(row) if row is not None else ()
                    for statement in ending:
                        _run_postgres(connection, statement)
                    claim = [_run_postgres(connection, statement) for statement in self.claiming][-1]
                    connection.execute("COMMIT")
                row = claim.fetchone()
            return runs / (time.perf_counter() - begin)


def _run_sqlite(connection: sqlite3.Connection, statement: Statement) -> list[Any]:
    sql, in_order = for_sqlite(statement.sql)
    if isinstance(statement.parameters, list):
        connection.executemany(sql, map(in_order, statement.parameters))
        return []
    return connection.execute(sql, in_order(statement.parameters)).fetchall()  # type: ignore[arg-type]


def _run_postgres(connection: psycopg.Connection[Any], statement: Statement) -> psycopg.Cursor[Any]:
    cursor = connection.cursor()
    if isinstance(statement.parameters, list):
        cursor.executemany(for_postgres(statement.sql), statement.parameters)
    else:
        cursor.execute(for_postgres(statement.sql), statement.parameters)
    return cursor


async def bare(folder: Path, url: str | None, runs: int, together: int) -> float:
    """Runs a second by the bare driver."""
    app = await application(folder, url)
    await fill(app, runs + together)
    work = Bare(app)
    await app.stop()
    if url is None:
        return await asyncio.to_thread(work.sqlite, Path(app.database.url.database or ""), runs, together)
    conninfo = app.database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with ThreadPoolExecutor(together) as pool:
        each = [pool.submit(work.postgres, conninfo, runs // together - 1) for _ in range(together)]
        return sum(one.result() for one in each)


# --- the table ---


async def table(name: str, folder: Path, make_url: Any, runs: int, profile: bool) -> None:
    """Measure one database and print it."""
    serial_bar, many_bar, stages_bar = _BARS[name]
    rows = await bare(folder / "bare-1", make_url(), runs, 1)
    serial = await carried(folder / "engine-1", make_url(), runs, 1, profile)
    group = await bare(folder / "bare-16", make_url(), runs, IN_FLIGHT)
    many = await carried(folder / "engine-16", make_url(), runs, IN_FLIGHT)
    each = await carried(folder / "stages", make_url(), runs // 2, 1, checkpoint_after_ms=0)
    show(
        f"Durable runs: five inline stages, {name}",
        [
            _bare("bare driver, one at a time", rows, _BARE[name][0], serial_bar),
            _figure("engine, one at a time", serial, rows, serial_bar),
            *serial.parts(),
            Figure(
                "  the same rows by the bare driver", f"{1e6 / rows:.0f} us", f"{1 / rows / serial.writes:.0%} of it"
            ),
            Figure("  one fdatasync of this disk", f"{sync_latency_ms() * 1000:.0f} us"),
            _bare(f"bare driver, {IN_FLIGHT} in flight", group, _BARE[name][1], many_bar),
            _figure(f"engine, {IN_FLIGHT} in flight", many, group, many_bar),
            _figure("engine, each stage durable", each, rows, stages_bar),
        ],
    )


def _figure(name: str, spent: Waited, beside: float, bar: int) -> Figure:
    measured = 1 / spent.total
    each = f"{spent.total * 1e6:.0f} us"
    return Figure(name, f"{measured:.0f}/s", each, f"{measured / beside:.2f} of bare", f">= {bar}/s", measured / bar)


def _bare(name: str, measured: float, there: int, bar: int) -> Figure:
    """How fast machine and database are by themselves, beside those where the bar was set, and the bar for these."""
    share = measured / there
    return Figure(name, f"{measured:.0f}/s", f"{share:.2f} of {there}/s", f"the bar by that: {bar * share:.0f}/s")


def main(runs: int, profile: bool) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL does not run as root
        pure_stages.install(folder)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:  # as a server does
            runner.run(table("SQLite FULL", folder / "sqlite", lambda: None, runs, profile))
        with postgres(folder) as make, asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(table("PostgreSQL", folder / "postgres", make, runs, profile))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    main(arguments.runs, arguments.profile)
