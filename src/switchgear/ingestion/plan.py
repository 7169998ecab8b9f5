"""Execution plans: configurations made ready in this process. Source: DESIGN 1, 3, 4 (warm beside).

A plan says for every stage what its contract is, who may serve it, and how each module is called. It belongs to one
configuration version for ever; whether a module can be used *now* is asked for every stage of every run.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, Protocol

from switchgear.domain.configuration import LockEntry, StoredConfiguration, Terminal, canonical_json, sha256_of
from switchgear.domain.errors import Code, Why
from switchgear.domain.fallback import Candidate, FallbackPlan, plan_for
from switchgear.domain.run import Outcome
from switchgear.domain.stage import Lack, ModuleDescription, Snapshot
from switchgear.ingestion.module_pool import ModuleUse
from switchgear.ingestion.run_repository.records import Encoded
from switchgear.sdk.errors import DeclarationError
from switchgear.sdk.pipeline import DEFAULT_QUEUE, Pipeline, Stage

_PIPELINES: Final = "switchgear.pipelines"
#: Modules of this distribution may run in the server's own process when they say that they can.
_OURS: Final = "switchgear"
#: Pools that are made warm at the same time: each one imports its module.
_WARM_AT_ONCE: Final = 2

Level = Literal["L0", "L1", "L2", "L3"]


class Installed(Protocol):
    """What plans ask the module registry."""

    def current(self) -> Snapshot:
        """What is known now."""

    def report_unavailable(
        self, module_id: str, settings_digest: str, lack: Lack, settings: Mapping[str, object] | None = None
    ) -> object:
        """A module was seen not to work here."""


class Warmable(Protocol):
    """What plans ask the module pools."""

    async def warm(self, use: ModuleUse) -> Lack | None:
        """Make a module ready."""

    async def keep(self, uses: Collection[ModuleUse]) -> None:
        """Close the other pools."""


def load_pipeline(name: str) -> Pipeline:
    """Import the pipeline behind the entry point *name*: its contracts are enforced in this process.

    Raises:
        DeclarationError: No package offers it, or it is no pipeline.
    """
    entries = list(importlib.metadata.entry_points(group=_PIPELINES, name=name))
    if not entries:
        offered = sorted(importlib.metadata.entry_points(group=_PIPELINES).names)
        raise DeclarationError(
            f"No installed package offers a pipeline named {name!r}; there are: {', '.join(offered) or 'none'}."
        )
    pipeline = entries[0].load()
    if not isinstance(pipeline, Pipeline):
        raise DeclarationError(f"{entries[0].value} is no Pipeline.")
    return pipeline


@dataclass(frozen=True, eq=False)
class PlannedModule:
    """One candidate and the digest of its settings; made once per plan, so that a call makes nothing."""

    candidate: Candidate
    settings_json: str
    settings_digest: str

    @cached_property
    def limits_json(self) -> Encoded:
        """The candidate's limits as they are recorded with each attempt."""
        return Encoded(self.candidate.limits.model_dump(mode="json"))


@dataclass(frozen=True)
class StagePlan:
    """One stage: what it is, and who may serve it; nobody when the configuration selects no module."""

    stage: Stage
    fallback: FallbackPlan | None
    modules: tuple[PlannedModule, ...] = ()

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the earlier outputs that it works on."""
        return tuple(name for name in self.stage.contract.inputs if name != "blob")

    @cached_property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Names of which one each must be there: a required input is a group of one."""
        contract = self.stage.contract
        single = tuple((name,) for name in self.inputs if not contract.is_optional(name))
        return single + tuple(group for group in contract.any_of if "blob" not in group)

    @property
    def queue(self) -> str:
        """The work queue whose workers carry runs through this stage."""
        return DEFAULT_QUEUE if self.fallback is None else self.fallback.selection.limits.queue


@dataclass(frozen=True)
class Ready:
    """A module that can be called now: its pool's key, and what is recorded about it."""

    use: ModuleUse
    description: ModuleDescription


