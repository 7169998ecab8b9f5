"""Schema compatibility at its edges: pairs where one step beside the rule would prove what is not true."""

from __future__ import annotations

from typing import Any

import pytest

from factories.schemas import (
    BOOL,
    CAT,
    DOG,
    EEL,
    INT,
    MAYBE,
    NO,
    NOTHING,
    NULL,
    NUM,
    STR,
    YES,
    array,
    both,
    defined,
    mapping,
    model,
    named,
    number,
    text,
    tuple_of,
    union,
    whole,
)
from switchgear.domain.compatibility import Verdict, schema_within

_REFERENCE = {"$ref": "#/$defs/A"}
_KIND = {"enum": ["cat", "dog"]}
_OLD_DOG = model("kind lives", kind={"const": "dog"}, lives=whole(maximum=9))
_SHARED = whole(minimum=0)

#: producer, consumer, verdict, pointer of the first reason
TABLE: list[tuple[str, Any, Any, Verdict, str | None]] = [
    # bounds of whole numbers
    ("above nought begins at one", whole(exclusiveMinimum=0), whole(minimum=2), NO, ""),
    ("below ten ends at nine", whole(exclusiveMaximum=10), whole(maximum=9), YES, None),
    ("below ten does not end at eight", whole(exclusiveMaximum=10), whole(maximum=8), NO, ""),
    ("up to ten is not below ten", whole(maximum=10), whole(exclusiveMaximum=10), NO, ""),
    ("whole numbers below nine and a half", whole(maximum=9.5), whole(maximum=9), YES, None),
    ("a range of one whole number is no string", whole(minimum=9, exclusiveMaximum=10), STR, NO, ""),
    ("whole numbers between fractions", whole(minimum=0.5, maximum=2.5), {"enum": [1, 2]}, YES, None),
    ("the last of a small range", whole(minimum=1, maximum=2), {"const": 1}, NO, ""),
    ("the first of a small range", whole(minimum=1, maximum=2), {"const": 2}, NO, ""),
    ("a small range that begins below nought", whole(minimum=-5, maximum=5), {"enum": [*range(6)]}, NO, ""),
    (
        "a longest range that is listed",
        whole(minimum=1, maximum=256),
        union(whole(maximum=9), whole(minimum=10)),
        YES,
        None,
    ),
    ("a range too long to list", whole(minimum=1, maximum=257), union(whole(maximum=9), whole(minimum=10)), MAYBE, ""),
    ("multiples in a range", whole(minimum=1, maximum=9, multipleOf=3), {"enum": [3, 6, 9]}, YES, None),
    (
        "few multiples in a long range",
        whole(minimum=0, maximum=2000, multipleOf=1000),
        {"enum": [0, 1000, 2000]},
        YES,
        None,
    ),
    ("one number", number(minimum=5, maximum=5), {"const": 5}, YES, None),
    ("one number is another one", number(minimum=5, maximum=5), {"const": 6}, NO, ""),
    ("more than one number", number(minimum=1, maximum=2), {"const": 1}, NO, ""),
    ("multiples that a range may not hold", number(multipleOf=0.5, minimum=0.1, maximum=0.4), STR, MAYBE, ""),
    # multiples
    ("thirds of halves among whole numbers", whole(multipleOf=1.5), number(multipleOf=0.5), YES, None),
    ("finest multiples that validators agree on", number(multipleOf=2**-19), number(multipleOf=2**-20), YES, None),
    ("multiples one step finer", number(multipleOf=2**-20), number(multipleOf=2**-21), MAYBE, ""),
    ("halves of three among whole numbers", whole(multipleOf=1.5), whole(multipleOf=3), MAYBE, ""),
    ("multiples that end before their bound", whole(multipleOf=2, maximum=9), whole(maximum=8), MAYBE, ""),
    ("multiples that begin after their bound", whole(multipleOf=2, minimum=-9), whole(minimum=-8), MAYBE, ""),
    ("multiples up to their bound", whole(multipleOf=2, maximum=8), whole(maximum=7), NO, ""),
    (
        "multiples before a bound that is excluded",
        number(multipleOf=0.5, exclusiveMaximum=8),
        number(maximum=7.5),
        MAYBE,
        "",
    ),
    (
        "multiples behind a bound that is excluded",
        number(multipleOf=0.5, exclusiveMinimum=-8),
        number(minimum=-7.5),
        MAYBE,
        "",
    ),
    ("multiples that have room behind the bound", number(multipleOf=0.5, maximum=9.25), number(maximum=8.5), NO, ""),
    (
        "multiples that have no room behind the bound",
        number(multipleOf=0.5, maximum=8.75),
        number(maximum=8.5),
        MAYBE,
        "",
    ),
    ("multiples without end", number(multipleOf=0.5, minimum=0), number(maximum=8), NO, ""),
    (
        "multiples of two that may end before",
        both(whole(multipleOf=4, maximum=40), whole(multipleOf=6)),
        whole(maximum=36),
        MAYBE,
        "",
    ),
    ("whole multiples that a range may not hold", whole(multipleOf=1000.5, minimum=1, maximum=1000), STR, MAYBE, ""),
    (
        "multiples of two that a range may not hold",
        both(whole(multipleOf=1000, minimum=1, maximum=300_000), whole(multipleOf=999)),
        STR,
        MAYBE,
        "",
    ),
    # numbers larger than the machine's
    (
        "the range of a machine's integers",
        whole(minimum=-(2**63), maximum=2**63 - 1),
        whole(minimum=-(2**63)),
        YES,
        None,
    ),
    ("a range beyond a float", whole(minimum=0, maximum=10**400), number(maximum=0.5), NO, ""),
    (
        "a number beyond a float",
        number(minimum=10**400),
        union(number(maximum=10**401), number(multipleOf=3)),
        MAYBE,
        "",
    ),
    # true, false and listed values
    ("both truths into true", BOOL, {"const": True}, NO, ""),
    ("both truths into false", BOOL, {"const": False}, NO, ""),
    ("a truth is no number", BOOL, INT, NO, ""),
    ("an integer is no truth", INT, BOOL, NO, ""),
    ("any string into one value", STR, {"const": "a"}, NO, ""),
    ("short strings into a list", text(maxLength=3), {"enum": ["a"]}, NO, ""),
    ("strings of a pattern into a list", text(pattern="^zz$"), {"enum": ["zz"]}, MAYBE, ""),
    ("a listed value that is perhaps not sent", {"enum": ["a"], "pattern": "("}, INT, MAYBE, ""),
    ("a fraction is no integer", {"const": 1.5}, INT, NO, ""),
    ("one object is not another", {"const": {"a": 1}}, {"const": {"b": 1}}, NO, ""),
    ("one property is not another", {"const": {"a": 1}}, {"const": {"a": 2}}, NO, ""),
    ("one list is not another", {"const": [1]}, {"const": [2]}, NO, ""),
    ("properties have no order", {"const": {"a": 1, "b": 2}}, {"const": {"b": 2, "a": 1}}, YES, None),
    # conjunctions, unions and what is not understood in the producer
    ("a node said twice", both(NUM, NUM), INT, NO, ""),
    ("a node said twice, then another", both(NUM, NUM, {"minimum": 0}), {"minimum": 0}, YES, None),
    ("three unions at once", both(union(INT, STR), union(STR, NULL), union(STR, INT)), STR, YES, None),
    ("two unions at once", both(union(INT, STR), union(INT, NULL)), STR, NO, ""),
    ("the producer's not is no proof", text(**{"not": {"const": ""}}), text(minLength=1), MAYBE, ""),
    ("a text too short for itself", text(minLength=5, maxLength=3), INT, YES, None),
    # strings
    ("short texts spare a pattern", text(maxLength=1), text(pattern="^.?$"), MAYBE, ""),
    ("the longest text into a pattern", text(maxLength=1), text(pattern="^$"), NO, ""),
    ("texts as long as are made up", text(minLength=32), text(pattern="^b"), NO, ""),
    ("texts made up to their least length", text(minLength=3), text(pattern="^(?!aaa$)"), NO, ""),
    ("text with the same schema", text(contentSchema=INT), text(contentSchema=INT), YES, None),
    ("a reference of another document", text(contentSchema=_REFERENCE), text(contentSchema=_REFERENCE), MAYBE, ""),
    # arrays
    ("items of any type", array(True), array(INT), NO, "/*"),
    ("items that cannot be", array(NOTHING), array(INT, maxItems=0), YES, None),
    ("items that end before the longest", tuple_of(INT, items=False, maxItems=3), array(INT, maxItems=2), YES, None),
    (
        "items that end after the longest",
        tuple_of(INT, INT, INT, items=False, maxItems=1),
        array(INT, maxItems=2),
        YES,
        None,
    ),
    ("a longest that is a float", tuple_of(INT, INT, INT, maxItems=2.0), array(INT, maxItems=2), YES, None),
    ("one item is unique", array(INT, maxItems=1), array(INT, uniqueItems=True), YES, None),
    ("two items may be equal", array(INT, maxItems=2), array(INT, uniqueItems=True), NO, ""),
    ("unique items are perhaps few", array(BOOL, uniqueItems=True), array(BOOL, maxItems=2), MAYBE, ""),
    ("items of types apart may be equal", tuple_of(INT, STR, minItems=2, maxItems=2), {"uniqueItems": True}, MAYBE, ""),
    ("positions that are not reached", array(INT, maxItems=1), tuple_of(INT, STR), YES, None),
    # properties
    ("a pattern said twice", both(named(a=INT), named(a={"minimum": 3})), named(a=whole(minimum=3)), YES, None),
    ("nothing beside the declared", {**model(a=INT), "additionalProperties": False}, {"maxProperties": 1}, YES, None),
    ("too many properties", model(a=INT, b=INT), {"maxProperties": 1}, NO, ""),
    ("any number of properties", mapping(INT), {"maxProperties": 1}, NO, ""),
    ("a property that cannot be does not count", model(a=False), {"maxProperties": 0}, YES, None),
    ("a property that no value fits does not count", model(a=NOTHING), {"maxProperties": 0}, YES, None),
    ("a property that no value fits is never sent", model("a b", a=NOTHING, b=STR), model(b=INT), YES, None),
    ("a property of any value counts", model(a=True), {"maxProperties": 0}, NO, ""),
    ("a property of any value", model(a=True), model(a=INT), NO, "/a"),
    ("any value accepted", model(a=INT), model(a=True), YES, None),
    ("a property without a value into none", model(a=NOTHING), model(a=False), YES, None),
    ("a property into none", model(a=INT), model(a=False), NO, "/a"),
    (
        "a value that does not fit under a listed key",
        mapping(STR, propertyNames={"enum": ["a"]}),
        model(a=INT),
        NO,
        "/a",
    ),
    ("a key that is too long to be sent", mapping(STR, propertyNames={"maxLength": 1}), model(ab=INT), YES, None),
    ("a key that is short enough", mapping(STR, propertyNames={"maxLength": 1}), model(a=INT), NO, "/a"),
    ("free keys are strings", mapping(INT), {"propertyNames": STR}, YES, None),
    ("free keys of any length", mapping(INT), {"propertyNames": {"maxLength": 1}}, NO, "/*"),
    ("a key that the consumer takes", model(a=INT), {"propertyNames": {"maxLength": 1}}, YES, None),
    ("a key whose pattern cannot be tried", model(a=INT), {"propertyNames": {"pattern": "("}}, MAYBE, ""),
    ("keys of the same pattern", named(a=INT), {"propertyNames": {"pattern": "^a"}}, YES, None),
    ("keys of another pattern", named(a=INT), {"propertyNames": {"pattern": "^b"}}, MAYBE, "/*"),
    ("a property under a pattern that cannot be tried", model(a=INT), {"patternProperties": {"(": STR}}, MAYBE, "/a"),
    ("extras that patterns narrow", {**named(a=INT), **mapping(STR)}, mapping(INT), MAYBE, "/*"),
    ("extras that keys narrow", mapping(STR, propertyNames={"maxLength": 3}), mapping(INT), MAYBE, "/*"),
    ("extras that patterns keep from a pattern", {**named(a=INT), **mapping(STR)}, named(b=INT), MAYBE, "/*"),
    # tags
    ("a tag that no member has names the tag", EEL, union(CAT, STR), NO, "/kind"),
    (
        "a tag beside a member without properties",
        model("kind", kind=_KIND),
        union({"type": "object", "minProperties": 9}, CAT, DOG),
        YES,
        None,
    ),
    ("a tag that may be a number too", model("kind", kind=union(_KIND, INT)), {"oneOf": [CAT, DOG]}, NO, ""),
    (
        "a tag with one value is not shared out",
        model("kind lives", kind={"const": "cat"}, lives=union(INT, STR)),
        union(CAT, model(lives=NULL)),
        NO,
        "/lives",
    ),
    ("a new value of a tag", model("kind", kind={"enum": ["cat", "dog", "eel"]}), {"oneOf": [CAT, DOG]}, NO, ""),
    (
        "a new value of a tag that is perhaps not sent",
        {**model("kind", kind={"enum": ["cat", "dog", "eel"]}), "sized": 2},
        {"oneOf": [CAT, DOG]},
        MAYBE,
        "",
    ),
    (
        "a field that one tag refuses",
        model("kind lives", kind=_KIND, lives=INT),
        {"oneOf": [CAT, _OLD_DOG]},
        NO,
        "/lives",
    ),
    (
        "a field that one tag perhaps refuses",
        {**model("kind lives", kind=_KIND, lives=INT), "sized": 2},
        {"oneOf": [CAT, _OLD_DOG]},
        MAYBE,
        "/lives",
    ),
    (
        "a tag that two members have",
        model("kind", kind=_KIND, lives=STR),
        union(CAT, {**CAT, "maxProperties": 1}, DOG),
        NO,
        "",
    ),
    # references and identity
    ("a document's own identifier", INT, {"$id": "a", **NUM}, YES, None),
    ("what follows the identifier counts", STR, {"$id": "a", **NUM}, NO, ""),
    ("an identifier further down", model(a=INT), model(a={"$id": "a", **NUM}), MAYBE, "/a"),
    ("a reference to the whole", model(a=model()), model(a={"$ref": "#"}), YES, None),
    ("a reference to an anchor", model(a=model()), model(a={"$ref": "#whole"}), MAYBE, "/a"),
    (
        "the same reference of two documents",
        {**model(a=_REFERENCE), "$defs": {"A": INT}},
        {**model(a=_REFERENCE), "$defs": {"A": STR}},
        NO,
        "/a",
    ),
    ("the same node of two documents", _SHARED, _SHARED, YES, None),
]


