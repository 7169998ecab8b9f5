"""Activations: requests to make a configuration the active one, and the table of their life. Source: DESIGN 4, T006."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from switchgear.domain.errors import Code, DomainError


class Kind(StrEnum):
    """Why it was requested."""

    ACTIVATE = "activate"
    ROLLBACK = "rollback"
    RELOCK = "relock"
    FIRST_START = "first_start"


class Mode(StrEnum):
    """What new runs do meanwhile."""

    DRAIN = "drain"  #: they wait until running work has ended
    ROLLING = "rolling"  #: they start on the old version until the switch


class OnExpiry(StrEnum):
    """What happens when running work does not end within `max_wait_s`."""

    SWITCH = "switch"  #: the switch happens; what still runs finishes on the version it holds
    CANCEL = "cancel"  #: the activation expires; the old version goes on


class State(StrEnum):
    """The states of an activation."""

    QUEUED = "queued"
    WARMING = "warming"
    DRAINING = "draining"
    APPLIED = "applied"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


PENDING: Final = frozenset({State.QUEUED, State.WARMING, State.DRAINING})
ENDED: Final = frozenset(State) - PENDING


class Event(StrEnum):
    """What happens to an activation."""

    WARM = "warm"
    DRAIN = "drain"
    APPLY = "apply"
    REJECT = "reject"
    CANCEL = "cancel"
    EXPIRE = "expire"


#: The whole life of an activation; an absent pair is illegal.
TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = {
    (State.QUEUED, Event.WARM): State.WARMING,
    (State.QUEUED, Event.REJECT): State.REJECTED,
    (State.QUEUED, Event.CANCEL): State.CANCELLED,
    (State.WARMING, Event.DRAIN): State.DRAINING,
    (State.WARMING, Event.APPLY): State.APPLIED,  # mode rolling
    (State.WARMING, Event.REJECT): State.REJECTED,
    (State.WARMING, Event.CANCEL): State.CANCELLED,
    (State.DRAINING, Event.APPLY): State.APPLIED,
    (State.DRAINING, Event.REJECT): State.REJECTED,
    (State.DRAINING, Event.CANCEL): State.CANCELLED,
    (State.DRAINING, Event.EXPIRE): State.EXPIRED,
}


class NotPending(DomainError):
    """The activation has ended; nothing more can be done to it."""

    code = Code.ACTIVATION_NOT_PENDING


def transition(state: State, event: Event) -> State:
    """Return the state after *event*.

    Raises:
        NotPending: The table has no such pair.
    """
    after = TRANSITIONS.get((state, event))
    if after is None:
        raise NotPending(
            f"An activation that is {state} cannot {event}. Look at its outcome, or request a new one.",
            state=str(state),
            event=str(event),
        )
    return after


@dataclass(frozen=True, slots=True)
class ActivationRequest:
    """What a caller asks of an activation or rollback; None takes the default of its kind. Seconds."""

    message: str = ""
    mode: Mode = Mode.DRAIN
    max_wait_s: float | None = None
    on_expiry: OnExpiry = OnExpiry.SWITCH
    replace_pending: bool | None = None
    accept_degraded: bool = False
    accept_base_moved: bool = False
    unblock: bool = False


@dataclass(frozen=True, slots=True)
class StoredActivation:
    """An activation as it stands in the database. Times are microseconds UTC."""

    id: str
    configuration_id: str
    configuration_version: int
    from_id: str | None
    from_version: int | None
    kind: Kind
    mode: Mode
    state: State
    max_wait_s: float
    on_expiry: OnExpiry
    options: Mapping[str, Any]
    actor: str
    message: str
    requested_at: int
    warming_at: int | None = None
    draining_at: int | None = None
    switch_now: bool = False
    ended_at: int | None = None
    why: Mapping[str, Any] | None = None
    acknowledgements: tuple[Mapping[str, Any], ...] = field(default=())

    @property
    def is_pending(self) -> bool:
        """Whether it may still change something."""
        return self.state in PENDING
