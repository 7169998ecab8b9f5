"""Many activators at once, in two processes' worth of queues on one database: I1, I6, RELIABILITY 38, 39."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack

import pytest

from factories.core import OPERATOR, Clock, Core, FakeRuns, content, running_core
from switchgear.core.configuration_repository import history
from switchgear.domain.activation import ActivationRequest, Mode, State, StoredActivation
from switchgear.domain.configuration import Status
from switchgear.domain.errors import DomainError

pytestmark = [pytest.mark.anyio, pytest.mark.exhaustive]

ACTIVATORS = 50


@pytest.fixture
async def pair(database_url: str) -> AsyncIterator[tuple[Core, Core]]:
    clock, running = Clock(), FakeRuns()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(running_core(database_url, clock, running=running))
        second = await stack.enter_async_context(
            running_core(database_url, clock, running=running, worker_id="second", registry=first.registry)
        )
        yield first, second


async def outcome(request: Awaitable[object]) -> str:
    try:
        await request
    except DomainError as error:
        return str(error.code)
    return "done"


async def check(core: Core) -> None:
    """One active; the trail says how it came to be, step by step; nothing vanished."""
    async with core.units(write=False) as unit:
        versions = await history(unit.statements, 200)
        activations = await unit.activations.list(200)
        assert (await unit.audit.verify()).ok
    assert [item.status for item in versions].count(Status.ACTIVE) == 1
    assert sorted(item.version for item in versions) == list(range(1, len(versions) + 1))
    steps = await core.audited("configuration.activated")
    assert steps[-1].after["active"] == next(item.label for item in versions if item.status is Status.ACTIVE)
    for before, after in itertools.pairwise(steps):
        assert after.before["active"] == before.after["active"]
    assert len(steps) == Counter(item.state for item in activations)[State.APPLIED]
    assert sum(item.is_pending for item in activations) <= 1


async def test_fifty_activators_leave_one_pending_and_one_active(pair: tuple[Core, Core]) -> None:
    first, _ = pair
    assert isinstance(first.runs, FakeRuns)
    first.runs.running = 1
    made = [await first.make(content(read=("read-a", {"depth": n + 1}))) for n in range(ACTIVATORS)]

    async def one(number: int) -> StoredActivation:
        return await pair[number % 2].service.activate(
            made[number].id, by=OPERATOR, request=ActivationRequest(accept_base_moved=True)
        )

    results = Counter(await asyncio.gather(*(outcome(one(number)) for number in range(ACTIVATORS))))
    assert results == {"done": 1, "activation.pending": ACTIVATORS - 1}
    await asyncio.gather(*(core.settle() for core in pair))
    await check(first)
    first.runs.running = 0
    await asyncio.gather(*(core.queue.advance() for core in pair for _ in range(5)))
    assert (await first.service.active()).version > 1
    assert await first.queue.pending() is None
    await check(first)


async def test_activate_roll_back_create_and_advance_at_once_make_one_history(pair: tuple[Core, Core]) -> None:
    first, _ = pair
    made = [await first.make(content(read=("read-a", {"depth": n + 1}))) for n in range(8)]

    async def actor(number: int) -> None:
        core = pair[number % 2]
        for turn in range(3):
            request = ActivationRequest(mode=Mode(("drain", "rolling")[turn % 2]), unblock=True, replace_pending=True)
            await outcome(core.service.activate(made[(number + turn) % 8].id, by=OPERATOR, request=request))
            await core.settle()
            await outcome(core.service.rollback(by=OPERATOR, request=ActivationRequest()))
            await core.settle()
            await outcome(core.service.create(content(read=("read-b", {"depth": number * 3 + turn + 1})), by=OPERATOR))

    await asyncio.gather(*(actor(number) for number in range(6)))
    await asyncio.gather(*(core.settle() for core in pair))
    await check(first)
    assert len(await first.audited("configuration.created")) == 1 + 8 + 18
    assert len(await first.audited("configuration.rolled_back")) > 0


async def test_two_first_starts_make_one_version(database_url: str) -> None:
    async with AsyncExitStack() as stack:
        clock = Clock()
        cores = await asyncio.gather(
            *(stack.enter_async_context(running_core(database_url, clock, worker_id=f"w{n}")) for n in range(4))
        )
        assert await cores[0].statuses() == {1: "active"}
        await check(cores[0])
