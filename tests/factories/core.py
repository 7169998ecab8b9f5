"""A pipeline of three stages as plain data, a registry that says what a test says, and the core services over them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from switchgear.core import admission
from switchgear.core.activation_queue import ActivationQueue, BlockingRun
from switchgear.core.configuration_service import ConfigurationService
from switchgear.core.configuration_validation import ValidationOptions
from switchgear.core.database import Database, Statements
from switchgear.core.module_registry import ModuleChange
from switchgear.core.unit_of_work import Units
from switchgear.domain.access import Actor, Role
from switchgear.domain.activation import ActivationRequest, StoredActivation
from switchgear.domain.configuration import (
    Content,
    FallbackPolicy,
    FallbackStep,
    Lock,
    Selection,
    Status,
    StoredConfiguration,
    Terminal,
    sha256_of,
)
from switchgear.domain.errors import Code, Why
from switchgear.domain.stage import (
    ContractDescription,
    InputDescription,
    Lack,
    ModuleDescription,
    PipelineDescription,
    ProbeAnswer,
    Snapshot,
    StageDescription,
)
from switchgear.sdk.pipeline import StageLimits

SECOND: Final = 1_000_000
OPERATOR: Final = Actor("olga", Role.OPERATOR, "tok_1")
GONE: Final = Lack(Code.MODULE_MISSING_BINARY, "Program foo is missing.", "apt install foo")
DEFAULTS: Final = ActivationRequest()


def schema(**properties: str) -> dict[str, Any]:
    """An object schema with required properties of these JSON types."""
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": sorted(properties),
    }


PAGES: Final = schema(text="string")
RESULT: Final = schema(number="string", confidence="number")
RECEIPT: Final = schema(key="string")
SETTINGS: Final = {
    "type": "object",
    "properties": {
        "language": {"type": "string", "maxLength": 5},
        "depth": {"type": "integer", "minimum": 1},
        "token": {"type": "string"},
        "keys": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "additionalProperties": False,
}


def _contract(
    name: str, inputs: Mapping[str, Any], output: str, output_schema: Any, **more: Any
) -> ContractDescription:
    described = {name: InputDescription(given, name == "hints") for name, given in inputs.items()}
    values: dict[str, Any] = {"guarantees": (), "confidence": None, "effects": "none", **more}
    return ContractDescription(
        name=name,
        version="1.2",
        inputs=described,
        any_of=(),
        output_name=output,
        output_schema=output_schema,
        output_sent_schema=output_schema,
        digest=sha256_of([name, values]),
        **values,
    )


READ: Final = _contract("x-read", {"blob": {"x-blob": True}}, "pages", PAGES)
EXTRACT: Final = _contract(
    "x-extract", {"pages": PAGES}, "result", RESULT, guarantees=("has_number",), confidence="/confidence"
)
DELIVER: Final = _contract("x-deliver", {"result": RESULT}, "receipt", RECEIPT, effects="external")
LIMITS: Final = StageLimits().model_dump(mode="json")
PIPELINE: Final = PipelineDescription(
    name="threes",
    stages=(
        StageDescription("read", 10, True, READ, LIMITS),
        StageDescription("extract", 20, True, EXTRACT, LIMITS),
        StageDescription("deliver", 30, False, DELIVER, LIMITS),
    ),
    result="result",
    identity=(),
    default_configuration={
        "selections": [
            {"stage_id": "read", "module_id": "read-a"},
            {"stage_id": "extract", "module_id": "extract-a"},
        ],
        "fallback_policies": [
            {
                "stage_id": "extract",
                "chain": [{"module_id": "extract-b", "on": ["error", "unavailable"]}],
                "then": "park",
            }
        ],
        "message": "Defaults",
    },
)


def module(module_id: str, contract: ContractDescription, stage_id: str, /, **changes: Any) -> ModuleDescription:
    """A module that fulfils *contract*."""
    values: dict[str, Any] = {
        "version": "1.0.0",
        "stage_id": stage_id,
        "contract": f"{contract.name}@1",
        "guarantees": contract.guarantees,
        "distribution": f"plug-{module_id}",
        "distribution_version": "1.0",
        "code_digest": f"code of {module_id}",
        "contract_digest": contract.digest,
        "settings_schema": SETTINGS,
        "secret_pointers": ("/token", "/keys/*"),
        "inputs": contract.inputs,
        "output_schema": contract.output_schema,
    }
    return ModuleDescription(id=module_id, **{**values, **changes})


def modules() -> dict[str, ModuleDescription]:
    """Two or more good modules for each stage."""
    made = [
        *(module(f"read-{letter}", READ, "read") for letter in "ab"),
        *(module(f"extract-{letter}", EXTRACT, "extract") for letter in "abc"),
        *(module(f"deliver-{letter}", DELIVER, "deliver") for letter in "ab"),
    ]
    return {item.id: item for item in made}


def content(
    *,
    then: str | None = "park",
    chain: Sequence[str] = ("extract-b",),
    on: Sequence[str] = ("error", "unavailable"),
    **selected: Any,
) -> Content:
    """Selections by stage: a module id, or (module id, settings). Extract has a chain unless it is empty."""
    wanted = {"read": "read-a", "extract": "extract-a", **selected}
    pairs = [(stage, item if isinstance(item, tuple) else (item, {})) for stage, item in wanted.items() if item]
    policies: tuple[FallbackPolicy, ...] = ()
    if chain or then:
        steps = tuple(FallbackStep(name, tuple(on)) for name in chain)
        policies = (FallbackPolicy("extract", steps, Terminal(then) if then else None),)
    return Content(tuple(Selection(stage, name, settings) for stage, (name, settings) in pairs), policies)


@dataclass
class Clock:
    """Microseconds UTC; stands still unless a test moves it."""

    now_us: int = 1_700_000_000 * SECOND

    def __call__(self) -> int:
        return self.now_us

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_us += int(seconds * SECOND)


@dataclass
class FakeRegistry:
    """Says that everything is installed and available, but for what a test changes."""

    clock: Callable[[], int]
    pipeline: PipelineDescription = PIPELINE
    modules: dict[str, ModuleDescription] = field(default_factory=modules)
    probes: dict[tuple[str, str], ProbeAnswer] = field(default_factory=dict)
    probed: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    settings_checked: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    changes: list[ModuleChange] = field(default_factory=list)
    rescans: list[bool] = field(default_factory=list)  #: each with `anew`
    snapshots: int = 0
    before_snapshot: Callable[[], Awaitable[None]] | None = None

    def change(self, module_id: str, **values: Any) -> None:
        """Replace what is known of a module."""
        self.modules = {**self.modules, module_id: replace(self.modules[module_id], **values)}

    def remove(self, module_id: str) -> None:
        """Uninstall a module."""
        self.modules = {name: item for name, item in self.modules.items() if name != module_id}

    def current(self) -> Snapshot:
        return Snapshot(self.clock(), self.pipeline, self.modules, self.probes)

    async def snapshot(self, uses: Iterable[tuple[str, Mapping[str, Any]]] = (), *, probe: bool = True) -> Snapshot:
        if self.before_snapshot is not None:
            await self.before_snapshot()
        self.snapshots += 1
        self.probed.extend(uses if probe else ())
        return self.current()

    async def check_settings(self, uses: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        self.settings_checked.extend(uses)

    async def look_again(self, now_us: int) -> list[ModuleChange]:
        found, self.changes = self.changes, []
        return found

    async def rescan(self, *, anew: bool = True) -> list[ModuleChange]:
        self.rescans.append(anew)
        return await self.look_again(self.clock())

    def set_enabled(self, module_id: str, enabled: bool) -> None:
        self.change(module_id, enabled=enabled)


@dataclass
class FakeRuns:
    """Running work as numbers."""

    running: int = 0
    held: int = 0

    async def count_running(self, statements: Statements) -> int:
        return self.running

    async def count_held(self, statements: Statements) -> int:
        return self.held

    async def blocking(self, statements: Statements, limit: int) -> list[BlockingRun]:
        return [BlockingRun(f"run_{n}", "a.pdf", "extract", 1.5, 1) for n in range(min(limit, self.running))]


class Core:
    """One process: queue and service over a database, with a registry, runs and warming that a test controls.

    Args:
        database: Started.
        clock: Also the database's own, when it was made with it.
        running: Who counts running work.
        worker_id: This process.
        options: What validation depends on.
        registry: Shared by several processes of one machine, if need be.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], int],
        *,
        running: Any = None,
        worker_id: str = "server",
        options: ValidationOptions = ValidationOptions(),
        registry: FakeRegistry | None = None,
    ) -> None:
        self.database = database
        self.clock = clock
        self.units = Units(database, clock)
        self.registry = registry or FakeRegistry(clock)
        self.runs = running if running is not None else FakeRuns()
        self.warmed: list[str] = []
        self.refusal: Why | Exception | None = None
        self.applied: list[StoredActivation] = []
        self.queue = ActivationQueue(
            self.units,
            self.registry,  # type: ignore[arg-type]
            running=self.runs,
            warm=self._warm,
            clock=clock,
            options=options,
            worker_id=worker_id,
        )
        self.queue.on_applied.append(self.applied.append)
        self.service = ConfigurationService(self.units, self.registry, self.queue, clock)  # type: ignore[arg-type]

    async def _warm(self, configuration: StoredConfiguration) -> Why | None:
        self.warmed.append(configuration.label)
        if isinstance(self.refusal, Exception):
            raise self.refusal
        return self.refusal

    async def make(self, made: Content | None = None, **selected: Any) -> StoredConfiguration:
        """Store a version."""
        created = await self.service.create(made or content(**selected), by=OPERATOR)
        return created.configuration

    async def settle(self) -> StoredActivation | None:
        """Take all steps that are due now."""
        await self.queue.advance()
        await self.queue.idle()
        return await self.queue.advance()

    async def switch_to(self, ref: str, **request: Any) -> StoredActivation:
        """Activate a version and take all steps that are due."""
        queued = await self.service.activate(ref, by=OPERATOR, request=ActivationRequest(**request))
        await self.settle()
        return (await self.queue.get(queued.id)).activation

    async def go_back(self, ref: str = "previous", **request: Any) -> StoredActivation:
        """Roll back and take all steps that are due."""
        queued = await self.service.rollback(ref, by=OPERATOR, request=ActivationRequest(**request))
        await self.settle()
        return (await self.queue.get(queued.id)).activation

    async def audited(self, action: str) -> list[Any]:
        """Entries of the trail with this action, oldest first."""
        async with self.units(write=False) as unit:
            return [event for event in await unit.audit.read_forward(limit=1000) if event.action == action]

    async def statuses(self) -> dict[int, str]:
        """Version -> status."""
        page = await self.service.list(200)
        return {item.version: str(item.status) for item in page.items}


