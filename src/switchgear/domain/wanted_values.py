"""What a value that does not fit must be, in plain words and without the value. Source: INTERFACES 1, 2.

The validating library has words of its own, for programmers; REST, command line and settings print these instead.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from switchgear.domain.errors import InvalidRequest

_TEXT: Final = "must be text"
_WHOLE: Final = "must be a whole number"
_NUMBER: Final = "must be a number"
_YES_NO: Final = "must be true or false"
_OBJECT: Final = "must be an object with named fields"
_TIME: Final = "must be a time with its offset, such as 2027-01-31T12:00:00Z"

#: Kind of the library's error -> what is wanted; names in braces are bounds that we set, never input.
_WANTED: Final[Mapping[str, str]] = {
    "missing": "is required",
    "string_type": _TEXT,
    "string_unicode": _TEXT,
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "bool_type": _YES_NO,
    "bool_parsing": _YES_NO,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "enum": "must be one of: {expected}",
    "literal_error": "must be one of: {expected}",
    "datetime_type": _TIME,
    "datetime_parsing": _TIME,
    "datetime_from_date_parsing": _TIME,
    "datetime_object_invalid": _TIME,
    "timezone_aware": _TIME,
    "timezone_offset": _TIME,
    "path_type": "must be a path",
}
#: Type of JSON Schema -> what is wanted.
_TYPES: Final[Mapping[str, str]] = {
    "string": _TEXT,
    "integer": _WHOLE,
    "number": _NUMBER,
    "boolean": _YES_NO,
    "array": "must be a list",
    "object": _OBJECT,
    "null": "must be null",
}
#: Keyword of JSON Schema -> what is wanted, or the library's kind that says it and the name of its bound.
_KEYWORDS: Final[Mapping[str, str | tuple[str, str]]] = {
    "minimum": ("greater_than_equal", "ge"),
    "exclusiveMinimum": ("greater_than", "gt"),
    "maximum": ("less_than_equal", "le"),
    "exclusiveMaximum": ("less_than", "lt"),
    "minLength": ("string_too_short", "min_length"),
    "maxLength": ("string_too_long", "max_length"),
    "pattern": ("string_pattern_mismatch", "pattern"),
    "minItems": ("too_short", "min_length"),
    "maxItems": ("too_long", "max_length"),
    "minProperties": "must have at least {} entries",
    "maxProperties": "must have at most {} entries",
    "multipleOf": "must be a multiple of {}",
    "uniqueItems": "must not have an item twice",
}
_MUST_BE: Final = "must be "
_ONE_OF: Final = "must be one of: "
_WORD: Final = re.compile(r"'([^']*)'")


def wanted_of(kind: str, bounds: Mapping[str, Any] | None = None) -> str | None:
    """Return what is wanted, as in `must be at most 64`, to be put behind the name of the place.

    Args:
        kind: Kind of the library's error, such as `less_than_equal`.
        bounds: What was set, such as `{"le": 64}`.

    Returns:
        None for a kind that has no words here.
    """
    words = _WANTED.get(kind)
    if words is None:
        return None
    if kind == "string_too_short" and (bounds or {}).get("min_length") == 1:
        return "must not be empty"
    return words.format_map({name: _shown(value) for name, value in (bounds or {}).items()})


def wanted_by_schema(keyword: str, bound: Any) -> str | None:
    """Return what a keyword of JSON Schema wants, in the words of `wanted_of`.

    Args:
        keyword: Such as `maximum`.
        bound: Its value in the schema; for `type` the list of types.

    Returns:
        None for a keyword that has no words here.
    """
    if keyword == "type":
        return any_of(_TYPES[name] for name in bound if name in _TYPES)
    if keyword == "enum":
        return _ONE_OF + ", ".join(one if isinstance(one, str) else json.dumps(one) for one in bound)
    if keyword == "const":
        return _MUST_BE + (repr(bound) if isinstance(bound, str) else json.dumps(bound))
    words = _KEYWORDS.get(keyword)
    if isinstance(words, tuple):
        kind, name = words
        return wanted_of(kind, {name: bound})
    return words.format(_shown(bound)) if words is not None else None


def any_of(wanted: Iterable[str]) -> str | None:
    """Return one phrase for alternatives: `must be a whole number, text or null`; None without any."""
    every = sorted(dict.fromkeys(wanted), key=lambda words: words.startswith(_ONE_OF))  # an open list stands last
    if all(words.startswith(_MUST_BE) for words in every[1:]):
        every[1:] = [words.removeprefix(_MUST_BE) for words in every[1:]]
    *first, last = every or [""]
    return (f"{', '.join(first)} or {last}" if first else last) or None


def words_of(expected: str) -> list[str]:
    """Return the allowed words out of the library's list of them."""
    return _WORD.findall(expected)


def did_you_mean(given: str, known: Iterable[str]) -> str | None:
    """Return ``Did you mean 'read'?``: which known name was meant, without what was given; None when none is close."""
    close = difflib.get_close_matches(given[:128], list(known), 1, 0.65)
    return f"Did you mean {close[0]!r}?" if close else None


def check_known(given: str | None, known: Collection[str], what: str) -> None:
    """Refuse to filter by what was never known here: it can match nothing, so it is a typing error.

    What is gone but stands in the history is known; ids of documents and runs, and names of people, are not checked.

    Args:
        given: The filter; None = it is not asked for.
        known: Every name there is or was.
        what: What it names, such as `stage`.

    Raises:
        InvalidRequest: It is none of them.
    """
    if given is not None and given not in known:
        meant = did_you_mean(given, known)
        raise InvalidRequest(
            f"There is no such {what}. {meant + ' ' if meant else ''}There are: {', '.join(known) or 'none'}."
        )


def _shown(bound: Any) -> str:
    """A bound as people write it: 86400 for 86400.0, and allowed words without quotes."""
    if isinstance(bound, float) and bound.is_integer():
        return str(int(bound))
    return ", ".join(words_of(str(bound))) or str(bound)
