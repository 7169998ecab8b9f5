"""Transactions of many callers at once, on both databases. Source: DESIGN 7, RELIABILITY 1."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from switchgear.core.database import Database
from switchgear.domain.errors import DatabaseUnreachable

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_writers_on_sqlite_are_served_in_the_order_they_came(database: Database) -> None:
    served: list[int] = []

    async def write(number: int) -> None:
        async with database.transaction(write=True) as connection:
            await connection.execute(text("SELECT 1"))
            served.append(number)
            await asyncio.sleep(0.01)
            await connection.commit()

    await asyncio.gather(*(write(number) for number in range(24)))

    assert served == list(range(24))


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_writer_waits_for_another_one_no_longer_than_its_deadline(database_url: str) -> None:
    database = Database(database_url, deadline_s=0.1)
    await database.start()
    entered = asyncio.Event()

    async def hold() -> None:
        async with database.transaction(write=True) as connection:
            await connection.execute(text("SELECT 1"))
            entered.set()
            await asyncio.sleep(1)

    holding = asyncio.create_task(hold())
    await entered.wait()
    with pytest.raises(DatabaseUnreachable, match="nothing was changed"):
        async with database.transaction(write=True) as connection:
            await connection.execute(text("SELECT 1"))

    await holding
    async with database.transaction(write=True) as connection:  # the lock is free again
        await connection.execute(text("SELECT 1"))
    await database.close()
