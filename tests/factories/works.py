"""The inside of a server: registry, module processes and runs, over the installed tiny plug-in."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from factories.core import version_of
from factories.plugin import MODULES, install
from factories.runs import Room
from switchgear.core.breaker_service import Breakers
from switchgear.core.configuration_validation import lock_of
from switchgear.core.database import Database
from switchgear.core.database.statements import wall_time_us
from switchgear.core.module_registry import ModuleRegistry
from switchgear.core.observability import Metrics
from switchgear.core.unit_of_work import Units
from switchgear.domain.access import SYSTEM
from switchgear.domain.configuration import StoredConfiguration, content_from_json
from switchgear.domain.stage import IsolationReport
from switchgear.ingestion.artifact_store import ArtifactStore
from switchgear.ingestion.intake import Intake
from switchgear.ingestion.module_pool import ModulePools
from switchgear.ingestion.orchestrator import Orchestrator, RunEnd
from switchgear.ingestion.plan import Plans, load_pipeline
from switchgear.ingestion.stage_runner import StageRunner
from switchgear.sdk import Limits

FAULTS = ["error", "timeout", "crash", "contract_violation", "unavailable"]
#: Every stage but the one that fails runs in the server's process, so that a test starts few processes.
INLINE = {"load": "load-inline", "count": "count-inline", "check": "check-inline", "send": "send-inline"}
ON_SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])


@dataclass(frozen=True)
class Plugged:
    """The installed plug-in, and where its descriptions are kept between tests."""

    site: Path
    cache: Path


@dataclass
class Works:
    """A server's inside: registry, module processes, runs."""

    room: Room
    registry: ModuleRegistry
    pools: ModulePools
    artifacts: ArtifactStore
    metrics: Metrics = field(default_factory=Metrics)
    versions: dict[str, StoredConfiguration] = field(default_factory=dict)
    orchestrator: Orchestrator = field(init=False)
    plans: Plans = field(init=False)
    breakers: Breakers = field(init=False)

    def __post_init__(self) -> None:
        self.breakers = Breakers(Units(self.room.database, wall_time_us), wall_time_us, self.metrics)
        pipeline = load_pipeline("tiny")
        self.plans = Plans(
            pipeline=pipeline, find=self._find, registry=self.registry, pools=self.pools, allow_inline=True
        )
        self.orchestrator = Orchestrator(
            plans=self.plans,
            runner=StageRunner(self.pools, self.registry, self.breakers, clock=wall_time_us),
            runs=self.room.repository,
            artifacts=self.artifacts,
            metrics=self.metrics,
            clock=wall_time_us,
        )

    async def _find(self, configuration_id: str) -> StoredConfiguration:
        return self.versions[configuration_id]

    def configure(
        self,
        *policies: dict[str, Any],
        settings: dict[str, Any] | None = None,
        limits: dict[str, Any] | None = None,
        stage: str = "upper",
        **modules: str,
    ) -> StoredConfiguration:
        """Make version 1: *settings* and *limits* belong to the module of *stage*."""
        selections: list[dict[str, Any]] = [
            {"stage_id": name, "module_id": module}
            for name, module in {**INLINE, "upper": "upper-faulty", **modules}.items()
        ]
        for item in selections:
            if item["stage_id"] == stage:
                item |= {"settings": settings or {}, "limits": {"timeout_s": 20, **(limits or {})}}
        content = content_from_json({"selections": selections, "fallback_policies": list(policies)})
        lock = lock_of(content.module_ids(), self.registry.current())
        made = version_of(content, lock=lock)
        self.versions["cfg_1"] = made
        return made

    async def submit(self, text: str | bytes = "hello world") -> str:
        """Accept a document; returns its run."""
        data = text.encode() if isinstance(text, str) else text

        async def stream() -> AsyncIterator[bytes]:
            yield data

        intake = Intake(self.artifacts, self.room.repository, max_bytes=1 << 20)
        accepted = await intake.accept(stream(), file_name="a.txt", media_type="text/plain", by=SYSTEM)
        return accepted.run.id

    async def carry(self) -> RunEnd:
        """Claim the next run and carry it as far as it goes."""
        return await self.orchestrator.execute(await self.room.held())

    async def ingest(self, text: str | bytes = "hello world") -> tuple[str, RunEnd]:
        """Accept a document and carry its run."""
        run_id = await self.submit(text)
        return run_id, await self.carry()

    async def upper(self, run_id: str) -> list[tuple[str | None, str, str]]:
        """Module, outcome and detail of each attempt of the stage upper."""
        stored = await self.room.repository.attempts(run_id)
        return [(item.module_id, str(item.outcome), item.detail) for item in stored if item.stage_id == "upper"]

    async def result(self, run_id: str) -> Any:
        """What the stage check gave in the end."""
        outputs = {item.stage_id: item for item in await self.room.repository.outputs(run_id)}
        return json.loads(outputs["check"].value or "null")


def chain(module: str = "upper-other", *, on: list[str] | None = None, **policy: Any) -> dict[str, Any]:
    """A policy of one fallback, *module*, for every fault unless *on* says otherwise."""
    step: dict[str, Any] = {"module_id": module, "on": on or FAULTS}
    if "threshold" in policy:
        step["threshold"] = policy.pop("threshold")
    return {"stage_id": policy.pop("stage", "upper"), "chain": [step], **policy}


@contextmanager
def plugged_in(folder: Path) -> Iterator[Plugged]:
    """Install the plug-in with every module below *folder*; it can be imported until the end."""
    site = install(folder, modules=MODULES)
    sys.path.insert(0, str(site))
    try:
        yield Plugged(site, folder / "cache")
    finally:
        sys.path.remove(str(site))
        for name in [name for name in sys.modules if name.split(".")[0] == "switchgear_tiny"]:
            del sys.modules[name]


@asynccontextmanager
async def running_works(database: Database, plugged: Plugged, folder: Path) -> AsyncIterator[Works]:
    """Start them over *database*, with their files below *folder*; version 1 is to be configured."""
    environment = {**os.environ, "SWITCHGEAR_OUT": str(folder / "out")}
    registry = ModuleRegistry(
        pipeline="tiny",
        cache=plugged.cache,
        clock=wall_time_us,
        isolation=IsolationReport("L1"),
        environment=environment,
    )
    await registry.start()
    artifacts = ArtifactStore(folder / "artifacts")
    await artifacts.start()
    pools = ModulePools(
        folder=folder / "scratch",
        limits=Limits(),
        environment=environment,
        resolve_secret=lambda reference: None,
        default_concurrency=2,
        on_artifact=artifacts.put_file,
    )
    await pools.start()
    try:
        yield Works(await Room(database).prepare(), registry, pools, artifacts)
    finally:
        await pools.close()
        await registry.close()
