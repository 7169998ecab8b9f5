"""Schema compatibility under load and under generated schemas, with `jsonschema` as the referee."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis_jsonschema import from_schema

from factories.schemas import BOOL, INT, MAYBE, NO, NULL, NUM, STR, YES, array, model, union, whole
from switchgear.domain.compatibility import Compatibility, Verdict, schema_within

#: As many as the profile says, times what the part needs; see tests/conftest.py.
pytestmark = pytest.mark.exhaustive
EXAMPLES = settings().max_examples


def test_a_huge_pair_is_answered_with_unknown() -> None:
    wide = model(**{f"field{number}": union(*(array(whole(minimum=n)) for n in range(50))) for number in range(200)})
    patterned = {"type": "object", "patternProperties": {f"^{number}": INT for number in range(5_000)}}
    many = model(**{f"field{number}": INT for number in range(5_000)})

    for producer, consumer in ((wide, {**wide}), ({"enum": list(range(20_000))}, INT), (many, patterned)):
        found = schema_within(producer, consumer)
        assert found.verdict is MAYBE
        assert "10000 comparisons" in found.reasons[0].message


def test_a_union_of_unions_that_explodes_is_unknown() -> None:
    factors = [union(*({"minimum": n} for n in range(10))) for _ in range(6)]

    assert schema_within({"allOf": [NUM, *factors]}, {"type": "number", "minimum": 3}).verdict is MAYBE


def test_deep_nesting_is_unknown_and_never_an_error() -> None:
    producer: Any = INT
    consumer: Any = NUM
    for _ in range(3_000):
        producer, consumer = array(producer), array(consumer)

    assert schema_within(producer, consumer).verdict is MAYBE
    assert schema_within({"const": _deep(3_000)}, array(NUM)).verdict is MAYBE


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


_numbers = st.one_of(st.integers(-4, 4), st.sampled_from([0.5, 2.5, -1.5]))
_names = st.sampled_from(["a", "b", "kind"])
_values = st.one_of(st.none(), st.booleans(), st.integers(-2, 3), st.sampled_from(["", "a", "bb", "ccc"]))


_texts = st.text(alphabet="abc", max_size=4)
_anything = st.recursive(
    _values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3), max_leaves=5
)


def _optional(**keywords: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keywords)


def _typed(name: str, **keywords: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return _optional(**keywords).map(lambda found: {"type": name, **found})


_bounds = {"minimum": _numbers, "maximum": _numbers, "exclusiveMinimum": _numbers, "exclusiveMaximum": _numbers}
_leaves = st.one_of(
    st.just({}),
    st.booleans(),
    st.sampled_from([NULL, BOOL, STR, INT, NUM, {"type": ["integer", "null"]}]),
    _typed("integer", multipleOf=st.integers(1, 4), **_bounds),
    _typed("number", multipleOf=st.sampled_from([1, 2, 0.5]), **_bounds),
    _typed(
        "string",
        minLength=st.integers(0, 3),
        maxLength=st.integers(0, 3),
        pattern=st.sampled_from(["^a", "b$", "^[ab]*$"]),
    ),
    st.lists(_values, min_size=1, max_size=4, unique_by=repr).map(lambda found: {"enum": found}),
    _values.map(lambda found: {"const": found}),
    _optional(minimum=_numbers, maxLength=st.integers(0, 3), minItems=st.integers(0, 2)),
)


def _grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    count = st.integers(0, 3)
    return st.one_of(
        _typed("array", items=inner, minItems=count, maxItems=count, uniqueItems=st.booleans()),
        _typed("array", prefixItems=st.lists(inner, min_size=1, max_size=2), items=inner, maxItems=count),
        _typed(
            "object",
            properties=st.dictionaries(_names, inner, max_size=3),
            required=st.lists(_names, max_size=2, unique=True),
            additionalProperties=inner,
        ),
        _typed(
            "object",
            patternProperties=st.dictionaries(st.sampled_from(["^a", "b$"]), inner, max_size=2),
            propertyNames=st.sampled_from([{"enum": ["a", "b"]}, {"maxLength": 1}, {"pattern": "^a"}]),
            minProperties=st.integers(0, 2),
            maxProperties=st.integers(0, 3),
            additionalProperties=inner,
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda found: {"anyOf": found}),
        st.lists(inner, min_size=1, max_size=2).map(lambda found: {"oneOf": found}),
        st.lists(inner, min_size=1, max_size=2).map(lambda found: {"allOf": found}),
        inner.map(lambda found: {"not": found}),
    )


schemas = st.recursive(_leaves, _grown, max_leaves=6)


_LOOSE = {"minimum", "exclusiveMinimum", "multipleOf", "required", "uniqueItems", "minLength", "pattern"}


@st.composite
def widened(draw: st.DrawFn, schema: Any) -> Any:
    """A schema that accepts everything *schema* does: by construction, not by the checker."""
    if not isinstance(schema, dict) or draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from([schema, True, {"anyOf": [draw(schemas), schema]}, {"allOf": [schema, True]}]))
    result = dict(schema)
    for keyword in sorted(result):
        value = result[keyword]
        if keyword in ("items", "additionalProperties") and "prefixItems" not in result and "properties" not in result:
            result[keyword] = draw(widened(value))
        elif keyword in ("properties",):
            result[keyword] = {name: draw(widened(child)) for name, child in value.items()}
        elif keyword in ("anyOf", "allOf", "prefixItems"):
            result[keyword] = [draw(widened(child)) for child in value]
        elif keyword in ("maximum", "maxLength", "maxItems", "maxProperties", "exclusiveMaximum"):
            result[keyword] = value + draw(st.integers(0, 2))
        elif keyword == "enum":
            result[keyword] = [*value, draw(_values)]
        elif keyword in _LOOSE and draw(st.booleans()):
            del result[keyword]
    return result


@st.composite
def changed(draw: st.DrawFn, schema: Any) -> Any:
    """*schema* with something different somewhere: mostly wider, often not."""
    wide = draw(widened(schema))
    if not isinstance(wide, dict) or draw(st.booleans()):
        return wide
    other = draw(schemas)
    return {**wide, **other} if isinstance(other, dict) and draw(st.booleans()) else {"anyOf": [wide, other]}


pairs = schemas.flatmap(lambda schema: st.tuples(st.just(schema), st.one_of(changed(schema), schemas)))
_slow = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def valid(schema: Any, value: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


@st.composite
def instances(draw: st.DrawFn, schema: Any) -> Any:
    """Values aimed at *schema*; the referee sorts out the misses.

    hypothesis-jsonschema 0.23.1 cannot draw objects with current Hypothesis releases, hence not `from_schema` here.
    """
    if not isinstance(schema, dict):
        return draw(_anything)
    for keyword in ("anyOf", "oneOf", "allOf"):
        if keyword in schema:
            return draw(instances(draw(st.sampled_from(schema[keyword]))))
    if "const" in schema or "enum" in schema:
        return draw(st.sampled_from(schema.get("enum", [schema.get("const")])))
    if schema.get("type") == "array":
        prefix, rest = schema.get("prefixItems", []), schema.get("items", True)
        count = draw(st.integers(schema.get("minItems", 0), max(schema.get("minItems", 0), schema.get("maxItems", 3))))
        return [draw(instances(prefix[index] if index < len(prefix) else rest)) for index in range(count)]
    if schema.get("type") == "object":
        chosen = [*schema.get("required", []), *draw(st.lists(st.sampled_from(["a", "b", "kind", "ab", "zz"])))]
        rest = schema.get("additionalProperties", next(iter(schema.get("patternProperties", {}).values()), True))
        return {name: draw(instances(schema.get("properties", {}).get(name, rest))) for name in chosen}
    typed = {"integer": st.integers(-6, 12), "number": _numbers | st.sampled_from([6, 0.25]), "string": _texts}
    return draw(typed.get(str(schema.get("type")), _anything))


def test_the_referee_accepts_many_of_the_values_aimed_at_a_schema() -> None:
    hits = []

    @settings(max_examples=2 * EXAMPLES, deadline=None, database=None, suppress_health_check=_slow)
    @given(pair=schemas.flatmap(lambda schema: st.tuples(st.just(schema), instances(schema))))
    def aim(pair: tuple[Any, Any]) -> None:
        hits.append(valid(*pair))

    aim()
    assert hits.count(True) > len(hits) / 4


def _judged(producer: Any, consumer: Any) -> Verdict:
    return schema_within(producer, consumer, open_world=True).verdict


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=_slow)
@given(pair=pairs, data=st.data())
def test_what_is_called_compatible_is_never_refused_by_the_referee(pair: tuple[Any, Any], data: st.DataObject) -> None:
    producer, consumer = pair
    assume(_judged(producer, consumer) is YES)

    for value in data.draw(st.lists(instances(producer), min_size=1, max_size=8)):
        assert not valid(producer, value) or valid(consumer, value), value


#: Types that hypothesis-jsonschema can draw itself.
_flat_leaves = _leaves.filter(lambda found: isinstance(found, dict) and "type" in found)
_flat = st.recursive(
    _flat_leaves,
    lambda inner: (
        _typed("array", items=inner, minItems=st.integers(0, 2), uniqueItems=st.booleans())
        | st.lists(inner, min_size=1, max_size=3).map(lambda found: {"anyOf": found})
    ),
    max_leaves=5,
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=_slow)
@given(pair=_flat.flatmap(lambda schema: st.tuples(st.just(schema), changed(schema))), data=st.data())
def test_values_drawn_by_another_library_do_not_refute_a_proof(pair: tuple[Any, Any], data: st.DataObject) -> None:
    producer, consumer = pair
    assume(_judged(producer, consumer) is YES)

    assert valid(consumer, data.draw(from_schema(producer)))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=_slow)
@given(pair=pairs, value=_anything)
def test_no_value_at_all_refutes_what_is_called_compatible(pair: tuple[Any, Any], value: Any) -> None:
    producer, consumer = pair

    assert _judged(producer, consumer) is not YES or not valid(producer, value) or valid(consumer, value)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=_slow)
@given(pair=schemas.flatmap(lambda schema: st.tuples(st.just(schema), widened(schema))))
def test_what_is_wider_by_construction_is_never_called_incompatible(pair: tuple[Any, Any]) -> None:
    producer, consumer = pair

    assert _judged(producer, consumer) is not NO


_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
_keywords = st.sampled_from(
    sorted(
        {"type", "properties", "required", "additionalProperties", "patternProperties", "propertyNames", "items"}
        | {"prefixItems", "minItems", "maxItems", "uniqueItems", "enum", "const", "minimum", "exclusiveMaximum"}
        | {"multipleOf", "minLength", "pattern", "format", "allOf", "not", "$ref", "$defs", "minProperties", "default"}
        | {"contentSchema", "contains", "if", "$id", "anyOf", "oneOf"}
    )
)
_odd = st.recursive(
    st.one_of(_json, st.sampled_from(["#", "#/$defs/a", "string", "object", "array", ["array", "object"]])),
    lambda inner: st.dictionaries(_keywords, inner, max_size=5) | st.lists(inner, max_size=3),
    max_leaves=12,
)


_steps = st.sampled_from([0.5, 1, 1.5, 2, 2.5, 3])
_ranges = st.one_of(*(_typed(name, multipleOf=_steps, **_bounds) for name in ("integer", "number")))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=_slow)
@given(pair=_ranges.flatmap(lambda schema: st.tuples(st.just(schema), st.one_of(_ranges, widened(schema)))))
def test_ranges_and_multiples_are_judged_as_a_count_of_their_numbers_does(pair: tuple[Any, Any]) -> None:
    producer, consumer = pair
    near = [place / 8 for place in range(-120, 121)]  # bounds lie within 4, and halves, so a refusal shows within 15
    is_refused = any(valid(producer, value) and not valid(consumer, value) for value in near)

    assert _judged(producer, consumer) in ((NO, MAYBE) if is_refused else (YES, MAYBE))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=_slow)
@given(producer=_odd, consumer=_odd, open_world=st.booleans())
def test_no_json_value_makes_it_raise(producer: Any, consumer: Any, open_world: bool) -> None:
    assert isinstance(schema_within(producer, consumer, open_world=open_world), Compatibility)
