"""Modules that fail in real processes, and what becomes of the runs. T031, RELIABILITY 3 (rows 1-13, 18, 22, 44)."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from factories.core import version_of
from factories.plugin import MODULES, change_code, install
from factories.runs import Room
from switchgear.core.breaker_service import Breakers
from switchgear.core.configuration_validation import lock_of
from switchgear.core.database import Database
from switchgear.core.database.statements import wall_time_us
from switchgear.core.module_registry import ModuleRegistry
from switchgear.core.observability import Metrics
from switchgear.core.unit_of_work import Units
from switchgear.domain.access import SYSTEM
from switchgear.domain.breaker import MINIMUM_CALLS
from switchgear.domain.configuration import StoredConfiguration, content_from_json
from switchgear.domain.run import RunStatus
from switchgear.domain.stage import IsolationReport
from switchgear.ingestion.artifact_store import ArtifactStore
from switchgear.ingestion.intake import Intake
from switchgear.ingestion.module_pool import ModulePools
from switchgear.ingestion.orchestrator import Orchestrator, RunEnd
from switchgear.ingestion.plan import Plans, load_pipeline
from switchgear.ingestion.stage_runner import StageRunner
from switchgear.sdk import Limits

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="module processes are held by Linux's means"),
]

FAULTS = ["error", "timeout", "crash", "contract_violation", "unavailable"]
#: Every stage but the one that fails runs in the server's process, so that a test starts few processes.
INLINE = {"load": "load-inline", "count": "count-inline", "check": "check-inline", "send": "send-inline"}
ON_SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])


@dataclass(frozen=True)
class Plugged:
    """The installed plug-in, and where its descriptions are kept between tests."""

    site: Path
    cache: Path


@pytest.fixture(scope="module")
def plugged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plugged]:
    folder = tmp_path_factory.mktemp("fallback")
    site = install(folder, modules=MODULES)
    sys.path.insert(0, str(site))
    yield Plugged(site, folder / "cache")
    sys.path.remove(str(site))
    for name in [name for name in sys.modules if name.split(".")[0] == "switchgear_tiny"]:
        del sys.modules[name]


@dataclass
class Plant:
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
        data = text.encode() if isinstance(text, str) else text

        async def stream() -> AsyncIterator[bytes]:
            yield data

        intake = Intake(self.artifacts, self.room.repository, max_bytes=1 << 20)
        accepted = await intake.accept(stream(), file_name="a.txt", media_type="text/plain", by=SYSTEM)
        return accepted.run.id

    async def carry(self) -> RunEnd:
        return await self.orchestrator.execute(await self.room.held())

    async def ingest(self, text: str | bytes = "hello world") -> tuple[str, RunEnd]:
        run_id = await self.submit(text)
        return run_id, await self.carry()

    async def upper(self, run_id: str) -> list[tuple[str | None, str, str]]:
        """Module, outcome and detail of each attempt of the stage upper."""
        stored = await self.room.repository.attempts(run_id)
        return [(item.module_id, str(item.outcome), item.detail) for item in stored if item.stage_id == "upper"]

    async def result(self, run_id: str) -> Any:
        outputs = {item.stage_id: item for item in await self.room.repository.outputs(run_id)}
        return json.loads(outputs["check"].value or "null")


def chain(module: str = "upper-other", *, on: list[str] | None = None, **policy: Any) -> dict[str, Any]:
    step: dict[str, Any] = {"module_id": module, "on": on or FAULTS}
    if "threshold" in policy:
        step["threshold"] = policy.pop("threshold")
    return {"stage_id": policy.pop("stage", "upper"), "chain": [step], **policy}


@pytest.fixture
async def plant(database: Database, plugged: Plugged, tmp_path: Path) -> AsyncIterator[Plant]:
    environment = {**os.environ, "SWITCHGEAR_OUT": str(tmp_path / "out")}
    registry = ModuleRegistry(
        pipeline="tiny",
        cache=plugged.cache,
        clock=wall_time_us,
        isolation=IsolationReport("L1"),
        environment=environment,
    )
    await registry.start()
    artifacts = ArtifactStore(tmp_path / "artifacts")
    await artifacts.start()
    pools = ModulePools(
        folder=tmp_path / "scratch",
        limits=Limits(),
        environment=environment,
        resolve_secret=lambda reference: None,
        default_concurrency=2,
        on_artifact=artifacts.put_file,
    )
    await pools.start()
    yield Plant(await Room(database).prepare(), registry, pools, artifacts)
    await pools.close()
    await registry.close()


@ON_SQLITE
@pytest.mark.parametrize(
    ("mode", "outcome", "detail"),
    [
        ("raise", "error", "ValueError"),
        ("hang", "timeout", ""),
        ("ignore_sigterm", "timeout", ""),
        ("exit0", "crash", "exit:0"),
        ("os_exit", "crash", "exit:0"),
        ("segv", "crash", "signal:SEGV"),
        ("abort", "crash", "signal:ABRT"),
        ("alloc", "crash", "memory_limit"),
        ("none", "contract_violation", "wrong_type"),
        ("wrong_type", "contract_violation", "wrong_type"),
        ("broken_guarantee", "contract_violation", "guarantee:is_upper"),
        ("unavailable", "unavailable", "module.probe_failed"),
    ],
)
async def test_the_fallback_completes_the_run_with_the_reason(
    plant: Plant, mode: str, outcome: str, detail: str
) -> None:
    is_endless = mode in ("hang", "ignore_sigterm")
    plant.configure(chain(), settings={"mode": mode}, limits={"timeout_s": 2 if is_endless else 20})
    await plant.plans.warm(plant.versions["cfg_1"])  # starting a process counts for the first call

    run_id, end = await plant.ingest()

    assert (end.status, end.degraded) == (RunStatus.SUCCEEDED, True)
    assert await plant.upper(run_id) == [
        ("upper-faulty", outcome, detail),
        ("upper-other", "succeeded", ""),
    ]
    assert (await plant.result(run_id))["text"] == "HELLO WORLD!"
    output = next(item for item in await plant.room.repository.outputs(run_id) if item.stage_id == "upper")
    assert output.why is not None
    assert output.why["code"] == f"fallback.{outcome}"
    assert f'reason="fallback.{outcome}"' in plant.metrics.render().decode()


async def test_only_the_document_that_a_module_fails_on_is_concerned(plant: Plant) -> None:
    plant.configure({"stage_id": "upper", "chain": [], "then": "park"}, settings={"mode": "segv", "only_if": "poison"})
    await plant.plans.warm(plant.versions["cfg_1"])
    runs = [await plant.submit(text) for text in ("one", "poison", "three")]
    claims = [await plant.room.held() for _ in runs]

    ends = await asyncio.gather(*(plant.orchestrator.execute(claim) for claim in claims))

    statuses = {end.run_id: str(end.status) for end in ends}
    assert [statuses[run] for run in runs] == ["succeeded", "parked", "succeeded"]
    parked = await plant.room.repository.get(runs[1])
    assert parked.why_code == "parked.no_fallback"


async def test_without_a_terminal_action_a_stage_that_was_tried_fails(plant: Plant) -> None:
    plant.configure(settings={"mode": "raise"})

    run_id, end = await plant.ingest()

    assert end.status is RunStatus.FAILED
    run = await plant.room.repository.get(run_id)
    assert run.why is not None
    assert run.why["code"] == "failed.chain_exhausted"
    assert "upper-faulty: error (ValueError)" in run.why["summary"]


@ON_SQLITE
async def test_when_all_modules_fail_every_attempt_is_listed_and_the_document_stays(plant: Plant) -> None:
    plant.configure(
        {
            "stage_id": "upper",
            "chain": [
                {"module_id": "upper-faulty-inline", "settings": {"mode": "raise"}, "on": FAULTS},
                {"module_id": "upper-nobinary", "on": FAULTS},
            ],
            "then": "park",
        },
        settings={"mode": "os_exit"},
    )

    run_id, end = await plant.ingest()

    assert end.why is not None
    assert (end.status, end.why.code) == (RunStatus.PARKED, "parked.chain_exhausted")
    assert await plant.upper(run_id) == [
        ("upper-faulty", "crash", "exit:0"),
        ("upper-faulty-inline", "error", "ValueError"),
        ("upper-nobinary", "unavailable", "module.missing_binary"),
    ]


@ON_SQLITE
async def test_a_rejected_document_ends_with_the_modules_words_and_burns_no_chain(plant: Plant) -> None:
    plant.configure(chain(then="park"), settings={"mode": "reject"})

    run_id, end = await plant.ingest()

    assert end.why is not None
    assert (end.status, end.why.code) == (RunStatus.FAILED, "failed.input_rejected")
    assert end.why.summary == "The document is encrypted."
    assert await plant.upper(run_id) == [("upper-faulty", "bad_input", "encrypted")]


@ON_SQLITE
async def test_a_document_that_is_no_text_leaves_the_worker_alive(plant: Plant) -> None:
    plant.configure(settings={"mode": "ok"})

    _, bad = await plant.ingest(b"\xff\xfe\x00")
    _, good = await plant.ingest("fine")

    assert bad.why is not None
    assert bad.why.summary == "The file is no UTF-8 text."
    assert good.status is RunStatus.SUCCEEDED


@ON_SQLITE
async def test_an_unsure_output_is_replaced_by_a_surer_one(plant: Plant) -> None:
    plant.configure(chain(on=["low_confidence"], threshold=0.6), settings={"mode": "low_confidence", "confidence": 0.3})

    run_id, end = await plant.ingest()

    assert end.degraded
    assert (await plant.upper(run_id))[0] == ("upper-faulty", "low_confidence", "")
    assert (await plant.result(run_id))["text"] == "HELLO WORLD!"


@ON_SQLITE
async def test_a_selected_module_that_lacks_a_program_is_served_by_its_fallback(plant: Plant) -> None:
    plant.configure(chain(), upper="upper-nobinary")

    run_id, end = await plant.ingest()

    assert (end.status, end.degraded) == (RunStatus.SUCCEEDED, True)
    first = (await plant.room.repository.attempts(run_id))[1]
    assert (first.stage_id, str(first.outcome), first.detail) == ("upper", "unavailable", "module.missing_binary")
    assert "apt-get install switchgear-no-such-binary" in first.message


@ON_SQLITE
async def test_without_a_fallback_an_unavailable_module_parks(plant: Plant) -> None:
    plant.configure(upper="upper-nobinary")

    _, end = await plant.ingest()

    assert end.why is not None
    assert (end.status, end.why.code) == (RunStatus.PARKED, "parked.nothing_available")


@ON_SQLITE
async def test_a_disabled_module_is_not_called(plant: Plant) -> None:
    plant.configure(chain(), settings={"mode": "ok"})
    plant.registry.set_enabled("upper-faulty", False)

    run_id, end = await plant.ingest()

    assert end.degraded
    assert (await plant.upper(run_id))[0] == ("upper-faulty", "unavailable", "module.disabled")


@ON_SQLITE
async def test_a_retry_brings_a_passing_trouble_to_an_end_without_the_fallback(plant: Plant, tmp_path: Path) -> None:
    counter = str(tmp_path / "calls")
    plant.configure(chain(), settings={"mode": "retryable", "bad_calls": 2, "counter": counter})

    run_id, end = await plant.ingest()

    assert (end.status, end.degraded) == (RunStatus.SUCCEEDED, False)
    assert [item[1] for item in await plant.upper(run_id)] == ["error", "error", "succeeded"]


@ON_SQLITE
async def test_a_longer_pause_puts_the_run_back_into_the_queue(plant: Plant) -> None:
    plant.configure(chain(), settings={"mode": "retryable_later"})

    run_id, end = await plant.ingest()

    assert end.status is RunStatus.QUEUED
    run = await plant.room.repository.get(run_id)
    assert run.why_code == "waiting.retry_backoff"
    assert run.available_at > await plant.room.now_us() + 30_000_000


@ON_SQLITE
async def test_a_module_that_changes_its_input_changes_nothing_for_later_stages(plant: Plant) -> None:
    plant.configure(settings={"mode": "mutate"})

    run_id, _ = await plant.ingest()

    outputs = {item.stage_id: json.loads(item.value or "") for item in await plant.room.repository.outputs(run_id)}
    assert outputs["load"]["text"] == "hello world"
    assert outputs["upper"]["text"] == "HELLO WORLD"


@ON_SQLITE
async def test_an_effect_that_is_perhaps_done_is_tried_once_more_with_the_same_key(
    plant: Plant, tmp_path: Path
) -> None:
    counter = str(tmp_path / "calls")
    plant.configure(
        {"stage_id": "send", "chain": [{"module_id": "send-other", "on": FAULTS}]},
        stage="send",
        settings={"mode": "hang", "bad_calls": 1, "counter": counter},
        limits={"timeout_s": 3},
        upper="upper-inline",
        send="send-faulty",
    )
    await plant.plans.warm(plant.versions["cfg_1"])

    run_id, end = await plant.ingest()

    assert (end.status, end.degraded) == (RunStatus.SUCCEEDED, False)
    sent = [item for item in await plant.room.repository.attempts(run_id) if item.stage_id == "send"]
    assert [(item.module_id, item.try_number, str(item.outcome)) for item in sent] == [
        ("send-faulty", 1, "timeout"),
        ("send-faulty", 2, "succeeded"),
    ]
    run = await plant.room.repository.get(run_id)
    assert len(await plant.room.repository.deliveries(run.document_id)) == 1


@ON_SQLITE
async def test_a_person_releases_what_a_module_asked_about(plant: Plant) -> None:
    plant.configure(stage="check", settings={"review_above": 1}, upper="upper-inline", check="check-count")
    run_id, end = await plant.ingest("three words here")
    assert end.why is not None
    assert (end.status, end.why.code) == (RunStatus.PARKED, "parked.review")
    assert end.why.facts["words"] == 3

    decision = {"action": "release", "actor": "ada", "message": "fine", "at": wall_time_us()}
    await plant.room.repository.decide(await plant.room.repository.get(run_id), decision)
    again = await plant.carry()

    assert again.status is RunStatus.SUCCEEDED
    assert (await plant.result(run_id))["note"] == "release by ada"


@ON_SQLITE
async def test_code_that_changed_under_a_held_version_is_not_run(
    plant: Plant, plugged: Plugged, tmp_path: Path
) -> None:
    plant.configure(chain(), upper="upper-text")
    run_id = await plant.submit("one")
    code = plugged.site / "switchgear_tiny" / "upper_text" / "__init__.py"
    before = code.read_text()
    try:
        change_code(plugged.site)
        await plant.registry.rescan()
        end = await plant.carry()
    finally:
        code.write_text(before)

    assert (end.status, end.degraded) == (RunStatus.SUCCEEDED, True)
    assert (await plant.upper(run_id))[0] == ("upper-text", "unavailable", "module.version_changed")


@ON_SQLITE
async def test_warming_makes_the_selection_ready_or_its_fallback(plant: Plant) -> None:
    covered = plant.configure(chain(), settings={"open": "raise"})
    assert await plant.plans.warm(covered) is None
    warm = {pool["module"] for pool in plant.pools.describe() if pool["workers"]}
    assert "upper-other" in warm

    alone = plant.configure(settings={"open": "raise", "seconds": 0.1})
    plant.plans = Plans(
        pipeline=plant.plans.pipeline, find=plant._find, registry=plant.registry, pools=plant.pools, allow_inline=True
    )
    why = await plant.plans.warm(alone)
    assert why is not None
    assert why.code == "activation.worker_refused"
    assert "upper-faulty" in why.summary


async def test_a_module_that_fails_every_time_is_not_called_any_more_and_its_fallback_serves_at_once(
    plant: Plant,
) -> None:
    plant.configure(chain(on=[*FAULTS, "breaker_open"]), settings={"mode": "raise"})
    failing = [await plant.ingest(f"document {number}") for number in range(MINIMUM_CALLS)]
    assert {(await plant.upper(run_id))[0][1] for run_id, _ in failing} == {"error"}

    run_id, end = await plant.ingest("one more")

    assert (end.status, end.degraded) == (RunStatus.SUCCEEDED, True)
    assert await plant.upper(run_id) == [
        ("upper-faulty", "breaker_open", "module.breaker_open"),
        ("upper-other", "succeeded", ""),
    ]
    skipped = next(item for item in await plant.room.repository.attempts(run_id) if item.outcome == "breaker_open")
    assert skipped.duration_us == 0
    assert f"{MINIMUM_CALLS} of its last {MINIMUM_CALLS} calls failed" in skipped.message
    output = next(item for item in await plant.room.repository.outputs(run_id) if item.stage_id == "upper")
    assert output.why is not None
    assert output.why["code"] == "fallback.breaker_open"


@ON_SQLITE
async def test_without_a_fallback_runs_wait_on_hold_while_the_breaker_is_open(plant: Plant) -> None:
    plant.configure({"stage_id": "upper", "chain": [], "then": None}, settings={"mode": "raise"})
    for number in range(MINIMUM_CALLS):
        assert (await plant.ingest(f"document {number}"))[1].status is RunStatus.FAILED

    _, end = await plant.ingest("one more")

    assert end.status is RunStatus.PARKED
    assert end.why is not None
    assert end.why.code == "parked.nothing_available"
    assert "switchgear modules breaker upper-faulty closed -m WHY" in [action.cli for action in end.why.next_actions]
