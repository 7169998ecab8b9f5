"""Schema compatibility: a table of pairs, and real Pydantic models against themselves and their successors."""

from __future__ import annotations

from typing import Any

import pytest

from factories.schemas import (
    BOOL,
    CAT,
    DOG,
    INT,
    MAYBE,
    NO,
    NULL,
    NUM,
    STR,
    YES,
    array,
    model,
    named,
    text,
    union,
    whole,
)
from switchgear.domain.compatibility import Verdict, schema_within

#: producer, consumer, verdict, pointer of the first reason
TABLE: list[tuple[str, Any, Any, Verdict, str | None]] = [
    # types
    ("the same type", INT, INT, YES, None),
    ("integers are numbers", INT, NUM, YES, None),
    ("numbers are not all integers", NUM, INT, NO, ""),
    ("multiples of one are integers", {"type": "number", "multipleOf": 1}, INT, YES, None),
    ("a string is no number", STR, NUM, NO, ""),
    ("anything accepts a string", STR, {}, YES, None),
    ("true accepts a string", STR, True, YES, None),
    ("false accepts nothing", STR, False, NO, ""),
    ("anything is not a string", {}, STR, NO, ""),
    ("nothing is a string", False, STR, YES, None),
    ("a type list widens", {"type": ["string", "null"]}, {"type": ["null", "string", "integer"]}, YES, None),
    ("a type list narrows", {"type": ["string", "null"]}, STR, NO, ""),
    # null and unions
    ("nullable into nullable", union(INT, NULL), union(NULL, NUM), YES, None),
    ("nullable into plain", union(INT, NULL), INT, NO, ""),
    ("plain into nullable", INT, union(INT, NULL), YES, None),
    ("a union into a smaller one", union(INT, STR, NULL), union(INT, NULL), NO, ""),
    ("an empty union sends nothing", union(), INT, YES, None),
    ("a decimal string into what Decimal accepts", STR, union(NUM, STR), YES, None),
    ("a number into what a bounded Decimal accepts", INT, union({"type": "number", "minimum": 0}, STR), NO, ""),
    ("a decimal with the same pattern", text(pattern="^[0-9]+$"), union(NUM, text(pattern="^[0-9]+$")), YES, None),
    (
        "ranges that only together cover",
        whole(minimum=0, maximum=9),
        union(whole(maximum=4), whole(minimum=5)),
        YES,
        None,
    ),
    (
        "ranges too long to list that only together cover",
        whole(minimum=0),
        union(whole(maximum=500), whole(minimum=5)),
        MAYBE,
        "",
    ),
    ("a union that leaves a hole", whole(), union(whole(maximum=4), whole(minimum=6)), MAYBE, ""),
    ("items of both members", array(union(INT, STR)), union(array(INT), array(STR)), NO, ""),
    ("oneOf with types apart", INT, {"oneOf": [INT, STR]}, YES, None),
    ("oneOf that may match twice", INT, {"oneOf": [INT, NUM]}, MAYBE, ""),
    ("allOf in the consumer", whole(minimum=3), {"allOf": [INT, {"minimum": 1}]}, YES, None),
    ("allOf in the consumer refuses", whole(minimum=0), {"allOf": [INT, {"minimum": 1}]}, NO, ""),
    ("allOf in the producer narrows", {"allOf": [NUM, INT]}, INT, YES, None),
    ("allOf that contradicts itself", {"allOf": [STR, INT]}, NULL, YES, None),
    ("not something of another type", INT, {"not": STR}, YES, None),
    ("not something of the same type", INT, {"not": whole(minimum=7)}, MAYBE, ""),
    # tags
    ("one member of a tagged union", CAT, {"oneOf": [CAT, DOG]}, YES, None),
    (
        "one member of a tagged union behind references",
        CAT,
        {"$defs": {"C": CAT, "D": DOG}, "oneOf": [{"$ref": "#/$defs/C"}, {"$ref": "#/$defs/D"}]},
        YES,
        None,
    ),
    ("a tagged union into itself", {"oneOf": [CAT, DOG]}, {"oneOf": [DOG, CAT]}, YES, None),
    ("a new tag", {"oneOf": [CAT, DOG, model("kind", kind={"const": "eel"})]}, {"oneOf": [CAT, DOG]}, NO, ""),
    (
        "a changed field of one member names the field",
        {"oneOf": [CAT, DOG]},
        {"oneOf": [model("kind", kind={"const": "cat"}, lives=STR), DOG]},
        NO,
        "/lives",
    ),
    ("one model whose tag chooses", model("kind", kind={"enum": ["cat", "dog"]}), {"oneOf": [CAT, DOG]}, YES, None),
    ("a tag that may be left out", model(kind={"enum": ["cat", "dog"]}), {"oneOf": [CAT, DOG]}, NO, ""),
    # enum and const
    ("a smaller enum", {"enum": ["a", "b"]}, {"enum": ["b", "a", "c"]}, YES, None),
    ("a larger enum", {"enum": ["a", "b", "c"]}, {"enum": ["a", "b"]}, NO, ""),
    ("const within enum", {"const": "a"}, {"enum": ["a"], "type": "string"}, YES, None),
    ("an enum of strings is a string", {"enum": ["a", "b"]}, STR, YES, None),
    ("a mixed enum is no string", {"enum": ["a", 1]}, STR, NO, ""),
    ("any string into an enum", STR, {"enum": ["a"]}, NO, ""),
    ("booleans into an enum of both", BOOL, {"enum": [True, False]}, YES, None),
    ("one is not true", {"const": 1}, {"const": True}, NO, ""),
    ("one is one point nought", {"const": 1}, {"const": 1.0}, YES, None),
    ("a small range into an enum", whole(minimum=1, maximum=3), {"enum": [1, 2, 3]}, YES, None),
    ("an enum whose other keywords exclude a value", {"enum": ["a", 1], "type": "string"}, STR, YES, None),
    ("an enum of dates", {"enum": ["2024-02-29"]}, text(format="date"), YES, None),
    # numbers
    ("a narrower range", whole(minimum=1, maximum=5000), whole(minimum=0), YES, None),
    ("a wider range", whole(minimum=-1), whole(minimum=0), NO, ""),
    ("no range", NUM, {"type": "number", "maximum": 10}, NO, ""),
    ("the bound itself", {"type": "number", "minimum": 0}, {"type": "number", "exclusiveMinimum": 0}, NO, ""),
    ("an excluded bound", {"type": "number", "exclusiveMinimum": 0}, {"type": "number", "minimum": 0}, YES, None),
    ("whole numbers above nought", whole(exclusiveMinimum=0), whole(minimum=1), YES, None),
    ("an empty range", whole(minimum=5, maximum=3), STR, YES, None),
    ("multiples of a multiple", whole(multipleOf=6), whole(multipleOf=3), YES, None),
    ("multiples of something else", whole(multipleOf=4), whole(multipleOf=3), NO, ""),
    ("cents in tenths", {"type": "number", "multipleOf": 0.3}, {"type": "number", "multipleOf": 0.1}, MAYBE, ""),
    ("halves in quarters", {"type": "number", "multipleOf": 0.5}, {"type": "number", "multipleOf": 0.25}, YES, None),
    ("quarters in halves", {"type": "number", "multipleOf": 0.25}, {"type": "number", "multipleOf": 0.5}, NO, ""),
    ("any number into multiples", NUM, {"type": "number", "multipleOf": 2}, NO, ""),
    ("two divisors together", {"allOf": [whole(multipleOf=4), whole(multipleOf=6)]}, whole(multipleOf=12), YES, None),
    (
        "two divisors, neither of them",
        {"allOf": [whole(multipleOf=4), whole(multipleOf=6)]},
        whole(multipleOf=24),
        MAYBE,
        "",
    ),
    (
        "fractions finer than validators agree on",
        {"type": "number", "multipleOf": 2**-30},
        {"type": "number", "multipleOf": 2**-31},
        MAYBE,
        "",
    ),
    # strings
    ("a shorter string", text(maxLength=5), text(maxLength=9), YES, None),
    ("a longer string", text(maxLength=9), text(maxLength=5), NO, ""),
    ("an empty string", STR, text(minLength=1), NO, ""),
    ("the same pattern", text(pattern="^a"), text(pattern="^a"), YES, None),
    ("a pattern within any string", text(pattern="^a"), STR, YES, None),
    ("any string into a pattern", STR, text(pattern="^a"), NO, ""),
    ("another pattern", text(pattern="^ab"), text(pattern="^a"), MAYBE, ""),
    ("long strings into a pattern", text(minLength=3), text(pattern="^a"), NO, ""),
    ("strings too long to make up", text(minLength=40), text(pattern="^a"), MAYBE, ""),
    ("only the empty string into a pattern", text(maxLength=0), text(pattern="^a"), NO, ""),
    ("only the empty string into a pattern that takes it", text(maxLength=0), text(pattern="^a?$"), YES, None),
    ("a pattern that no example refutes", STR, text(pattern=""), MAYBE, ""),
    ("a pattern that cannot be tried", STR, text(pattern="("), MAYBE, ""),
    ("a format into a pattern", text(format="uuid"), text(pattern="^a"), MAYBE, ""),
    ("an encoding into a pattern", text(contentEncoding="base64"), text(pattern="^a"), MAYBE, ""),
    ("a pattern may imply the length", text(pattern="^aa$"), text(minLength=2), MAYBE, ""),
    ("the same format", text(format="date"), text(format="date"), YES, None),
    ("a date is a string", text(format="date"), STR, YES, None),
    ("any string into a date", STR, text(format="date"), NO, ""),
    ("a date and time into a date", text(format="date-time"), text(format="date"), NO, ""),
    ("an identifier into a date", text(format="uuid"), text(format="date"), NO, ""),
    ("a fourth version identifier", text(format="uuid4"), text(format="uuid"), YES, None),
    ("any identifier into a fourth version one", text(format="uuid"), text(format="uuid4"), MAYBE, ""),
    ("an address of one family into the other", text(format="ipv4"), text(format="ipv6"), MAYBE, ""),
    ("an unheard format into a date", text(format="iban"), text(format="date"), MAYBE, ""),
    ("a pattern into a date", text(pattern="^2"), text(format="date"), MAYBE, ""),
    ("a date into an unheard format", text(format="date"), text(format="iban"), MAYBE, ""),
    ("any string into an unheard format", STR, text(format="iban"), MAYBE, ""),
    ("any string into a path", STR, text(format="path"), YES, None),
    ("any string into a media type", STR, text(contentMediaType="application/json"), MAYBE, ""),
    ("any string into text with a schema", STR, text(contentSchema=INT), MAYBE, ""),
    ("a media type into a pattern", text(contentMediaType="text/csv"), text(pattern="^a"), MAYBE, ""),
    ("a listed value into a pattern that cannot be tried", {"enum": ["a"]}, text(pattern="("), MAYBE, ""),
    ("any string into base64", STR, text(contentEncoding="base64"), MAYBE, ""),
    ("base64 into base64", text(contentEncoding="base64"), text(contentEncoding="base64"), YES, None),
    # arrays
    ("items that fit", array(INT), array(NUM), YES, None),
    ("items that do not", array(model(amount=STR)), array(model(amount=NUM)), NO, "/*/amount"),
    ("an array without items", array(STR, maxItems=0), array(INT), YES, None),
    ("an array that may be empty", array(INT), array(INT, minItems=1), NO, ""),
    ("an array that is too long", array(INT, maxItems=3), array(INT, maxItems=2), NO, ""),
    ("equal items into unique ones", array(INT), array(INT, uniqueItems=True), NO, ""),
    ("unique items", array(INT, uniqueItems=True), array(INT), YES, None),
    (
        "a tuple into a list",
        {"type": "array", "prefixItems": [INT, STR], "minItems": 2, "maxItems": 2},
        array(union(STR, NUM)),
        YES,
        None,
    ),
    (
        "a tuple into another",
        {"type": "array", "prefixItems": [INT, STR], "minItems": 2, "maxItems": 2},
        {"type": "array", "prefixItems": [INT, INT], "minItems": 2, "maxItems": 2},
        NO,
        "/1",
    ),
    ("items that end", {"type": "array", "prefixItems": [INT], "items": False}, array(INT, maxItems=1), YES, None),
    ("contains is not understood", array(INT), array(INT, contains=INT), MAYBE, ""),
    # objects
    ("fewer requirements", model("a b", a=INT, b=INT), model("a", a=INT, b=INT), YES, None),
    ("a property that may be missing", model(a=INT), model("a", a=INT), NO, "/a"),
    ("a property that is never sent", model("a", a=INT), model("b", b=INT), NO, "/b"),
    (
        "a property with a default is always sent",
        model(a={"type": "integer", "default": 1}),
        model("a", a=INT),
        YES,
        None,
    ),
    ("a read-only property is sent", model("a", a={"type": "integer", "readOnly": True}), model("a", a=INT), YES, None),
    ("a property of another type", model(a=STR), model(a=INT), NO, "/a"),
    ("a property that cannot exist", model(a=False), model(a=INT), YES, None),
    ("a property too many", model(a=INT, b=INT), {**model(a=INT), "additionalProperties": False}, NO, "/b"),
    ("extras are dropped at the boundary", model(a=INT), {**model(a=INT), "additionalProperties": False}, YES, None),
    (
        "declared extras",
        {**model(a=INT), "additionalProperties": STR},
        {"additionalProperties": union(INT, STR)},
        YES,
        None,
    ),
    ("extras of any type", {**model(), "additionalProperties": True}, {"additionalProperties": INT}, NO, "/*"),
    ("a mapping", {"additionalProperties": INT, "type": "object"}, {"additionalProperties": NUM}, YES, None),
    ("a mapping into a model", {"type": "object", "additionalProperties": STR}, model(a=INT), NO, "/a"),
    ("any object", {"type": "object"}, model(a=INT), NO, "/a"),
    (
        "the same name pattern",
        {"type": "object", "patternProperties": {"^a": INT}},
        {"patternProperties": {"^a": NUM}},
        YES,
        None,
    ),
    (
        "a name pattern whose values differ",
        {"type": "object", "patternProperties": {"^a": STR}},
        {"patternProperties": {"^a": NUM}},
        NO,
        "/*",
    ),
    ("a name under the consumer's pattern", model(ab=STR), {"patternProperties": {"^a": INT}}, NO, "/ab"),
    ("a name pattern into extras", named(a=INT), {"additionalProperties": NUM}, YES, None),
    ("a name pattern into other extras", named(a=STR), {"additionalProperties": NUM}, NO, "/*"),
    ("a name pattern into another one", named(a=STR), named(b=INT), MAYBE, "/*"),
    ("a name pattern past another one", named(a=INT), {**named(b=NUM), "additionalProperties": NUM}, YES, None),
    ("a name pattern perhaps into extras", named(a=STR), {**named(b=STR), "additionalProperties": INT}, MAYBE, "/*"),
    ("the same name pattern spares the extras", named(a=INT), {**named(a=NUM), "additionalProperties": STR}, YES, None),
    ("two name patterns into extras", named(a=STR, b=INT), {"additionalProperties": INT}, MAYBE, "/*"),
    (
        "a name pattern that no name may have",
        {**named(a=STR), "propertyNames": {"maxLength": 0}},
        {"additionalProperties": INT},
        MAYBE,
        "/*",
    ),
    ("a name that the producer's pattern covers", named(a=STR), model(ab=INT), NO, "/ab"),
    ("a name beside the producer's pattern is never sent", named(a=STR), model(xb=INT), YES, None),
    ("a required name beside the producer's pattern", named(a=STR), model("xb", xb=STR), NO, "/xb"),
    ("extras under the consumer's pattern", {**model(), "additionalProperties": STR}, named(a=INT), NO, "/*"),
    ("extras that fit the consumer's pattern", {**model(), "additionalProperties": INT}, named(a=NUM), YES, None),
    ("values under two of the consumer's patterns", named(a=INT), named(a=NUM, b=STR), MAYBE, "/*"),
    ("names that the consumer refuses", model(ab=STR), {"propertyNames": {"maxLength": 1}}, NO, ""),
    (
        "listed keys",
        {"type": "object", "propertyNames": {"enum": ["a", "b"]}, "additionalProperties": INT},
        {**model(a=INT, b=INT), "additionalProperties": False},
        YES,
        None,
    ),
    ("too few properties", model(a=INT), {"minProperties": 1}, NO, ""),
    ("enough properties", model("a", a=INT), {"minProperties": 1, "maxProperties": 1}, YES, None),
    ("dependencies are not understood", model(a=INT), {"dependentRequired": {"a": ["b"]}}, MAYBE, ""),
    ("a pointer is escaped", model(**{"a/b~c": STR}), model(**{"a/b~c": INT}), NO, "/a~1b~0c"),
    # keywords and references
    ("annotations say nothing", INT, {**INT, "title": "T", "default": 3, "examples": [1], "x-unit": "EUR"}, YES, None),
    ("an unknown keyword in the consumer", INT, {**INT, "divisibleBy": 2}, MAYBE, ""),
    ("an unknown keyword in the producer", {**INT, "divisibleBy": 2}, INT, YES, None),
    ("an unknown keyword in the producer leaves doubt", {**NUM, "divisibleBy": 2}, INT, MAYBE, ""),
    ("a malformed keyword in the consumer", INT, {**INT, "minimum": "five"}, MAYBE, ""),
    ("a reference that leads nowhere", INT, {"$ref": "#/$defs/Gone"}, MAYBE, ""),
    ("a reference with escapes", {"$defs": {"a/b~c": INT}, "$ref": "#/$defs/a~1b~0c"}, NUM, YES, None),
    ("a reference with a blank", {"$defs": {"a b": INT}, "$ref": "#/$defs/a%20b"}, NUM, YES, None),
    ("a reference into a list", {"$defs": {"A": union(STR, INT)}, "$ref": "#/$defs/A/anyOf/1"}, NUM, YES, None),
    ("a reference beyond a list", {"$defs": {"A": union(STR, INT)}, "$ref": "#/$defs/A/anyOf/2"}, NUM, MAYBE, ""),
    ("a reference to another document", {"$ref": "other.json#/A"}, NUM, MAYBE, ""),
    ("a reference beside other keywords", INT, {"$defs": {"A": NUM}, "$ref": "#/$defs/A", "maximum": 3}, NO, ""),
    ("a consumer that is only itself", INT, {"$defs": {"A": {"$ref": "#/$defs/A"}}, "$ref": "#/$defs/A"}, MAYBE, ""),
    ("a consumer that may be itself", INT, {"anyOf": [{"$ref": "#"}, STR]}, MAYBE, ""),
    ("a producer that is only itself", {"$ref": "#"}, INT, MAYBE, ""),
]


