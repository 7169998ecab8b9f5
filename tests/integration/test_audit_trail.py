"""The stored audit trail: gapless under concurrency, in the same transaction as the change, checked to the last row."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from switchgear.core.access_service import AccessService
from switchgear.core.database import Database
from switchgear.core.database.statements import wall_time_us
from switchgear.core.logging import request_context
from switchgear.core.unit_of_work import Units
from switchgear.domain.access import Actor, Role
from switchgear.domain.audit import AuditAction, AuditEvent
from switchgear.domain.errors import InvalidRequest

pytestmark = pytest.mark.anyio

ANNA = Actor("anna", Role.OPERATOR, "tok_1")
ANNA_AS_ADMIN = Actor("anna", Role.ADMIN, "tok_1")
Write = Callable[..., Awaitable[AuditEvent]]


@pytest.fixture
def write(units: Units) -> Write:
    async def write(action: AuditAction = AuditAction.CONFIGURATION_CREATED, **values: Any) -> AuditEvent:
        async with units() as unit:
            event = await unit.audit.append(action, **{"actor": ANNA, **values})
            await unit.commit()
        return event

    return write


async def forge(units: Units, *statements: str) -> None:
    """Do what only a database administrator can: take the protection away, then change rows."""
    table = "configuration_change_events"
    async with units() as unit:
        if units.database.dialect == "sqlite":
            for verb in ("update", "delete"):
                await unit.session.execute(text(f"DROP TRIGGER {table}_no_{verb}"))
        else:
            await unit.session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))
        for statement in statements:
            await unit.session.execute(text(statement))
        await unit.commit()


async def test_an_entry_is_read_back_as_it_was_written(units: Units, write: Write) -> None:
    with request_context("req_1"):
        written = await write(
            subjects=("cfg_1", "act_1"),
            message="because é",
            before={"n": 1.0, "big": 1e20, "deep": [{"x": None}]},
            after={"text": 'quote " and \\'},
            result="refused",
        )
    async with units(write=False) as unit:
        [read] = (await unit.audit.list()).items
    assert read == written
    assert (read.sequence, read.request_id, read.actor, read.actor_role) == (1, "req_1", "anna", "operator")


async def test_numbers_survive_the_database_well_enough_for_the_hash(units: Units, write: Write) -> None:
    await write(after={"a": 1.0, "b": 1e300, "c": -0.0, "d": 0.1, "e": 2**62, "f": 1e-7, "g": 5e-324, "h": [1e21]})
    async with units(write=False) as unit:
        assert (await unit.audit.verify()).ok


async def test_a_change_that_is_rolled_back_leaves_no_entry_and_no_gap(units: Units, write: Write) -> None:
    await write()
    async with units() as unit:
        await unit.audit.append(AuditAction.MODULE_DISABLED, actor=ANNA)
    assert (await write()).sequence == 2
    async with units(write=False) as unit:
        assert (await unit.audit.verify()).checked == 2


async def test_several_entries_of_one_transaction_follow_each_other(units: Units) -> None:
    async with units() as unit:
        one = await unit.audit.append(AuditAction.CONFIGURATION_SUPERSEDED, actor=ANNA)
        other = await unit.audit.append(AuditAction.CONFIGURATION_ACTIVATED, actor=ANNA)
        await unit.commit()
    assert (other.sequence, other.previous_hash) == (one.sequence + 1, one.hash)


async def test_many_writers_of_two_servers_leave_a_gapless_chain(units: Units, write: Write, database_url: str) -> None:
    other_database = Database(database_url)
    await other_database.start()
    other = Units(other_database, wall_time_us)

    async def write_there() -> None:
        async with other() as unit:
            await unit.audit.append(AuditAction.ACTIVATION_QUEUED, actor=ANNA)
            await unit.commit()

    try:
        await asyncio.gather(*(write() for _ in range(12)), *(write_there() for _ in range(12)))
    finally:
        await other_database.close()
    async with units(write=False) as unit:
        result = await unit.audit.verify()
    assert (result.ok, result.checked) == (True, 24)


async def test_a_list_is_newest_first_and_paged_without_loss(units: Units, write: Write) -> None:
    for _ in range(5):
        await write()
    async with units(write=False) as unit:
        first = await unit.audit.list(limit=2)
        second = await unit.audit.list(limit=2, cursor=first.next_cursor)
        third = await unit.audit.list(limit=2, cursor=second.next_cursor)
        forward = await unit.audit.read_forward(after=3, limit=10)
    pages = [[event.sequence for event in page.items] for page in (first, second, third)]
    assert pages == [[5, 4], [3, 2], [1]]
    assert third.next_cursor is None
    assert [event.sequence for event in forward] == [4, 5]


async def test_filters_choose_and_combine(units: Units, write: Write) -> None:
    await write(AuditAction.ACTIVATION_QUEUED, subjects=("act_1", "cfg_1"))
    await write(AuditAction.ACTIVATION_APPLIED, subjects=("act_1",), actor=Actor("bob", Role.ADMIN))
    await write(AuditAction.CONFIGURATION_CREATED, subjects=("cfg_10",))

    async def sequences(**filters: Any) -> list[int]:
        async with units(write=False) as unit:
            return [event.sequence for event in (await unit.audit.list(**filters)).items]

    assert await sequences(action="activation") == [2, 1]
    assert await sequences(action="activation.queued") == [1]
    assert await sequences(action="activ") == []
    assert await sequences(actor="anna") == [3, 1]
    assert await sequences(subject="cfg_1") == [1]
    assert await sequences(subject='cfg_1"]') == []
    assert await sequences(after_sequence=2) == [3]
    assert await sequences(action="activation", actor="bob", subject="act_1") == [2]


@pytest.mark.parametrize("cursor", ["x", "-1", "", "9" * 40, "1; DROP TABLE runs"])
async def test_a_foreign_cursor_is_refused(units: Units, cursor: str) -> None:
    async with units(write=False) as unit:
        with pytest.raises(InvalidRequest, match="cursor"):
            await unit.audit.list(cursor=cursor)


T = "configuration_change_events"


@pytest.mark.parametrize(
    ("forgery", "first_bad"),
    [
        ([f"UPDATE {T} SET actor = 'mallory' WHERE sequence = 3"], 3),
        ([f"DELETE FROM {T} WHERE sequence = 2"], 2),
        ([f"DELETE FROM {T} WHERE sequence = 1"], 1),
        ([f"UPDATE {T} SET sequence = 0 WHERE sequence = 4"], 1),
        (
            [
                f"UPDATE {T} SET sequence = 99 WHERE sequence = 2",
                f"UPDATE {T} SET sequence = 2 WHERE sequence = 3",
                f"UPDATE {T} SET sequence = 3 WHERE sequence = 99",
            ],
            2,
        ),
    ],
)
async def test_a_forged_row_is_named(units: Units, write: Write, forgery: list[str], first_bad: int) -> None:
    for _ in range(5):
        await write()
    await forge(units, *forgery)
    async with units(write=False) as unit:
        result = await unit.audit.verify()
    assert (result.ok, result.first_bad_sequence) == (False, first_bad)
    assert result.reason


async def test_a_cut_off_tail_is_found_against_the_exported_head(units: Units, write: Write) -> None:
    for _ in range(4):
        await write()
    async with units(write=False) as unit:
        head = (await unit.audit.verify()).head
    await forge(units, f"DELETE FROM {T} WHERE sequence > 2")
    async with units(write=False) as unit:
        assert (await unit.audit.verify()).ok
        result = await unit.audit.verify(head)
    assert (result.ok, result.first_bad_sequence) == (False, 3)


async def test_a_long_trail_is_checked_piece_by_piece(
    units: Units, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    monkeypatch.setattr("switchgear.core.audit_trail._VERIFY_AT_ONCE", 2)
    for _ in range(6):
        await write()
    async with units(write=False) as unit:
        assert (await unit.audit.verify()).checked == 6
    await forge(units, f"UPDATE {T} SET message = 'x' WHERE sequence = 5")
    async with units(write=False) as unit:
        assert (await unit.audit.verify()).first_bad_sequence == 5


async def test_a_trail_that_cannot_be_written_refuses_the_change(units: Units) -> None:
    """What cannot be recorded does not happen. RELIABILITY 63."""
    table = "configuration_change_events"
    refuse = f"CREATE TRIGGER no_room BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no_room'); END"
    if units.database.dialect == "postgresql":
        refuse = f"ALTER TABLE {table} ADD CONSTRAINT no_room CHECK (sequence < 0)"
    async with units() as unit:
        await unit.session.execute(text(refuse))
        await unit.commit()

    with pytest.raises((IntegrityError, sqlite3.IntegrityError), match="no_room"):
        await AccessService(units, wall_time_us).create_token("unrecorded", Role.VIEWER, None, ANNA_AS_ADMIN)

    async with units(write=False) as unit:
        assert (await unit.session.execute(text("SELECT count(*) FROM api_tokens"))).scalar_one() == 0
