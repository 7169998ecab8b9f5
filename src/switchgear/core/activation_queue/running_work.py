"""What the queue must ask about running work, and what it answers about itself. The repository of runs implements it.

Source: DESIGN 2 (what keeps the arrows pointing down), DESIGN 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from switchgear.core.database import Statements
from switchgear.domain.activation import StoredActivation


@dataclass(frozen=True, slots=True)
class BlockingRun:
    """A running run that a drain waits for; `age_s` is how long it has been running, in seconds."""

    id: str
    document_name: str
    stage_id: str | None
    age_s: float
    configuration_version: int | None


class RunningWork(Protocol):
    """Asked inside the queue's transactions."""

    async def count_running(self, statements: Statements) -> int:
        """How many runs are running with a live lease, a back-off of at most 10 s included."""

    async def count_held(self, statements: Statements) -> int:
        """How many queued runs wait for their first claim."""

    async def blocking(self, statements: Statements, limit: int) -> Sequence[BlockingRun]:
        """The running runs, oldest first."""


@dataclass(frozen=True, slots=True)
class ActivationView:
    """An activation, and while it is pending, what it waits for; the numbers are None when it has ended."""

    activation: StoredActivation
    runs_remaining: int | None = None
    runs_held: int | None = None
    blocking: tuple[BlockingRun, ...] = ()


@dataclass(frozen=True, slots=True)
class ActivationPage:
    """Activations, newest first; `next_cursor` goes on where they end."""

    items: tuple[StoredActivation, ...]
    next_cursor: str | None