@pytest.mark.parametrize(
    ("producer", "consumer", "verdict", "pointer"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_a_pair_of_schemas_has_the_verdict_of_the_table(
    producer: Any, consumer: Any, verdict: Verdict, pointer: str | None
) -> None:
    found = schema_within(producer, consumer)

    assert found.verdict is verdict, found
    assert (found.reasons[0].pointer if found.reasons else None) == pointer
    assert all(reason.message.endswith(".") and reason.message[0].isupper() for reason in found.reasons)


def test_the_reason_says_what_is_sent_and_what_is_accepted() -> None:
    found = schema_within(model(lines=array(model(amount=union(NUM, NULL)))), model(lines=array(model(amount=NUM))))

    assert [(reason.pointer, reason.message) for reason in found.reasons] == [
        ("/lines/*/amount", "The producer may send null; the consumer accepts number.")
    ]


@pytest.mark.parametrize(
    ("producer", "consumer", "message"),
    [
        (
            whole(minimum=-1),
            whole(minimum=0),
            "The producer may send numbers from -1; the consumer accepts numbers from 0.",
        ),
        (
            {"type": "number", "maximum": 10},
            {"type": "number", "exclusiveMaximum": 10},
            "The producer may send numbers up to 10; the consumer accepts numbers up to 10 (excluded).",
        ),
        (
            NUM,
            {"type": "number", "maximum": 9},
            "The producer may send numbers of any size; the consumer accepts numbers up to 9.",
        ),
        (
            whole(multipleOf=4),
            whole(multipleOf=3),
            "The producer may send multiples of 4; the consumer accepts multiples of 3.",
        ),
        (INT, whole(multipleOf=3), "The producer may send any number; the consumer accepts multiples of 3."),
        (
            STR,
            text(pattern="^a"),
            'The producer may send any string, for instance ""; the consumer accepts strings that match "^a".',
        ),
        (
            text(format="uuid"),
            text(pattern="^a"),
            'The producer sends strings of the form "uuid"; it cannot be decided whether all of them match the '
            'consumer\'s pattern "^a".',
        ),
        (
            text(format="email"),
            text(format="uri"),
            "The producer sends strings of format email; the consumer accepts format uri.",
        ),
    ],
)
def test_a_reason_names_both_sides(producer: Any, consumer: Any, message: str) -> None:
    assert schema_within(producer, consumer).reasons[0].message == message


def test_every_misfit_is_reported_at_once() -> None:
    found = schema_within(model("a", a=INT, b=STR), model("a c", a=STR, b=INT, c=INT))

    assert {reason.pointer for reason in found.reasons} == {"/a", "/b", "/c"}


def test_in_an_open_world_undeclared_properties_may_come_along() -> None:
    strict = {**model(a=INT), "additionalProperties": False}

    assert schema_within(model(a=INT), strict).verdict is YES
    assert schema_within(model(a=INT), strict, open_world=True).verdict is NO
    assert schema_within(strict, strict, open_world=True).verdict is YES


def test_in_an_open_world_a_default_does_not_make_a_property_present() -> None:
    optional = model(a={"type": "integer", "default": 1})

    assert schema_within(optional, model("a", a=INT), open_world=True).verdict is NO


def tree(value: Any, link: Any = None) -> dict[str, Any]:
    node = {"$ref": "#/$defs/Node"}
    return {"$defs": {"Node": model("value", value=value, next=link or union(node, NULL))}, **node}


def test_recursive_types_are_compared_to_the_end() -> None:
    assert schema_within(tree(INT), tree(NUM)).verdict is YES
    assert schema_within(tree(NUM), tree(INT)).reasons[0].pointer == "/value"
    assert schema_within(tree(INT), tree(INT, link=NULL)).reasons[0].pointer == "/next"


def test_a_recursive_type_that_changes_further_down_is_found() -> None:
    def chain(last: Any) -> dict[str, Any]:
        first = model(next={"$ref": "#/$defs/B"})
        second = model(next=union({"$ref": "#/$defs/A"}, NULL), value=last)
        return {"$defs": {"A": first, "B": second}, "$ref": "#/$defs/A"}

    assert schema_within(chain(INT), chain(NUM)).verdict is YES
    assert schema_within(chain(STR), chain(INT)).reasons[0].pointer == "/next/value"
