"""Runs carried stage by stage in a real database; only the modules are fakes. T034, RELIABILITY I7, I14, I15, I20."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factories.core import version_of
from factories.modules import FakeBreakers, FakePools, FakeRegistry
from factories.runs import Room, attempt, output
from switchgear.core.database import Database, Statement
from switchgear.core.observability import Metrics
from switchgear.domain.access import Actor, Role
from switchgear.domain.configuration import StoredConfiguration, content_from_json
from switchgear.domain.errors import Code, DatabaseUnreachable, NotFound
from switchgear.domain.run import AttemptResult, Outcome, RunStatus
from switchgear.ingestion.artifact_store import ArtifactStore
from switchgear.ingestion.intake import Intake
from switchgear.ingestion.module_pool import Call
from switchgear.ingestion.orchestrator import Orchestrator, RunEnd
from switchgear.ingestion.plan import Plans
from switchgear.ingestion.run_repository import ClaimedRun, Stop
from switchgear.ingestion.stage_runner import StageRunner
from switchgear.sdk import Contract, Pipeline, Stage, StageLimits
from switchgear.sdk.values import Blob, Frozen

pytestmark = pytest.mark.anyio

ALL = ["error", "timeout", "crash", "contract_violation", "unavailable"]
SENDER = Actor("ada", Role.OPERATOR, "tok_1")


class Text(Frozen):
    text: str


class Fields(Frozen):
    number: str
    supplier: str = "ACME"


class Receipt(Frozen):
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
    return AttemptResult(Outcome.SUCCEEDED, output=json.dumps(fields, separators=(",", ":")).encode())


def failed(outcome: Outcome, detail: str = "", **more: Any) -> AttemptResult:
    return AttemptResult(outcome, detail, f"it was {outcome}", **more)


async def receipt(call: Call) -> AttemptResult:
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


@pytest.fixture
async def plant(database: Database, tmp_path: Path) -> Plant:
    return await Plant(await Room(database).prepare(), tmp_path / "artifacts").start()


async def test_a_document_goes_through_every_stage_under_the_held_version(plant: Plant) -> None:
    run_id = await plant.submit()

    end = await plant.carry()

    assert (end.status, end.degraded, end.why) == (RunStatus.SUCCEEDED, False, None)
    assert await plant.attempts(run_id) == [
        ("read", "read-a", "succeeded"),
        ("extract", "extract-a", "succeeded"),
        ("deliver", "deliver-a", "succeeded"),
    ]
    stored = await plant.room.repository.attempts(run_id)
    assert {(item.configuration_id, item.configuration_version) for item in stored} == {("cfg_1", 1)}
    assert [item.code_digest for item in stored] == ["code of read-a", "code of extract-a", "code of deliver-a"]
    outputs = await plant.outputs(run_id)
    assert outputs["extract"].value == '{"number":"A1"}'
    assert plant.pools.calls[1][1].inputs["text"].raw == b'{"text":"hello"}'  # type: ignore[union-attr]
    assert 'switchgear_runs_total{result="succeeded"} 1.0' in plant.metric("switchgear_runs_total")


async def test_a_fallback_completes_the_run_and_says_why(plant: Plant) -> None:
    plant.hold(version(1, extract={"chain": [{"module_id": "extract-b", "on": ALL}], "then": "park"}))
    plant.pools.answers["extract-a"][0] = failed(Outcome.CRASH, "signal:SEGV")
    run_id = await plant.submit()

    end = await plant.carry()

    assert (end.status, end.degraded) == (RunStatus.SUCCEEDED, True)
    extract = (await plant.outputs(run_id))["extract"]
    assert (extract.module_id, extract.wanted_module_id, extract.degraded) == ("extract-b", "extract-a", True)
    assert extract.why["code"] == "fallback.crash"
    assert (await plant.room.repository.get(run_id)).degraded
    counted = plant.metric("switchgear_fallbacks_total{")
    assert 'from_module="extract-a"' in counted
    assert 'reason="fallback.crash"' in counted
    assert 'outcome="crash"' in plant.metric("switchgear_stage_attempts_total{")


@pytest.mark.parametrize(("then", "status", "code"), [("park", "parked", "parked"), ("fail", "failed", "failed")])
async def test_without_a_fallback_only_that_run_parks_or_fails(plant: Plant, then: str, status: str, code: str) -> None:
    plant.hold(version(1, extract={"chain": [{"module_id": "extract-b", "on": ALL}], "then": then}))
    bad, good = failed(Outcome.ERROR, "ValueError"), given(number="A2")
    plant.pools.answers["extract-a"].extend([bad, good])
    plant.pools.answers["extract-a"].popleft()
    plant.pools.answers["extract-b"][0] = bad
    first = await plant.submit(b"one")
    second = await plant.submit(b"two")

    ends = [await plant.carry(), await plant.carry()]

    assert [str(end.status) for end in ends] == [status, "succeeded"]
    run = await plant.room.repository.get(first)
    assert run.why is not None
    assert run.why["code"] == f"{code}.chain_exhausted"
    assert f"switchgear runs retry {first}" in [action["cli"] for action in run.why["next_actions"]]
    assert run.stage_id == "extract"
    assert set(await plant.outputs(first)) == {"read"}
    assert (await plant.room.repository.get(second)).status is RunStatus.SUCCEEDED


async def test_a_retry_goes_on_where_it_stopped_under_the_same_version(plant: Plant) -> None:
    plant.pools.answers["extract-a"].appendleft(failed(Outcome.ERROR))
    run_id = await plant.submit()
    assert (await plant.carry()).status is RunStatus.FAILED
    await plant.room.configure(2)
    await plant.room.activate(2)
    plant.hold(version(2, suffix="b"))

    await plant.room.repository.retry(await plant.room.repository.get(run_id), stage_id=None)
    end = await plant.carry()

    assert end.status is RunStatus.SUCCEEDED
    assert plant.pools.called() == ["read-a", "extract-a", "extract-a", "deliver-a"]
    assert (await plant.room.repository.get(run_id)).configuration_version == 1


async def test_selecting_another_module_changes_the_module_that_executes_and_no_other(plant: Plant) -> None:
    await plant.submit(b"one")
    await plant.carry()
    await plant.room.configure(2)
    await plant.room.activate(2)
    other = version(2)
    body = other.content.as_json()
    body["selections"][1]["module_id"] = "extract-b"
    plant.hold(version_of(content_from_json(body), 2))
    assert body["selections"][1]["stage_id"] == "extract"

    run_id = await plant.submit(b"two")
    await plant.carry()

    assert plant.pools.called()[3:] == ["read-a", "extract-b", "deliver-a"]
    assert (await plant.outputs(run_id))["extract"].value == '{"number":"B1"}'


async def test_a_required_stage_without_input_fails_the_run_and_says_which_stage_did_not_give_it_and_why(
    plant: Plant,
) -> None:
    plant.pools.answers["read-a"][0] = AttemptResult(Outcome.NOT_APPLICABLE, "", "no page has text")
    run_id = await plant.submit()

    end = await plant.carry()

    assert end.status is RunStatus.FAILED
    assert end.why is not None
    assert end.why.code is Code.FAILED_NO_INPUT
    assert end.why.summary == (
        "The run failed: stage extract has nothing to work on, because there is no text. "
        "Stage read gave no text: no page has text."
    )
    assert end.why.facts["missing"] == ["text"]
    assert end.why.facts["stages"] == [
        {
            "stage_id": "read",
            "gives": "text",
            "outcome": "not_applicable",
            "module": "read-a",
            "reason": "no page has text",
        }
    ]
    assert [action.cli for action in end.why.next_actions] == [
        "switchgear ingest FILE",
        "switchgear modules list --stage read",
        "switchgear config set read=MODULE -m WHY --activate",
        f"switchgear runs retry {run_id} --configuration active --from read",
    ]
    assert plant.pools.called() == ["read-a"]
    assert (await plant.outputs(run_id))["read"].outcome is Outcome.NOT_APPLICABLE


async def test_a_retry_without_input_knows_the_reasons_of_the_run_that_it_repeats(plant: Plant) -> None:
    plant.pools.answers["read-a"][0] = AttemptResult(Outcome.NOT_APPLICABLE, "", "no page has text")
    run_id = await plant.submit()
    first = await plant.carry()
    run = await plant.room.repository.get(run_id)
    await plant.room.repository.retry(run, stage_id="extract")
    again = await plant.carry()
    await plant.room.repository.add_run(
        run.document_id, "tok_1", retry_of=run_id, stage_id="extract", copy_from=run_id, copied_stages=["read"]
    )
    repeated = await plant.carry()

    assert first.why is not None
    assert again.why is not None
    assert repeated.why is not None
    assert "no page has text" in first.why.summary
    assert first.why.summary == again.why.summary == repeated.why.summary


async def test_what_is_missing_is_followed_back_to_the_stages_that_could_not_give_it(plant: Plant) -> None:
    def concerns(inputs: Any) -> str | None:
        return "the text is empty" if inputs["text"] is not None else None

    fields = Contract(
        name="fields", version="1.0", inputs={"text": Text}, output_name="fields", output=Fields, applies=concerns
    )
    table = Contract(name="table", version="1.0", inputs={"text": Text}, output_name="table", output=Fields)
    either = Contract(
        name="either",
        version="1.0",
        inputs={"fields": Fields | None, "table": Fields | None},
        any_of=(("fields", "table"),),
        output_name="receipt",
        output=Receipt,
    )
    plant.pipeline = Pipeline(
        "tiny",
        (
            Stage("read", 10, READ),
            Stage("extract", 20, fields),
            Stage("tabulate", 30, table, required=False),
            Stage("deliver", 40, either),
        ),
        result="fields",
    )
    await plant.submit()

    end = await plant.carry()

    assert end.why is not None
    assert end.why.summary == (
        "The run failed: stage deliver has nothing to work on, because there is neither fields nor table. "
        "Stage extract gave no fields: the text is empty. "
        "Stage tabulate gave no table: the configuration selects no module for it."
    )
    assert end.why.facts["last_served"] == {"stage_id": "read", "module": "read-a"}
    assert "switchgear config set tabulate=MODULE -m WHY --activate" in [action.cli for action in end.why.next_actions]


async def test_optional_stages_are_left_out_without_a_call_when_they_do_not_concern_the_document(plant: Plant) -> None:
    def concerns(inputs: Any) -> str | None:
        return "there is no table" if inputs["text"] is not None else None

    scan = Contract(name="s", version="1.0", inputs={"text": Text}, output_name="s", output=Text, applies=concerns)
    needs = Contract(name="n", version="1.0", inputs={"s": Text}, output_name="n", output=Text)
    either = Contract(
        name="e",
        version="1.0",
        inputs={"s": Text | None, "n": Text | None},
        output_name="e",
        output=Text,
        any_of=(("s", "n"),),
    )
    stages = (
        Stage("read", 10, READ),
        Stage("scan", 11, scan, required=False),
        Stage("needs", 12, needs, required=False),
        Stage("either", 13, either, required=False),
        Stage("unselected", 14, either_named("u"), required=False),
        Stage("extract", 20, EXTRACT),
    )
    plant.pipeline = Pipeline("tiny", stages, result="fields")
    plant.hold(version(1, stages=("read", "scan", "needs", "either", "extract")))
    run_id = await plant.submit()

    end = await plant.carry()

    assert end.status is RunStatus.SUCCEEDED
    assert plant.pools.called() == ["read-a", "extract-a"]
    notes = {item.stage_id: item.message for item in await plant.room.repository.attempts(run_id)}
    assert notes["scan"] == "there is no table"
    assert notes["needs"] == "there is no s"
    assert notes["either"] == "there is neither s nor n"
    assert "unselected" not in notes
    assert [item.stage_id for item in await plant.room.repository.attempts(run_id)] == [
        *("read", "scan", "needs", "either", "extract"),
    ]


def either_named(name: str) -> Contract:
    return Contract(name=name, version="1.0", inputs={"text": Text}, output_name=name, output=Text)


async def crash(plant: Plant, stage_module: str) -> str:
    """Carry a run until *stage_module* is called, then let its worker die; returns the run's id."""
    reached = asyncio.Event()

    async def hangs(call: Call) -> AttemptResult:
        reached.set()
        await asyncio.sleep(3600)
        raise AssertionError

    plant.pools.answers[stage_module].appendleft(hangs)
    run_id = await plant.submit()
    claim = await plant.room.held()
    task = asyncio.create_task(plant.orchestrator().execute(claim))
    await reached.wait()
    task.cancel()  # nobody says why: the process is gone
    with pytest.raises(asyncio.CancelledError):
        await task
    await plant.room.lose(claim)
    return run_id


