"""Is one given value valid? Answers yes, no, or `None` for "cannot tell".

Used for the values of `enum` and `const`, for property names and for examples: there the comparison of schemas
becomes the plain question that a validator answers.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

from switchgear.domain.compatibility.document import (
    MISSING,
    Document,
    Reading,
    canonical,
    is_integer,
    is_number,
)

#: Formats that accept every string (`Path`, `SecretStr`, `bytes` in Pydantic).
ANY_STRING_FORMATS: Final = frozenset({"binary", "password", "path"})

#: Longest text matched against a pattern; a pattern that repeats a group can take exponential time, so much less there.
_MATCHED_LENGTH: Final = 64
_MATCHED_LENGTH_OF_REPEATED_GROUPS: Final = 10
_DEPTH: Final = 24

Answer = bool | None


def all_of(answers: Iterable[Answer]) -> Answer:
    """No if one says no; else unsure if one is unsure."""
    result: Answer = True
    for answer in answers:
        if answer is False:
            return False
        if answer is None:
            result = None
    return result


def any_of(answers: Iterable[Answer]) -> Answer:
    """Yes if one says yes; else unsure if one is unsure."""
    result: Answer = False
    for answer in answers:
        if answer:
            return True
        if answer is None:
            result = None
    return result


def one_of(answers: Iterable[Answer]) -> Answer:
    """Exactly one says yes."""
    found = list(answers)
    if found.count(True) > 1:
        return False
    return None if None in found else found.count(True) == 1


def atom_of(value: Any) -> str:
    """The type of a value among `ATOMS`, or `""` for something that is not JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if is_number(value):
        return "integer" if is_integer(value) else "fraction"
    for kind, name in ((str, "string"), ((list, tuple), "array"), (Mapping, "object")):
        if isinstance(value, kind):
            return name
    return ""


def matches(pattern: str, text: str) -> Answer:
    """Does *pattern* occur in *text*? `None` when the pattern is malformed here or the match could take too long."""
    repeats_group = re.search(r"\)[*+{?]", pattern) is not None
    limit = _MATCHED_LENGTH_OF_REPEATED_GROUPS if repeats_group else _MATCHED_LENGTH
    if len(text) > limit or len(pattern) > 1_000:
        return None
    try:
        return re.search(pattern, text) is not None
    except (re.error, OverflowError, RecursionError):
        return None


def accepts(document: Document, node: Any, value: Any, depth: int = 0) -> Answer:
    """Is *value* valid against *node* of *document*?

    Raises:
        LimitReached: The comparison's budget is used up.
    """
    document.budget.spend()
    reading = document.read(node)
    if reading.never:
        return False
    atom = atom_of(value)
    if depth > _DEPTH or not atom:
        return None
    if atom not in reading.atoms:
        return False
    doubts: list[Answer] = [None] if reading.opaque_for("" if atom == "fraction" else atom) else []
    return all_of(
        [
            *doubts,
            *_values(document, reading, value),
            *_combined(document, reading, value, depth),
            *_of_its_type(document, reading, value, depth),
        ]
    )


def _values(document: Document, reading: Reading, value: Any) -> Iterable[Answer]:
    if "const" in reading.usable:
        yield canonical(reading.usable["const"]) == canonical(value)
    if "enum" in reading.usable:
        yield canonical(value) in document.choices(reading.usable["enum"])


def _combined(document: Document, reading: Reading, value: Any, depth: int) -> Iterable[Answer]:
    def each(keyword: str) -> Iterable[Answer]:
        return (accepts(document, node, value, depth + 1) for node in reading.usable[keyword])

    if "$ref" in reading.usable:
        target = document.resolve(reading.usable["$ref"])
        yield None if target is MISSING else accepts(document, target, value, depth + 1)
    if "allOf" in reading.usable:
        yield all_of(each("allOf"))
    if "anyOf" in reading.usable:
        yield any_of(each("anyOf"))
    if "oneOf" in reading.usable:
        yield one_of(each("oneOf"))
    if "not" in reading.usable:
        answer = accepts(document, reading.usable["not"], value, depth + 1)
        yield None if answer is None else not answer


