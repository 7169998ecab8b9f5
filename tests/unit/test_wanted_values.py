"""What a value must be, in plain words: of the validating library, of JSON Schema, and of a filter."""

from __future__ import annotations

from typing import Any

import pytest

from switchgear.domain.errors import InvalidRequest
from switchgear.domain.wanted_values import any_of, check_known, did_you_mean, wanted_by_schema, wanted_of, words_of


@pytest.mark.parametrize(
    ("kind", "bounds", "words"),
    [
        ("missing", None, "is required"),
        ("string_type", {}, "must be text"),
        ("less_than_equal", {"le": 64}, "must be at most 64"),
        ("less_than_equal", {"le": 86400.0}, "must be at most 86400"),
        ("less_than_equal", {"le": 0.5}, "must be at most 0.5"),
        ("string_too_short", {"min_length": 1}, "must not be empty"),
        ("string_too_short", {"min_length": 2}, "must have at least 2 characters"),
        ("too_short", {"min_length": 1}, "must have at least 1 items"),
        ("enum", {"expected": "'read', 'send' or 'own'"}, "must be one of: read, send, own"),
        ("literal_error", {"expected": "3"}, "must be one of: 3"),
        ("no_such_kind", {"le": 64}, None),
    ],
    ids=str,
)
def test_the_librarys_errors_have_words_of_ours(kind: str, bounds: dict[str, Any] | None, words: str | None) -> None:
    assert wanted_of(kind, bounds) == words


@pytest.mark.parametrize(
    ("keyword", "bound", "words"),
    [
        ("type", ["integer"], "must be a whole number"),
        ("type", ["integer", "string", "null"], "must be a whole number, text or null"),
        ("type", ["strange"], None),
        ("enum", ["a", 1, None], "must be one of: a, 1, null"),
        ("const", "a", "must be 'a'"),
        ("const", True, "must be true"),
        ("minimum", 3, "must be at least 3"),
        ("exclusiveMinimum", 3, "must be more than 3"),
        ("maximum", 3, "must be at most 3"),
        ("exclusiveMaximum", 3, "must be less than 3"),
        ("minLength", 1, "must not be empty"),
        ("maxLength", 3, "must have at most 3 characters"),
        ("pattern", "^a", "must match the pattern ^a"),
        ("minItems", 3, "must have at least 3 items"),
        ("maxItems", 3, "must have at most 3 items"),
        ("minProperties", 3, "must have at least 3 entries"),
        ("maxProperties", 3, "must have at most 3 entries"),
        ("multipleOf", 2.0, "must be a multiple of 2"),
        ("uniqueItems", True, "must not have an item twice"),
        ("contains", {}, None),
    ],
    ids=str,
)
def test_keywords_of_a_schema_have_the_same_words(keyword: str, bound: Any, words: str | None) -> None:
    assert wanted_by_schema(keyword, bound) == words


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ([], None),
        (["must be text"], "must be text"),
        (["must be text", "must be text"], "must be text"),
        (["must be text", "must be null"], "must be text or null"),
        (["must be text", "must not be empty"], "must be text or must not be empty"),
        (
            ["must be text", "must not be empty", "must be null"],
            "must be text, must not be empty or must be null",
        ),
        (["must be one of: a, b", "must be null"], "must be null or one of: a, b"),
    ],
    ids=str,
)
def test_alternatives_become_one_phrase_with_a_list_at_its_end(wanted: list[str], words: str | None) -> None:
    assert any_of(wanted) == words


def test_the_librarys_list_of_words_is_taken_apart() -> None:
    assert words_of("'read', 'own runs' or ''") == ["read", "own runs", ""]


@pytest.mark.parametrize(
    ("given", "meant"),
    [("raed", "Did you mean 'read'?"), ("zzzz", None), ("read" + "x" * 200, None)],
)
def test_a_near_miss_is_told_without_what_was_given(given: str, meant: str | None) -> None:
    assert did_you_mean(given, ["read", "write"]) == meant


@pytest.mark.parametrize("given", [None, "read"])
def test_what_is_known_or_not_asked_for_is_no_error(given: str | None) -> None:
    check_known(given, ["read", "write"], "stage")


@pytest.mark.parametrize(
    ("given", "known", "message"),
    [
        ("raed", ["read", "write"], "There is no such stage. Did you mean 'read'? There are: read, write."),
        ("zzzz", ["read", "write"], "There is no such stage. There are: read, write."),
        ("read", [], "There is no such stage. There are: none."),
    ],
)
def test_a_filter_by_what_was_never_known_is_refused_with_what_is(given: str, known: list[str], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_known(given, known, "stage")

    assert caught.value.message == message