@pytest.mark.parametrize(
    ("producer", "consumer", "verdict", "pointer"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_an_edge_has_the_verdict_of_the_table(
    producer: Any, consumer: Any, verdict: Verdict, pointer: str | None
) -> None:
    found = schema_within(producer, consumer)

    assert found.verdict is verdict, found
    assert (found.reasons[0].pointer if found.reasons else None) == pointer


@pytest.mark.parametrize("sample", ["", "a", "0", " ", "-", "Zz9 _/", "é", "a\nb"])
def test_any_string_is_refuted_by_a_pattern_that_refuses_this_one(sample: str) -> None:
    assert schema_within(STR, text(pattern=f"^(?!{sample}$)")).verdict is NO


def test_what_is_not_understood_is_understood_of_the_very_same_document() -> None:
    odd = {"type": "array", "contains": INT}

    assert schema_within(odd, odd).verdict is YES
    assert schema_within(odd, {**odd}).verdict is MAYBE


@pytest.mark.parametrize(
    "keyword",
    [
        {"minLength": "five"},
        {"minLength": None},
        {"minLength": -1},
        {"minLength": 1.5},
        {"minLength": True},
        {"required": [1]},
        {"required": "ab"},
        {"required": None},
        {"type": ["text"]},
        {"type": [3]},
        {"type": 3},
        {"multipleOf": 0},
        {"multipleOf": -2},
        {"multipleOf": "two"},
        {"enum": "ab"},
        {"properties": ["a"]},
        {"uniqueItems": 1},
        {"pattern": 1},
    ],
    ids=str,
)
def test_a_keyword_of_another_form_is_not_understood(keyword: dict[str, Any]) -> None:
    found = schema_within(union(STR, INT, mapping(INT)), keyword)

    assert found.verdict is MAYBE
    assert "is not understood" in found.reasons[0].message


@pytest.mark.parametrize(("levels", "verdict"), [(40, YES), (41, MAYBE)])
def test_values_are_compared_down_to_forty_levels(levels: int, verdict: Verdict) -> None:
    producer, consumer = INT, NUM
    for _ in range(levels):
        producer, consumer = array(producer), array(consumer)

    assert schema_within(producer, consumer).verdict is verdict


@pytest.mark.parametrize(("count", "verdict"), [(32, YES), (33, MAYBE)])
def test_a_tag_of_up_to_thirty_two_values_is_shared_out(count: int, verdict: Verdict) -> None:
    members = [model("kind", kind={"const": f"kind{place}"}) for place in range(count)]
    sent = model("kind", kind={"enum": [f"kind{place}" for place in range(count)]})

    assert schema_within(sent, union(*members)).verdict is verdict


@pytest.mark.parametrize(
    "consumer",
    [
        defined(A={"$ref": "#/$defs/A"}),
        defined(A={"$ref": "#/$defs/B"}, B={"$ref": "#/$defs/A"}),
        both({"$ref": "#"}),
        union({"$ref": "#"}, STR),
        {"oneOf": [{"$ref": "#"}, STR]},
    ],
    ids=str,
)
@pytest.mark.parametrize("producer", [INT, CAT], ids=["a number", "an object"])
def test_a_consumer_that_leads_back_to_itself_is_seen_to_do_so(producer: Any, consumer: Any) -> None:
    found = schema_within(producer, consumer)

    assert found.verdict is MAYBE
    assert {reason.message for reason in found.reasons} >= {"The consumer's schema refers to itself without end."}
