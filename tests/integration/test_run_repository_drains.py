"""A drain holds first claims back and counts running work by live leases, in any interleaving with a claim."""

from __future__ import annotations

import asyncio

import pytest

from factories.runs import Room
from switchgear.core.database import Statement
from switchgear.domain.run import RunStatus

pytestmark = pytest.mark.anyio


async def test_a_drain_holds_first_claims_only_until_it_ends(room: Room) -> None:
    await room.submit("old")
    old = await room.held()
    await room.submit("new")
    await room.hold()
    assert await room.claim() is None
    assert await room.repository.count_held(room.database.narrow) == 1
    await room.repository.hand_back(old)
    again = await room.held()
    assert again.run_id == old.run_id  # it holds a version already
    await room.release_hold()
    assert (await room.held()).first


async def test_a_hold_ends_by_itself(room: Room) -> None:
    await room.submit()
    await room.hold(seconds=-0.001)
    assert await room.claim() is not None


async def test_only_a_live_lease_holds_a_drain_back(room: Room) -> None:
    for text in "abc":
        await room.submit(text)
    running, dead = await room.held(), await room.held()
    await room.expire(dead)
    assert await room.repository.count_running(room.database.narrow) == 1
    blocking = await room.repository.blocking(room.database.narrow, 10)
    assert [(run.id, run.document_name, run.configuration_version) for run in blocking] == [
        (running.run_id, "a.txt", 1)
    ]
    assert blocking[0].age_s >= 0
    assert await room.repository.count_held(room.database.narrow) == 1


async def test_a_draining_switch_and_a_first_claim_exclude_each_other(room: Room) -> None:
    """Either the claim is counted, or it is refused: committed hold, then count, in any interleaving with a claim."""
    for number in range(30):
        await room.submit(str(number))

    async def drain() -> int:
        await room.hold()
        return await room.repository.count_running(room.database.narrow)

    for _ in range(15):
        claim, running = await asyncio.gather(room.claim(), drain())
        if claim is not None:
            await room.repository.end(claim, status=RunStatus.SUCCEEDED)
        assert await room.repository.count_running(room.database.narrow) == 0
        assert await room.claim() is None
        assert running in (0, 1)
        await room.release_hold()


async def test_it_knows_whether_an_activation_is_pending(room: Room) -> None:
    assert not await room.repository.is_activation_pending()
    await room.database.narrow.run(
        Statement(
            """INSERT INTO activations (id, pipeline, configuration_id, kind, mode, state, max_wait_s, on_expiry,
            options, actor, message, requested_at, switch_now)
            VALUES ('act_1', 'tiny', 'cfg_1', 'activate', 'drain', 'queued', 10, 'switch', '{}', 'x', '', 0, FALSE)"""
        )
    )
    assert await room.repository.is_activation_pending()
