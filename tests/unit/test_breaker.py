"""Breakers as a rule: when they open, who may try, when they close. DESIGN 5."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.domain.breaker import (
    BY_HAND,
    FIRST_PAUSE_US,
    LONGEST_PAUSE_US,
    MINIMUM_CALLS,
    PROBES,
    WINDOW_CALLS,
    WINDOW_US,
    Breaker,
    BreakerEvent,
    BreakerState,
    Window,
    facts_of,
    failed,
    moved,
)
from switchgear.domain.run import NO_FREE_WORKER, Outcome

CLOSED = Breaker("ocr", "digest")
LEASE_US = 5_000_000


def after(breaker: Breaker, *steps: tuple[BreakerEvent, int]) -> Breaker:
    for event, now_us in steps:
        next_one = moved(breaker, event, now_us, lease_us=LEASE_US)
        assert next_one is not None, (breaker, event)
        breaker = next_one
    return breaker


def opened(at_us: int = 0) -> Breaker:
    return after(CLOSED, (BreakerEvent.TOO_MANY_FAILED, at_us))


# --- the window ---


@pytest.mark.parametrize(
    ("calls", "opens"),
    [
        ("ffff", False),  # too few to say
        ("fffff", True),
        ("wwwff", False),  # two of five
        ("wwfff", True),  # three of five
        ("wwwfff", True),  # exactly half
        ("wwwwfff", False),
        ("w" * 20 + "f" * 9, False),  # nine of the last twenty
        ("w" * 20 + "f" * 10, True),
        ("f" * 4 + "w" * 20 + "f" * 9, False),  # what is older than twenty calls is forgotten
    ],
)
def test_a_breaker_opens_when_half_of_the_last_calls_failed_and_there_were_enough(calls: str, opens: bool) -> None:
    window = Window()
    answers = [window.add(number, has_failed=call == "f") for number, call in enumerate(calls)]
    assert answers[-1] is opens
    assert not any(answers[:-1])


def test_calls_that_are_too_old_say_nothing() -> None:
    window = Window()
    for number in range(MINIMUM_CALLS - 1):
        window.add(number, has_failed=True)
    assert not window.add(WINDOW_US + 10, has_failed=True)
    assert len(window) == 1


def test_a_call_that_worked_opens_nothing_even_when_those_before_failed() -> None:
    window = Window()
    for number in range(MINIMUM_CALLS - 1):
        window.add(number, has_failed=True)
    assert not window.add(5, has_failed=False)
    assert window.failures == MINIMUM_CALLS - 1
    window.clear()
    assert len(window) == 0


@given(st.lists(st.tuples(st.integers(0, WINDOW_US), st.booleans()), max_size=60))
def test_the_window_never_opens_without_half_of_at_least_five_young_calls(calls: list[tuple[int, bool]]) -> None:
    window, now_us, seen = Window(), 0, []
    for pause_us, bad in calls:
        now_us += pause_us
        seen.append((now_us, bad))
        young = [failure for at, failure in seen[-WINDOW_CALLS:] if now_us - at <= WINDOW_US]
        wanted = bad and len(young) >= MINIMUM_CALLS and 2 * sum(young) >= len(young)
        assert window.add(now_us, has_failed=bad) is wanted


@pytest.mark.parametrize(
    ("outcome", "detail", "bad"),
    [
        (Outcome.SUCCEEDED, "", False),
        (Outcome.NOT_APPLICABLE, "", False),
        (Outcome.ERROR, "", True),
        (Outcome.TIMEOUT, "", True),
        (Outcome.TIMEOUT, NO_FREE_WORKER, None),
        (Outcome.CRASH, "signal:SEGV", True),
        (Outcome.CONTRACT_VIOLATION, "schema", True),
        (Outcome.ERROR, "unsupported", None),
        (Outcome.BAD_INPUT, "encrypted", None),
        (Outcome.UNAVAILABLE, "", None),
        (Outcome.BREAKER_OPEN, "", None),
        (Outcome.LOW_CONFIDENCE, "", None),
        (Outcome.LOST, "", None),
        (Outcome.CANCELLED, "", None),
        (Outcome.SKIPPED, "", None),
    ],
)
def test_only_what_the_module_did_speaks_for_or_against_it(outcome: Outcome, detail: str, bad: bool | None) -> None:
    assert failed(outcome, detail) is bad


def test_the_table_of_outcomes_above_is_whole() -> None:
    mark = next(m for m in test_only_what_the_module_did_speaks_for_or_against_it.pytestmark)  # type: ignore[attr-defined]
    assert {row[0] for row in mark.args[1]} == set(Outcome)


# --- the states ---

MOVES = {
    (BreakerState.CLOSED, BreakerEvent.TOO_MANY_FAILED): BreakerState.OPEN,
    (BreakerState.OPEN, BreakerEvent.PROBE_BEGAN): BreakerState.HALF_OPEN,
    (BreakerState.HALF_OPEN, BreakerEvent.PROBE_BEGAN): BreakerState.HALF_OPEN,
    (BreakerState.HALF_OPEN, BreakerEvent.PROBE_WORKED): BreakerState.HALF_OPEN,
    (BreakerState.HALF_OPEN, BreakerEvent.PROBE_FAILED): BreakerState.OPEN,
    (BreakerState.HALF_OPEN, BreakerEvent.PROBE_SAID_NOTHING): BreakerState.HALF_OPEN,
}


@pytest.mark.parametrize(("state", "event"), [*itertools.product(BreakerState, BreakerEvent)])
def test_every_pair_of_state_and_event_moves_as_the_table_says_or_not_at_all(
    state: BreakerState, event: BreakerEvent
) -> None:
    by_hand = {said: target for target, said in BY_HAND.items()}
    wanted = by_hand.get(event, MOVES.get((state, event)))
    after_it = moved(Breaker("ocr", "digest", state, pause_us=FIRST_PAUSE_US), event, 100)
    assert (after_it.state if after_it else None) == wanted


def test_nobody_probes_before_the_pause_is_over_nor_while_another_probe_is_at_work() -> None:
    breaker = opened(at_us=0)
    assert breaker.is_open()
    assert not breaker.may_probe(FIRST_PAUSE_US - 1)
    assert moved(breaker, BreakerEvent.PROBE_BEGAN, FIRST_PAUSE_US - 1) is None
    probing = after(breaker, (BreakerEvent.PROBE_BEGAN, FIRST_PAUSE_US))
    assert not probing.may_probe(FIRST_PAUSE_US + LEASE_US - 1)
    assert probing.may_probe(FIRST_PAUSE_US + LEASE_US)  # whoever probed is dead


def test_two_good_probes_close_it_and_the_next_trouble_begins_with_a_short_pause_again() -> None:
    now = FIRST_PAUSE_US
    breaker = opened()
    for number in range(PROBES):
        assert breaker.state is not BreakerState.CLOSED
        breaker = after(breaker, (BreakerEvent.PROBE_BEGAN, now + number), (BreakerEvent.PROBE_WORKED, now + number))
    assert breaker == CLOSED
    assert not breaker.is_open()


def test_a_failed_probe_doubles_the_pause_up_to_the_longest_and_good_ones_before_do_not_count() -> None:
    breaker, now, pauses = opened(), 0, []
    for _ in range(7):
        now += breaker.pause_us
        breaker = after(breaker, (BreakerEvent.PROBE_BEGAN, now), (BreakerEvent.PROBE_WORKED, now))
        breaker = after(breaker, (BreakerEvent.PROBE_BEGAN, now), (BreakerEvent.PROBE_FAILED, now))
        pauses.append(breaker.pause_us)
        assert breaker.until == now + breaker.pause_us
        assert breaker.good_probes == 0
    assert pauses == [2 * FIRST_PAUSE_US, 4 * FIRST_PAUSE_US, 8 * FIRST_PAUSE_US, 16 * FIRST_PAUSE_US] + 3 * [
        LONGEST_PAUSE_US
    ]


def test_a_probe_that_says_nothing_frees_the_next_one_at_once() -> None:
    probing = after(opened(), (BreakerEvent.PROBE_BEGAN, FIRST_PAUSE_US))
    freed = after(probing, (BreakerEvent.PROBE_SAID_NOTHING, FIRST_PAUSE_US + 1))
    assert freed.may_probe(FIRST_PAUSE_US + 1)
    assert freed.state is BreakerState.HALF_OPEN


@pytest.mark.parametrize(
    ("state", "lets_through", "may_probe"),
    [
        (BreakerState.CLOSED, True, False),
        (BreakerState.OPEN, False, True),
        (BreakerState.HALF_OPEN, False, True),
        (BreakerState.FORCED_OPEN, False, False),
        (BreakerState.DISABLED, True, False),
    ],
)
def test_what_a_person_said_lasts_until_a_person_says_otherwise(
    state: BreakerState, lets_through: bool, may_probe: bool
) -> None:
    breaker = Breaker("ocr", "", state)
    assert breaker.is_open() is not lets_through
    assert breaker.may_probe(10**18) is may_probe


# --- what is kept ---


def test_what_is_recorded_of_a_breaker_is_how_it_stands_and_for_whom() -> None:
    assert facts_of(opened(at_us=7)) == {
        "state": "open", "settings_digest": "digest", "until": 7 + FIRST_PAUSE_US,
    }  # fmt: skip


def test_a_call_of_exactly_the_windows_age_still_counts() -> None:
    window = Window()
    for _ in range(MINIMUM_CALLS - 1):
        window.add(0, has_failed=True)
    assert window.add(WINDOW_US, has_failed=True)


def test_good_probes_are_counted_one_by_one_and_begin_anew() -> None:
    tried = after(opened(), (BreakerEvent.PROBE_BEGAN, FIRST_PAUSE_US), (BreakerEvent.PROBE_WORKED, FIRST_PAUSE_US))
    assert tried.good_probes == 1
    # What somebody else counted before is not carried into a new pause.
    again = moved(replace(tried, state=BreakerState.CLOSED), BreakerEvent.TOO_MANY_FAILED, 0)
    assert again is not None
    assert again.good_probes == 0


def test_a_probe_without_a_lease_may_be_followed_at_once() -> None:
    begun = moved(opened(), BreakerEvent.PROBE_BEGAN, FIRST_PAUSE_US)
    assert begun is not None
    assert begun.may_probe(FIRST_PAUSE_US)
