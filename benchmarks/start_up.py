"""Time and memory of starting: the help text, the first answer of a server, an idle server.

Usage: python -m benchmarks.start_up [--tries 5]
Bars (issue 2): help below 150 ms, first answer below 2.5 s, idle below 150 MiB.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2

from benchmarks.tables import Figure, show

COMMAND = str(Path(sys.executable).parent / "switchgear")


def timed(command: list[str]) -> float:
    """Wall time of a command, in milliseconds."""
    begin = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - begin) * 1000


def resident_mib(pid: int) -> float:
    """Resident memory of one process that it shares with nobody, in MiB (PSS)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the kernel shows no Pss")


def children_of(pid: int) -> list[int]:
    """Every process below *pid*."""
    found = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in _listed(task / "children")]
    return [process for child in found for process in (child, *children_of(child))]


def _listed(path: Path) -> list[str]:
    return path.read_text().split()


def main(tries: int) -> None:
    """Measure and print."""
    from factories.server import RunningServer

    help_ms = statistics.median(timed([COMMAND, "--help"]) for _ in range(tries))
    bare_ms = statistics.median(timed([sys.executable, "-c", "pass"]) for _ in range(tries))
    with tempfile.TemporaryDirectory() as folder:
        first: list[float] = []
        ready: list[float] = []
        home = Path(folder) / "home"
        for _ in range(tries + 1):
            server = RunningServer(home, Path(folder), {"PIPELINE": "invoice", "LOG_LEVEL": "warning"})
            begin = time.perf_counter()
            server.start(wait=False)
            while True:
                try:
                    httpx2.get(f"{server.url}/livez")
                    break
                except httpx2.TransportError:
                    time.sleep(0.01)
            first.append(time.perf_counter() - begin)
            while not server.is_ready():
                time.sleep(0.05)
            ready.append(time.perf_counter() - begin)
            time.sleep(3)
            assert server.process is not None
            idle = resident_mib(server.process.pid)
            modules = [resident_mib(pid) for pid in children_of(server.process.pid)]
            server.stop()
    once, again = first[0], statistics.median(first[1:])
    show(
        "Starting",
        [
            Figure(
                "switchgear --help",
                f"{help_ms:.0f} ms",
                f"python {bare_ms:.0f} ms",
                f"{help_ms / bare_ms:.1f} x",
                "< 150 ms",
                150 / help_ms,
            ),
            Figure("first start to first answer", f"{once:.2f} s", bar="< 2.5 s", better=2.5 / once),
            Figure("later start to first answer", f"{again:.2f} s", bar="< 2.5 s", better=2.5 / again),
            Figure(
                "  until it takes work", f"{statistics.median(ready[1:]):.2f} s", f"the first time {ready[0]:.2f} s"
            ),
            Figure("idle server, its own process (PSS)", f"{idle:.0f} MiB", bar="< 150 MiB", better=150 / idle),
            Figure("  its warm module processes", f"{sum(modules):.0f} MiB", f"{len(modules)} processes"),
        ],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=5)
    main(parser.parse_args().tries)