def _of_its_type(document: Document, reading: Reading, value: Any, depth: int) -> Iterable[Answer]:
    if isinstance(value, str):
        return _string(reading.usable, value)
    if isinstance(value, Mapping):
        return _object(document, reading.usable, value, depth)
    if isinstance(value, list | tuple):
        return _array(document, reading.usable, value, depth)
    if is_number(value):
        return _number(reading.usable, value)
    return ()


def _number(usable: Mapping[str, Any], value: Any) -> Iterable[Answer]:
    yield "minimum" not in usable or value >= usable["minimum"]
    yield "maximum" not in usable or value <= usable["maximum"]
    yield "exclusiveMinimum" not in usable or value > usable["exclusiveMinimum"]
    yield "exclusiveMaximum" not in usable or value < usable["exclusiveMaximum"]
    if "multipleOf" in usable:
        yield is_multiple(value, usable["multipleOf"])


def is_multiple(value: Any, divisor: Any) -> Answer:
    """Is *value* a multiple of *divisor*? `None` where validators differ because one of them is no binary fraction."""
    exact = (Fraction(value) / Fraction(divisor)).denominator == 1
    decimal = (_as_written(value) / _as_written(divisor)).denominator == 1
    return exact if exact == decimal else None


def _as_written(value: Any) -> Fraction:
    return Fraction(str(value)) if isinstance(value, float) else Fraction(value)


def _string(usable: Mapping[str, Any], value: str) -> Iterable[Answer]:
    yield len(value) >= usable.get("minLength", 0)
    yield "maxLength" not in usable or len(value) <= usable["maxLength"]
    if "pattern" in usable:
        yield matches(usable["pattern"], value)
    if "format" in usable:
        yield _has_format(usable["format"], value)
    if not usable.keys().isdisjoint({"contentEncoding", "contentMediaType", "contentSchema"}):
        yield None


#: Formats that the standard library can confirm. A value it does not confirm may still be accepted: not a no.
_PARSERS: Final[Mapping[str, Callable[[str], object]]] = {
    "date": date.fromisoformat,
    "date-time": datetime.fromisoformat,
    "uuid": UUID,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
}


def _has_format(name: str, value: str) -> Answer:
    if name in ANY_STRING_FORMATS:
        return True
    try:
        return True if name in _PARSERS and _PARSERS[name](value) is not None else None
    except ValueError:
        return None


def _array(document: Document, usable: Mapping[str, Any], value: Any, depth: int) -> Iterable[Answer]:
    yield len(value) >= usable.get("minItems", 0)
    yield "maxItems" not in usable or len(value) <= usable["maxItems"]
    if usable.get("uniqueItems"):
        yield len({canonical(item) for item in value}) == len(value)
    prefix = usable.get("prefixItems", ())
    for index, item in enumerate(value):
        if index < len(prefix):
            yield accepts(document, prefix[index], item, depth + 1)
        elif "items" in usable:
            yield accepts(document, usable["items"], item, depth + 1)


def _object(document: Document, usable: Mapping[str, Any], value: Any, depth: int) -> Iterable[Answer]:
    count = len(value)
    yield count >= usable.get("minProperties", 0)
    yield "maxProperties" not in usable or count <= usable["maxProperties"]
    yield all(name in value for name in usable.get("required", ()))
    for name, item in value.items():
        children, sure = children_of(document, usable, str(name))
        yield all_of(accepts(document, child, item, depth + 1) for child in children)
        yield sure or None  # a pattern that was not tried may say no
        if "propertyNames" in usable:
            yield accepts(document, usable["propertyNames"], name, depth + 1)


def children_of(document: Document, usable: Mapping[str, Any], name: str) -> tuple[list[Any], bool]:
    """The nodes one object schema applies to the property *name*, and whether that is certain (see `matches`)."""
    children = [usable["properties"][name]] if name in usable.get("properties", {}) else []
    answers = {}
    for pattern in usable.get("patternProperties", {}):
        document.budget.spend()
        answers[pattern] = matches(str(pattern), name)
    children += [usable["patternProperties"][pattern] for pattern, answer in answers.items() if answer]
    sure = None not in answers.values()
    if not children and sure and "additionalProperties" in usable:
        children.append(usable["additionalProperties"])
    return children, sure
