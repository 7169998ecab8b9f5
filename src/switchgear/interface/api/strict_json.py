"""JSON without surprises: what a lenient parser would let through is refused before any model sees it.

Refused are NaN and infinities, duplicate keys, nesting over 64, NUL and lone surrogates, whole numbers of more
than 18 digits. Messages never repeat the input. Source: INTERFACES 2, RELIABILITY 1 and fault 58.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

from switchgear.domain.errors import Code, DomainError

MAX_DEPTH: Final = 64
#: More digits than any whole number of ours has; databases and clients stay exact.
MAX_DIGITS: Final = 18


class Malformed(DomainError):
    """The body is no strict JSON."""

    code = Code.REQUEST_MALFORMED


def parse_strict(raw: bytes) -> Any:
    """Return the value that *raw* holds.

    Raises:
        Malformed: It is no strict JSON; the message says what is wrong without repeating it.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"The body is not UTF-8: byte {error.start} is wrong.") from None
    try:
        value = json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_constant=_no_constant,
            parse_int=_bounded_int,
            parse_float=_finite,
        )
    except RecursionError:
        raise Malformed(_TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise Malformed(f"The body is not JSON: line {error.lineno}, column {error.colno}: {error.msg}.") from None
    _check(value, suspicious="\\u" in text or "\0" in text)
    return value


_TOO_DEEP: Final = f"The body is nested deeper than {MAX_DEPTH} levels. Send flatter data."


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("An object of the body has the same key twice. Which one counts would be a guess: send one.")
    return found


def _no_constant(_name: str) -> NoReturn:
    raise Malformed("The body has NaN or an infinity. JSON has no such numbers: send null or a number.")


def _bounded_int(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise Malformed(f"The body has a whole number of more than {MAX_DIGITS} digits. Send a smaller one, or a text.")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise Malformed("The body has a number that is too large. Send a smaller one, or a text.")
    return value


def _check(value: Any, *, suspicious: bool) -> None:
    """Look at depth, and at texts when an escape makes it possible that one is bad; without recursion."""
    todo = [(value, 1)]
    while todo:
        item, depth = todo.pop()
        if isinstance(item, str):
            if suspicious:
                _check_text(item)
            continue
        if not isinstance(item, dict | list):
            continue
        if depth > MAX_DEPTH:
            raise Malformed(_TOO_DEEP)
        if isinstance(item, dict):
            if suspicious:
                for key in item:
                    _check_text(key)
            todo.extend((inner, depth + 1) for inner in item.values())
        else:
            todo.extend((inner, depth + 1) for inner in item)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise Malformed("A text of the body has a NUL character. Remove it.")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise Malformed("A text of the body has half of a surrogate pair, which is no character. Remove it.")
