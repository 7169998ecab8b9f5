"""The capacity that docs/how-to/scale-out.md calculates is what benchmarks/results.md gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

import switchgear.invoice
from factories.markdown import ROOT

PAGE: Final = (ROOT / "docs" / "how-to" / "scale-out.md").read_text(encoding="utf-8").partition("## Capacity")[2]
RESULTS: Final = (ROOT / "benchmarks" / "results.md").read_text(encoding="utf-8")
#: The documents that were measured: kind and file.
KINDS: Final = dict(
    re.findall(r'^ {4}"(.+)": "(.+)",$', (ROOT / "benchmarks" / "document_cost.py").read_text(), re.MULTILINE)
)
SAMPLES: Final = Path(switchgear.invoice.__file__).parent / "samples"
#: The mean day has peaks of three times the mean, and one document in ten is a scan where there are any.
PEAK: Final = 3
SCANS: Final = 0.1
_NUMBER: Final = re.compile(r"\d[\d,]*(?:\.\d+)?")


def cells(text: str, first: str) -> list[str]:
    """The cells behind *first* in its row of a table."""
    (row,) = re.findall(rf"^\| {re.escape(first)} \|(.*)\|$", text, re.MULTILINE)
    return [cell.strip() for cell in str(row).split("|")]


def numbers(text: str) -> list[str]:
    """Numbers as they are written."""
    return _NUMBER.findall(text)


def value(number: str) -> float:
    return float(number.replace(",", ""))


def says(shown: str, exact: float) -> bool:
    """Whether a rounded number stands for *exact*: within its last digit, or a tenth of it."""
    decimals = len(shown.partition(".")[2])
    return abs(value(shown) - exact) <= max(0.5 / 10.0**decimals, 0.1 * exact)


def measured(kind: str) -> tuple[float, float, float]:
    """Processor time in seconds, rows and file in bytes, of one document."""
    time, rows, *_ = cells(RESULTS, kind)
    return value(numbers(time)[0]) / 1e3, value(numbers(rows)[0]) * 1e3, (SAMPLES / KINDS[kind]).stat().st_size


SCAN: Final = measured("scan of one page, text recognition")
LIGHT: Final = [sum(part) / 4 for part in zip(*(measured(kind) for kind in list(KINDS)[:4]), strict=True)]


@pytest.mark.parametrize(
    ("row", "cost"),
    [("e-invoice, PDF, spreadsheet (mean of four)", LIGHT), ("scan of one page, with text recognition", SCAN)],
)
def test_the_cost_of_a_document_is_the_measured_one(row: str, cost: list[float]) -> None:
    shown = [numbers(cell)[0] for cell in cells(PAGE, row)]
    for number, exact, unit in zip(shown, cost, (1e-3, 1e3, 1e3), strict=True):
        assert says(number, exact / unit), (row, number, exact / unit)


@pytest.mark.parametrize("a_day", [100_000, 1_000_000, 10_000_000])
def test_cores_and_room_follow_from_the_cost(a_day: int) -> None:
    rates, light, mixed, rows, files = cells(PAGE, f"{a_day:,}")
    mean = a_day / 86_400
    with_scans = (1 - SCANS) * LIGHT[0] + SCANS * SCAN[0]
    exact = [mean, PEAK * mean, PEAK * mean * LIGHT[0], PEAK * mean * with_scans, a_day * LIGHT[1] / 1e9]
    shown = [*numbers(rates), *numbers(light), *numbers(mixed), *numbers(rows)]
    assert len(shown) == len(exact)
    for number, wanted in zip(shown, exact, strict=True):
        assert says(number, wanted), (a_day, number, wanted)
    assert says(numbers(files)[0], a_day * LIGHT[2] / 1e9)


@pytest.mark.parametrize(("database", "times_said"), [("SQLite FULL", 1), ("PostgreSQL", 2)])
def test_what_the_engine_can_do_is_what_was_measured(database: str, times_said: int) -> None:
    table = RESULTS.partition(f"## Durable runs: five inline stages, {database}")[2].partition("\n## ")[0]
    engine, bare = (cells(table, f"{who}, 16 in flight")[0].removesuffix("/s") for who in ("engine", "bare driver"))
    assert f"carries {int(engine):,} runs a second on {database.removesuffix(' FULL')}" in PAGE
    assert PAGE.count(f"rows of {int(bare):,}") == times_said  # at ten million the page comes back to it


@pytest.mark.parametrize("a_day", ["100,000 a day", "1,000,000 a day", "10,000,000 a day"])
def test_every_step_names_its_first_bottleneck(a_day: str) -> None:
    section = PAGE.partition(f"\n### {a_day}")[2].partition("\n### ")[0]
    assert "**First bottleneck:" in section
