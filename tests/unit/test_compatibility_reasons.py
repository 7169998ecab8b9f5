"""The sentences of the comparison of schemas: each names what is sent and what is accepted."""

from __future__ import annotations

from typing import Any

import pytest

from factories.schemas import (
    INT,
    NULL,
    NUM,
    STR,
    array,
    both,
    defined,
    mapping,
    model,
    number,
    text,
    tuple_of,
    union,
    whole,
)
from switchgear.domain.compatibility import schema_within

#: producer, consumer, the first reason
TABLE: list[tuple[Any, Any, str]] = [
    # properties
    (model(a=INT), model("a", a=INT), 'The producer may leave out "a"; the consumer requires it.'),
    (model(), model("b", b=INT), 'The producer never sends "b"; the consumer requires it.'),
    (
        model(a=INT, b=INT),
        {"maxProperties": 1},
        "The producer may send an object of 2 properties; the consumer accepts at most 1.",
    ),
    (
        mapping(INT),
        {"maxProperties": 1},
        "The producer may send an object of any number of properties; the consumer accepts at most 1.",
    ),
    (
        model(a=INT),
        {"minProperties": 1},
        "The producer may send an object of 0 properties; the consumer accepts at least 1.",
    ),
    (
        model(ab=INT),
        {"propertyNames": {"maxLength": 1}},
        'The producer may send a property "ab"; the consumer refuses its name.',
    ),
    (
        model(ab=INT),
        {"propertyNames": {"pattern": "("}},
        'It cannot be decided whether the consumer accepts the property name "ab".',
    ),
    (model(a=INT), model(a=False), 'The producer may send "a"; the consumer accepts no property of that name.'),
    (
        model(ab=INT),
        {"patternProperties": {"(": STR}},
        'It cannot be decided which of the consumer\'s name patterns "ab" matches.',
    ),
    # arrays
    (
        array(INT),
        array(INT, maxItems=2),
        "The producer may send an array of any length; the consumer accepts at most 2 items.",
    ),
    (
        array(INT, maxItems=3),
        array(INT, maxItems=2),
        "The producer may send an array of 3 items; the consumer accepts at most 2 items.",
    ),
    (
        array(INT),
        array(INT, minItems=1),
        "The producer may send an array of 0 items; the consumer accepts at least 1.",
    ),
    (
        array(INT),
        array(INT, uniqueItems=True),
        "The producer may send an array with equal items; the consumer accepts only unique items.",
    ),
    (
        tuple_of(INT, STR, minItems=2, maxItems=2),
        {"uniqueItems": True},
        "The producer may send an array with equal items; the consumer accepts only unique items.",
    ),
    # numbers and strings
    (
        number(multipleOf=0.3),
        number(multipleOf=0.1),
        "The producer sends multiples of 0.3; validators differ on whether those are multiples of 0.1, which the "
        "consumer accepts.",
    ),
    (STR, text(maxLength=2), "The producer may send strings of any length; the consumer accepts at most 2 characters."),
    (
        text(maxLength=3),
        text(maxLength=2),
        "The producer may send strings of 3 characters; the consumer accepts at most 2 characters.",
    ),
    (
        text(minLength=1),
        text(minLength=2.0),
        "The producer may send strings of 1 characters; the consumer accepts at least 2.",
    ),
    (
        STR,
        text(contentEncoding="base64"),
        'The consumer accepts strings with contentEncoding "base64"; the producer does not declare the same.',
    ),
    (
        text(pattern="^ab"),
        text(pattern="^a"),
        'The producer sends strings of the form "^ab"; it cannot be decided whether all of them match the consumer\'s '
        'pattern "^a".',
    ),
    (
        text(contentEncoding="base64"),
        text(pattern="^a"),
        'The producer sends strings of the form "an encoding"; it cannot be decided whether all of them match the '
        'consumer\'s pattern "^a".',
    ),
    (STR, text(pattern=""), 'The producer may send any string; the consumer accepts strings that match "".'),
    (STR, text(format="date"), "The producer may send any string; the consumer accepts strings of format date."),
    (
        both(text(format="email"), text(format="iban")),
        text(format="date"),
        "The producer sends strings of format email and iban; the consumer accepts format date.",
    ),
    (
        text(pattern="^2"),
        text(format="date"),
        "The producer sends strings of format no particular format; the consumer accepts format date.",
    ),
    # values and types
    ({"const": 1}, STR, "The producer may send 1; the consumer accepts string."),
    ({"const": 1}, defined(A=STR), "The producer may send 1; the consumer accepts string."),
    (
        {"const": 1},
        defined("B", A=STR, B={"$ref": "#/$defs/A"}),
        "The producer may send 1; the consumer accepts string.",
    ),
    (
        {"const": "a"},
        text(pattern="("),
        'The producer may send "a"; the consumer accepts string with {"pattern": "("}. It cannot be decided whether '
        "it does.",
    ),
    (
        text(pattern="^zz$"),
        {"enum": ["zz"]},
        'The producer may send a string; the consumer accepts only one of ["zz"].',
    ),
    (STR, INT, "The producer may send a string; the consumer accepts integer."),
    (INT, STR, "The producer may send an integer; the consumer accepts string."),
    (STR, union(INT, NULL), "The producer may send a string; the consumer accepts integer or null."),
    (
        STR,
        {**union({"$ref": "#/$defs/A"}, NULL), "$defs": {"A": INT}},
        "The producer may send a string; the consumer accepts integer or null.",
    ),
    (
        array(union(INT, STR)),
        union(array(INT), array(STR)),
        'The producer may send [0, ""]; none of the consumer\'s alternatives accepts that.',
    ),
    # what is not decided
    (
        INT,
        {"oneOf": [INT, NUM]},
        "The consumer accepts exactly one of several alternatives; more than one may match.",
    ),
    (
        INT,
        {"not": whole(minimum=7)},
        "The consumer refuses what its keyword not describes; whether that is sent is not decided.",
    ),
    (INT, {"$ref": "#/$defs/Gone"}, 'The consumer\'s reference "#/$defs/Gone" leads nowhere.'),
    (INT, {"divisibleBy": 2}, 'The consumer\'s keyword "divisibleBy" is not understood.'),
    (INT, whole(maximum=10**5000), "The schemas hold a value that cannot be compared."),
    (
        number(minimum=10**400),
        union(NULL, number(maximum=1), number(multipleOf=3)),
        "The schemas hold a value that cannot be compared.",
    ),
]


@pytest.mark.parametrize(
    ("producer", "consumer", "message"), TABLE, ids=[f"{place} {row[2]}"[:80] for place, row in enumerate(TABLE)]
)
def test_the_first_reason_is_this_sentence(producer: Any, consumer: Any, message: str) -> None:
    assert schema_within(producer, consumer).reasons[0].message == message


def test_schemas_nested_without_measure_are_said_to_be() -> None:
    producer, consumer = INT, NUM
    for _ in range(3_000):
        producer, consumer = both(producer), both(consumer)

    assert schema_within(producer, consumer).reasons[0].message == "The schemas are nested too deeply to be compared."


def test_values_nested_without_measure_are_said_to_be() -> None:
    producer, consumer = INT, NUM
    for _ in range(50):
        producer, consumer = array(producer), array(consumer)

    (reason,) = schema_within(producer, consumer).reasons

    assert reason.message == "Values nested more than 40 levels deep are not compared."
    assert reason.pointer == "/*" * 41
