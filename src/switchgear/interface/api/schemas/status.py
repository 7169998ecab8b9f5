"""The whole at-a-glance page in one answer. Source: INTERFACES 2 (`/status`)."""

from __future__ import annotations

from pydantic import Field

from switchgear.interface.api.schemas.activations import ActivationView
from switchgear.interface.api.schemas.common import Time, View, WhyView
from switchgear.interface.api.schemas.configurations import ConfigurationSummary


class StageStatus(View):
    """One stage in short."""

    stage_id: str
    required: bool
    selected: str | None = None
    serves: str
    module_id: str | None = None
    message: str
    why: WhyView | None = None


class WorkerView(View):
    """A live process that carries runs."""

    id: str
    host: str
    queues: list[str] = Field(description="Work queues that it serves; empty = all")
    generation: int | None = Field(None, description="Generation of the active version that it has ready; null: none")
    isolation: str = Field("", description="Highest level of isolation of modules there")


class MeasureView(View):
    """One means of isolation."""

    name: str
    is_available: bool
    why: str = ""


class IsolationView(View):
    """What holds module processes here."""

    level: str
    measures: list[MeasureView]


class StatusView(View):
    """Version, active configuration, stages, pending activation, queue, workers, disk."""

    version: str
    pipeline: str
    now: Time
    active: ConfigurationSummary | None = None
    generation: int = Field(description="Grows by one with each switch; each worker says which one it has ready")
    degraded: bool
    stages: list[StageStatus]
    pending_activation: ActivationView | None = None
    runs: dict[str, int] = Field(description="Number of runs by status")
    parked: dict[str, int] = Field(description="Number of runs on hold by reason code")
    workers: list[WorkerView]
    isolation: IsolationView
    disk_free_bytes: int
    warnings: list[str] = Field(description="Sentences that need attention")
    stops: list[WhyView] = Field(
        description="Which of them stop work: nobody serves a stage, no worker, no configuration, a full disk"
    )


class ReadinessCheck(View):
    """One thing that must work for the server to be ready."""

    name: str
    ok: bool
    why: WhyView | None = None


class ReadinessView(View):
    """Whether the server can take work now."""

    ready: bool
    checks: list[ReadinessCheck] = Field(default_factory=list, description="Only with `?verbose`")


class RunbookView(View):
    """One paragraph of the runbook."""

    code: str
    title: str
    meaning: str
    cause: str
    remedy: str
