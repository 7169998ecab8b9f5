"""What one document costs in processor time and bytes, on a real server: the basis of docs/how-to/scale-out.md.

Usage: python -m benchmarks.document_cost [--count 20]

Processor time is that of the server and all its module processes together, warm; it hardly depends on what else the
machine does. It says how many cores a number of documents takes, not how long one of them waits.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from rich.progress import track

import switchgear.invoice
from benchmarks.tables import Figure, show

SAMPLES: Final = Path(switchgear.invoice.__file__).parent / "samples"
KINDS: Final = {
    "e-invoice as XML": "xrechnung-ubl.xml",
    "PDF with XML inside": "hybrid-en16931.pdf",
    "PDF with text": "text-dutch.pdf",
    "spreadsheet": "sheet-english.xlsx",
    "scan of one page, text recognition": "scan.png",
}
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def family(root: int) -> set[int]:
    """*root* and every process below it, by ids."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                parents[int(name)] = int(_stat(int(name))[1])
    found = {root}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _stat(process: int) -> list[str]:
    """Fields of /proc/PID/stat behind the name, which may hold anything."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


def processor_s(root: int) -> float:
    """Processor time of a process, all below it, and all of these that have ended, in seconds."""
    total = 0
    for process in family(root):
        with suppress(OSError):
            total += sum(int(value) for value in _stat(process)[11:15])
    return total / _TICKS


def database_bytes(home: Path) -> int:
    """Size of the instance's database with everything that is committed."""
    with closing(sqlite3.connect(home / "switchgear.db")) as database:
        (pages,), (size,) = (database.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
    return int(pages * size)


def carry(server: Any, data: bytes, name: str, count: int) -> None:
    """Send the same bytes *count* times, each a run of its own, and wait for the end of all."""
    url = "/documents?again=true"
    runs = [
        server.request("POST", url, files={"file": (name, data)}, expect=(200, 202)).json()["run"]["id"]
        for _ in range(count)
    ]
    for run in runs:
        server.ended(run, seconds=600)


def main(count: int) -> None:
    """Measure and print."""
    from factories.server import RunningServer

    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "none"
        site.mkdir()
        server = RunningServer(Path(folder) / "home", site, {"PIPELINE": "invoice", "LOG_LEVEL": "warning"}).start()
        figures: list[Figure] = []
        try:
            assert server.process is not None
            for kind, name in track(KINDS.items(), description="documents"):
                data = (SAMPLES / name).read_bytes()
                carry(server, data, name, 4)  # processes are warm after these
                before, held = processor_s(server.process.pid), database_bytes(server.home)
                carry(server, data, name, count)
                spent = (processor_s(server.process.pid) - before) / count
                grown = (database_bytes(server.home) - held) / count
                cores = f"{86_400 / spent:,.0f} a day and core"
                figures.append(Figure(kind, f"{spent * 1000:.0f} ms", f"{grown / 1000:.1f} kB of rows", cores))
        finally:
            server.stop()
    show("Processor time of one document, all stages, isolated modules", figures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20)
    main(parser.parse_args().count)
