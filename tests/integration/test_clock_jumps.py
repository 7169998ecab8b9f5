"""A wall clock that goes back three days, on thirty, or stands still. RELIABILITY 33."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final

import pytest

from factories.runs import Room
from switchgear.core.database import Database, Statement
from switchgear.core.database.statements import wall_time_us
from switchgear.core.unit_of_work import Units
from switchgear.domain.access import Actor, Role
from switchgear.domain.audit import AuditAction
from switchgear.domain.run import RunStatus

pytestmark = pytest.mark.anyio

DAY_US: Final = 86_400_000_000
ANNA: Final = Actor("anna", Role.OPERATOR, "tok_1")
CLOCKS: Final[dict[str, Callable[[], int]]] = {
    "three days back": lambda: wall_time_us() - 3 * DAY_US,
    "thirty days on": lambda: wall_time_us() + 30 * DAY_US,
    "frozen": itertools.repeat(wall_time_us()).__next__,
}


@pytest.mark.parametrize("clock", CLOCKS.values(), ids=list(CLOCKS))
async def test_no_lease_runs_out_and_none_lives_for_ever(database: Database, clock: Callable[[], int]) -> None:
    """The clock of the machine that works; on PostgreSQL leases are measured with the database's own."""
    room = await Room(database).prepare()
    for text in "abc":
        await room.submit(text)
    claims = [await room.held() for _ in range(3)]
    jumped = Database(
        database.url.render_as_string(hide_password=False), clock=clock if database.dialect == "sqlite" else None
    )
    await jumped.start()
    try:
        elsewhere = Room(jumped)
        assert await elsewhere.repository.take_from_lost_workers() == []
        beat = await elsewhere.repository.heartbeat("wrk_1", claims, 20.0)
        assert beat.lost == frozenset()
        await elsewhere.repository.end(claims[0], status=RunStatus.SUCCEEDED)
        await jumped.narrow.run(Statement("UPDATE runs SET lease_expires_at = lease_us() - 1 WHERE status = 'running'"))
        assert len(await elsewhere.repository.take_from_lost_workers()) == 2
    finally:
        await jumped.close()


@pytest.mark.parametrize("clock", CLOCKS.values(), ids=list(CLOCKS))
async def test_the_trail_keeps_its_order_and_verifies(database: Database, clock: Callable[[], int]) -> None:
    for units in (Units(database, wall_time_us), Units(database, clock), Units(database, wall_time_us)):
        async with units() as unit:
            await unit.audit.append(AuditAction.CONFIGURATION_CREATED, actor=ANNA)
            await unit.commit()
    async with Units(database, clock)(write=False) as unit:
        entries = (await unit.audit.list()).items
        assert [entry.sequence for entry in entries] == [3, 2, 1]
        assert (await unit.audit.verify()).ok
