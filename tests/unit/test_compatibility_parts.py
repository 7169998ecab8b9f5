"""The parts of the comparison of schemas: types let through, what is apart, examples made up, and words for people."""

from __future__ import annotations

from typing import Any

import pytest

from factories.schemas import (
    CAT,
    DOG,
    EEL,
    INT,
    NULL,
    NUM,
    STR,
    array,
    both,
    defined,
    model,
    number,
    text,
    union,
    whole,
)
from switchgear.domain.compatibility.checker import Checker, accepted
from switchgear.domain.compatibility.document import Budget, Document, LimitReached, shown
from switchgear.domain.compatibility.witness import witness


def nested(levels: int, node: Any) -> Any:
    """A model that holds *node* so many levels down."""
    for _ in range(levels):
        node = model("inner", inner=node)
    return node


def lists(levels: int) -> Any:
    """Lists of lists, each of at least one, of integers."""
    node: Any = INT
    for _ in range(levels):
        node = array(node, minItems=1)
    return node


_MIXED = {"type": ["integer", "string", "null"]}
_AROUND = defined(A={"$ref": "#/$defs/B"}, B={"$ref": "#/$defs/A", "type": "string"})

#: schema, the types it lets through
ATOMS: list[tuple[Any, str]] = [
    (False, ""),
    (NUM, "fraction integer"),
    ({"const": "a"}, "string"),
    ({"const": 1.5}, "fraction"),
    ({"type": "string", "const": 1}, ""),
    ({"enum": ["a", 1]}, "integer string"),
    ({"type": "string", "enum": ["a", 1]}, "string"),
    (defined(A=INT), "integer"),
    ({**defined(A=_MIXED), "type": ["integer", "object"]}, "integer"),
    (both(_MIXED, {"type": ["string", "array"]}), "string"),
    (both({"type": ["string", "array"]}, _MIXED), "string"),
    (union(INT, STR), "integer string"),
    ({"oneOf": [INT, STR]}, "integer string"),
    ({"type": ["integer", "null"], **union(INT, STR)}, "integer"),
    ({"type": ["integer", "null"], "oneOf": [INT, STR]}, "integer"),
    ({"type": "string", **both({"$ref": "#"})}, "string"),
    ({"type": "string", **union({"$ref": "#"})}, "string"),
    (_AROUND, "string"),
]


@pytest.mark.parametrize(("schema", "atoms"), ATOMS, ids=[str(schema)[:70] for schema, _ in ATOMS])
def test_a_schema_lets_these_types_through(schema: Any, atoms: str) -> None:
    assert " ".join(sorted(Checker({}, schema, open_world=False).consumer_atoms(schema))) == atoms


#: producer, consumer, whether it is proven that the consumer takes nothing of what is sent
APART: list[tuple[str, Any, Any, bool]] = [
    ("types apart", INT, STR, True),
    ("the same type", INT, INT, False),
    ("a value of another type", {"const": 1}, STR, True),
    ("a value of the type", {"const": 1}, INT, False),
    ("one of two values", {"enum": [1, "a"]}, INT, False),
    ("another tag", EEL, CAT, True),
    ("the same tag", CAT, CAT, False),
    ("another tag among conditions", EEL, both({}, CAT), True),
    ("another tag behind a reference", EEL, defined(A=CAT), True),
    ("another tag than each of several", EEL, union(CAT, DOG), True),
    ("another tag than each of exactly one", EEL, {"oneOf": [CAT, DOG]}, True),
    ("the tag of one of several", CAT, union(CAT, DOG), False),
    ("a required property that is never sent", model("a", a=INT), model("b", b=INT), True),
    ("another tag that only the consumer requires", model(kind={"const": "eel"}), CAT, True),
    ("another tag that only the producer requires", EEL, model(kind={"const": "cat"}), True),
    ("another tag that nobody requires", model(kind={"const": "eel"}), model(kind={"const": "cat"}), False),
    ("a tag three levels down", nested(3, {"const": 1}), nested(3, {"const": 2}), True),
    ("a tag four levels down", nested(4, {"const": 1}), nested(4, {"const": 2}), False),
    ("only itself", CAT, both({"$ref": "#"}), False),
    ("perhaps itself", CAT, union({"$ref": "#"}), False),
    ("round about", CAT, defined(A=both({"$ref": "#/$defs/B"}), B=both({"$ref": "#/$defs/A"})), False),
]


@pytest.mark.parametrize(("producer", "consumer", "proven"), [row[1:] for row in APART], ids=[row[0] for row in APART])
def test_producer_and_consumer_are_apart_when_no_value_is_common(producer: Any, consumer: Any, proven: bool) -> None:
    checker = Checker(producer, consumer, open_world=False)

    assert all(checker.apart(shape, consumer) for shape in checker.unfolder.shapes((producer,))) is proven