class ExecutionPlan:
    """A configuration made ready.

    Args:
        configuration: The version that runs hold.
        pipeline: Its stages and contracts.
        allow_inline: Whether foreign modules that allow it run in the server's own process.
        isolate_all: Whether even built-in modules get processes of their own (`ISOLATION` L1, L2 or L3).
        level: Level of those processes.
    """

    def __init__(
        self,
        configuration: StoredConfiguration,
        pipeline: Pipeline,
        *,
        allow_inline: bool = False,
        isolate_all: bool = False,
        level: Level = "L1",
    ) -> None:
        self.configuration = configuration
        self.pipeline = pipeline
        self._allow_inline = allow_inline
        self._isolate_all = isolate_all
        self._process_level = level
        self.stages: tuple[StagePlan, ...] = tuple(self._stage(stage) for stage in pipeline.stages)
        self._uses: dict[tuple[str, int, str], ModuleUse] = {}
        self._seen: Snapshot | None = None
        self._answers: dict[PlannedModule, Ready | Lack] = {}

    def _stage(self, stage: Stage) -> StagePlan:
        defaults = stage.limits.model_dump(mode="json")
        plan = plan_for(self.configuration.content, stage.id, defaults=defaults, required=stage.required)
        if plan is None:
            return StagePlan(stage, None)
        modules = tuple(
            PlannedModule(item, canonical_json(dict(item.settings)), sha256_of(dict(item.settings)))
            for item in plan.candidates
        )
        return StagePlan(stage, plan, modules)

    def stage(self, stage_id: str) -> StagePlan | None:
        """The plan of one stage, or None."""
        return next((item for item in self.stages if item.stage.id == stage_id), None)

    def ready(self, module: PlannedModule, snapshot: Snapshot) -> Ready | Lack:
        """How to call a candidate now, or why that is not possible; thought about once for each snapshot."""
        if snapshot is not self._seen:
            self._seen = snapshot
            self._answers.clear()
        answer = self._answers.get(module)
        if answer is None:
            answer = self._answers[module] = self._ready(module, snapshot)
        return answer

    def _ready(self, module: PlannedModule, snapshot: Snapshot) -> Ready | Lack:
        candidate = module.candidate
        lack = snapshot.lack_of(candidate.module_id, module.settings_digest)
        if lack is not None:
            return lack
        description = snapshot.modules[candidate.module_id]
        lack = stale_lack(self.configuration, description)
        if lack is not None:
            return lack
        return Ready(self._use(module, description), description)

    def _use(self, module: PlannedModule, description: ModuleDescription) -> ModuleUse:
        candidate = module.candidate
        key = (candidate.module_id, candidate.index, description.code_digest + module.settings_digest)
        use = self._uses.get(key)
        if use is None:
            requires = description.requires
            files = (file["path"] for file in requires.get("files", ()))
            use = ModuleUse(
                module_id=candidate.module_id,
                settings_json=module.settings_json,
                limits=candidate.limits,
                level=self._level(description),
                environment=tuple(requires.get("environment", ())),
                reads=(*files, *requires.get("binaries", ())),
                writes=tuple(requires.get("writes", ())),
                network=bool(requires.get("network")),
                secret_pointers=description.secret_pointers,
                code_digest=description.code_digest,
            )
            self._uses[key] = use
        return use

    def _level(self, description: ModuleDescription) -> Level:
        if self._isolate_all:
            return self._process_level
        is_trusted = description.distribution == _OURS or self._allow_inline
        return "L0" if description.min_isolation == "L0" and is_trusted else self._process_level

    @property
    def uses(self) -> Collection[ModuleUse]:
        """Every pool that this plan has used."""
        return self._uses.values()


def stale_lack(configuration: StoredConfiguration, module: ModuleDescription) -> Lack | None:
    """Why a held version must not use *module*: its code is not the locked one. DESIGN 3 (module lock)"""
    entry = configuration.lock.get(module.id)
    if entry is None or entry.editable or module.editable:
        return None
    now = LockEntry(module.version, module.code_digest, module.contract_digest, entry.editable)
    if now == entry:
        return None
    return Lack(
        Code.MODULE_VERSION_CHANGED,
        f"{configuration.label} was made with {module.id} {entry.version}; installed is {module.version} with other "
        f"code. Install the distribution of {module.id} with module version {entry.version} again, or retry under a "
        "version that was made with the installed code; `switchgear config create` makes one.",
    )


