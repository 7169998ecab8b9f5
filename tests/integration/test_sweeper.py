"""The sweep on both databases: lost workers, what has run out, ticks; its own failures stop nothing."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from factories.runs import Room
from switchgear.core.database import Database, Statement
from switchgear.domain.errors import DatabaseUnreachable
from switchgear.domain.run import RunStatus
from switchgear.ingestion.artifact_store import ArtifactStore
from switchgear.ingestion.run_queue import BuiltinQueue
from switchgear.ingestion.run_repository import WorkerRow
from switchgear.workers.sweeper import TEMPORARY_MAX_AGE_S, Sweeper

pytestmark = pytest.mark.anyio


class Clock:
    """Seconds that go on when the test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Sweep(Room):
    """A room with a sweeper in it."""

    def __init__(self, database: Database, folder: Path) -> None:
        super().__init__(database)
        self.queue = BuiltinQueue(self.repository, 20.0)
        self.clock = Clock()
        self.artifacts = ArtifactStore(folder)
        self.sweeper = Sweeper(self.repository, self.artifacts, self.queue, every_s=2.0, clock_s=self.clock)


@pytest.fixture
async def sweep(database: Database, tmp_path: Path) -> Sweep:
    sweep = Sweep(database, tmp_path / "artifacts")
    await sweep.artifacts.start()
    await sweep.prepare()
    return sweep


async def test_a_run_of_a_lost_worker_is_queued_again_and_wakes_whoever_waits(sweep: Sweep) -> None:
    await sweep.submit()
    claim = await sweep.held()
    await sweep.sweeper.sweep()
    assert (await sweep.repository.get(claim.run_id)).status is RunStatus.RUNNING
    await sweep.expire(claim)
    waiter = asyncio.create_task(sweep.queue.wait())
    sweep.clock.now_s += 2.0
    await sweep.sweeper.sweep()
    await waiter
    assert (await sweep.repository.get(claim.run_id)).status is RunStatus.QUEUED
    assert (await sweep.held("wrk_2")).losses == 1


async def test_it_looks_for_lost_workers_no_more_often_than_told(sweep: Sweep) -> None:
    await sweep.submit()
    claim = await sweep.held()
    await sweep.sweeper.sweep()
    await sweep.expire(claim)
    sweep.clock.now_s += 1.9
    await sweep.sweeper.sweep()
    assert (await sweep.repository.get(claim.run_id)).status is RunStatus.RUNNING


async def test_expired_keys_silent_workers_and_old_temporary_files_are_removed(sweep: Sweep, tmp_path: Path) -> None:
    now = await sweep.now_us()
    key = """INSERT INTO idempotency_keys (actor, key, route, body_sha256, expires_at)
        VALUES ('tok', :key, '/', '', :expires)"""
    await sweep.database.narrow.run(
        Statement(key, [{"key": "old", "expires": now - 1}, {"key": "new", "expires": now + 60_000_000}])
    )
    for worker_id in ("wrk_old", "wrk_new"):
        await sweep.repository.register_worker(WorkerRow(worker_id, "host", 1, "boot"))
    silent = Statement(
        "UPDATE workers SET heartbeat_at = :at WHERE id = 'wrk_old'", {"at": now - 25 * 3600 * 1_000_000}
    )
    await sweep.database.narrow.run(silent)
    folder = next(path for path in (tmp_path / "artifacts").iterdir() if path.is_dir())
    old, new = folder / "old", folder / "new"
    for path in (old, new):
        path.touch()
    past = time.time() - TEMPORARY_MAX_AGE_S - 1
    os.utime(old, (past, past))

    await sweep.sweeper.sweep()

    assert await sweep.database.narrow.query("SELECT key FROM idempotency_keys") == [("new",)]
    assert await sweep.database.narrow.query("SELECT id FROM workers") == [("wrk_new",)]
    assert [path.name for path in folder.iterdir()] == ["new"]


async def test_a_failing_tick_stops_no_other(sweep: Sweep) -> None:
    called: list[str] = []

    async def unreachable() -> None:
        called.append("unreachable")
        raise DatabaseUnreachable("away")

    async def broken() -> None:
        called.append("broken")
        raise ValueError("a bug")

    async def good() -> None:
        called.append("good")

    for action in (unreachable, broken, good):
        sweep.sweeper.every(action.__name__, 0.5, action)
    await sweep.sweeper.sweep()
    sweep.clock.now_s += 0.5
    await sweep.sweeper.sweep()
    assert called == ["unreachable", "broken", "good"] * 2


async def test_what_does_not_begin_at_once_waits_for_its_first_turn(sweep: Sweep) -> None:
    called: list[float] = []

    async def seldom() -> None:
        called.append(sweep.clock.now_s)

    sweep.sweeper.every("seldom", 3600.0, seldom, at_once=False)
    for now_s in (0.0, 3599.0, 3600.0, 3601.0, 7200.0):
        sweep.clock.now_s = now_s
        await sweep.sweeper.sweep()
    assert called == [3600.0, 7200.0]


async def test_it_goes_on_until_it_is_told_to_stop(database: Database, tmp_path: Path) -> None:
    room = await Room(database).prepare()
    sweeper = Sweeper(room.repository, ArtifactStore(tmp_path), BuiltinQueue(room.repository, 20.0))
    stop, seen = asyncio.Event(), asyncio.Event()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 3:
            seen.set()

    sweeper.every("tick", 0.01, tick)
    sweeping = asyncio.create_task(sweeper.run_forever(stop))
    async with asyncio.timeout(30):
        await seen.wait()
        stop.set()
        await sweeping
