"""What the engine adds to a module's call, and where the time of a durable run goes.

Usage: python -m benchmarks.engine_overhead [--runs 300] [--profile]
Five trivial inline stages, contracts enforced, attempts recorded; beside them, in the same process, the modules called
plainly. `--profile` names what the largest parts are. What a second of durable runs holds is in durable_runs.py.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import importlib
import pstats
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from benchmarks import pure_stages
from benchmarks.tables import Figure, show


@dataclass
class Waited:
    """Seconds per run that the engine spent: in all, waiting for the database, in stages, on metrics and the log.

    Only of runs that go one at a time do the parts add up.
    """

    total: float = 0.0
    writes: float = 0.0
    reads: float = 0.0
    stages: float = 0.0
    told: float = 0.0

    def parts(self) -> list[Figure]:
        """What holds a run that goes alone, the largest part first."""
        own = self.total - self.writes - self.reads
        parts = {
            "waiting for durable writes": self.writes,
            "waiting for reads": self.reads,
            "attempts, contracts, breakers": self.stages,
            "metrics and log": self.told,
            "claim, rows, the worker's turns": own - self.stages - self.told,
        }
        ordered = sorted(parts.items(), key=lambda part: -part[1])
        return [
            *(
                Figure(f"  of it {name}", f"{spent * 1e6:.0f} us", f"{spent / self.total:.0%}")
                for name, spent in ordered
            ),
            Figure("  the engine's own work together", f"{own * 1e6:.0f} us", f"{own / self.total:.0%}"),
        ]

    def watch(self, app: Any) -> None:
        """Time the stages, and what is told after a commit."""
        runner, metrics = app.orchestrator._runner, app.metrics
        run_stage = runner.run

        async def run(*words: Any) -> Any:
            begin = time.perf_counter()
            end = await run_stage(*words)
            self.stages += time.perf_counter() - begin
            return end

        def timed(tell: Any) -> Any:
            def told(**facts: Any) -> None:
                begin = time.perf_counter()
                tell(**facts)
                self.told += time.perf_counter() - begin

            return told

        runner.run = run
        metrics.record_attempt = timed(metrics.record_attempt)
        metrics.record_run_end = timed(metrics.record_run_end)


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
    from switchgear.interface.cli.garbage_collection import spare_from_collection

    home = folder / f"home-{workers}"
    settings = Settings(home=home, pipeline="pure", workers=workers, allow_inline=True, min_free_bytes=0, **more)
    configure_logging(level="info", stream=(folder / "log.txt").open("a"))
    waited = Waited()

    def timed(name: str, part: Any) -> Any:
        if name == "database":
            part.narrow = Timed(part.narrow, waited)
        return part

    app = build(settings, with_worker=False, wrap=timed)
    await app.start()
    try:

        async def bytes_of(text: str) -> AsyncIterator[bytes]:
            yield text.encode()

        for number in range(runs):
            await app.intake.accept(
                bytes_of(f"document {number}"), file_name="a b.txt", media_type="text/plain", by=SYSTEM
            )
        await app.queue.tend()
        spare_from_collection()  # as a server does
        waited.watch(app)
        stop, left, over = asyncio.Event(), runs, asyncio.Event()
        execute = app.worker._execute

        async def counted(claim: Any) -> object:
            nonlocal left
            end = await execute(claim)
            left -= 1
            if not left:
                over.set()
            return end

        app.worker._execute = counted
        profiler = cProfile.Profile()
        waited.writes = waited.reads = waited.stages = waited.told = 0.0
        begin = time.perf_counter()
        if profile:
            profiler.enable()
        worker = asyncio.create_task(app.worker.run_forever(stop))
        await over.wait()
        waited.total = time.perf_counter() - begin
        if profile:
            profiler.disable()
            pstats.Stats(profiler, stream=sys.stdout).sort_stats("tottime").print_stats(20)
        assert (await app.repository.counts()).by_status["succeeded"] == runs
        stop.set()
        await worker
        return Waited(*(spent / runs for spent in astuple(waited)))
    finally:
        await app.stop()


def plain(calls: int) -> float:
    """Seconds per stage of the modules called directly, without any engine."""
    from benchmarks.pure_stages import Checked, Count, Name, Sealed, Upper

    begin = time.perf_counter()
    for _ in range(calls):
        name = Name(text="a b.txt")
        upper = Upper(text=name.text.upper())
        count = Count(words=len(upper.text.split()))
        checked = Checked(text=upper.text, words=count.words)
        Sealed(text=checked.text, words=checked.words, seal="sealed")
    return (time.perf_counter() - begin) / calls / len(pure_stages.STAGES)


async def stage(folder: Path, calls: int, level: str) -> float:
    """Seconds of the stage `upper` through the engine: contract enforced, attempt counted, logged at this level."""
    name_type = importlib.import_module("pure_stages").Name  # as the engine found it, not as this package names it
    from switchgear.bootstrap import build
    from switchgear.core.logging import configure_logging
    from switchgear.core.settings import Settings
    from switchgear.ingestion.module_pool import DocumentFile, StageValue
    from switchgear.ingestion.stage_runner import StageCall

    settings = Settings(home=folder / f"stage-{level}", pipeline="pure", allow_inline=True, min_free_bytes=0)
    configure_logging(level=level, stream=(folder / "log.txt").open("a"))
    app = build(settings, with_worker=False)
    await app.start()
    try:
        plan = await app.plans.get((await app.configurations.active()).id)
        upper = plan.stages[1]
        document = DocumentFile(Path("a"), "", 1, "", "a b.txt")
        inputs = {"name": StageValue(name_type, model=name_type(text="a b"))}
        call = StageCall("run_1", "doc_1", document, inputs, time.monotonic() + 900)
        begin = 0.0
        for number in range(calls + 100):
            if number == 100:  # warm
                begin = time.perf_counter()
            end = await app.orchestrator._runner.run(plan, upper, call)
            attempt = end.attempts[0]
            assert attempt.module_id is not None
            app.metrics.record_attempt(
                stage="upper", module=attempt.module_id, outcome=attempt.outcome, duration_us=attempt.duration_us
            )
        return (time.perf_counter() - begin) / calls
    finally:
        await app.stop()


def main(runs: int, profile: bool) -> None:
    """Measure and print."""
    from switchgear.interface.cli.server_process import loop_factory

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pure_stages.install(folder)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:  # as a server does
            serial = runner.run(engine(folder, runs, 1, profile))
            quiet = runner.run(stage(folder, 10 * runs, "info"))
            told = runner.run(stage(folder, 10 * runs, "debug"))
        call = plain(10 * runs)
    show(
        "Engine overhead: inline stages with their contract enforced; a durable run of five, SQLite FULL",
        [
            Figure("plain call of a module", f"{call * 1e6:.1f} us"),
            _overhead("a stage through the engine", quiet, call, 4),
            _overhead("the same with a line in the log", told, call, 12),
            Figure("a durable run", f"{serial.total * 1e6:.0f} us", f"{1 / serial.total:.0f}/s"),
            *serial.parts(),
        ],
    )


def _overhead(name: str, spent: float, plain_call: float, bar_us: float) -> Figure:
    more_us = (spent - plain_call) * 1e6
    return Figure(
        name,
        f"+ {more_us:.1f} us",
        f"{spent * 1e6:.1f} us in all",
        f"{spent / plain_call:.0f} x a plain call",
        f"<= {bar_us:g} us",
        bar_us / more_us,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    main(arguments.runs, arguments.profile)