#: producer, a value that is made up for it
EXAMPLES: list[tuple[Any, Any]] = [
    (INT, -1),
    (INT, 0),
    (INT, 1),
    (whole(minimum=5), 5),
    (whole(minimum=5), 6),
    (whole(minimum=4.5), 5),
    (whole(minimum=-9), 0),
    (whole(maximum=-5), -5),
    (whole(maximum=-5), -6),
    (whole(multipleOf=7), 7),
    (whole(multipleOf=7), 7_000_021),
    (NUM, 0),
    (NUM, 0.25),
    (NUM, -0.25),
    (number(minimum=4.5), 4.5),
    (text(minLength=3), "aaa"),
    (text(minLength=3), "000"),
    (text(minLength=3), "aaaa"),
    (text(minLength=32), "a" * 32),
    (array(INT), []),
    (array(INT), [0]),
    (array(INT), [1]),
    (array(INT), [0, 0]),
    (array(INT), [0, 1]),
    (array(INT, maxItems=1), [0]),
    (array(INT, minItems=3), [0, 0, 0]),
    (array(INT, minItems=32), [0] * 32),
    (lists(4), [[[[0]]]]),
    (model("a", a=INT, b=STR), {"a": 0}),
    (model("a", a=INT, b=STR), {"a": 0, "b": ""}),
    (model(a=INT, b=INT), {"a": 0, "b": 0}),
    (model("a", a=INT, b=False), {"a": 0}),
    (model(a=INT, b=text(minLength=40)), {"a": 0}),
]
#: producer, a value that is valid and not made up
NO_EXAMPLES: list[tuple[Any, Any]] = [
    (text(minLength=33), "a" * 33),
    (array(INT, minItems=33), [0] * 33),
    (lists(5), [[[[[0]]]]]),
    (model("a b", a=INT, b=text(minLength=40)), {"a": 0, "b": "a" * 40}),
    ({**INT, "odd": 1}, 0),
]


@pytest.mark.parametrize(
    ("producer", "value", "is_made_up"),
    [(*pair, True) for pair in EXAMPLES] + [(*pair, False) for pair in NO_EXAMPLES],
    ids=str,
)
def test_an_example_refutes_a_consumer_that_refuses_just_this_value(
    producer: Any, value: Any, is_made_up: bool
) -> None:
    consumer = {"not": {"const": value}}
    checker = Checker(producer, consumer, open_world=False)
    (shape,) = checker.unfolder.shapes((producer,))

    assert witness(checker, shape, [consumer]) == ((value,) if is_made_up else None)


@pytest.mark.parametrize(("lowest", "example"), [(1, (0,)), (0, None)])
def test_an_example_refutes_only_what_every_alternative_refuses(lowest: int, example: tuple[int] | None) -> None:
    consumer = union(whole(minimum=lowest), whole(maximum=-1))
    checker = Checker(INT, consumer, open_world=False)
    (shape,) = checker.unfolder.shapes((INT,))

    assert witness(checker, shape, consumer["anyOf"]) == example


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (False, "nothing here"),
        ({"const": "a"}, '"a"'),
        ({"enum": ["a", 1]}, 'one of ["a", 1]'),
        (
            {"enum": [*range(21)], "type": "integer"},
            "one of [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16...",
        ),
        (INT, "integer"),
        (whole(minimum=2), 'integer with {"minimum": 2}'),
        ({"type": ["integer", "null"]}, "integer or null"),
        (array(INT, minItems=1), 'array with {"minItems": 1}'),
        (union(INT, NULL), "one of 2 alternatives"),
        ({"oneOf": [INT, NULL, STR]}, "one of 3 alternatives"),
        ({"pattern": "^a"}, "only some values here"),
    ],
    ids=str,
)
def test_what_is_accepted_is_said_in_a_few_words(schema: Any, words: str) -> None:
    assert accepted(Document(schema, Budget()).read(schema)) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("é", '"é"'),
        ("a" * 58, '"' + "a" * 58 + '"'),
        ("a" * 59, '"' + "a" * 56 + "..."),
        (NotImplemented, '"NotImplemented"'),
    ],
    ids=str,
)
def test_a_value_is_shown_in_a_readable_length(value: Any, words: str) -> None:
    assert shown(value) == words


def test_a_budget_is_spent_one_by_one() -> None:
    budget = Budget(2)
    budget.spend()
    budget.spend()

    with pytest.raises(LimitReached):
        budget.spend()