async def test_after_a_crash_the_run_goes_on_at_the_first_stage_that_was_not_committed(plant: Plant) -> None:
    plant.checkpoint_after_ms = 0
    run_id = await crash(plant, "extract-a")
    await plant.room.configure(2)
    await plant.room.activate(2)
    plant.hold(version(2, suffix="b"))

    end = await plant.carry()

    assert end.status is RunStatus.SUCCEEDED
    assert plant.pools.called() == ["read-a", "extract-a", "extract-a", "deliver-a"]
    assert await plant.attempts(run_id) == [
        ("read", "read-a", "succeeded"),
        ("extract", None, "lost"),
        ("extract", "extract-a", "succeeded"),
        ("deliver", "deliver-a", "succeeded"),
    ]


async def test_what_was_not_committed_runs_again_and_is_recorded_once(plant: Plant) -> None:
    plant.checkpoint_after_ms = 60_000
    run_id = await crash(plant, "extract-a")
    assert await plant.outputs(run_id) == {}

    await plant.carry()

    assert plant.pools.called() == ["read-a", "extract-a", "read-a", "extract-a", "deliver-a"]
    assert [item for item in await plant.attempts(run_id) if item[0] == "read"] == [
        ("read", None, "lost"),
        ("read", "read-a", "succeeded"),
    ]


