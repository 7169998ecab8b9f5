"""Breakers: a module that fails too often is left alone for a while, then asked with one call at a time. Pure.

There is one breaker for each module with its settings, and one by hand for a module with whatever settings. Each
process counts its own calls; that one opened, and who may try it, is shared. Source: DESIGN 5.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from switchgear.domain.run import NO_FREE_WORKER, UNSUPPORTED, Outcome

#: Calls that are looked at: the last ones, and none that is older, in microseconds.
WINDOW_CALLS: Final = 20
WINDOW_US: Final = 600 * 1_000_000
#: Fewer calls than this say nothing.
MINIMUM_CALLS: Final = 5
#: Share of failed calls at which a breaker opens.
FAILED_SHARE: Final = 0.5
#: How long an open breaker lets nobody through: at first, and after failed probes at most, in microseconds.
FIRST_PAUSE_US: Final = 30 * 1_000_000
LONGEST_PAUSE_US: Final = 600 * 1_000_000
#: Good probes that close a breaker.
PROBES: Final = 2
#: Settings digest of the breaker that a person sets: it holds for a module with any settings.
ANY_SETTINGS: Final = ""

_FAILED: Final = frozenset({Outcome.ERROR, Outcome.TIMEOUT, Outcome.CRASH, Outcome.CONTRACT_VIOLATION})
_SAYS_NOTHING: Final = frozenset({NO_FREE_WORKER, UNSUPPORTED})
_WORKED: Final = frozenset({Outcome.SUCCEEDED, Outcome.NOT_APPLICABLE})


class BreakerState(StrEnum):
    """Where a breaker stands."""

    CLOSED = "closed"  #: calls go through and are counted
    OPEN = "open"  #: nobody calls the module until the pause is over
    HALF_OPEN = "half_open"  #: one probe at a time, each with a lease
    FORCED_OPEN = "forced_open"  #: opened by a person, who closes it again
    DISABLED = "disabled"  #: a person said that it must never open


class BreakerEvent(StrEnum):
    """What moves a breaker."""

    TOO_MANY_FAILED = "too_many_failed"
    PROBE_BEGAN = "probe_began"
    PROBE_WORKED = "probe_worked"
    PROBE_FAILED = "probe_failed"
    PROBE_SAID_NOTHING = "probe_said_nothing"
    FORCED = "forced"
    DISABLED = "disabled"
    CLOSED = "closed"


#: What a person may set, and the event that it is.
BY_HAND: Final[Mapping[BreakerState, BreakerEvent]] = {
    BreakerState.FORCED_OPEN: BreakerEvent.FORCED,
    BreakerState.DISABLED: BreakerEvent.DISABLED,
    BreakerState.CLOSED: BreakerEvent.CLOSED,
}

#: An absent pair means that somebody else was faster.
TRANSITIONS: Final[Mapping[tuple[BreakerState, BreakerEvent], BreakerState]] = {
    (BreakerState.CLOSED, BreakerEvent.TOO_MANY_FAILED): BreakerState.OPEN,
    (BreakerState.OPEN, BreakerEvent.PROBE_BEGAN): BreakerState.HALF_OPEN,
    (BreakerState.HALF_OPEN, BreakerEvent.PROBE_BEGAN): BreakerState.HALF_OPEN,
    (BreakerState.HALF_OPEN, BreakerEvent.PROBE_WORKED): BreakerState.HALF_OPEN,  # closed with the last one needed
    (BreakerState.HALF_OPEN, BreakerEvent.PROBE_FAILED): BreakerState.OPEN,
    (BreakerState.HALF_OPEN, BreakerEvent.PROBE_SAID_NOTHING): BreakerState.HALF_OPEN,
    **{(state, event): after for state in BreakerState for after, event in BY_HAND.items()},
}


@dataclass(frozen=True, slots=True)
class Breaker:
    """A breaker as everybody sees it. Times are microseconds UTC.

    Attributes:
        module_id: The module.
        settings_digest: Digest of its settings, or `ANY_SETTINGS`.
        state: Where it stands.
        pause_us: Length of the present pause.
        until: When the pause, or the lease of the present probe, is over; None when nothing runs out.
        good_probes: Probes in a row that worked.
        why: What opened it, or what the person said.
        actor: Who moved it last.
        changed_at: When that was.
    """

    module_id: str
    settings_digest: str
    state: BreakerState = BreakerState.CLOSED
    pause_us: int = 0
    until: int | None = None
    good_probes: int = 0
    why: str = ""
    actor: str = ""
    changed_at: int = 0

    def is_open(self) -> bool:
        """Whether the module is left alone, but for a probe."""
        return self.state not in (BreakerState.CLOSED, BreakerState.DISABLED)

    def may_probe(self, now_us: int) -> bool:
        """Whether one call may be made to see whether the module works again."""
        is_waiting = self.state in (BreakerState.OPEN, BreakerState.HALF_OPEN)
        return is_waiting and (self.until is None or self.until <= now_us)


def moved(breaker: Breaker, event: BreakerEvent, now_us: int, *, lease_us: int = 0) -> Breaker | None:
    """The breaker after *event*; None when the event means nothing in this state, because another was faster.

    Args:
        breaker: As it stands.
        event: What happened.
        now_us: When, in microseconds UTC.
        lease_us: For `PROBE_BEGAN`: how long nobody else may probe, in microseconds.
    """
    state = TRANSITIONS.get((breaker.state, event))
    if state is None or (event is BreakerEvent.PROBE_BEGAN and not breaker.may_probe(now_us)):
        return None
    if event is BreakerEvent.TOO_MANY_FAILED:
        return replace(breaker, state=state, pause_us=FIRST_PAUSE_US, until=now_us + FIRST_PAUSE_US, good_probes=0)
    if event is BreakerEvent.PROBE_BEGAN:
        return replace(breaker, state=state, until=now_us + lease_us)
    if event is BreakerEvent.PROBE_FAILED:
        pause_us = min(2 * breaker.pause_us, LONGEST_PAUSE_US)
        return replace(breaker, state=state, pause_us=pause_us, until=now_us + pause_us, good_probes=0)
    if event is BreakerEvent.PROBE_SAID_NOTHING:
        return replace(breaker, until=None)
    if event is BreakerEvent.PROBE_WORKED:
        if breaker.good_probes + 1 < PROBES:
            return replace(breaker, until=None, good_probes=breaker.good_probes + 1)
        state = BreakerState.CLOSED
    return Breaker(breaker.module_id, breaker.settings_digest, state)


def failed(outcome: Outcome, detail: str) -> bool | None:
    """Whether a call speaks against the module; None when it says nothing about it.

    A corrupt document is not the module's fault, nor one that it is not made for, nor a run that was stopped, nor a
    pool with no free place.
    """
    if outcome in _WORKED:
        return False
    if outcome in _FAILED and detail not in _SAYS_NOTHING:
        return True
    return None


class Window:
    """The last calls of one module with its settings, in one process."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: deque[tuple[int, bool]] = deque(maxlen=WINDOW_CALLS)

    def add(self, now_us: int, *, has_failed: bool) -> bool:
        """Count a call; returns whether the breaker has to open, which begins a new window."""
        self._calls.append((now_us, has_failed))
        if not has_failed:
            return False
        while now_us - self._calls[0][0] > WINDOW_US:
            self._calls.popleft()
        return len(self._calls) >= MINIMUM_CALLS and self.failures >= FAILED_SHARE * len(self._calls)

    @property
    def failures(self) -> int:
        """How many of them failed."""
        return sum(bad for _, bad in self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def clear(self) -> None:
        """Begin anew."""
        self._calls.clear()


def facts_of(breaker: Breaker) -> dict[str, Any]:
    """What is recorded of a breaker."""
    return {"state": str(breaker.state), "settings_digest": breaker.settings_digest, "until": breaker.until}
