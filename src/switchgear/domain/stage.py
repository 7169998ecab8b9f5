"""Stages and modules as the engine sees them: plain data that a child process printed. No module code is imported.

Source: DESIGN 3, T007, T010.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

from switchgear.domain.errors import Code, DomainError, NotFound


class ModuleStatus(StrEnum):
    """Whether a module can be used now."""

    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    DEPRECATED = "deprecated"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class InputDescription:
    """One input of a module or contract: JSON Schema of what is accepted, and whether it may be absent."""

    schema: Mapping[str, Any]
    optional: bool


@dataclass(frozen=True, slots=True)
class ContractDescription:
    """A capability contract as data. `inputs` schemas are what the engine sends (serialization mode)."""

    name: str
    version: str
    inputs: Mapping[str, InputDescription]
    any_of: tuple[tuple[str, ...], ...]
    output_name: str
    output_schema: Mapping[str, Any]  #: validation mode: what the stage accepts from a module
    output_sent_schema: Mapping[str, Any]  #: serialization mode: what later stages receive
    guarantees: tuple[str, ...]
    confidence: str | None
    effects: str
    digest: str  #: SHA-256 over the canonical JSON of the above


@dataclass(frozen=True, slots=True)
class StageDescription:
    """A processing stage as data; `limits` are the defaults of a selection's limits.

    `chain_is_ordered`: an earlier module of its chain never stands in for a later one.
    """

    id: str
    order: int
    required: bool
    contract: ContractDescription
    limits: Mapping[str, Any]
    chain_is_ordered: bool = False


@dataclass(frozen=True, slots=True)
class PipelineDescription:
    """A pipeline as data."""

    name: str
    stages: tuple[StageDescription, ...]
    result: str
    identity: tuple[str, ...]
    default_configuration: Mapping[str, Any]

    def stage(self, stage_id: str) -> StageDescription | None:
        """Return the stage with this id, or None."""
        return next((stage for stage in self.stages if stage.id == stage_id), None)


@dataclass(frozen=True, slots=True)
class Measure:
    """One means of isolation: whether it is there, and why not."""

    name: str
    is_available: bool
    why: str = ""


class IsolationMissing(DomainError):
    """The isolation that is demanded cannot be had on this machine."""

    code = Code.MODULE_ISOLATION


@dataclass(frozen=True, slots=True)
class IsolationReport:
    """What holds module processes here, measure by measure; `level` names the highest level that they make."""

    level: str  #: L0, L1, L2 or L3
    measures: tuple[Measure, ...] = ()

    @property
    def process_level(self) -> Literal["L1", "L2", "L3"]:
        """The level of module processes; those of a machine that has no level are held by what there is."""
        return "L3" if self.allows("L3") else "L2" if self.allows("L2") else "L1"

    def allows(self, minimum: str) -> bool:
        """Whether a module that demands *minimum* (`L0` ... `L3`) may run here."""
        return minimum <= self.level

    def held_to(self, wanted: str) -> IsolationReport:
        """Return the report with *wanted* as level, `auto` being the highest that there is.

        Raises:
            IsolationMissing: This machine does not have it.
        """
        if wanted == "auto":
            return self
        if not self.allows(wanted):
            missing = "; ".join(f"{item.name}: {item.why}" for item in self.measures if not item.is_available)
            raise IsolationMissing(
                f"ISOLATION={wanted} cannot be held, this machine has {self.level} ({missing}). Set ISOLATION=auto, "
                "or run the server where nothing is missing."
            )
        return IsolationReport(wanted, self.measures)


@dataclass(frozen=True, slots=True)
class Lack:
    """Why a module cannot be used, and the exact line that repairs it."""

    code: Code
    message: str
    fix: str | None = None

    def __str__(self) -> str:
        return self.message if self.fix is None else f"{self.message.rstrip('.')}. To repair it: {self.fix}"


@dataclass(frozen=True, slots=True)
class ModuleDescription:
    """One installed module as data, with its availability at the time of the snapshot.

    When the module could not be described (import error), `stage_id`, `contract` and the schemas are empty and
    `lack` says why.
    """

    id: str
    version: str = ""
    stage_id: str = ""
    contract: str = ""  #: reference such as "invoice-extract@1"
    guarantees: tuple[str, ...] = ()
    requires: Mapping[str, Any] = field(default_factory=dict)
    min_isolation: str = "L1"
    deprecated: str | None = None
    title: str = ""  #: first line of the class docstring
    distribution: str = ""
    distribution_version: str = ""
    editable: bool = False  #: editable installs are not locked
    code_digest: str = ""  #: SHA-256 over the package's files; "" when unknown
    contract_digest: str = ""
    outdated: bool = False  #: its files are other ones by now: what the digests say is no longer installed
    settings_schema: Mapping[str, Any] = field(default_factory=dict)
    secret_pointers: tuple[str, ...] = ()  #: JSON pointers of settings that hold a secret reference
    inputs: Mapping[str, InputDescription] = field(default_factory=dict)
    output_schema: Mapping[str, Any] = field(default_factory=dict)
    enabled: bool = True
    lack: Lack | None = None

    @property
    def status(self) -> ModuleStatus:
        """Disabled by a person, unavailable with a reason, deprecated, or available."""
        if not self.enabled:
            return ModuleStatus.DISABLED
        if self.lack is not None:
            return ModuleStatus.UNAVAILABLE
        return ModuleStatus.DEPRECATED if self.deprecated else ModuleStatus.AVAILABLE

    @property
    def is_usable(self) -> bool:
        """Whether a run may call it."""
        return self.status in (ModuleStatus.AVAILABLE, ModuleStatus.DEPRECATED)


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """What a probe with certain settings said: `lack` None means it works here."""

    module_id: str
    settings_digest: str
    lack: Lack | None


@dataclass(frozen=True, slots=True)
class SettingMistake:
    """What a module's own code refused: where in its settings, and `must be ...`, without the value."""

    place: tuple[str | int, ...]
    wanted: str


