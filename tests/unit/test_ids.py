"""Ids sort by time, say what they stand for, and are never alike."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from switchgear.domain.ids import RANDOM_BYTES, make_id, new_id

times = st.integers(min_value=0, max_value=32**11 - 1)
randoms = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)


@given(times, times, randoms, randoms)
def test_an_id_made_later_sorts_later(one: int, other: int, first: bytes, second: bytes) -> None:
    if one != other:
        assert (make_id("run", one, first) < make_id("run", other, second)) == (one < other)


def test_an_id_is_a_prefix_and_26_characters() -> None:
    assert re.fullmatch(r"cfg_[0-9a-hjkmnp-tv-z]{26}", new_id("cfg"))


def test_ids_of_the_same_moment_differ() -> None:
    ids = {new_id("doc", clock_ns=lambda: 1) for _ in range(1000)}
    assert len(ids) == 1000
    assert make_id("doc", 5, b"a" * RANDOM_BYTES) != make_id("doc", 5, b"b" * RANDOM_BYTES)


def test_a_new_id_is_of_its_microsecond() -> None:
    made = new_id("run", clock_ns=lambda: 1_700_000_000_123_456_789, random=lambda size: b"a" * size)

    assert made == make_id("run", 1_700_000_000_123_456, b"a" * RANDOM_BYTES)


@given(times, randoms)
def test_an_id_holds_its_microsecond_and_75_random_bits(now_us: int, random_bytes: bytes) -> None:
    digits = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's
    number = 0
    for sign in make_id("run", now_us, random_bytes).removeprefix("run_"):
        number = number * 32 + digits.index(sign)
    assert divmod(number, 2**75) == (now_us, int.from_bytes(random_bytes, "big") % 2**75)
