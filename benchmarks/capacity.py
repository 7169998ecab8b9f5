"""Calculates what a number of documents a day takes from the measured figures, and writes it into the documentation.

Usage: python -m benchmarks.capacity
`python -m benchmarks --save` calls it at the end: docs/how-to/scale-out.md always shows what results.json gives.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import switchgear.invoice
from benchmarks.document_cost import KINDS

DATA: Final = Path(__file__).parent / "results.json"
PAGE: Final = Path(__file__).parents[1] / "docs" / "how-to" / "scale-out.md"
SAMPLES: Final = Path(switchgear.invoice.__file__).parent / "samples"
BEGIN: Final = "<!-- Written by python -m benchmarks.capacity from benchmarks/results.json. -->"
END: Final = "<!-- Until here. -->"
#: The mean day has peaks of three times the mean, and one document in ten is a scan where there are any.
PEAK: Final = 3
SCANS: Final = 0.1
DAYS: Final = (100_000, 1_000_000, 10_000_000)
_SCAN: Final = "scan of one page, text recognition"
_NUMBER: Final = re.compile(r"\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True)
class Cost:
    """What one document takes: processor time in seconds, rows and file in bytes."""

    processor_s: float
    rows: float
    file: float


@dataclass(frozen=True)
class Capacity:
    """The measured figures that the calculation needs; rates in runs a second, by database."""

    light: Cost
    scan: Cost
    engine: dict[str, int]
    bare: dict[str, int]


def read(tables: list[dict[str, Any]]) -> Capacity:
    """Take the figures out of the tables of results.json."""
    by_title = {table["title"]: {row["name"].strip(): row for row in table["figures"]} for table in tables}
    documents = by_title["Processor time of one document, all stages, isolated modules"]

    def cost(kind: str) -> Cost:
        row = documents[kind]
        size = (SAMPLES / KINDS[kind]).stat().st_size
        return Cost(_first(row["value"]) / 1e3, _first(row["beside"]) * 1e3, size)

    light = [cost(kind) for kind in KINDS if kind != _SCAN]
    mean = Cost(*(sum(part) / len(light) for part in zip(*(vars(one).values() for one in light), strict=True)))
    durable = {
        name: by_title[f"Durable runs: five inline stages, {title}"]
        for name, title in (("SQLite", "SQLite FULL"), ("PostgreSQL", "PostgreSQL"))
    }
    engine, bare = (
        {name: int(_first(table[f"{who}, 16 in flight"]["value"])) for name, table in durable.items()}
        for who in ("engine", "bare driver")
    )
    return Capacity(mean, cost(_SCAN), engine, bare)


def day(capacity: Capacity, documents: int) -> tuple[float, float, float, float, float, float]:
    """Calculate one day: mean and peak a second, cores at the peak without and with scans, rows and files in bytes."""
    mean = documents / 86_400
    mixed = (1 - SCANS) * capacity.light.processor_s + SCANS * capacity.scan.processor_s
    cores, with_scans = PEAK * mean * capacity.light.processor_s, PEAK * mean * mixed
    return mean, PEAK * mean, cores, with_scans, documents * capacity.light.rows, documents * capacity.light.file


def block(capacity: Capacity) -> str:
    """Write the tables as the page shows them."""
    lines = ["| | processor time | rows in the database | file |", "|---|---:|---:|---:|"]
    kinds = {
        "e-invoice, PDF, spreadsheet (mean of four)": capacity.light,
        "scan of one page, with text recognition": capacity.scan,
    }
    for kind, cost in kinds.items():
        cells = (_two(cost.processor_s * 1e3), _two(cost.rows / 1e3), _two(cost.file / 1e3))
        lines.append("| {} | {} ms | {} kB | {} kB |".format(kind, *cells))
    lines += ["", "| five stages that cost nothing, 16 runs in flight | Switchgear | the bare driver, the same rows |"]
    lines += ["|---|---:|---:|"]
    for name, rate in capacity.engine.items():
        lines.append(f"| {name}, on the same two cores | {rate:,}/s | {capacity.bare[name]:,}/s |")
    lines += ["", "| a day | mean, peak | cores, no scans | cores, one scan in ten | rows a day | files a day |"]
    lines += ["|---:|---:|---:|---:|---:|---:|"]
    for documents in DAYS:
        mean, peak, cores, with_scans, rows, files = day(capacity, documents)
        rates = f"{_two(mean)}/s, {_two(peak)}/s"
        sizes = f"{_two(rows / 1e9)} GB | {_two(files / 1e9)} GB"
        lines.append(f"| {documents:,} | {rates} | {_two(cores)} | {_two(with_scans)} | {sizes} |")
    return "\n".join(lines)


def written(page: str, text: str) -> str:
    """Return the page with *text* between its marks; raise ValueError where they are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has no place for the tables: it needs {BEGIN!r} and, below it, {END!r}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def _first(text: str) -> float:
    """The first number of a cell."""
    return float(_NUMBER.findall(text)[0].replace(",", ""))


def _two(value: float) -> str:
    """Two digits that count: more would pretend a precision that a calculation on paper has not."""
    return f"{float(f'{value:.2g}'):,.{1 if value < 9.95 else 0}f}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8"), block(read(json.loads(DATA.read_text("utf-8"))))), "utf-8")
