"""A worker at work in this process, and a gate at which its runs stand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from factories.runs import LEASE_S, Room, attempt, output
from switchgear.core.database import Statement
from switchgear.domain.run import RunStatus
from switchgear.ingestion.run_queue import RunQueue
from switchgear.ingestion.run_repository import ClaimedRun, RunRepository, WorkerRow
from switchgear.workers.builtin import BuiltinWorker, Execute

#: Longest that a test waits for anything, in seconds.
LIMIT_S = 30.0
#: An activation that waits for running work.
DRAINING = Statement(
    """INSERT INTO activations (id, pipeline, configuration_id, kind, mode, state, max_wait_s, on_expiry, options,
    actor, message, requested_at, switch_now)
    VALUES ('act_1', 'tiny', 'cfg_1', 'activate', 'drain', 'draining', 9, 'switch', '{}', 'x', '', 0, FALSE)"""
)


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    """Wait until *look* says yes."""
    async with asyncio.timeout(LIMIT_S):
        while not await look():
            await asyncio.sleep(0.005)


async def ended(room: Room, *run_ids: str) -> None:
    """Wait until these runs have succeeded."""

    async def look() -> bool:
        return all([(await room.repository.get(run)).status is RunStatus.SUCCEEDED for run in run_ids])

    await until(look)


def executing(room: Room) -> Execute:
    """Carries a run to success."""

    async def execute(claim: ClaimedRun) -> None:
        await room.repository.end(
            claim, status=RunStatus.SUCCEEDED, attempts=[attempt()], outputs=[output()], stage_id=None
        )

    return execute


@asynccontextmanager
async def working(
    room: Room,
    queue: RunQueue,
    execute: Execute,
    *,
    worker_id: str = "wrk_1",
    repository: RunRepository | None = None,
    advance: Callable[[], Awaitable[object]] | None = None,
    concurrency: int = 4,
    heartbeat_s: float = 0.05,
    lease_s: float = LEASE_S,
    grace_s: float = LIMIT_S,
) -> AsyncIterator[BuiltinWorker]:
    """A worker at work; leaving asks it to stop and waits for it."""
    row = WorkerRow(worker_id, "host", 1, "boot")
    worker = BuiltinWorker(
        lambda: row,
        repository or room.repository,
        queue,
        execute,
        advance=advance,
        concurrency=concurrency,
        heartbeat_s=heartbeat_s,
        lease_s=lease_s,
        grace_s=grace_s,
    )
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run_forever(stop))
    try:
        yield worker
    finally:
        stop.set()
        async with asyncio.timeout(LIMIT_S):
            await task


class Gate:
    """Runs stand here until the gate opens."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self.claims: list[ClaimedRun] = []
        self.most = 0
        self._inside = 0
        self.open = asyncio.Event()
        self.somebody = asyncio.Event()

    async def __call__(self, claim: ClaimedRun) -> None:
        self.claims.append(claim)
        self._inside += 1
        self.most = max(self.most, self._inside)
        self.somebody.set()
        try:
            await self.open.wait()
        finally:
            self._inside -= 1
        await self._execute(claim)
