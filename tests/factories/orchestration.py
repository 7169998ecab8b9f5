"""Everything that carries runs through a pipeline of three stages in a real database; only its modules are fakes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from factories.core import version_of
from factories.modules import FakeBreakers, FakePools, FakeRegistry
from factories.runs import Room
from switchgear.core.observability import Metrics
from switchgear.domain.access import Actor, Role
from switchgear.domain.configuration import StoredConfiguration, content_from_json
from switchgear.domain.run import AttemptResult, Outcome
from switchgear.ingestion.artifact_store import ArtifactStore
from switchgear.ingestion.intake import Intake
from switchgear.ingestion.module_pool import Call
from switchgear.ingestion.orchestrator import Orchestrator, RunEnd
from switchgear.ingestion.plan import Plans
from switchgear.ingestion.stage_runner import StageRunner
from switchgear.sdk import Contract, Pipeline, Stage
from switchgear.sdk.values import Blob, Frozen

#: Every outcome that a fallback can stand in for.
ALL = ["error", "timeout", "crash", "contract_violation", "unavailable"]
SENDER = Actor("ada", Role.OPERATOR, "tok_1")


class Text(Frozen):
    """What the stage read gives."""

    text: str


class Fields(Frozen):
    """What the stage extract gives; the result."""

    number: str
    supplier: str = "ACME"


class Receipt(Frozen):
    """What the stage deliver gives."""

    target: str
    key: str


READ = Contract(name="read", version="1.0", inputs={"blob": Blob}, output_name="text", output=Text)
EXTRACT = Contract(name="extract", version="1.0", inputs={"text": Text}, output_name="fields", output=Fields)
DELIVER = Contract(
    name="deliver",
    version="1.0",
    inputs={"fields": Fields},
    output_name="receipt",
    output=Receipt,
    effects="external",
)
PIPELINE = Pipeline(
    "tiny",
    (Stage("read", 10, READ), Stage("extract", 20, EXTRACT), Stage("deliver", 30, DELIVER)),
    result="fields",
    identity=("/supplier", "/number"),
)


def given(**fields: Any) -> AttemptResult:
    """The answer of a module that gives these fields."""
    return AttemptResult(Outcome.SUCCEEDED, output=json.dumps(fields, separators=(",", ":")).encode())


def failed(outcome: Outcome, detail: str = "", **more: Any) -> AttemptResult:
    """The answer of a module that gives nothing."""
    return AttemptResult(outcome, detail, f"it was {outcome}", **more)


async def receipt(call: Call) -> AttemptResult:
    """The answer of a module that delivers: the same key for the same result."""
    return given(target="files", key=f"{abs(hash(call.delivery_base)):064x}"[-64:])


def version(
    number: int, *, stages: tuple[str, ...] = ("read", "extract", "deliver"), suffix: str = "a", **policies: Any
) -> StoredConfiguration:
    """Version *number*: module `<stage>-<suffix>` for each stage, and a policy where one is given."""
    content = content_from_json(
        {
            "selections": [{"stage_id": stage, "module_id": f"{stage}-{suffix}"} for stage in stages],
            "fallback_policies": [{"stage_id": stage, **policy} for stage, policy in policies.items()],
        }
    )
    return version_of(content, number)


class Plant:
    """Everything that carries runs; `carry` claims the next one and executes it."""

    def __init__(self, room: Room, folder: Path) -> None:
        self.room = room
        self.repository: Any = room.repository
        self.pools = FakePools(
            read_a=[given(text="hello")],
            read_b=[given(text="other")],
            extract_a=[given(number="A1")],
            extract_b=[given(number="B1")],
            deliver_a=[receipt],
            deliver_b=[receipt],
        )
        self.registry = FakeRegistry(*self.pools.answers)
        self.versions: dict[str, StoredConfiguration] = {}
        self.artifacts = ArtifactStore(folder)
        self.metrics = Metrics()
        self.pipeline = PIPELINE
        self.slept: list[float] = []
        self.now_us = 1_000_000
        self.checkpoint_after_ms = 50.0
        self.run_deadline_s = 900.0
        self.queues: tuple[str, ...] = ()

    async def start(self) -> Plant:
        await self.artifacts.start()
        self.hold(version(1))
        return self

    def hold(self, configuration: StoredConfiguration) -> None:
        self.versions[configuration.id] = configuration

    async def _find(self, configuration_id: str) -> StoredConfiguration:
        return self.versions[configuration_id]

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def _clock(self) -> int:
        self.now_us += 1
        return self.now_us

    def orchestrator(self) -> Orchestrator:
        plans = Plans(
            pipeline=self.pipeline, find=self._find, registry=self.registry, pools=self.pools, queues=self.queues
        )
        return Orchestrator(
            plans=plans,
            runner=StageRunner(self.pools, self.registry, FakeBreakers(), clock=self._clock, sleep=self._sleep),
            runs=self.repository,
            artifacts=self.artifacts,
            metrics=self.metrics,
            clock=self._clock,
            run_deadline_s=self.run_deadline_s,
            checkpoint_after_ms=self.checkpoint_after_ms,
            sleep=self._sleep,
        )

    async def submit(self, data: bytes = b"hello", *, again: bool = False) -> str:
        async def stream() -> AsyncIterator[bytes]:
            yield data

        intake = Intake(self.artifacts, self.room.repository, max_bytes=1 << 20)
        accepted = await intake.accept(stream(), file_name="a.txt", media_type="text/plain", by=SENDER, again=again)
        return accepted.run.id

    async def carry(self) -> RunEnd:
        claim = await self.room.claim(queues=self.queues)
        assert claim is not None
        return await self.orchestrator().execute(claim)

    async def attempts(self, run_id: str) -> list[tuple[str, str | None, str]]:
        stored = await self.room.repository.attempts(run_id)
        return [(item.stage_id, item.module_id, str(item.outcome)) for item in stored]

    async def outputs(self, run_id: str) -> dict[str, Any]:
        return {item.stage_id: item for item in await self.room.repository.outputs(run_id)}

    def metric(self, name: str) -> str:
        lines = [line for line in self.metrics.render().decode().splitlines() if line.startswith(name)]
        return "\n".join(lines)