async def test_everything_is_committed_before_something_happens_outside(plant: Plant) -> None:
    plant.checkpoint_after_ms = 60_000
    committed: list[set[str]] = []

    async def looks(call: Call) -> AttemptResult:
        committed.append(set(await plant.outputs(call.run_id)))
        return await receipt(call)

    plant.pools.answers["deliver-a"][0] = looks
    await plant.submit()

    await plant.carry()

    assert committed == [{"read", "extract"}]


async def test_a_zombie_changes_nothing(plant: Plant) -> None:
    go_on, reached = asyncio.Event(), asyncio.Event()

    async def waits(call: Call) -> AttemptResult:
        reached.set()
        await go_on.wait()
        return given(number="ZOMBIE")

    plant.pools.answers["extract-a"].appendleft(waits)
    run_id = await plant.submit()
    claim = await plant.room.held()
    zombie = asyncio.create_task(plant.orchestrator().execute(claim))
    await reached.wait()
    await plant.room.lose(claim)
    second = await plant.carry()
    go_on.set()
    first = await zombie

    assert (first.status, second.status) == (None, RunStatus.SUCCEEDED)
    assert (await plant.outputs(run_id))["extract"].value == '{"number":"A1"}'
    assert plant.pools.called().count("deliver-a") == 1


async def stopped(plant: Plant, why: Stop) -> tuple[str, RunEnd]:
    reached = asyncio.Event()

    async def hangs(call: Call) -> AttemptResult:
        reached.set()
        await asyncio.sleep(3600)
        raise AssertionError

    plant.pools.answers["extract-a"].appendleft(hangs)
    run_id = await plant.submit()
    claim = await plant.room.held()
    task = asyncio.create_task(plant.orchestrator().execute(claim))
    await reached.wait()
    claim.stop = why
    task.cancel()
    return run_id, await task


