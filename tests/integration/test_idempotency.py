"""Idempotency keys: same request, same answer, one effect; other request, refused; a crash blocks nobody. I10."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from factories.runs import Room
from switchgear.core.database import Database
from switchgear.core.idempotency import (
    KEPT_US,
    RESERVED_US,
    AnswerLost,
    Idempotency,
    IdempotencyMismatch,
    Replay,
    StillAtWork,
)
from switchgear.core.unit_of_work import Units
from switchgear.domain.access import Actor, Role
from switchgear.domain.audit import AuditAction
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


# --- a process that dies between the effect and its answer (RELIABILITY 27) ---


async def change_something(keys: Idempotency) -> None:
    async with keys.units() as unit:
        await unit.audit.append(AuditAction.RUN_CANCELLED, actor=ANNA)
        await unit.commit()


async def test_what_took_effect_is_not_done_again_when_its_answer_was_lost(keys: Idempotency, clock: Clock) -> None:
    await keys.reserve(ANNA, "k", ROUTE, b"{}")
    with keys.at_work(ANNA, "k"):
        await change_something(keys)

    with pytest.raises(StillAtWork):  # it may be writing its answer in this moment
        await keys.reserve(ANNA, "k", ROUTE, b"{}")
    clock.now_us += RESERVED_US
    with pytest.raises(AnswerLost) as caught:
        await keys.reserve(ANNA, "k", ROUTE, b"{}")
    assert caught.value.code == "request.answer_lost"
    assert "took effect" in str(caught.value)
    with pytest.raises(IdempotencyMismatch):
        await keys.reserve(ANNA, "k", ROUTE, b"other")
    clock.now_us += KEPT_US
    assert await keys.reserve(ANNA, "k", ROUTE, b"{}") is None


async def test_an_effect_that_was_not_committed_marks_no_key(keys: Idempotency, clock: Clock) -> None:
    await keys.reserve(ANNA, "k", ROUTE, b"{}")
    with keys.at_work(ANNA, "k"):
        async with keys.units() as unit:
            await unit.audit.append(AuditAction.RUN_CANCELLED, actor=ANNA)
    clock.now_us += RESERVED_US
    assert await keys.reserve(ANNA, "k", ROUTE, b"{}") is None


async def test_a_document_that_was_stored_marks_its_key(keys: Idempotency, clock: Clock) -> None:
    room = await Room(keys.units.database).prepare()
    await keys.reserve(ANNA, "k", ROUTE, b"{}")
    with keys.at_work(ANNA, "k"):
        await room.submit("hello")
    clock.now_us += RESERVED_US
    with pytest.raises(AnswerLost):
        await keys.reserve(ANNA, "k", ROUTE, b"{}")


async def test_a_marked_key_gets_its_answer_and_a_refusal_frees_it(keys: Idempotency) -> None:
    for key in ("answered", "refused", "failed"):
        await keys.reserve(ANNA, key, ROUTE, b"{}")
        with keys.at_work(ANNA, key):
            await change_something(keys)
    await answer(keys, "answered")
    await keys.release(ANNA, "refused")
    await keys.release(ANNA, "failed", unless_done=True)

    assert await keys.reserve(ANNA, "answered", ROUTE, b"{}") == ANSWER
    assert await keys.reserve(ANNA, "refused", ROUTE, b"{}") is None
    with pytest.raises(StillAtWork):
        await keys.reserve(ANNA, "failed", ROUTE, b"{}")


async def test_other_requests_of_the_process_mark_nothing(keys: Idempotency, clock: Clock) -> None:
    await keys.reserve(ANNA, "k", ROUTE, b"{}")
    with keys.at_work(ANNA, "k"):
        pass
    await change_something(keys)
    clock.now_us += RESERVED_US
    assert await keys.reserve(ANNA, "k", ROUTE, b"{}") is None
