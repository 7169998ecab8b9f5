"""A run goes to the workers of a stage's queue and back, under its version and without a loss. DESIGN 5."""

from __future__ import annotations

from dataclasses import replace

import pytest

from factories.orchestration import PIPELINE, Plant, version
from switchgear.domain.configuration import StoredConfiguration
from switchgear.domain.run import RunStatus
from switchgear.ingestion.plan import Plans

pytestmark = pytest.mark.anyio


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
    read, extract, deliver = PIPELINE.stages
    elsewhere = replace(extract, contract=replace(extract.contract, applies=lambda _: "it is short"), required=False)
    plant.pipeline = replace(PIPELINE, stages=(read, elsewhere, replace(deliver, required=False)))
    plant.hold(heavy())
    run_id = await plant.submit()
    plant.queues = ("default",)

    assert (await plant.carry()).status is RunStatus.SUCCEEDED

    assert plant.pools.called() == ["read-a"]
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