def not_installed() -> NotFound:
    """The refusal of a module that is not installed."""
    return NotFound("No such module is installed. `switchgear modules list` shows all; after installing one, rescan.")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is installed and available at one moment; validation is a pure function of content and snapshot.

    `taken_at_us` is in microseconds UTC; `probes` and `mistakes` are keyed by (module id, settings digest); `served`
    are the work queues that live workers serve, None where one of them serves all or none is alive.
    """

    taken_at_us: int
    pipeline: PipelineDescription
    modules: Mapping[str, ModuleDescription]
    probes: Mapping[tuple[str, str], ProbeAnswer] = field(default_factory=dict)
    mistakes: Mapping[tuple[str, str], tuple[SettingMistake, ...]] = field(default_factory=dict)
    served: frozenset[str] | None = None

    def module(self, module_id: str) -> ModuleDescription:
        """Return an installed module, also one that cannot be used; raises `NotFound`."""
        if module_id not in self.modules:
            raise not_installed()
        return self.modules[module_id]

    def with_lacks(self, lacks: Mapping[tuple[str, str], Lack]) -> Snapshot:
        """The same with further modules that cannot be used; an empty settings digest means with any settings."""
        probes = {key: ProbeAnswer(*key, lack) for key, lack in lacks.items() if key[1]}
        alike = {module_id: lack for (module_id, digest), lack in lacks.items() if not digest}
        modules = {name: replace(self.modules[name], lack=lack) for name, lack in alike.items() if name in self.modules}
        return replace(self, probes={**self.probes, **probes}, modules={**self.modules, **modules}) if lacks else self

    def lack_of(self, module_id: str, settings_digest: str) -> Lack | None:
        """Why this module with these settings cannot be used, or None."""
        module = self.modules.get(module_id)
        if module is None:
            return Lack(Code.SELECTION_UNKNOWN_MODULE, f"Module {module_id!r} is not installed.")
        if not module.enabled:
            return Lack(
                Code.MODULE_DISABLED,
                f"Module {module_id} was disabled by a maintainer.",
                f"switchgear modules enable {module_id}",
            )
        if module.lack is not None:
            return module.lack
        probe = self.probes.get((module_id, settings_digest))
        return probe.lack if probe else None
