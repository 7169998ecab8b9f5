"""Prints measured figures as tables, beside what limits them, the disk's sync latency and the machine's load."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))  # the benchmarks start servers with the tests' factories


#: Names the page that each table is added to; see `python -m benchmarks --save`.
SAVE_TO = "SWITCHGEAR_BENCHMARK_PAGE"


@dataclass(frozen=True)
class Figure:
    """One measured figure, what it is compared with, and the bar."""

    name: str
    value: str
    beside: str = ""
    ratio: str = ""
    bar: str = ""
    holds: bool | None = None


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in ("what", "measured", "beside", "ratio", "bar", ""):
        table.add_column(column, justify="left" if column == "what" else "right")
    for figure in figures:
        mark = "" if figure.holds is None else ("holds" if figure.holds else "MISSED")
        table.add_row(figure.name, figure.value, figure.beside, figure.ratio, figure.bar, mark)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    machine = f"disk: {sync_latency_ms():.2f} ms per fdatasync; load {os.getloadavg()[0]:.2f}; cores {os.cpu_count()}"
    console.print(machine)
    if SAVE_TO in os.environ:
        with Path(os.environ[SAVE_TO]).open("a", encoding="utf-8") as page:
            page.write(_section(title, figures, machine))


def _section(title: str, figures: Sequence[Figure], machine: str) -> str:
    lines = [f"## {title}", "", "| what | measured | beside | ratio | bar | |", "|---|---:|---:|---:|---:|---|"]
    for figure in figures:
        mark = "" if figure.holds is None else ("holds" if figure.holds else "**missed**")
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
