"""One value against one schema: the table of answers yes, no and "cannot tell" that the comparison builds on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from switchgear.domain.compatibility.document import Budget, Document
from switchgear.domain.compatibility.evaluation import accepts, all_of, any_of, matches, one_of

YES, NO, MAYBE = True, False, None

#: schema, value, answer
TABLE: list[tuple[Any, Any, bool | None]] = [
    (True, 1, YES),
    (False, 1, NO),
    ({"type": "integer"}, 1.0, YES),
    ({"type": "integer"}, True, NO),
    ({"type": "number"}, 1.5, YES),
    ({"const": 1}, 1.0, YES),
    ({"const": 1}, 2, NO),
    ({"enum": ["a", "b"]}, "b", YES),
    ({"enum": ["a", "b"]}, "c", NO),
    ({"type": "integer"}, 1.5, NO),
    ({"type": "boolean"}, True, YES),
    ({"const": {"a": 1, "b": 2}}, {"b": 2, "a": 1}, YES),
    ({"const": {"a": 1}}, {"b": 1}, NO),
    ({"const": [1]}, [2], NO),
    # bounds
    ({"minimum": 2}, 2, YES),
    ({"minimum": 2}, 1, NO),
    ({"maximum": 2}, 2, YES),
    ({"maximum": 2}, 3, NO),
    ({"exclusiveMinimum": 2}, 2, NO),
    ({"exclusiveMinimum": 2}, 3, YES),
    ({"exclusiveMaximum": 2}, 2, NO),
    ({"exclusiveMaximum": 2}, 1, YES),
    ({"multipleOf": 3}, 6, YES),
    ({"multipleOf": 3}, 7, NO),
    ({"multipleOf": 0.1}, 0.3, MAYBE),  # validators that divide binary fractions say no
    # strings
    ({"minLength": 2}, "ab", YES),
    ({"minLength": 2}, "a", NO),
    ({"maxLength": 2}, "ab", YES),
    ({"maxLength": 2}, "abc", NO),
    ({"pattern": "^a"}, "ab", YES),
    ({"pattern": "^a"}, "ba", NO),
    ({"pattern": "("}, "ba", MAYBE),
    ({"format": "date"}, "2024-02-29", YES),
    ({"format": "date"}, "2023-02-29", MAYBE),
    ({"format": "path"}, "anything", YES),
    ({"format": "iban"}, "anything", MAYBE),
    ({"contentEncoding": "base64"}, "QQ==", MAYBE),
    ({"contentMediaType": "text/csv"}, "a", MAYBE),
    ({"contentSchema": True}, "a", MAYBE),
    # arrays
    ({"type": "array"}, [], YES),
    ({"minItems": 1}, [1], YES),
    ({"minItems": 1}, [], NO),
    ({"maxItems": 1}, [1], YES),
    ({"maxItems": 1}, [1, 2], NO),
    ({"uniqueItems": True}, [1, 2], YES),
    ({"uniqueItems": True}, [1, 1.0], NO),
    ({"uniqueItems": False}, [1, 1], YES),
    ({"items": {"type": "integer"}}, [1, 2], YES),
    ({"items": {"type": "integer"}}, [1, "a"], NO),
    ({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}}, ["a", 2], YES),
    ({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}}, [1, 2], NO),
    ({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}}, ["a", "b"], NO),
    ({"prefixItems": [{"type": "string"}]}, ["a", 2], YES),
    # objects
    ({"minProperties": 1}, {"a": 1}, YES),
    ({"minProperties": 1}, {}, NO),
    ({"maxProperties": 1}, {"a": 1}, YES),
    ({"maxProperties": 1}, {"a": 1, "b": 2}, NO),
    ({"required": ["a"]}, {"a": 1}, YES),
    ({"required": ["a"]}, {"b": 1}, NO),
    ({"required": ["a", "b"]}, {"a": 1}, NO),
    ({"properties": {"a": {"type": "integer"}}}, {"a": 1}, YES),
    ({"properties": {"a": {"type": "integer"}}}, {"a": "x"}, NO),
    ({"properties": {"a": {"type": "integer"}}}, {"b": "x"}, YES),
    ({"properties": {"a": True}, "additionalProperties": False}, {"a": 1}, YES),
    ({"properties": {"a": True}, "additionalProperties": False}, {"b": 1}, NO),
    ({"additionalProperties": {"type": "integer"}}, {"b": "x"}, NO),
    ({"patternProperties": {"^a": {"type": "integer"}}}, {"ab": 1}, YES),
    ({"patternProperties": {"^a": {"type": "integer"}}}, {"ab": "x"}, NO),
    ({"patternProperties": {"^a": {"type": "integer"}}}, {"b": "x"}, YES),
    ({"patternProperties": {"^a": True}, "additionalProperties": False}, {"ab": 1}, YES),
    ({"patternProperties": {"^a": True}, "additionalProperties": False}, {"b": 1}, NO),
    ({"patternProperties": {"(": {"type": "integer"}}}, {"b": 1}, MAYBE),
    ({"patternProperties": {"(": {"type": "integer"}}, "additionalProperties": False}, {"b": 1}, MAYBE),
    ({"properties": {"a": {"type": "string"}}, "patternProperties": {"^a": {"minLength": 2}}}, {"a": "x"}, NO),
    ({"propertyNames": {"maxLength": 1}}, {"a": 1}, YES),
    ({"propertyNames": {"maxLength": 1}}, {"ab": 1}, NO),
    # combinations
    ({"anyOf": [{"type": "string"}, {"minimum": 3}]}, 3, YES),
    ({"anyOf": [{"type": "string"}, {"minimum": 3}]}, 2, NO),
    ({"anyOf": [{"pattern": "("}, {"minLength": 9}]}, "ab", MAYBE),
    ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, 3, YES),
    ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, 2, NO),
    ({"allOf": [{"pattern": "("}, {"minLength": 9}]}, "ab", NO),
    ({"oneOf": [{"type": "integer"}, {"minimum": 3}]}, 2, YES),
    ({"oneOf": [{"type": "integer"}, {"minimum": 3}]}, 3, NO),
    ({"not": {"type": "string"}}, 1, YES),
    ({"not": {"type": "string"}}, "a", NO),
    ({"not": {"pattern": "("}}, "a", MAYBE),
    ({"$defs": {"A": {"minimum": 3}}, "$ref": "#/$defs/A"}, 3, YES),
    ({"$defs": {"A": {"minimum": 3}}, "$ref": "#/$defs/A"}, 2, NO),
    ({"$ref": "#/$defs/Gone"}, 2, MAYBE),
    ({"contains": {"type": "integer"}}, [1], MAYBE),
    ({"contains": {"type": "integer"}}, "no array", YES),
    ({}, object(), MAYBE),
]


@pytest.mark.parametrize(
    ("schema", "value", "answer"), TABLE, ids=[f"{number} {row[0]}"[:70] for number, row in enumerate(TABLE)]
)
def test_a_value_has_the_answer_of_the_table(schema: Any, value: Any, answer: bool | None) -> None:
    document = Document(schema, Budget(10_000))

    assert accepts(document, document.root, value) is answer


def test_three_answers_are_combined_as_in_logic_with_an_unknown() -> None:
    assert (all_of([YES, YES]), all_of([YES, MAYBE]), all_of([MAYBE, NO]), all_of([])) == (YES, MAYBE, NO, YES)
    assert (any_of([NO, YES]), any_of([NO, MAYBE]), any_of([MAYBE, YES]), any_of([])) == (YES, MAYBE, YES, NO)
    assert (one_of([NO, YES]), one_of([YES, YES, MAYBE]), one_of([YES, MAYBE]), one_of([NO])) == (YES, NO, MAYBE, NO)


def test_a_pattern_that_could_take_for_ever_is_not_tried() -> None:
    assert matches("(a+)+$", "a" * 11) is None
    assert matches("(a+)+$", "a" * 10) is True
    assert matches("a+$", "a" * 64) is True
    assert matches("a+$", "a" * 65) is None
    assert matches("a" * 1000, "a") is False
    assert matches("a" * 1001, "a") is None


def _deep(levels: int, wrap: Callable[[Any], Any], innermost: Any) -> Any:
    for _ in range(levels):
        innermost = wrap(innermost)
    return innermost


#: How a schema holds another one, and how a value that reaches the inner one is made.
LEVELS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "allOf": (lambda node: {"allOf": [node]}, lambda value: value),
    "anyOf": (lambda node: {"anyOf": [node]}, lambda value: value),
    "oneOf": (lambda node: {"oneOf": [node]}, lambda value: value),
    "not": (lambda node: {"not": node}, lambda value: value),
    "items": (lambda node: {"items": node}, lambda value: [value]),
    "prefixItems": (lambda node: {"prefixItems": [node]}, lambda value: [value]),
    "properties": (lambda node: {"properties": {"a": node}}, lambda value: {"a": value}),
    "additionalProperties": (lambda node: {"additionalProperties": node}, lambda value: {"a": value}),
}


@pytest.mark.parametrize(("levels", "answer"), [(24, YES), (26, MAYBE)])
@pytest.mark.parametrize("keyword", LEVELS)
def test_a_value_is_followed_down_to_twenty_four_levels(keyword: str, levels: int, answer: bool | None) -> None:
    wrap, hold = LEVELS[keyword]
    document = Document(_deep(levels, wrap, {"const": 1}), Budget(10_000))

    assert accepts(document, document.root, _deep(levels, hold, 1)) is answer


@pytest.mark.parametrize(("levels", "answer"), [(24, YES), (25, MAYBE)])
def test_references_are_followed_down_to_twenty_four_levels(levels: int, answer: bool | None) -> None:
    nodes = {str(place): {"$ref": f"#/$defs/{place + 1}"} for place in range(levels)}
    document = Document({"$defs": {**nodes, str(levels): {"const": 1}}, **nodes["0"]}, Budget(10_000))

    assert accepts(document, document.root, 1) is answer


@pytest.mark.parametrize(("levels", "answer"), [(23, YES), (24, MAYBE)])
def test_names_are_one_level_further_down(levels: int, answer: bool | None) -> None:
    names = _deep(levels, lambda node: {"allOf": [node]}, {"const": "a"})
    document = Document({"propertyNames": names}, Budget(10_000))

    assert accepts(document, document.root, {"a": 1}) is answer
