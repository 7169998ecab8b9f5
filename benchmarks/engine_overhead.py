"""What the engine adds to a run of five trivial inline stages, contracts enforced, attempts durable.

Usage: python -m benchmarks.engine_overhead [--runs 300] [--profile]
Beside it, in the same process: the five functions called plainly, and the same rows written by the bare driver, one
transaction per run with synchronous=FULL. `--profile` names what the largest parts are.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.tables import Figure, show

STAGES = ("load", "upper", "count", "check", "send")


@dataclass
class Waited:
    """Seconds per run that the engine spent, in all and waiting for the database."""

    total: float = 0.0
    writes: float = 0.0
    reads: float = 0.0


class Timed:
    """The narrow path with a stop-watch."""

    def __init__(self, narrow: Any, waited: Waited) -> None:
        self._narrow, self._waited = narrow, waited

    def __getattr__(self, name: str) -> Any:
        return getattr(self._narrow, name)

    async def run(self, *statements: Any) -> Any:
        begin = time.perf_counter()
        answer = await self._narrow.run(*statements)
        self._waited.writes += time.perf_counter() - begin
        return answer

    async def query(self, *words: Any) -> Any:
        begin = time.perf_counter()
        answer = await self._narrow.query(*words)
        self._waited.reads += time.perf_counter() - begin
        return answer


async def engine(folder: Path, runs: int, workers: int, profile: bool, **more: Any) -> Waited:
    """What a run costs through the whole engine: claim, five stages, durable end; *more* are settings."""
    from switchgear.bootstrap import build
    from switchgear.core.logging import configure_logging
    from switchgear.core.settings import Settings
    from switchgear.domain.access import SYSTEM
    from switchgear.domain.activation import ActivationRequest, Mode
    from switchgear.domain.configuration import content_from_json

    home = folder / f"home-{workers}"
    settings = Settings(home=home, pipeline="tiny", workers=workers, allow_inline=True, min_free_bytes=0, **more)
    configure_logging(level="info", stream=(folder / "log.txt").open("a"))
    waited = Waited()

    def timed(name: str, part: Any) -> Any:
        if name == "database":
            part.narrow = Timed(part.narrow, waited)
        return part

    app = build(settings, with_worker=False, wrap=timed)
    await app.start()
    try:
        inline = {
            "selections": [{"stage_id": stage, "module_id": f"{stage}-inline"} for stage in STAGES],
            "fallback_policies": [],
        }
        created = await app.configurations.create(content_from_json(inline), by=SYSTEM)
        request = ActivationRequest(mode=Mode.ROLLING, accept_degraded=True)
        await app.configurations.activate(created.configuration.id, by=SYSTEM, request=request)
        while (await app.configurations.active()).id != created.configuration.id:
            await app.activations.advance()
            await asyncio.sleep(0.01)

        async def bytes_of(text: str) -> AsyncIterator[bytes]:
            yield text.encode()

        for number in range(runs):
            await app.intake.accept(
                bytes_of(f"document {number}"), file_name="a.txt", media_type="text/plain", by=SYSTEM
            )
        await app.queue.tend()
        stop = asyncio.Event()
        profiler = cProfile.Profile()
        waited.writes = waited.reads = 0.0
        begin = time.perf_counter()
        if profile:
            profiler.enable()
        worker = asyncio.create_task(app.worker.run_forever(stop))
        while (await app.repository.counts()).by_status.get("succeeded", 0) < runs:
            await asyncio.sleep(0.02)
        waited.total = time.perf_counter() - begin
        if profile:
            profiler.disable()
            pstats.Stats(profiler, stream=sys.stdout).sort_stats("tottime").print_stats(20)
        stop.set()
        await worker
        return Waited(waited.total / runs, waited.writes / runs, waited.reads / runs)
    finally:
        await app.stop()


def plain(runs: int) -> float:
    """Seconds per run of the five modules called directly, without any engine."""
    from switchgear_tiny.contracts import Checked, Count, Text, Upper

    begin = time.perf_counter()
    for number in range(runs):
        text = Text(text=f"document {number}")
        upper = Upper(text=text.text.upper())
        count = Count(words=len(upper.text.split()))
        Checked(text=upper.text, words=count.words)
    return (time.perf_counter() - begin) / runs


def bare_rows(folder: Path, runs: int) -> float:
    """Seconds per run to write the same rows with the bare driver: a claim, then an end with its attempts."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE runs (id TEXT PRIMARY KEY, status TEXT, token INTEGER, why TEXT)")
    columns = ", ".join(f"c{number}" for number in range(12))
    connection.execute(f"CREATE TABLE attempts (run_id TEXT, stage_id TEXT, {columns}, PRIMARY KEY (run_id, stage_id))")
    connection.execute("CREATE TABLE outputs (run_id TEXT, stage_id TEXT, value TEXT, PRIMARY KEY (run_id, stage_id))")
    connection.executemany("INSERT INTO runs VALUES (?, 'queued', 0, NULL)", [(f"run{n:08}",) for n in range(runs)])
    attempt = tuple(["some text of an attempt"] * 12)
    marks = ", ".join("?" * 14)
    begin = time.perf_counter()
    for number in range(runs):
        run = f"run{number:08}"
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE runs SET status = 'running', token = token + 1 WHERE id = ?", (run,))
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        rows: list[tuple[Any, ...]] = [(run, stage, *attempt) for stage in STAGES]
        connection.executemany(f"INSERT INTO attempts VALUES ({marks})", rows)
        connection.executemany("INSERT INTO outputs VALUES (?, ?, ?)", [(run, s, '{"text": "X"}') for s in STAGES])
        connection.execute("UPDATE runs SET status = 'succeeded' WHERE id = ? AND token = 1", (run,))
        connection.execute("COMMIT")
    seconds = (time.perf_counter() - begin) / runs
    connection.close()
    return seconds


def main(runs: int, profile: bool) -> None:
    """Measure and print."""
    from factories import plugin

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sys.path.insert(0, str(plugin.install(folder)))
        serial = asyncio.run(engine(folder, runs, 1, profile))
        many = asyncio.run(engine(folder, runs, 16, False))
        calls = plain(runs)
        rows = bare_rows(folder, runs)
    parts = {
        "waiting for durable writes": serial.writes,
        "waiting for reads": serial.reads,
        "the engine's own work": serial.total - serial.writes - serial.reads,
    }
    show(
        "Engine overhead per run: five inline stages, SQLite FULL",
        [
            Figure("plain calls", f"{calls * 1e6:.1f} us"),
            Figure("bare driver, the same rows", f"{rows * 1e6:.0f} us", f"{1 / rows:.0f}/s"),
            _figure("engine, one at a time", serial.total, rows),
            *(
                Figure(f"  of it {name}", f"{spent * 1e6:.0f} us", f"{spent / serial.total:.0%}")
                for name, spent in sorted(parts.items(), key=lambda part: -part[1])
            ),
            _figure("engine, 16 in flight", many.total, rows),
        ],
    )


def _figure(name: str, spent: float, rows: float) -> Figure:
    return Figure(name, f"{spent * 1e6:.0f} us", f"{1 / spent:.0f}/s", f"{spent / rows:.1f} x bare rows")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    main(arguments.runs, arguments.profile)
