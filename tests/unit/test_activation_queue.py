"""What an activation needs next, as a rule; and the queue's answers (T006, DESIGN 4)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from factories.core import DEFAULTS, OPERATOR, Clock, Core, FakeRuns, running_core
from switchgear.core.activation_queue import ActivationView
from switchgear.core.activation_queue.decision import Decision, Due, decide
from switchgear.domain.activation import (
    TRANSITIONS,
    ActivationRequest,
    Event,
    Kind,
    Mode,
    NotPending,
    OnExpiry,
    State,
    StoredActivation,
    transition,
)
from switchgear.domain.errors import Code, InvalidRequest, NotFound

pytestmark = pytest.mark.anyio

SECOND = 1_000_000
START = 1_000 * SECOND


def activation(state: State, **values: Any) -> StoredActivation:
    plain = StoredActivation(
        "act_1", "cfg_2", 2, "cfg_1", 1, Kind.ACTIVATE, Mode.DRAIN, state, 300, OnExpiry.SWITCH, {}, "olga", "", START
    )
    return replace(plain, draining_at=START if state is State.DRAINING else None, **values)


def ask(what: StoredActivation, *, after_s: float = 0, live: tuple[str, ...] = (), running: int = 0) -> Decision:
    return decide(what, now_us=START + int(after_s * SECOND), live=live, running=running, warm_timeout_s=60)


def answers(**by: str) -> tuple[dict[str, Any], ...]:
    return tuple({"worker_id": name, "answer": answer, "why": None} for name, answer in by.items())


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_the_table_of_an_activations_life_is_all_there_is(state: State, event: Event) -> None:
    if (state, event) in TRANSITIONS:
        assert transition(state, event) is TRANSITIONS[(state, event)]
    else:
        with pytest.raises(NotPending):
            transition(state, event)


@pytest.mark.parametrize(
    ("on_expiry", "end"), [(OnExpiry.SWITCH, "it is applied all the same"), (OnExpiry.CANCEL, "it is given up")]
)
def test_a_drain_says_what_it_waits_for_how_long_and_what_can_be_done(on_expiry: OnExpiry, end: str) -> None:
    found = ActivationView(replace(activation(State.DRAINING), on_expiry=on_expiry), 2, 3).why
    assert found is not None
    assert found["code"] == Code.ACTIVATION_DRAINING
    assert found["summary"] == (
        f"The activation of v2 waits until 2 running runs have ended; 3 new ones wait for it. After 300 s {end}."
    )
    assert [action["cli"] for action in found["next_actions"]] == [
        "switchgear activations switch act_1",
        "switchgear activations cancel act_1",
    ]


def test_only_a_drain_waits_for_running_work() -> None:
    assert ActivationView(activation(State.WARMING), 2, 3).why is None
    assert ActivationView(activation(State.REJECTED, why={"code": "activation.validation"})).why == {
        "code": "activation.validation"
    }


def test_what_is_queued_is_warmed_unless_its_time_is_over() -> None:
    assert ask(activation(State.QUEUED), after_s=59.9).due is Due.WARM
    late = ask(activation(State.QUEUED), after_s=60)
    assert late.due is Due.REJECT
    assert late.why is not None
    assert late.why.code is Code.ACTIVATION_WORKER_MISSING


def test_warming_waits_for_every_live_worker() -> None:
    one = activation(State.WARMING, acknowledgements=answers(a="ready"))
    assert ask(one, live=("a",)).due is Due.DRAIN
    assert ask(one, live=("a", "b")).due is Due.NOTHING
    late = ask(one, live=("a", "b"), after_s=60)
    assert late.due is Due.REJECT
    assert late.why is not None
    assert (late.why.code, list(late.why.blocking)) == (Code.ACTIVATION_WORKER_MISSING, ["b"])


def test_without_live_workers_one_answer_is_enough_and_none_is_too_few() -> None:
    assert ask(activation(State.WARMING)).due is Due.NOTHING
    assert ask(activation(State.WARMING), after_s=60).due is Due.REJECT
    assert ask(activation(State.WARMING, acknowledgements=answers(server="ready"))).due is Due.DRAIN


def test_one_refusal_rejects_whoever_else_is_ready() -> None:
    mixed = activation(State.WARMING, acknowledgements=answers(a="ready", b="refused"))
    refused = ask(mixed, live=("a", "b"))
    assert refused.due is Due.REJECT
    assert refused.why is not None
    assert refused.why.code is Code.ACTIVATION_WORKER_REFUSED
    assert "Worker b" in refused.why.summary


@pytest.mark.parametrize("values", [{"mode": Mode.ROLLING}, {"switch_now": True}])
def test_rolling_and_switch_now_do_not_drain(values: dict[str, Any]) -> None:
    ready = activation(State.WARMING, acknowledgements=answers(a="ready"), **values)
    assert ask(ready, live=("a",), running=5).due is Due.SWITCH


@pytest.mark.parametrize(
    ("running", "after_s", "values", "due"),
    [
        (0, 0, {}, Due.SWITCH),
        (1, 0, {}, Due.NOTHING),
        (1, 299.9, {}, Due.NOTHING),
        (1, 300, {}, Due.SWITCH),
        (1, 300, {"on_expiry": OnExpiry.CANCEL}, Due.EXPIRE),
        (0, 300, {"on_expiry": OnExpiry.CANCEL}, Due.SWITCH),
        (9, 0, {"switch_now": True}, Due.SWITCH),
        (9, 1.5, {"max_wait_s": 1}, Due.SWITCH),
    ],
)
def test_draining(running: int, after_s: float, values: dict[str, Any], due: Due) -> None:
    decision = ask(activation(State.DRAINING, **values), running=running, after_s=after_s)
    assert decision.due is due
    assert (decision.why is not None) is (due is Due.EXPIRE)


@pytest.fixture
async def core(database_url: str) -> AsyncIterator[Core]:
    async with running_core(database_url) as core:
        yield core


async def test_advance_does_nothing_when_nothing_is_pending(core: Core) -> None:
    assert await core.queue.advance() is None
    assert await core.queue.pending() is None


async def test_advance_is_idempotent(core: Core) -> None:
    assert isinstance(core.runs, FakeRuns)
    core.runs.running = 1
    made = await core.make(read="read-b")
    await core.switch_to(made.id)
    entries = len(await core.audited("activation.draining"))
    results = await asyncio.gather(*(core.queue.advance() for _ in range(5)))
    assert {item.state for item in results if item is not None} == {State.DRAINING}
    assert len(await core.audited("activation.draining")) == entries == 1
    core.runs.running = 0
    await asyncio.gather(*(core.queue.advance() for _ in range(5)))
    assert len([e for e in await core.audited("activation.applied") if e.actor == "olga"]) == 1


async def test_advance_takes_the_time_as_an_argument(
    core: Core,
) -> None:
    assert isinstance(core.runs, FakeRuns)
    core.runs.running = 1
    made = await core.make(read="read-b")
    waiting = await core.switch_to(made.id)
    assert waiting.draining_at is not None
    applied = await core.queue.advance(waiting.draining_at + 300 * SECOND)
    assert applied is not None
    assert applied.state is State.APPLIED


async def test_warming_is_done_once_by_each_process(core: Core) -> None:
    made = await core.make(read="read-b")
    await core.service.activate(made.id, by=OPERATOR, request=DEFAULTS)
    await asyncio.gather(*(core.queue.advance() for _ in range(5)))
    await core.queue.idle()
    assert core.warmed == ["v2"]


async def test_what_is_cancelled_while_it_warms_stays_cancelled(core: Core) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_configuration: object) -> None:
        begun.set()
        await go_on.wait()

    core.queue._warming._warm = slow
    made = await core.make(read="read-b")
    queued = await core.service.activate(made.id, by=OPERATOR, request=DEFAULTS)
    await core.queue.advance()
    await begun.wait()
    await core.queue.cancel(queued.id, OPERATOR)
    go_on.set()
    await core.queue.idle()
    assert (await core.queue.get(queued.id)).activation.state is State.CANCELLED
    assert await core.statuses() == {1: "active", 2: "validated"}


async def test_activations_are_listed_newest_first_in_pages(core: Core) -> None:
    made = [await core.make(read=name, deliver="deliver-a") for name in ("read-a", "read-b")]
    for item in made:
        await core.switch_to(item.id)
    first = await core.queue.list(2)
    rest = await core.queue.list(2, first.next_cursor)
    assert [item.configuration_version for item in (*first.items, *rest.items)] == [3, 2, 1]
    assert rest.next_cursor is None
    with pytest.raises(InvalidRequest):
        await core.queue.list(2, "nonsense")
    with pytest.raises(NotFound):
        await core.queue.get("act_nowhere")


async def test_waiting_ends_with_the_activation_or_after_its_time(core: Core) -> None:
    assert isinstance(core.runs, FakeRuns)
    core.runs.running = 1
    made = await core.make(read="read-b")
    waiting = await core.switch_to(made.id)
    assert (await core.queue.wait(waiting.id, 0.01)).activation.is_pending
    waiter = asyncio.create_task(core.queue.wait(waiting.id, 30))
    await asyncio.sleep(0)
    await core.queue.cancel(waiting.id, OPERATOR)
    assert not (await waiter).activation.is_pending


async def test_every_process_hears_of_a_switch(core: Core) -> None:
    other = Core(core.database, core.clock, worker_id="second", registry=core.registry)
    await other.queue.start()
    made = await core.make(read="read-b")
    heard = asyncio.Event()
    other.queue.on_applied.append(lambda _: heard.set())
    await core.switch_to(made.id)
    async with asyncio.timeout(10):
        await heard.wait()
    assert other.applied[-1].configuration_id == made.id
    await other.queue.stop()


async def test_requests_of_a_kind_have_its_defaults(
    core: Core,
) -> None:
    made = await core.make(read="read-b")
    activated = await core.switch_to(made.id)
    back = await core.go_back()
    assert (activated.max_wait_s, back.max_wait_s) == (300.0, 10.0)
    assert (activated.mode, back.mode) == (Mode.DRAIN, Mode.DRAIN)
    assert ActivationRequest().replace_pending is None


async def test_a_hold_ends_by_itself_when_nobody_advances(database_url: str) -> None:
    from switchgear.core import admission

    clock = Clock()
    async with running_core(database_url, clock) as core:
        await admission.hold(core.database.narrow, "threes", "act_x", clock() + SECOND)
        guard = f"SELECT 1 WHERE {admission.FIRST_CLAIM_GUARD}"
        assert await core.database.narrow.query(guard, {"pipeline": "threes"}) == []
        clock.advance(1)
        assert await core.database.narrow.query(guard, {"pipeline": "threes"}) == [(1,)]
