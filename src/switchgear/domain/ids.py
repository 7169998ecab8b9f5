"""Ids: a prefix that says what it is, then 26 characters that sort by time. Source: INTERFACES 2."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

#: Crockford's alphabet in lower case: no i, l, o, u; it sorts like the numbers it stands for.
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
#: Two characters at a time, because every request has an id.
_PAIRS: Final = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_PLACES: Final = range(120, -1, -10)
_RANDOM_BITS: Final = 75
#: How many random bytes an id takes; 75 bits of them are used.
RANDOM_BYTES: Final = 10


def make_id(prefix: str, now_us: int, random_bytes: bytes) -> str:
    """Return an id such as `cfg_01kb3x...`: ids made later sort later, and no two are alike.

    Args:
        prefix: What the id stands for: cfg, act, run, doc, evt, tok, wrk.
        now_us: Time in microseconds UTC.
        random_bytes: `RANDOM_BYTES` random bytes.
    """
    random_part = int.from_bytes(random_bytes[:RANDOM_BYTES], "big") & ((1 << _RANDOM_BITS) - 1)
    number = now_us << _RANDOM_BITS | random_part
    return f"{prefix}_{''.join([_PAIRS[number >> place & 1023] for place in _PLACES])}"


def new_id(
    prefix: str, *, clock_ns: Callable[[], int] = time.time_ns, random: Callable[[int], bytes] = os.urandom
) -> str:
    """Return a new id of this moment; *clock_ns* gives nanoseconds UTC, *random* as many random bytes as asked."""
    return make_id(prefix, clock_ns() // 1000, random(RANDOM_BYTES))