class Plans:
    """The plans of this process, made when they are first asked for.

    Args:
        pipeline: The pipeline of this instance, imported.
        find: Reads a stored configuration by its id; raises `NotFound`.
        registry: What is installed.
        pools: The module processes.
        allow_inline: See `ExecutionPlan`.
        isolate_all: See `ExecutionPlan`.
        queues: Work queues that are served here; none = all.

    Attributes:
        level: See `ExecutionPlan`; known when the measures have been tried.
    """

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        find: Callable[[str], Awaitable[StoredConfiguration]],
        registry: Installed,
        pools: Warmable,
        allow_inline: bool = False,
        isolate_all: bool = False,
        queues: Collection[str] = (),
    ) -> None:
        self.pipeline = pipeline
        self._queues = frozenset(queues)
        self._find = find
        self._registry = registry
        self._pools = pools
        self._allow_inline = allow_inline
        self._isolate_all = isolate_all
        self.level: Level = "L1"
        self._plans: dict[str, ExecutionPlan] = {}
        self._warming: Counter[str] = Counter()  #: ids of configurations that are made ready now

    def serves(self, stage: StagePlan) -> bool:
        """Whether runs go through this stage here; else they are handed to the workers of its queue."""
        return not self._queues or stage.queue in self._queues

    async def get(self, configuration_id: str) -> ExecutionPlan:
        """The plan of a stored configuration.

        Raises:
            NotFound: There is no such configuration.
        """
        plan = self._plans.get(configuration_id)
        if plan is None:
            plan = self._plan(await self._find(configuration_id))
        return plan

    def _plan(self, configuration: StoredConfiguration) -> ExecutionPlan:
        plan = self._plans.get(configuration.id)
        if plan is None:
            plan = ExecutionPlan(
                configuration,
                self.pipeline,
                allow_inline=self._allow_inline,
                isolate_all=self._isolate_all,
                level=self.level,
            )
            self._plans[configuration.id] = plan
        return plan

    async def warm(self, configuration: StoredConfiguration) -> Why | None:
        """Make a candidate ready beside what runs: one warm process for each stage, its fallback's where need be.

        Stages of queues that are not served here are left to the workers that serve them.

        The other modules of a chain start when they are first needed: most never are, and each costs memory.

        Returns:
            None when it can serve, else why this process refuses it. A module that is not available is no refusal
            when its stage is covered.
        """
        plan = self._plan(configuration)
        at_once = asyncio.Semaphore(_WARM_AT_ONCE)

        async def one(stage: StagePlan) -> list[Lack]:
            async with at_once:
                return await self._warm_stage(plan, stage)

        stages = [stage for stage in plan.stages if stage.fallback is not None and self.serves(stage)]
        self._warming[configuration.id] += 1
        try:
            answers = await asyncio.gather(*map(one, stages))
        finally:
            self._warming -= Counter([configuration.id])
        lacks = [lack for answer in answers for lack in answer]
        return _refusal(configuration, lacks) if lacks else None

    async def _warm_stage(self, plan: ExecutionPlan, stage: StagePlan) -> list[Lack]:
        """Make the first module that works here ready; returns what is wrong, nothing when the stage is covered."""
        assert stage.fallback is not None
        lacks: list[Lack] = []
        for module in stage.modules:
            if module.candidate.index and Outcome.UNAVAILABLE not in module.candidate.on:
                continue
            lack = await self._warm_module(plan, module)
            if lack is None:
                return []
            lacks.append(lack)
        is_covered = stage.fallback.then in (Terminal.PARK, Terminal.SKIP)
        return [] if is_covered else lacks

    async def _warm_module(self, plan: ExecutionPlan, module: PlannedModule) -> Lack | None:
        ready = plan.ready(module, self._registry.current())
        if isinstance(ready, Lack):
            return ready
        lack = await self._pools.warm(ready.use)
        if lack is not None:
            candidate = module.candidate
            self._registry.report_unavailable(candidate.module_id, module.settings_digest, lack, candidate.settings)
        return lack

    async def keep(self, configuration_ids: Collection[str]) -> None:
        """Forget the other plans, and close the pools that no plan uses; calls that run there end first.

        What is made ready meanwhile stays: a switch is told of late, and the next version may be on its way already.
        """
        kept = {*configuration_ids, *self._warming}
        self._plans = {name: plan for name, plan in self._plans.items() if name in kept}
        await self._pools.keep({use for plan in self._plans.values() for use in plan.uses})


def _refusal(configuration: StoredConfiguration, lacks: Sequence[Lack]) -> Why:
    first = lacks[0]
    return Why(
        Code.ACTIVATION_WORKER_REFUSED,
        f"{configuration.label} cannot be made ready here: {first.message}"
        + (f" ({len(lacks) - 1} more.)" if len(lacks) > 1 else ""),
        facts={"lacks": _told(lacks)},
    )


def _told(lacks: Iterable[Lack]) -> list[dict[str, str | None]]:
    return [{"code": str(lack.code), "message": lack.message, "fix": lack.fix} for lack in lacks]
