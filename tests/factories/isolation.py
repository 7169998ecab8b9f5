"""Levels of isolation in tests: what this machine does not hold is a skip, and a line of a table at the end."""

from __future__ import annotations

import sys
from functools import cache
from typing import Literal

import pytest

from switchgear.core.module_registry.isolation import NEEDED, report_of
from switchgear.sdk.host import trials

Level = Literal["L1", "L2", "L3"]

#: Measures that a test was skipped for, and why each is missing.
MISSED: dict[str, str] = {}


@cache
def measured() -> dict[str, str]:
    """Every measure of this machine: "" or why it is missing."""
    return trials.report() if sys.platform == "linux" else dict.fromkeys(NEEDED["L3"], "not Linux")


def highest_level() -> Level:
    """What `ISOLATION=auto` takes here."""
    return report_of(measured()).process_level


def needs(*measures: str) -> None:
    """Skip, naming what is missing and why."""
    missing = {name: measured()[name] for name in measures if measured()[name]}
    MISSED.update(missing)
    if missing:
        pytest.skip(f"missing here: {missing}")


def needs_level(level: str) -> None:
    """Skip where the machine does not hold *level*."""
    needs(*NEEDED[level])
