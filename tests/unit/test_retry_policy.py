"""The same module is tried again only where that can help and do no harm, after pauses with jitter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.domain.fallback import may_retry, retry_delay_s
from switchgear.domain.run import Outcome
from switchgear.sdk.pipeline import StageLimits


@pytest.mark.parametrize(
    ("outcome", "retries", "retryable", "has_effects", "allowed"),
    [
        (Outcome.ERROR, 0, False, False, 0),
        (Outcome.ERROR, 2, False, False, 2),
        (Outcome.ERROR, 0, True, False, 2),
        (Outcome.ERROR, 5, True, False, 5),
        (Outcome.TIMEOUT, 0, False, False, 0),
        (Outcome.TIMEOUT, 0, False, True, 1),
        (Outcome.CRASH, 0, False, True, 1),
        (Outcome.TIMEOUT, 4, False, True, 4),
        (Outcome.ERROR, 0, False, True, 0),
        (Outcome.CONTRACT_VIOLATION, 5, False, False, 0),
        (Outcome.BAD_INPUT, 5, False, False, 0),
        (Outcome.UNAVAILABLE, 5, False, False, 0),
        (Outcome.SUCCEEDED, 5, False, False, 0),
    ],
)
def test_how_often_the_same_module_is_tried_again(
    outcome: Outcome, retries: int, retryable: bool, has_effects: bool, allowed: int
) -> None:
    limits = StageLimits(retries=retries)
    further = [
        tries
        for tries in range(1, 9)
        if may_retry(outcome, retryable=retryable, tries=tries, limits=limits, has_effects=has_effects)
    ]

    assert further == list(range(1, allowed + 1))


def test_a_call_that_never_started_had_no_effect() -> None:
    assert not may_retry(
        Outcome.TIMEOUT, retryable=False, tries=1, limits=StageLimits(), has_effects=True, detail="no_free_worker"
    )


@given(st.integers(1, 50), st.floats(0, 1))
def test_pauses_double_up_to_ten_seconds_with_full_jitter(tries: int, chance: float) -> None:
    most = min(10.0, 0.2 * 2 ** (tries - 1))

    assert retry_delay_s(tries, None, lambda: chance) == pytest.approx(chance * most)


def test_a_module_says_itself_how_long_to_wait() -> None:
    assert [retry_delay_s(1, after, lambda: 0.5) for after in (0.01, 60.0, -1.0)] == [0.01, 60.0, 0.0]
