"""Activations. Source: T008, INTERFACES 2."""

from __future__ import annotations

from pydantic import Field

from switchgear.domain.activation import Kind, Mode, OnExpiry, State
from switchgear.interface.api.schemas.common import Time, View, WhyView


class BlockingRunView(View):
    """A running run that a drain waits for."""

    id: str
    document_name: str
    stage_id: str | None = None
    age_s: float
    configuration_version: int | None = None


class AcknowledgementView(View):
    """A worker's answer to a warming activation."""

    worker_id: str
    answer: str
    why: WhyView | None = None
    answered_at: Time | None = None


class ActivationView(View):
    """An activation; while it is pending, what it waits for."""

    id: str
    kind: Kind
    state: State
    mode: Mode
    configuration_id: str
    configuration_version: int
    from_id: str | None = None
    from_version: int | None = None
    max_wait_s: float
    on_expiry: OnExpiry
    accept_degraded: bool = False
    switch_now: bool = False
    actor: str
    message: str
    requested_at: Time
    warming_at: Time | None = None
    draining_at: Time | None = None
    ended_at: Time | None = None
    is_pending: bool
    runs_remaining: int | None = Field(None, description="Running runs that a drain waits for; null when it ended")
    runs_held: int | None = Field(None, description="Queued runs that wait for the switch; null when it ended")
    blocking: list[BlockingRunView] = Field(default_factory=list)
    acknowledgements: list[AcknowledgementView] = Field(default_factory=list)
    why: WhyView | None = None
