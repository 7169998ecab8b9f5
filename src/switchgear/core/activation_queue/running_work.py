"""What the queue must ask about running work, and what it answers about itself. The repository of runs implements it.

Source: DESIGN 2 (what keeps the arrows pointing down), DESIGN 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from switchgear.core.database import Statements
from switchgear.domain.activation import OnExpiry, State, StoredActivation
from switchgear.domain.errors import Code, NextAction, Why


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

    @property
    def why(self) -> Mapping[str, Any] | None:
        """What a draining one waits for now; of an ended one, why it ended so."""
        if self.activation.state is not State.DRAINING:
            return self.activation.why
        return _draining(self.activation, self.runs_remaining or 0, self.runs_held or 0).as_json()


@dataclass(frozen=True, slots=True)
class ActivationPage:
    """Activations, newest first; `next_cursor` goes on where they end."""

    items: tuple[StoredActivation, ...]
    next_cursor: str | None


def _draining(activation: StoredActivation, remaining: int, held: int) -> Why:
    running = "1 running run has ended" if remaining == 1 else f"{remaining} running runs have ended"
    waiting = "1 new one waits" if held == 1 else f"{held} new ones wait"
    end = "it is applied all the same" if activation.on_expiry is OnExpiry.SWITCH else "it is given up"
    path = f"/api/v1/activations/{activation.id}"
    return Why(
        Code.ACTIVATION_DRAINING,
        f"The activation of v{activation.configuration_version} waits until {running}; {waiting} for it. "
        f"After {activation.max_wait_s:g} s {end}.",
        {"runs_remaining": remaining, "runs_held": held, "max_wait_s": activation.max_wait_s},
        next_actions=[
            NextAction(
                label, cli=f"switchgear activations {verb} {activation.id}", method="POST", path=f"{path}/{verb}"
            )
            for label, verb in (("Switch now", "switch"), ("Cancel it", "cancel"))
        ],
    )