@pytest.mark.parametrize("stage", ["read", "extract"])
async def test_whoever_waits_for_a_run_sees_at_which_stage_it_hangs_before_any_checkpoint(
    plant: Plant, stage: str
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    answer = plant.pools.answers[f"{stage}-a"][0]

    async def hangs(call: Call) -> AttemptResult:
        reached.set()
        await go_on.wait()
        assert isinstance(answer, AttemptResult)
        return answer

    plant.pools.answers[f"{stage}-a"][0] = hangs
    plant.checkpoint_after_ms = 60_000.0
    run_id = await plant.submit()
    claim = await plant.room.held()
    task = asyncio.create_task(plant.orchestrator().execute(claim))
    await reached.wait()

    await plant.room.repository.heartbeat("wrk_1", [claim], 20.0)

    assert [run.stage_id for run in await plant.room.repository.blocking(plant.room.database.narrow, 10)] == [stage]
    assert await plant.outputs(run_id) == {}
    go_on.set()
    assert (await task).status is RunStatus.SUCCEEDED


async def test_a_lost_run_that_was_seen_at_a_later_stage_begins_again_at_the_first_one_that_was_not_committed(
    plant: Plant,
) -> None:
    run_id = await plant.submit()
    claim = await plant.room.held()
    claim.at_stage_id = "extract"
    await plant.room.repository.heartbeat("wrk_1", [claim], 20.0)
    await plant.room.lose(claim)

    end = await plant.carry()

    assert end.status is RunStatus.SUCCEEDED
    assert plant.pools.called() == ["read-a", "extract-a", "deliver-a"]
    assert (await plant.attempts(run_id))[0] == ("read", None, "lost")


async def test_a_lost_run_whose_first_stage_was_committed_was_lost_at_the_second(plant: Plant) -> None:
    run_id = await plant.submit()
    claim = await plant.room.held()
    await plant.room.repository.checkpoint(
        claim, attempts=[attempt("read")], outputs=[output("read")], next_stage_id="extract"
    )
    claim.at_stage_id = "deliver"
    await plant.room.repository.heartbeat("wrk_1", [claim], 20.0)
    await plant.room.lose(claim)

    await plant.carry()

    assert [stage for stage, _, outcome in await plant.attempts(run_id) if outcome == "lost"] == ["extract"]


async def test_a_cancelled_run_ends_with_the_attempt_that_was_under_way(plant: Plant) -> None:
    run_id, end = await stopped(plant, Stop.CANCEL)

    assert end.status is RunStatus.CANCELLED
    assert await plant.attempts(run_id) == [
        ("read", "read-a", "succeeded"),
        ("extract", "extract-a", "cancelled"),
    ]
    assert (await plant.room.repository.get(run_id)).status is RunStatus.CANCELLED


async def test_a_run_that_was_to_be_cancelled_before_its_claim_calls_nothing(plant: Plant) -> None:
    await plant.submit()
    claim = await plant.room.held()
    claim.cancel_requested = True

    end = await plant.orchestrator().execute(claim)

    assert end.status is RunStatus.CANCELLED
    assert plant.pools.called() == []


async def test_a_cancel_is_heard_at_a_checkpoint(plant: Plant) -> None:
    async def cancels(call: Call) -> AttemptResult:
        await plant.room.repository.cancel(call.run_id)
        return given(number="A1")

    plant.pools.answers["extract-a"][0] = cancels
    await plant.submit()

    end = await plant.carry()

    assert end.status is RunStatus.CANCELLED
    assert "deliver-a" not in plant.pools.called()


@pytest.mark.parametrize(
    "answer",
    [
        AttemptResult(Outcome.SKIPPED, message="Look at it.", needs_review=True),
        failed(Outcome.ERROR, "Retryable", retryable=True, after_s=60.0),
    ],
    ids=["it asks for a person", "it asks for a longer pause"],
)
async def test_what_is_cancelled_while_it_runs_is_neither_put_on_hold_nor_queued_again(
    plant: Plant, answer: AttemptResult
) -> None:
    async def cancels(call: Call) -> AttemptResult:
        await plant.room.repository.cancel(call.run_id)
        return answer

    plant.pools.answers["extract-a"][0] = cancels
    run_id = await plant.submit()

    end = await plant.carry()

    run = await plant.room.repository.get(run_id)
    assert (end.status, end.why) == (RunStatus.CANCELLED, None)
    assert (run.status, run.why, run.ended_at is not None) == (RunStatus.CANCELLED, None, True)


async def test_a_worker_that_stops_hands_its_run_back_with_its_version(plant: Plant) -> None:
    run_id, end = await stopped(plant, Stop.SHUTDOWN)
    assert end.status is RunStatus.QUEUED
    await plant.room.configure(2)
    await plant.room.activate(2)

    again = await plant.carry()

    assert again.status is RunStatus.SUCCEEDED
    run = await plant.room.repository.get(run_id)
    assert (run.configuration_version, run.losses) == (1, 0)
    assert plant.pools.called() == ["read-a", "extract-a", "extract-a", "deliver-a"]


async def test_a_stop_does_not_undo_an_end_that_is_being_committed(plant: Plant) -> None:
    class Slow:
        def __init__(self) -> None:
            self.reached, self.go_on = asyncio.Event(), asyncio.Event()

        def __getattr__(self, name: str) -> Any:
            return getattr(plant.room.repository, name)

        async def end(self, claim: ClaimedRun, **values: Any) -> RunStatus:
            self.reached.set()
            await self.go_on.wait()
            return await plant.room.repository.end(claim, **values)

    slow = plant.repository = Slow()
    await plant.submit()
    claim = await plant.room.held()
    task = asyncio.create_task(plant.orchestrator().execute(claim))
    await slow.reached.wait()
    claim.stop = Stop.SHUTDOWN
    task.cancel()
    slow.go_on.set()
    end = await task

    assert end.status is RunStatus.SUCCEEDED
    assert 'switchgear_runs_total{result="succeeded"} 1.0' in plant.metric("switchgear_runs_total")


async def test_a_review_goes_on_at_that_stage_with_the_decision(plant: Plant) -> None:
    async def asks(call: Call) -> AttemptResult:
        if call.decision is None:
            facts = {"total": "12.00"}
            return AttemptResult(Outcome.SKIPPED, message="Look at it.", needs_review=True, facts=facts)
        return given(number=f"{call.decision.action} by {call.decision.actor}")

    plant.pools.answers["extract-a"][0] = asks
    run_id = await plant.submit()
    parked = await plant.carry()
    run = await plant.room.repository.get(run_id)
    assert parked.why is not None
    assert (run.status, parked.why.code) == (RunStatus.PARKED, Code.PARKED_REVIEW)
    assert run.why is not None
    assert run.why["facts"]["total"] == "12.00"
    assert run.why["next_actions"][0]["cli"] == f"switchgear documents release {run.document_id} -m WHY"

    decision = {"action": "release", "actor": "ada", "message": "fine", "at": 1_700_000_000_000_000}
    await plant.room.repository.decide(run, decision)
    end = await plant.carry()

    assert end.status is RunStatus.SUCCEEDED
    assert (await plant.outputs(run_id))["extract"].value == '{"number":"release by ada"}'
    assert plant.pools.called() == ["read-a", "extract-a", "extract-a", "deliver-a"]


async def test_a_longer_pause_gives_the_run_back_and_its_tries_count(plant: Plant) -> None:
    later = failed(Outcome.ERROR, "Retryable", retryable=True, after_s=60.0)
    plant.hold(version(1, extract={"chain": [{"module_id": "extract-b", "on": ALL}]}))
    plant.pools.answers["extract-a"][0] = later
    run_id = await plant.submit()

    for _ in range(2):
        end = await plant.carry()
        assert end.status is RunStatus.QUEUED
        run = await plant.room.repository.get(run_id)
        assert run.why_code == "waiting.retry_backoff"
        assert run.losses == 0
        assert await plant.room.claim() is None
        await plant.room.database.narrow.run(
            Statement("UPDATE runs SET available_at = 0 WHERE id = :run", {"run": run_id})
        )
    end = await plant.carry()

    assert (end.status, end.degraded) == (RunStatus.SUCCEEDED, True)
    stored = [item for item in await plant.room.repository.attempts(run_id) if item.stage_id == "extract"]
    assert [(item.module_id, item.try_number) for item in stored] == [
        ("extract-a", 1),
        ("extract-a", 2),
        ("extract-a", 3),
        ("extract-b", 1),
    ]


async def test_the_running_time_of_all_claims_is_bounded(plant: Plant) -> None:
    plant.run_deadline_s = 10
    run_id = await plant.submit()
    await plant.room.database.narrow.run(
        Statement("UPDATE runs SET running_us = 11000000 WHERE id = :run", {"run": run_id})
    )

    end = await plant.carry()

    assert end.status is RunStatus.FAILED
    assert end.why is not None
    assert end.why.code is Code.FAILED_DEADLINE
    assert plant.pools.called() == []


async def test_modules_after_the_result_see_earlier_results_with_the_same_identity(plant: Plant) -> None:
    await plant.submit(b"one")
    await plant.carry()
    plant.pools.answers["extract-a"][0] = given(number=" a1 ", supplier="acme")
    await plant.submit(b"two")
    await plant.carry()
    plant.pools.answers["extract-a"][0] = given(number="A2")
    await plant.submit(b"three")
    await plant.carry()

    seen = [[item.result["number"] for item in call.earlier] for name, call in plant.pools.calls if name == "deliver-a"]
    assert seen == [[], ["A1"], []]


@pytest.mark.parametrize("second_ends_first", [False, True])
async def test_of_two_results_with_the_same_identity_at_work_together_the_second_sees_the_first(
    plant: Plant, second_ends_first: bool
) -> None:
    is_there, goes_on = asyncio.Event(), asyncio.Event()

    async def waits(call: Call) -> AttemptResult:
        is_there.set()
        await goes_on.wait()
        return await receipt(call)

    plant.pools.answers["deliver-a"] = deque([waits, receipt])
    await plant.submit(b"one")
    await plant.submit(b"two")
    first = asyncio.create_task(plant.carry())
    async with asyncio.timeout(30):
        await is_there.wait()
    second = asyncio.create_task(plant.carry())
    if second_ends_first:
        await second
    goes_on.set()
    await asyncio.gather(first, second)

    seen = [len(call.earlier) for name, call in plant.pools.calls if name == "deliver-a"]
    assert seen == [0, 1]


async def test_a_stage_after_the_result_costs_one_commit_when_the_pipeline_has_an_identity(plant: Plant) -> None:
    plant.checkpoint_after_ms = 1e6
    commits: list[str | None] = []
    repository = plant.room.repository

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(repository, name)

        async def checkpoint(self, claim: ClaimedRun, **values: Any) -> bool:
            commits.append(values.get("identity"))
            return await repository.checkpoint(claim, **values)

    plant.repository = Counting()
    plant.pipeline = replace(PIPELINE, identity=())
    await plant.submit(b"one")
    await plant.carry()
    plant.pipeline = PIPELINE
    await plant.submit(b"two")
    await plant.carry()

    assert [identity is not None for identity in commits] == [False, True]  # deliver commits what is before it anyway


async def test_the_same_result_has_the_same_delivery_key_and_a_changed_one_another(plant: Plant) -> None:
    await plant.submit(b"one")
    await plant.carry()
    await plant.submit(b"one", again=True)
    await plant.carry()
    plant.pools.answers["extract-a"][0] = given(number="A2")
    await plant.submit(b"one", again=True)
    await plant.carry()
    plant.pools.answers["extract-a"][0] = given(number="A1")
    await plant.submit(b"two")
    await plant.carry()

    first, same, changed, other = [call.delivery_base for name, call in plant.pools.calls if name == "deliver-a"]
    assert first == same
    assert len({first, changed, other}) == 3


async def test_the_same_bytes_have_the_same_delivery_key_also_after_their_record_was_removed(plant: Plant) -> None:
    before = await plant.room.repository.get(await plant.submit(b"one"))
    await plant.carry()
    assert (await plant.room.repository.remove_records(await plant.room.now_us() + 1, 10)).count == 1
    after = await plant.room.repository.get(await plant.submit(b"one"))
    await plant.carry()

    assert after.document_id != before.document_id
    first, second = [call.delivery_base for name, call in plant.pools.calls if name == "deliver-a"]
    assert first == second


async def test_effects_are_kept_under_their_keys(plant: Plant) -> None:
    run_id = await plant.submit()
    await plant.carry()

    run = await plant.room.repository.get(run_id)
    [delivery] = await plant.room.repository.deliveries(run.document_id)
    assert delivery.target == "files"
    assert delivery.receipt["key"] == delivery.key


async def test_the_same_document_and_version_give_the_same_bytes(plant: Plant) -> None:
    first = await plant.submit()
    await plant.carry()
    second = await plant.submit(again=True)
    await plant.carry()

    one, two = await plant.outputs(first), await plant.outputs(second)
    assert {stage: item.value for stage, item in one.items()} == {stage: item.value for stage, item in two.items()}


async def test_a_large_output_is_kept_as_a_file_and_read_again(plant: Plant) -> None:
    plant.checkpoint_after_ms = 0
    text = "x" * 100_000
    plant.pools.answers["read-a"][0] = given(text=text)
    run_id = await crash(plant, "extract-a")
    read = (await plant.outputs(run_id))["read"]
    assert read.value is None
    assert read.size_bytes > 100_000

    end = await plant.carry()

    assert end.status is RunStatus.SUCCEEDED
    assert json.loads(plant.pools.calls[-2][1].inputs["text"].raw) == {"text": text}  # type: ignore[union-attr]


async def test_a_damaged_file_parks_the_run_and_others_go_on(plant: Plant) -> None:
    await plant.submit(b"damaged")
    claim = await plant.room.held()
    path = plant.artifacts.path(claim.sha256)
    path.chmod(0o600)
    path.write_bytes(b"DAMAGED")
    await plant.submit(b"other")

    first = await plant.orchestrator().execute(claim)
    second = await plant.carry()

    assert first.why is not None
    assert (first.status, first.why.code) == (RunStatus.PARKED, Code.PARKED_CORRUPT_ARTIFACT)
    assert second.status is RunStatus.SUCCEEDED


async def test_a_missing_intermediate_file_parks_the_run(plant: Plant) -> None:
    plant.checkpoint_after_ms = 0
    plant.pools.answers["read-a"][0] = given(text="x" * 100_000)
    run_id = await crash(plant, "extract-a")
    plant.artifacts.path((await plant.outputs(run_id))["read"].artifact_sha256).unlink()

    end = await plant.carry()

    assert end.why is not None
    assert end.why.code is Code.PARKED_CORRUPT_ARTIFACT


class Shaky:
    """The repository, but each write fails twice: once before it happens, once after it did."""

    def __init__(self, repository: Any, names: tuple[str, ...]) -> None:
        self._repository = repository
        self._left = {name: ["before", "after"] for name in names}

    def __getattr__(self, name: str) -> Any:
        method: Callable[..., Awaitable[Any]] = getattr(self._repository, name)
        if name not in self._left:
            return method

        async def shaky(*values: Any, **named: Any) -> Any:
            when = self._left[name].pop(0) if self._left[name] else None
            if when == "before":
                raise DatabaseUnreachable("no answer")
            answer = await method(*values, **named)
            if when == "after":
                raise DatabaseUnreachable("no answer")
            return answer

        return shaky


async def test_commits_whose_fate_is_unknown_are_made_once(plant: Plant) -> None:
    plant.checkpoint_after_ms = 0
    plant.repository = Shaky(plant.room.repository, ("checkpoint", "end", "earlier"))
    run_id = await plant.submit()

    end = await plant.carry()

    assert end.status is RunStatus.SUCCEEDED
    assert [item[2] for item in await plant.attempts(run_id)] == ["succeeded"] * 3
    assert len(plant.slept) == 6
    assert (await plant.room.repository.get(run_id)).losses == 0


async def test_a_fault_of_the_engine_parks_the_run_the_third_time(plant: Plant) -> None:
    async def gone(configuration_id: str) -> StoredConfiguration:
        raise NotFound("no such configuration")

    plant._find = gone  # type: ignore[method-assign]
    run_id = await plant.submit()
    statuses = []
    for _ in range(3):
        statuses.append((await plant.carry()).status)
        await plant.room.database.narrow.run(
            Statement("UPDATE runs SET available_at = 0 WHERE id = :run", {"run": run_id})
        )

    assert statuses == [RunStatus.QUEUED, RunStatus.QUEUED, RunStatus.PARKED]
    assert (await plant.room.repository.get(run_id)).why_code == "parked.worker_lost"


async def test_a_required_stage_without_a_module_parks(plant: Plant) -> None:
    plant.hold(version(1, stages=("read", "deliver")))
    await plant.submit()

    end = await plant.carry()

    assert end.why is not None
    assert end.why.code is Code.PARKED_NOTHING_AVAILABLE
    assert plant.pools.called() == ["read-a"]


async def test_a_rejected_document_fails_with_the_reason_in_plain_words(plant: Plant) -> None:
    plant.hold(version(1, read={"chain": [{"module_id": "read-b", "on": ALL}], "then": "park"}))
    plant.pools.answers["read-a"][0] = AttemptResult(Outcome.BAD_INPUT, "encrypted", "The document is encrypted.")
    run_id = await plant.submit()

    end = await plant.carry()

    assert end.status is RunStatus.FAILED
    assert end.why is not None
    assert (end.why.code, end.why.summary) == (Code.FAILED_INPUT_REJECTED, "The document is encrypted.")
    assert plant.pools.called() == ["read-a"]
    assert plant.artifacts.path(
        (await plant.room.repository.document((await plant.room.repository.get(run_id)).document_id)).sha256
    ).exists()


async def test_limits_of_the_selection_reach_the_attempt(plant: Plant) -> None:
    stages = (Stage("read", 10, READ, limits=StageLimits(timeout_s=7)), *PIPELINE.stages[1:])
    plant.pipeline = Pipeline("tiny", stages, result="fields")
    run_id = await plant.submit()

    await plant.carry()

    assert plant.pools.calls[0][1].timeout_s == 7
    assert (await plant.room.repository.attempts(run_id))[0].limits["timeout_s"] == 7


# --- work queues (DESIGN 5) ---


def heavy(number: int = 1) -> StoredConfiguration:
    """A version whose stage extract is carried by the workers of the queue `ocr`."""
    stored = version(number)
    selections = [
        replace(item, limits={"queue": "ocr"}) if item.stage_id == "extract" else item
        for item in stored.content.selections
    ]
    return replace(stored, content=replace(stored.content, selections=tuple(selections)))


async def test_a_run_goes_to_the_workers_of_a_stages_queue_and_back_under_its_version(plant: Plant) -> None:
    plant.hold(heavy())
    run_id = await plant.submit()
    plant.queues = ("default",)
    handed_over = await plant.carry()
    await plant.room.configure(2)
    await plant.room.activate(2)
    plant.hold(version(2, suffix="b"))
    at_ocr = await plant.room.repository.get(run_id)
    assert await plant.room.claim(queues=("default",)) is None

    plant.queues = ("ocr",)
    handed_back = await plant.carry()
    plant.queues = ("default",)
    end = await plant.carry()

    assert (handed_over.status, handed_back.status, end.status) == (
        RunStatus.QUEUED,
        RunStatus.QUEUED,
        RunStatus.SUCCEEDED,
    )
    assert (at_ocr.status, at_ocr.queue, at_ocr.stage_id, at_ocr.losses) == (RunStatus.QUEUED, "ocr", "extract", 0)
    assert plant.pools.called() == ["read-a", "extract-a", "deliver-a"]  # no stage was done twice
    stored = await plant.room.repository.attempts(run_id)
    assert {item.configuration_version for item in stored} == {1}
    assert (await plant.room.repository.get(run_id)).losses == 0


async def test_a_worker_that_serves_all_queues_hands_nothing_over(plant: Plant) -> None:
    plant.hold(heavy())
    run_id = await plant.submit()

    end = await plant.carry()

    assert end.status is RunStatus.SUCCEEDED
    assert (await plant.room.repository.get(run_id)).fencing_token == 1


async def test_a_worker_of_another_queue_claims_no_new_document(plant: Plant) -> None:
    await plant.submit()
    assert await plant.room.claim(queues=("ocr", "slow")) is None
    assert await plant.room.claim(queues=("ocr", "default")) is not None


async def test_a_stage_that_does_not_concern_the_document_moves_no_run(plant: Plant) -> None:
    plant.hold(heavy())
    plant.pools.answers["read-a"][0] = failed(Outcome.ERROR)
    run_id = await plant.submit()
    plant.queues = ("default",)
    assert (await plant.carry()).status is RunStatus.FAILED
    assert (await plant.room.repository.get(run_id)).queue == "default"


async def test_warming_makes_the_stages_of_served_queues_ready_and_no_others(plant: Plant) -> None:
    plans = Plans(
        pipeline=PIPELINE, find=plant._find, registry=plant.registry, pools=plant.pools, queues=("ocr", "slow")
    )
    assert await plans.warm(heavy()) is None
    assert plant.pools.warmed == ["extract-a"]


async def test_the_oldest_waiting_run_is_told_for_each_queue(plant: Plant) -> None:
    plant.hold(heavy())
    await plant.submit(b"one")
    plant.queues = ("default",)
    await plant.carry()
    await plant.submit(b"two")
    ages = (await plant.room.repository.counts()).oldest_queued_s
    assert set(ages) == {"default", "ocr"}
    assert all(0 <= age < 60 for age in ages.values())
