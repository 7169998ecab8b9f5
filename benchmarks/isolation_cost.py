"""What isolation costs, at the levels that this machine has, side by side: starts, calls, documents, failures.

A start imports the module in a fresh fork server; a fresh worker is forked from one. From a failure to the start of the
next module is told by the module itself, without the engine's rows in between. Levels take turns, so that the
machine's moods hit all of them.

Usage: python -m benchmarks.isolation_cost [--calls 2000]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.tables import Figure, percentile, show
from switchgear.core.module_registry import probe_isolation
from switchgear.domain.run import AttemptResult, Outcome
from switchgear.ingestion.module_pool import Call, DocumentFile, ModulePools, ModuleUse, StageValue
from switchgear.sdk import Limits, StageLimits
from switchgear.sdk.values import Frozen

#: Modules that do what the text says, and that take a document.
MODULES = '''
import os, time
from switchgear.sdk import Blob, Module, module
from switchgear_tiny.contracts import Text, Upper

@module(stage="upper", contract="tiny-upper@1", version="1.0.0", guarantees={"is_upper", "keeps_length"})
class Does(Module):
    """Opens its own source, raises, dies, hangs, or says when it began."""

    def run(self, text: Text) -> Upper:
        began = time.monotonic()
        what, _, count = text.text.partition(" ")
        if what == "raise":
            raise ValueError(str(time.monotonic()))
        if what == "die":
            os.kill(os.getpid(), 9)
        while what == "hang":
            time.sleep(1)
        for _ in range(int(count or 0)):
            os.close(os.open(__file__, os.O_RDONLY))
        return Upper(text=str(began))

@module(stage="load", contract="tiny-load@1", version="1.0.0")
class Takes(Module):
    """Reads a document as far as its name says."""

    def run(self, blob: Blob) -> Text:
        if blob.file_name == "path":
            return Text(text=str(blob.path.stat().st_size))
        with blob.open() as stream:
            return Text(text=str(len(stream.read() if blob.file_name == "whole" else stream.read(16))))
'''
OPENED = 1000
ERRORS = 200
DOCUMENT_BYTES = 5 << 20
STARTS, WORKERS, DOCUMENTS, DEATHS, HANGS = 8, 40, 100, 40, 12
HANG_S = 0.1
#: Sends back what it gets: what two processes of Python cost without any engine.
_ECHO: Final = "import socket, sys; s = socket.socket(fileno=int(sys.argv[1]))\nwhile d := s.recv(4096): s.sendall(d)"
#: The round before made a worker in reserve; its start is over after this.
_SETTLE_S = 0.05


class Text(Frozen):
    """What the stage load gave."""

    text: str


class Bench:
    """Pools, and calls of the modules at any level."""

    def __init__(self, pools: ModulePools, folder: Path) -> None:
        self._pools = pools
        self._documents = {0: folder / "nothing", DOCUMENT_BYTES: folder / "document"}
        for size, path in self._documents.items():
            path.write_bytes(b"x" * size)
        self._starts = 0
        #: For each level, from an exception of a module until the engine knows of it.
        self.told_ms: dict[str, list[float]] = {}

    def use(self, level: str, module_id: str = "upper-does", digest: str = "") -> ModuleUse:
        """One process at a time, and one in reserve."""
        return ModuleUse(module_id, "{}", StageLimits(concurrency=1), level=level, code_digest=digest)  # type: ignore[arg-type]

    async def call(
        self, use: ModuleUse, text: str = "", size: int = 0, name: str = "", timeout_s: float = 30.0
    ) -> AttemptResult:
        """One call, with a document of *size* bytes."""
        document = DocumentFile(self._documents[size], "0", size, "text/plain", name)
        inputs = {"text": StageValue(Text, model=Text(text=text))}
        return await self._pools.call(use, Call("run_1", "doc_1", 1, timeout_s, document, inputs))

    async def call_us(self, use: ModuleUse, **call: Any) -> float:
        """How long one good call takes, in microseconds."""
        begin = time.perf_counter()
        result = await self.call(use, **call)
        took = (time.perf_counter() - begin) * 1e6
        if result.outcome is not Outcome.SUCCEEDED:
            raise RuntimeError(result.message)
        return took

    async def warm_us(self, level: str) -> float:
        """A call of a worker that waits for it."""
        return await self.call_us(self.use(level))

    async def opening_us(self, level: str) -> float:
        """Opening one file, in a call that opens many."""
        return await self.call_us(self.use(level), text=f"open {OPENED}") / OPENED

    async def start_ms(self, level: str) -> float:
        """A fork server, the import, its namespaces, one worker and its `open`."""
        self._starts += 1
        begin = time.perf_counter()
        lack = await self._pools.warm(self.use(level, digest=str(self._starts)))
        if lack is not None:
            raise RuntimeError(lack.message)
        took = (time.perf_counter() - begin) * 1e3
        await self._pools.keep([use for use in self._pools._pools if not use.code_digest])
        return took

    async def worker_ms(self, level: str) -> float:
        """A fork, its enclosure and its `open`."""
        crew = self._pools._pools[self.use(level)]._crew  # type: ignore[union-attr]
        begin = time.perf_counter()
        worker = await crew._start_worker()
        took = (time.perf_counter() - begin) * 1e3
        worker.kill("measured")
        return took

    def document_ms(self, name: str) -> Callable[[str], Awaitable[float]]:
        """What a document of 5 MB costs more than one of nothing."""

        async def one(level: str) -> float:
            use = self.use(level, "load-takes")
            nothing = await self.call_us(use, name=name)
            return (await self.call_us(use, name=name, size=DOCUMENT_BYTES) - nothing) / 1e3

        return one

    async def after_error_ms(self, level: str) -> float:
        """From an exception of a module to the start of the next one."""
        failed = await self.call(self.use(level), "raise")
        self.told_ms.setdefault(level, []).append((time.monotonic() - float(failed.message)) * 1e3)
        return (_began(await self.call(self.use(level, digest="next"))) - float(failed.message)) * 1e3

    async def after_death_ms(self, level: str) -> float:
        """From the call of a module that dies at once to the start of the next one."""
        return await self._failover_ms(level, "die", 30.0) * 1e3

    async def after_hang_ms(self, level: str) -> float:
        """From the deadline of a module that hangs to the start of the next one."""
        return (await self._failover_ms(level, "hang", HANG_S) - HANG_S) * 1e3

    async def _failover_ms(self, level: str, what: str, timeout_s: float) -> float:
        bad, good = self.use(level, digest="bad"), self.use(level)
        await self._pools.warm(bad)
        await asyncio.sleep(_SETTLE_S)
        begin = time.monotonic()
        failed = await self.call(bad, what, timeout_s=timeout_s)
        after = await self.call(good)
        if failed.outcome not in (Outcome.CRASH, Outcome.TIMEOUT):
            raise RuntimeError(str(failed))
        return _began(after) - begin


async def bare_ms(times: int) -> list[float]:
    """Round trips to a process that only sends back what it gets, in milliseconds."""
    loop, (here, there) = asyncio.get_running_loop(), socket.socketpair()
    here.setblocking(False)
    words = (sys.executable, "-c", _ECHO, str(there.fileno()))
    with here, subprocess.Popen(words, pass_fds=[there.fileno()]) as process:
        there.close()
        took = []
        for _ in range(times):
            begin = time.perf_counter()
            await loop.sock_sendall(here, b"x" * 200)
            await loop.sock_recv(here, 4096)
            took.append((time.perf_counter() - begin) * 1e3)
        process.kill()
    return took


def _began(result: AttemptResult) -> float:
    """When the module says that it began, in monotonic seconds."""
    if not isinstance(result.output, bytes):
        raise RuntimeError(str(result))
    return float(result.output.split(b'"')[3])


async def measure(bench: Bench, levels: Sequence[str], calls: int) -> list[Figure]:
    """Every row, at every level."""

    async def several(one: Callable[[str], Awaitable[float]], count: int) -> dict[str, list[float]]:
        times: dict[str, list[float]] = {level: [] for level in levels}
        for _ in range(count):
            for level in levels:
                times[level].append(await one(level))
        return times

    await several(bench.warm_us, 1)
    await several(bench.document_ms(""), 1)
    await several(bench.after_error_ms, 1)
    warm = await several(bench.warm_us, calls)
    errors = await several(bench.after_error_ms, ERRORS)
    bare = {"bare": (await bare_ms(ERRORS + 1))[1:]}
    failures = await several(bench.after_death_ms, DEATHS), await several(bench.after_hang_ms, HANGS)
    return [
        _figure("start, p50", "ms", await several(bench.start_ms, STARTS)),
        _figure("fresh worker, p50", "ms", await several(bench.worker_ms, WORKERS)),
        _figure("warm call, p50", "us", warm),
        _figure("warm call, p99", "us", warm, share=0.99),
        _figure("opening one file, p50", "us", await several(bench.opening_us, WORKERS)),
        _figure("document of 5 MB, p50", "ms", await several(bench.document_ms(""), DOCUMENTS), most=0.4),
        _figure("... and read whole, p50", "ms", await several(bench.document_ms("whole"), DOCUMENTS)),
        _figure("... and as a file, p50", "ms", await several(bench.document_ms("path"), DOCUMENTS)),
        _figure("a bare round trip between two processes, p50", "ms", bare),
        _figure("a bare round trip between two processes, p99", "ms", bare, share=0.99),
        _figure("exception to next module, p50", "ms", errors),
        _figure("  of it until the engine knows, p50", "ms", bench.told_ms),
        _figure("exception to next module, p99", "ms", errors, share=0.99, most=0.1),
        _figure("crash to next module, p50", "ms", failures[0]),
        _figure("crash to next module, p99", "ms", failures[0], share=0.99, most=10),
        _figure("deadline to next module, p50", "ms", failures[1]),
        _figure("deadline to next module, p99", "ms", failures[1], share=0.99, most=10),
    ]


def _figure(name: str, unit: str, times: dict[str, list[float]], *, share: float = 0.5, most: float = 0) -> Figure:
    found = {
        level: percentile(values, share) if share > 0.5 else statistics.median(values)
        for level, values in times.items()
    }
    words = [f"{level} {value:.2f} {unit}" for level, value in found.items()]
    values_in_order = list(found.values())
    return Figure(
        name,
        words[-1],
        ", ".join(words[:-1]),
        f"{values_in_order[-1] / values_in_order[0]:.2f}" if values_in_order[0] > 0 else "",
        f"<= {most:g} {unit}" if most else "",
        most / max(*found.values(), 0.001) if most else None,
    )


async def main(calls: int) -> None:
    """Measure and print."""
    from factories.plugin import install, write_distribution

    report = await probe_isolation(os.environ)
    for missing in (measure for measure in report.measures if not measure.is_available):
        print(f"missing here: {missing.name}: {missing.why}")
    levels = [level for level in ("L1", "L2", "L3") if report.allows(level)]
    with tempfile.TemporaryDirectory() as folder:
        site = install(Path(folder), modules={})
        (site / "bench_modules.py").write_text(MODULES)
        names = {"upper-does": "bench_modules:Does", "load-takes": "bench_modules:Takes"}
        write_distribution(site, "bench_modules", "1", names)
        sys.path.insert(0, str(site))
        pools = ModulePools(
            folder=Path(folder) / "scratch",
            limits=Limits(),
            environment=os.environ,
            resolve_secret=lambda reference: None,
            default_concurrency=1,
        )
        await pools.start()
        try:
            figures = await measure(Bench(pools, Path(folder)), levels, calls)
        finally:
            await pools.close()
    show("What isolation costs", figures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000)
    asyncio.run(main(parser.parse_args().calls))
