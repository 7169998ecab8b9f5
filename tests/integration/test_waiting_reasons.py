"""What a queued run waits for, as everybody reads it, on both databases: true, with numbers, and with the time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from factories.runs import PeopleRoom
from switchgear.core.database import Database, Statement
from switchgear.core.unit_of_work import Units
from switchgear.domain.errors import Code, Why
from switchgear.ingestion.run_repository import WorkerRow

pytestmark = pytest.mark.anyio


class Desk(PeopleRoom):
    """A room, and what its service says about queued runs."""

    async def hire(self) -> None:
        """A worker is alive."""
        await self.repository.register_worker(WorkerRow("wrk_1", "host", 1, "boot"))

    async def why(self, run_id: str) -> Mapping[str, Any]:
        """The reason; the list must give the same code and the same facts but for the time that passed."""
        seen = (await self.service.get(run_id)).run
        listed = next(run for run in (await self.service.list()).items if run.id == run_id)
        assert seen.why is not None
        assert listed.why is not None
        assert listed.why_code == seen.why_code == seen.why["code"]
        assert listed.why["facts"].get("ahead") == seen.why["facts"].get("ahead")
        return seen.why


@pytest.fixture
async def desk(database: Database, units: Units, tmp_path: Path) -> Desk:
    return await Desk(database, units, tmp_path).prepare()


async def test_a_queued_run_is_told_its_place_and_how_many_workers_and_runs_are_at_work(desk: Desk) -> None:
    await desk.hire()
    running, first, second, third = [(await desk.submit(text)).run.id for text in "abcd"]
    claim = await desk.held()
    assert claim.run_id == running

    next_one, last = await desk.why(first), await desk.why(third)

    assert next_one["code"] == "waiting.queue"
    assert next_one["summary"].startswith("It is next in the queue")
    assert {key: next_one["facts"][key] for key in ("ahead", "workers", "running")} == {
        "ahead": 0,
        "workers": 1,
        "running": 1,
    }
    assert last["summary"].startswith("2 runs are before it in the queue")
    assert last["facts"]["ahead"] == 2
    assert "busy" not in next_one["summary"] + last["summary"]
    assert (await desk.why(second))["facts"]["ahead"] == 1
    since = datetime.fromisoformat(last["facts"]["since"])
    assert abs(since.timestamp() * 1e6 - (await desk.repository.get(third)).available_at) < 1000


async def test_without_a_live_worker_it_is_said_since_when_none_was_heard_of(desk: Desk) -> None:
    run_id = (await desk.submit()).run.id
    never = await desk.why(run_id)
    await desk.hire()
    await desk.database.narrow.run(Statement("UPDATE workers SET heartbeat_at = now_us() - 95000000"))

    why = await desk.why(run_id)

    assert never["code"] == why["code"] == "waiting.worker"
    assert "heard of" not in never["summary"]
    assert "was last heard of 95 s ago" in why["summary"]
    assert why["facts"]["workers"] == 0
    assert round(why["facts"]["silent_s"]) == 95


async def test_a_drain_holds_first_claims_only_and_promises_no_start_without_a_worker(desk: Desk) -> None:
    await desk.submit("a")
    started = await desk.held()
    await desk.repository.hand_back(started)
    new = (await desk.submit("b")).run.id
    await desk.hold("act_7", seconds=40)

    lonely = await desk.why(new)
    await desk.hire()
    held, goes_on = await desk.why(new), await desk.why(started.run_id)

    assert lonely["code"] == "waiting.worker"
    assert held["code"] == "waiting.drain"
    assert held["blocking"] == ["act_7"]
    assert 30 < held["facts"]["at_most_s"] <= 40
    assert (goes_on["code"], goes_on["facts"]["ahead"]) == ("waiting.queue", 0)


async def test_without_a_configuration_that_is_said_whether_or_not_a_worker_lives(
    database: Database, units: Units, tmp_path: Path
) -> None:
    desk = await Desk(database, units, tmp_path).prepare(version=None)
    run_id = (await desk.submit()).run.id
    assert (await desk.why(run_id))["code"] == "waiting.configuration"
    await desk.hire()
    why = await desk.why(run_id)
    assert (why["code"], why["facts"]["workers"]) == ("waiting.configuration", 1)


async def test_a_back_off_says_who_asked_for_it_how_long_it_still_is_and_until_when(desk: Desk) -> None:
    await desk.hire()
    await desk.submit()
    claim = await desk.held()
    stored = Why(Code.WAITING_RETRY_BACKOFF, "Stage deliver waits 60 s: files asked for it.", {"module": "files"})
    await desk.repository.hand_back(claim, available_in_us=60_000_000, why=stored)

    why = await desk.why(claim.run_id)

    assert why["code"] == "waiting.retry_backoff"
    assert why["summary"].startswith("Stage deliver waits 60 s: files asked for it. It is tried again in ")
    assert why["facts"]["module"] == "files"
    assert 50 < why["facts"]["seconds"] <= 60
    until = datetime.fromisoformat(why["facts"]["until"])
    assert abs(until.timestamp() * 1e6 - (await desk.repository.get(claim.run_id)).available_at) < 1000
    await desk.database.narrow.run(Statement("UPDATE runs SET available_at = now_us() - 1"))
    assert (await desk.why(claim.run_id))["code"] == "waiting.queue"


async def test_a_run_whose_queue_nobody_serves_says_which_worker_to_start(desk: Desk) -> None:
    await desk.repository.register_worker(WorkerRow("wrk_2", "host", 2, "boot", queues=("default", "slow")))
    run_id = (await desk.submit()).run.id
    assert (await desk.why(run_id))["code"] == "waiting.queue"
    await desk.repository.hand_back(await desk.held(), queue="ocr")

    why = await desk.why(run_id)

    assert why["code"] == "waiting.worker"
    assert why["summary"].startswith("No live worker serves the queue ocr.")
    assert why["facts"]["queue"] == "ocr"
    assert [action["cli"] for action in why["next_actions"]] == ["switchgear worker --queues ocr"]
    await desk.repository.register_worker(WorkerRow("wrk_3", "host", 3, "boot", queues=("ocr",)))
    assert (await desk.why(run_id))["code"] == "waiting.queue"


async def test_a_place_in_the_queue_counts_the_runs_of_the_same_queue(desk: Desk) -> None:
    await desk.hire()
    first = (await desk.submit("a")).run.id
    await desk.repository.hand_back(await desk.held(), queue="ocr")
    second = (await desk.submit("b")).run.id
    assert (await desk.why(first))["facts"]["ahead"] == (await desk.why(second))["facts"]["ahead"] == 0
