"""The capacity that docs/how-to/scale-out.md calculates is what the measured figures give, and its text agrees."""

from __future__ import annotations

import json
from typing import Final

import pytest
from benchmarks import capacity
from benchmarks.capacity import Capacity, Cost

PAGE: Final = capacity.PAGE.read_text(encoding="utf-8")
MEASURED: Final = capacity.read(json.loads(capacity.DATA.read_text(encoding="utf-8")))
#: Easy to calculate by hand.
ROUND: Final = Capacity(Cost(0.02, 30e3, 50e3), Cost(1.02, 40e3, 40e3), {"SQLite": 2000}, {"SQLite": 5000})


def test_the_page_shows_what_the_measured_figures_give() -> None:
    assert capacity.written(PAGE, capacity.block(MEASURED)) == PAGE, "run: python -m benchmarks.capacity"


def test_a_day_is_calculated() -> None:
    mean, peak, cores, with_scans, rows, files = capacity.day(ROUND, 8_640_000)
    assert (mean, peak) == (100, 300)
    assert cores == pytest.approx(6)
    assert with_scans == pytest.approx(300 * (0.9 * 0.02 + 0.1 * 1.02))
    assert [rows, files] == pytest.approx([259.2e9, 432e9])


def test_the_tables_are_rounded_and_have_units() -> None:
    text = capacity.block(ROUND)
    assert "| scan of one page, with text recognition | 1,000 ms | 40 kB | 40 kB |" in text
    assert "| SQLite, on the same two cores | 2,000/s | 5,000/s |" in text
    assert "| 100,000 | 1.2/s, 3.5/s | 0.1 | 0.4 | 3.0 GB | 5.0 GB |" in text
    assert "| 10,000,000 | 120/s, 350/s | 6.9 | 42 | 300 GB | 500 GB |" in text


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for the tables"):
        capacity.written("# Scale out\n", "a table")


def test_what_the_text_says_in_words_holds() -> None:
    """Where one of these fails after new measurements, the sentence in the page is to be written anew."""
    scan_costs = MEASURED.scan.processor_s / MEASURED.light.processor_s
    assert scan_costs > 24, "a scan costs as much as dozens of other documents"
    peaks = [capacity.day(MEASURED, documents)[1] for documents in capacity.DAYS]
    assert all(peaks[-1] < rate / 2 for rate in MEASURED.engine.values()), "the engine is not what runs out first"
    assert capacity.day(MEASURED, 1_000_000)[2] < 2, "without scans two cores carry a million"
    assert 2 < capacity.day(MEASURED, 1_000_000)[3] <= 12, "with scans a million takes a few machines"
    assert sum(capacity.day(MEASURED, 100_000)[4:]) < 20e9, "the disk fills by some GB a day"
    assert capacity.day(MEASURED, 10_000_000)[4] > 100e9, "hundreds of GB of rows"
    assert capacity.day(MEASURED, 10_000_000)[3] > 30, "about ten machines"


@pytest.mark.parametrize("a_day", ["100,000 a day", "1,000,000 a day", "10,000,000 a day"])
def test_every_step_names_its_first_bottleneck(a_day: str) -> None:
    section = PAGE.partition(f"\n### {a_day}")[2].partition("\n### ")[0]
    assert "**First bottleneck:" in section
