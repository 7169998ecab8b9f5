"""Idempotency keys: same request, same answer, one effect; other request, refused; a crash blocks nobody. I10."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from switchgear.core.database import Database
from switchgear.core.idempotency import KEPT_US, RESERVED_US, Idempotency, IdempotencyMismatch, Replay, StillAtWork
from switchgear.core.unit_of_work import Units
from switchgear.domain.access import Actor, Role
from switchgear.domain.errors import InvalidRequest

pytestmark = pytest.mark.anyio

ANNA = Actor("anna", Role.OPERATOR, "tok_1")
BOB = Actor("bob", Role.OPERATOR, "tok_2")
ROUTE = "POST /api/v1/configurations"
ANSWER = Replay(201, '{"id": "cfg_1"}', {"location": "/api/v1/configurations/cfg_1"})


@dataclass
class Clock:
    now_us: int = 1_000_000_000_000_000

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def keys(database_url: str, clock: Clock) -> AsyncIterator[Idempotency]:
    database = Database(database_url, clock=clock)
    await database.start()
    yield Idempotency(Units(database, clock), clock)
    await database.close()


async def answer(keys: Idempotency, key: str = "k", actor: Actor = ANNA) -> None:
    await keys.complete(actor, key, ANSWER.status, ANSWER.response, dict(ANSWER.headers))


async def test_the_same_request_again_gets_the_same_answer(keys: Idempotency) -> None:
    assert await keys.reserve(ANNA, "k", ROUTE, b"{}") is None
    await answer(keys)
    assert await keys.reserve(ANNA, "k", ROUTE, b"{}") == ANSWER
    assert await keys.reserve(ANNA, "k", ROUTE, b"{}") == ANSWER


@pytest.mark.parametrize(("route", "body"), [(ROUTE, b"{ }"), ("POST /api/v1/tokens", b"{}")])
async def test_another_request_under_the_same_key_is_refused(keys: Idempotency, route: str, body: bytes) -> None:
    await keys.reserve(ANNA, "k", ROUTE, b"{}")
    with pytest.raises(IdempotencyMismatch):
        await keys.reserve(ANNA, "k", route, body)
    await answer(keys)
    with pytest.raises(IdempotencyMismatch) as caught:
        await keys.reserve(ANNA, "k", route, body)
    assert caught.value.code == "request.idempotency_mismatch"
    assert await keys.reserve(ANNA, "k", ROUTE, b"{}") == ANSWER


async def test_keys_of_different_callers_never_meet(keys: Idempotency) -> None:
    await keys.reserve(ANNA, "k", ROUTE, b"{}")
    await answer(keys)
    assert await keys.reserve(BOB, "k", ROUTE, b"other") is None


async def test_a_request_that_is_still_at_work_is_not_done_twice(keys: Idempotency, clock: Clock) -> None:
    await keys.reserve(ANNA, "k", ROUTE, b"{}")
    clock.now_us += RESERVED_US - 1
    with pytest.raises(StillAtWork) as caught:
        await keys.reserve(ANNA, "k", ROUTE, b"{}")
    assert caught.value.fields["retry_after_s"] == 1


async def test_a_server_that_died_in_between_blocks_nobody_for_long(keys: Idempotency, clock: Clock) -> None:
    await keys.reserve(ANNA, "k", ROUTE, b"{}")
    clock.now_us += RESERVED_US
    assert await keys.reserve(ANNA, "k", ROUTE, b"{}") is None
    with pytest.raises(StillAtWork):
        await keys.reserve(ANNA, "k", ROUTE, b"{}")


async def test_a_released_key_can_be_used_at_once(keys: Idempotency) -> None:
    await keys.reserve(ANNA, "k", ROUTE, b"{}")
    await keys.release(ANNA, "k")
    assert await keys.reserve(ANNA, "k", ROUTE, b"other") is None


async def test_an_answer_is_kept_for_24_hours(keys: Idempotency, clock: Clock) -> None:
    await keys.reserve(ANNA, "k", ROUTE, b"{}")
    await answer(keys)
    clock.now_us += KEPT_US - 1
    assert await keys.reserve(ANNA, "k", ROUTE, b"{}") == ANSWER
    clock.now_us += 1
    assert await keys.reserve(ANNA, "k", ROUTE, b"other") is None


async def test_the_sweep_forgets_what_is_past_its_time(keys: Idempotency, clock: Clock) -> None:
    await keys.reserve(ANNA, "old", ROUTE, b"{}")
    await answer(keys, "old")
    clock.now_us += KEPT_US
    await keys.reserve(ANNA, "new", ROUTE, b"{}")
    assert await keys.sweep() == 1
    with pytest.raises(StillAtWork):
        await keys.reserve(ANNA, "new", ROUTE, b"{}")


async def test_of_many_at_once_one_does_the_work(keys: Idempotency) -> None:
    answers = await asyncio.gather(*(keys.reserve(ANNA, "k", ROUTE, b"{}") for _ in range(8)), return_exceptions=True)
    assert sum(one is None for one in answers) == 1
    assert sum(isinstance(one, StillAtWork) for one in answers) == 7


async def test_of_many_that_take_over_at_once_one_does_the_work(keys: Idempotency, clock: Clock) -> None:
    await keys.reserve(ANNA, "k", ROUTE, b"{}")
    clock.now_us += RESERVED_US
    answers = await asyncio.gather(*(keys.reserve(ANNA, "k", ROUTE, b"{}") for _ in range(8)), return_exceptions=True)
    assert sum(one is None for one in answers) == 1
    assert sum(isinstance(one, StillAtWork) for one in answers) == 7


@pytest.mark.parametrize("key", ["", "k" * 201, "new\nline", "nul\0"])
async def test_a_malformed_key_is_refused(keys: Idempotency, key: str) -> None:
    with pytest.raises(InvalidRequest, match="Idempotency-Key"):
        await keys.reserve(ANNA, key, ROUTE, b"{}")
