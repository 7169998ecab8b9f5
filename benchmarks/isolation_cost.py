"""What isolation costs: one warm call, one call that opens a file, one fresh worker, at L1 and at L2 side by side.

Usage: python -m benchmarks.isolation_cost [--calls 2000]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.tables import Figure, percentile, show
from switchgear.core.module_registry import probe_isolation
from switchgear.domain.run import Outcome
from switchgear.ingestion.module_pool import Call, DocumentFile, ModulePools, ModuleUse, StageValue
from switchgear.sdk import Limits, StageLimits
from switchgear.sdk.values import Frozen

#: A module that opens as many files as the text says.
OPENS = '''
import os
from switchgear.sdk import Module, module
from switchgear_tiny.contracts import Text, Upper

@module(stage="upper", contract="tiny-upper@1", version="1.0.0", guarantees={"is_upper", "keeps_length"})
class Opens(Module):
    """Opens its own source."""

    def run(self, text: Text) -> Upper:
        for _ in range(int(text.text)):
            os.close(os.open(__file__, os.O_RDONLY))
        return Upper(text=text.text)
'''
OPENED = 1000
WORKERS = 40


class Text(Frozen):
    """What the stage load gave."""

    text: str


class Bench:
    """Pools, and calls of the module at one level or the other."""

    def __init__(self, pools: ModulePools, document: Path) -> None:
        self._pools = pools
        self._document = DocumentFile(document, "0", 0, "text/plain", "a.txt")

    async def call_us(self, level: str, opens: int = 0) -> float:
        """One call, in microseconds."""
        use = ModuleUse("upper-opens", "{}", StageLimits(concurrency=1), level=level)  # type: ignore[arg-type]
        inputs = {"text": StageValue(Text, model=Text(text=str(opens)))}
        begin = time.perf_counter()
        result = await self._pools.call(use, Call("run_1", "doc_1", 1, 30.0, self._document, inputs))
        took = (time.perf_counter() - begin) * 1e6
        if result.outcome is not Outcome.SUCCEEDED:
            raise RuntimeError(result.message)
        return took

    async def worker_ms(self, level: str) -> float:
        """Fork, enclose and open one worker, in milliseconds; the module is imported already."""
        use = ModuleUse("upper-opens", "{}", StageLimits(concurrency=1), level=level)  # type: ignore[arg-type]
        crew = self._pools._pools[use]._crew  # type: ignore[union-attr]
        begin = time.perf_counter()
        worker = await crew._start_worker()
        took = (time.perf_counter() - begin) * 1e3
        worker.kill("measured")
        return took


async def measure(bench: Bench, calls: int) -> list[Figure]:
    """Both levels in turns, so that the machine's moods hit both."""
    warm: dict[str, list[float]] = {"L1": [], "L2": []}
    opening: dict[str, list[float]] = {"L1": [], "L2": []}
    fresh: dict[str, list[float]] = {"L1": [], "L2": []}
    for level in warm:
        await bench.call_us(level)
    for _ in range(calls):
        for level, times in warm.items():
            times.append(await bench.call_us(level))
    for _ in range(WORKERS):
        for level in warm:
            opening[level].append((await bench.call_us(level, OPENED) - statistics.median(warm[level])) / OPENED)
            fresh[level].append(await bench.worker_ms(level))
    return [
        _figure("warm call, p50", "us", {level: statistics.median(times) for level, times in warm.items()}),
        _figure("warm call, p99", "us", {level: percentile(times, 0.99) for level, times in warm.items()}),
        _figure("opening one file, p50", "us", {level: statistics.median(times) for level, times in opening.items()}),
        _figure("fresh worker, p50", "ms", {level: statistics.median(times) for level, times in fresh.items()}),
    ]


def _figure(name: str, unit: str, levels: dict[str, float]) -> Figure:
    one, two = levels["L1"], levels["L2"]
    return Figure(name, f"L2 {two:.2f} {unit}", f"L1 {one:.2f} {unit}", f"{two / one:.2f}")


async def main(calls: int) -> None:
    """Measure and print."""
    from factories.plugin import install, write_distribution

    report = await probe_isolation(os.environ)
    if not report.allows("L2"):
        missing = "; ".join(f"{item.name}: {item.why}" for item in report.measures if not item.is_available)
        raise SystemExit(f"There is no L2 here: {missing}")
    with tempfile.TemporaryDirectory() as folder:
        site = install(Path(folder), modules={})
        (site / "opens.py").write_text(OPENS)
        write_distribution(site, "opens", "1", {"upper-opens": "opens:Opens"})
        sys.path.insert(0, str(site))
        document = Path(folder) / "document"
        document.touch()
        pools = ModulePools(
            folder=Path(folder) / "scratch",
            limits=Limits(),
            environment=os.environ,
            resolve_secret=lambda reference: None,
            default_concurrency=1,
        )
        await pools.start()
        try:
            figures = await measure(Bench(pools, document), calls)
        finally:
            await pools.close()
    show("What isolation costs", figures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000)
    asyncio.run(main(parser.parse_args().calls))
