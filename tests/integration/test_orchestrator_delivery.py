"""Modules that deliver see earlier results of the same identity, and the same result has the same delivery key."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import Any

import pytest

from factories.orchestration import PIPELINE, Plant, given, receipt
from switchgear.domain.run import AttemptResult
from switchgear.ingestion.module_pool import Call
from switchgear.ingestion.run_repository import ClaimedRun

pytestmark = pytest.mark.anyio


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