@asynccontextmanager
async def running_core(url: str, clock: Clock | None = None, **options: Any) -> AsyncIterator[Core]:
    """A process over the database at *url*; started, with version 1 active."""
    clock = clock or Clock()
    database = Database(url, clock=clock)
    await database.start()
    core = Core(database, clock, **options)
    try:
        await core.service.start()
        yield core
    finally:
        await core.queue.stop()
        await database.close()


def runs(core: Core) -> FakeRuns:
    """Running work as the test says it."""
    assert isinstance(core.runs, FakeRuns)
    return core.runs


async def admitted(core: Core) -> admission.AdmissionState:
    """Which version first claims pin now, and who holds them back."""
    return await admission.read(core.database.narrow, "threes")


def version_of(
    content: Content,
    number: int = 1,
    *,
    pipeline: str = "tiny",
    status: Status = Status.ACTIVE,
    lock: Lock | None = None,
) -> StoredConfiguration:
    """A version with this content, as if it stood in a database."""
    return StoredConfiguration(
        id=f"cfg_{number}",
        version=number,
        pipeline=pipeline,
        status=status,
        content=content,
        lock=lock or Lock(),
        digest=content.digest,
        lock_digest="",
        base_id=None,
        message="",
        created_by="test",
        created_at=0,
    )
