"""One paragraph of the runbook. Source: INTERFACES 1."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """What a code means, what usually causes it, and what to do now; sentences for a person on duty."""

    title: str
    meaning: str
    cause: str
    remedy: str
