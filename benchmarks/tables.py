"""Prints measured figures as tables, beside what limits them, the disk's sync latency and the machine's load.

With `SAVE_TO` they are also added to a page, and to a JSON file beside it: `[{title, machine, figures[]}]`.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))  # the benchmarks start servers with the tests' factories


#: Names the page that each table is added to; see `python -m benchmarks --save`.
SAVE_TO = "SWITCHGEAR_BENCHMARK_PAGE"
#: Until a server's module processes have started, which endpoints are not measured beside, in seconds.
WARM_S = 6


@dataclass(frozen=True)
class Figure:
    """One measured figure, what it is compared with, and the bar.

    `better` says how many times better than the bar it is: below 1 the bar is missed.
    """

    name: str
    value: str
    beside: str = ""
    ratio: str = ""
    bar: str = ""
    better: float | None = None

    @property
    def mark(self) -> str:
        """Whether the bar holds; empty without one."""
        return "" if self.better is None else "holds" if self.better >= 1 else "missed"


def show(title: str, figures: Sequence[Figure]) -> str:
    """Print a table, and return what stands below it: the disk's latency, the load, the number of cores."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in ("what", "measured", "beside", "ratio", "bar", ""):
        table.add_column(column, justify="left" if column == "what" else "right")
    for figure in figures:
        table.add_row(figure.name, figure.value, figure.beside, figure.ratio, figure.bar, figure.mark)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    machine = f"disk: {sync_latency_ms():.2f} ms per fdatasync; load {os.getloadavg()[0]:.2f}; cores {os.cpu_count()}"
    console.print(machine)
    if SAVE_TO in os.environ:
        page = Path(os.environ[SAVE_TO])
        with page.open("a", encoding="utf-8") as file:
            file.write(section(title, figures, machine))
        data = page.with_suffix(".json")
        tables = json.loads(data.read_text()) if data.exists() else []
        tables.append({"title": title, "machine": machine, "figures": [asdict(figure) for figure in figures]})
        data.write_text(json.dumps(tables, indent=1) + "\n")
    return machine


def section(title: str, figures: Sequence[Figure], machine: str) -> str:
    """The table as a section of a page in Markdown."""
    lines = [f"## {title}", "", "| what | measured | beside | ratio | bar | |", "|---|---:|---:|---:|---:|---|"]
    for figure in figures:
        mark = "**missed**" if figure.mark == "missed" else figure.mark
        cells = (figure.name.strip(), figure.value, figure.beside, figure.ratio, figure.bar, mark)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"{machine[0].upper()}{machine[1:]}.", "", ""])


def sync_latency_ms(tries: int = 20) -> float:
    """Median time of one 4 KiB write and fdatasync, in milliseconds."""
    times = []
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(tries):
            file.write(b"x" * 4096)
            file.flush()
            begin = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which *share* of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
