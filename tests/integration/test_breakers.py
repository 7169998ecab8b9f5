"""Breakers shared by processes: opened here, seen there, one probe for all, everything recorded. DESIGN 5, I26."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import pytest

from factories.core import Clock, Core
from switchgear.core.breaker_service import Admission, Breakers
from switchgear.core.observability import Metrics
from switchgear.domain.access import Actor, Role
from switchgear.domain.breaker import FIRST_PAUSE_US, BreakerState
from switchgear.domain.errors import Code, DatabaseUnreachable
from switchgear.domain.run import UNSUPPORTED, Outcome

pytestmark = pytest.mark.anyio

MARTA: Final = Actor("marta", Role.MAINTAINER, "tok_2")
KEY: Final = ("read-a", "digest")
FREE: Final = Admission()
Make = Callable[[], Breakers]


@pytest.fixture
def make(core: Core) -> Make:
    return lambda: Breakers(core.units, core.clock, Metrics())


async def fail(breakers: Breakers, times: int, message: str = "It broke.") -> None:
    for _ in range(times):
        await breakers.record(*KEY, FREE, Outcome.ERROR, "", message)


async def ask(breakers: Breakers) -> Admission:
    return await breakers.admit(*KEY, timeout_s=60)


def is_probe(admission: Admission) -> bool:
    return admission.probe is not None


async def test_a_module_that_keeps_failing_is_left_alone_by_every_process(core: Core, make: Make) -> None:
    here, there = make(), make()
    await fail(here, 4)
    assert await ask(here) == FREE
    await fail(here, 1, "The library is broken.")

    await there.follow()
    for breakers in (here, there):
        lack = (await ask(breakers)).lack
        assert lack is not None
        assert lack.code is Code.MODULE_BREAKER_OPEN
        assert "open for another 30 s. 5 of its last 5 calls failed. The library is broken." in lack.message
        assert lack.fix == "switchgear modules breaker read-a closed -m WHY"
        assert await breakers.admit("read-a", "other settings", timeout_s=60) == FREE
    [entry] = await core.audited("breaker.opened")
    assert (entry.actor, entry.subjects) == ("system", ("read-a",))
    assert (entry.before["state"], entry.after["state"]) == ("closed", "open")


async def test_after_the_pause_one_process_tries_and_two_good_answers_close_it_everywhere(
    core: Core, clock: Clock, make: Make
) -> None:
    here, there = make(), make()
    await fail(here, 5)
    await there.follow()
    clock.advance(FIRST_PAUSE_US / 1e6)

    answers = await asyncio.gather(ask(here), ask(there), ask(here), ask(there))
    assert sorted(is_probe(answer) for answer in answers) == [False, False, False, True]
    assert sum(answer.lack is not None for answer in answers) == 3
    await here.record(*KEY, next(answer for answer in answers if is_probe(answer)), Outcome.SUCCEEDED, "", "")
    await there.follow()
    second = await ask(there)
    assert is_probe(second)
    await there.record(*KEY, second, Outcome.SUCCEEDED, "", "")

    await here.follow()
    assert await ask(here) == await ask(there) == FREE
    await fail(there, 4)
    assert await ask(there) == FREE  # what failed before it opened is forgotten
    for action in ("opened", "tried", "closed"):
        assert len(await core.audited(f"breaker.{action}")) == 1


async def test_whoever_comes_too_late_to_try_a_module_calls_it_when_it_was_closed_meanwhile(
    clock: Clock, make: Make
) -> None:
    here, there = make(), make()
    await fail(here, 5)
    await there.follow()
    clock.advance(FIRST_PAUSE_US / 1e6)
    for _ in range(2):
        await here.record(*KEY, await ask(here), Outcome.SUCCEEDED, "", "")

    assert await ask(there) == FREE


async def test_a_failed_probe_opens_it_for_twice_as_long(clock: Clock, make: Make) -> None:
    here = make()
    await fail(here, 5)
    clock.advance(FIRST_PAUSE_US / 1e6)
    probe = await ask(here)
    await here.record(*KEY, probe, Outcome.CRASH, "signal:SEGV", "It crashed.")

    clock.advance(FIRST_PAUSE_US / 1e6)
    lack = (await ask(here)).lack
    assert lack is not None
    assert "open for another 30 s. It crashed." in lack.message
    clock.advance(FIRST_PAUSE_US / 1e6)
    assert is_probe(await ask(here))


async def test_a_probe_whose_process_died_is_given_to_another_when_its_lease_is_over(clock: Clock, make: Make) -> None:
    here, there = make(), make()
    await fail(here, 5)
    clock.advance(FIRST_PAUSE_US / 1e6)
    assert is_probe(await ask(here))
    await there.follow()
    assert (await ask(there)).lack is not None
    clock.advance(66)  # the call's time, and a little more
    assert is_probe(await ask(there))


async def test_a_document_that_is_at_fault_itself_neither_opens_nor_decides_a_probe(clock: Clock, make: Make) -> None:
    here = make()
    for _ in range(10):
        await here.record(*KEY, FREE, Outcome.BAD_INPUT, "encrypted", "")
    assert await ask(here) == FREE
    await fail(here, 5)
    clock.advance(FIRST_PAUSE_US / 1e6)
    await here.record(*KEY, await ask(here), Outcome.BAD_INPUT, "encrypted", "")
    assert is_probe(await ask(here))


async def test_documents_for_another_module_neither_open_nor_decide_a_probe(clock: Clock, make: Make) -> None:
    here = make()
    for _ in range(10):
        await here.record(*KEY, FREE, Outcome.ERROR, UNSUPPORTED, "Only XLSX is read here.")
    assert await ask(here) == FREE
    await fail(here, 5)
    clock.advance(FIRST_PAUSE_US / 1e6)
    await here.record(*KEY, await ask(here), Outcome.ERROR, UNSUPPORTED, "Only XLSX is read here.")
    assert is_probe(await ask(here))


async def test_a_person_opens_it_for_whatever_settings_until_a_person_closes_it(
    core: Core, clock: Clock, make: Make
) -> None:
    here, there = make(), make()
    await here.set("read-a", BreakerState.FORCED_OPEN, by=MARTA, message="Wrong totals")
    await there.follow()
    clock.advance(10_000)
    lack = (await ask(there)).lack
    assert lack is not None
    assert lack.message == "marta opened the breaker of read-a: Wrong totals."
    await there.set("read-a", BreakerState.CLOSED, by=MARTA, message="Mended")
    await here.follow()
    assert await ask(here) == FREE
    entries = await core.audited("breaker.set")
    assert [(entry.actor, entry.message) for entry in entries] == [("marta", "Wrong totals"), ("marta", "Mended")]


async def test_closing_by_hand_closes_what_opened_by_itself(make: Make) -> None:
    here = make()
    await fail(here, 5)
    assert (await ask(here)).lack is not None
    await here.set("read-a", BreakerState.CLOSED, by=MARTA)
    assert await ask(here) == FREE
    assert here.all() == ()


async def test_a_disabled_breaker_never_stops_a_call_and_never_opens(core: Core, make: Make) -> None:
    here = make()
    await here.set("read-a", BreakerState.DISABLED, by=MARTA, message="We want to see every error")
    await fail(here, 30)
    assert await ask(here) == FREE
    assert [breaker.state for breaker in here.all()] == [BreakerState.DISABLED]
    assert await core.audited("breaker.opened") == []


async def test_a_breaker_disabled_by_hand_counts_instead_of_what_opened_before(make: Make) -> None:
    here = make()
    await fail(here, 5)
    await here.set("read-a", BreakerState.DISABLED, by=MARTA)

    assert await ask(here) == FREE
    assert [breaker.state for breaker in here.all()] == [BreakerState.DISABLED]


async def test_without_a_database_calls_go_on_and_it_opens_when_the_database_is_back(core: Core, make: Make) -> None:
    class Away:
        away = True

        def __call__(self, *, write: bool = True) -> object:
            if self.away:
                raise DatabaseUnreachable("away")
            return core.units(write=write)

    units = Away()
    here = Breakers(units, core.clock)  # type: ignore[arg-type]
    await fail(here, 6)
    assert await ask(here) == FREE
    units.away = False
    await fail(here, 1)
    assert (await ask(here)).lack is not None


async def test_moves_are_counted(core: Core) -> None:
    metrics = Metrics()
    here = Breakers(core.units, core.clock, metrics)
    await fail(here, 5)
    assert b'switchgear_breaker_transitions_total{from_state="closed",module="read-a",to_state="open"} 1.0' in (
        metrics.render()
    )


async def test_a_probe_that_answers_after_its_lease_does_not_speak_for_the_next_one(clock: Clock, make: Make) -> None:
    here, there = make(), make()
    await fail(here, 5)
    clock.advance(FIRST_PAUSE_US / 1e6)
    late = await ask(here)
    await there.follow()
    clock.advance(66)
    second = await ask(there)
    assert is_probe(late)
    assert is_probe(second)

    await here.record(*KEY, late, Outcome.TIMEOUT, "", "It hung.")

    await there.record(*KEY, second, Outcome.SUCCEEDED, "", "")
    assert is_probe(await ask(there))  # one good answer; the late one neither opened it nor counts
