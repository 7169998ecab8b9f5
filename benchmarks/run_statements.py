"""Cost of the statements of a whole run (claim, one end with five attempts and outputs) beside the raw driver.

    python -m benchmarks.run_statements [--runs 2000] [--folder DIR]

Both write the same rows durably (WAL, synchronous=FULL) on the same disk. `in flight` is how many runs are carried at
the same time; the repository commits waiting groups together. Nothing else of a run is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.tables import Figure, show  # before the factories: it makes them importable
from factories.runs import Room, attempt, output
from switchgear.core import migrations
from switchgear.core.database import Database
from switchgear.core.database.sqlite import prepare
from switchgear.domain.run import RunStatus
from switchgear.ingestion.run_repository import claims

STAGES = ("one", "two", "three", "four", "five")
ATTEMPTS = [attempt(stage) for stage in STAGES]
OUTPUTS = [output(stage) for stage in STAGES]


def raw(path: Path, runs: int) -> tuple[float, float]:
    """Microseconds per run, by the wall clock and of CPU, with sqlite3 alone: two transactions of the same rows."""
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
    prepare(connection, None, busy_ms=5000)
    parameters = {"worker": "wrk_1", "lease": 20_000_000, "boot": "", "pipeline": "tiny"}
    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    for _ in range(runs):
        connection.execute("BEGIN IMMEDIATE")
        row = connection.execute(claims._claim_sql("sqlite", 0), parameters).fetchone()
        connection.execute("COMMIT")
        claim = claims.claimed(row, "wrk_1")
        end = {
            **claims._key(claim),
            "status": "succeeded",
            "open": False,
            "degraded": False,
            "stage": None,
            "identity": None,
            "why": None,
            "why_code": None,
        }
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(claims._END, end)
        connection.executemany(claims._ATTEMPT, [claims._attempt(claim, item) for item in ATTEMPTS])
        connection.executemany(claims._OUTPUT, [claims._output(claim, item) for item in OUTPUTS])
        connection.execute("COMMIT")
    spent_s, spent_cpu_s = time.perf_counter() - started_s, time.process_time() - started_cpu_s
    connection.close()
    return spent_s / runs * 1e6, spent_cpu_s / runs * 1e6


async def ours(room: Room, runs: int, in_flight: int) -> tuple[float, float]:
    """Microseconds per run, by the wall clock and of CPU, through the repository."""
    left = runs

    async def carry() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            claim = await room.held()
            await room.repository.end(claim, status=RunStatus.SUCCEEDED, attempts=ATTEMPTS, outputs=OUTPUTS)

    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    await asyncio.gather(*(carry() for _ in range(in_flight)))
    spent_s, spent_cpu_s = time.perf_counter() - started_s, time.process_time() - started_cpu_s
    return spent_s / runs * 1e6, spent_cpu_s / runs * 1e6


async def filled(url: str, runs: int) -> tuple[Database, Room]:
    """A database with so many queued runs."""
    database = Database(url)
    await database.start()
    room = await Room(database).prepare()
    for first in range(0, runs, 64):
        await asyncio.gather(*(room.submit(str(number)) for number in range(first, min(first + 64, runs))))
    return database, room


async def measure(folder: Path, runs: int) -> Sequence[tuple[str, float, float]]:
    """Each way on a fresh database."""
    rows: list[tuple[str, float, float]] = []
    for name, in_flight in (
        ("raw sqlite3, serial", 0),
        ("repository, 1 in flight", 1),
        ("repository, 16 in flight", 16),
    ):
        path = folder / f"{in_flight}.db"
        url = f"sqlite:///{path}"
        await asyncio.to_thread(migrations.upgrade, url)
        database, room = await filled(url, runs)
        if in_flight:
            rows.append((name, *await ours(room, runs, in_flight)))
        await database.close()
        if not in_flight:
            rows.append((name, *await asyncio.to_thread(raw, path, runs)))
    return rows


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--runs", type=int, default=2000)
    arguments.add_argument("--folder", type=Path, default=None, help="where the databases are written")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        rows = asyncio.run(measure(Path(name), given.runs))
    _, base_us, base_cpu_us = rows[0]
    show(
        "Statements of one run with five stages, SQLite FULL",
        [
            Figure(
                label,
                f"{spent_us:.0f} us",
                f"{1e6 / spent_us:.0f}/s",
                f"{spent_us / base_us:.2f} x; {cpu_us / base_cpu_us:.2f} x processor time",
            )
            for label, spent_us, cpu_us in rows
        ],
    )


if __name__ == "__main__":
    main()
