"""A run whose worker, commit or file was lost goes on at its last checkpoint, or on hold. RELIABILITY I14, I15."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from factories.orchestration import Plant, given, receipt, version
from factories.runs import attempt, output
from switchgear.domain.errors import Code, DatabaseUnreachable
from switchgear.domain.run import AttemptResult, RunStatus
from switchgear.ingestion.module_pool import Call

pytestmark = pytest.mark.anyio


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
