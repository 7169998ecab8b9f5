"""What a producer may send, taken apart into shapes of one JSON type each.

References, unions, type lists and small ranges are unfolded here, so that the comparison only ever meets one shape at
a time. Everything a producer's schema says is a conjunction of nodes; a conjunction is unfolded into a disjunction of
shapes. What is not understood is left out, which makes a shape larger than it should be: it is then not `exact`, and
nothing is called `incompatible` because of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from switchgear.domain.compatibility.document import EVERY_ATOM, MISSING, Document, LimitReached, Reading, is_integer
from switchgear.domain.compatibility.evaluation import accepts, all_of

#: A conjunction of schema nodes: a value is sent only if it is valid against each.
Conjunction = tuple[Any, ...]

#: Unions inside unions unfold to their product; more than this is given up.
_TERM_LIMIT: Final = 256
#: A range of at most so many integers is unfolded into its values.
_RANGE_LIMIT: Final = 256


class Kind(StrEnum):
    """The type of a shape's values."""

    VALUES = "values"  #: a finite list, of any types
    INTEGER = "integer"
    NUMBER = "number"  #: fractions and integers
    STRING = "string"
    ARRAY = "array"
    OBJECT = "object"

    @property
    def atoms(self) -> frozenset[str]:
        """The types its values have (not for `VALUES`)."""
        return frozenset({"integer", "fraction"}) if self is Kind.NUMBER else frozenset({str(self)})

    @property
    def phrase(self) -> str:
        """The kind with its article, for messages."""
        return f"an {self}" if self in (Kind.INTEGER, Kind.ARRAY, Kind.OBJECT) else f"a {self}"


@dataclass(frozen=True, slots=True)
class Shape:
    """Values of one type that a producer may send.

    Attributes:
        kind: Their type.
        nodes: The nodes every one of them is valid against.
        readings: The same nodes, read.
        exact: There is nothing else that narrows them.
        values: All of them, when the kind is `VALUES`.
    """

    kind: Kind
    nodes: Conjunction
    readings: tuple[Reading, ...]
    exact: bool = True
    values: tuple[Any, ...] = ()

    def smallest(self, keyword: str) -> Any:
        """The least value of *keyword* among the nodes, `None` without one: the bound that counts for a maximum."""
        return min((r.usable[keyword] for r in self.readings if keyword in r.usable), default=None)

    def largest(self, keyword: str) -> Any:
        """The greatest value of *keyword* among the nodes, `None` without one: the bound that counts for a minimum."""
        return max((r.usable[keyword] for r in self.readings if keyword in r.usable), default=None)

    @property
    def endless(self) -> bool:
        """It surely has more values than any list."""
        if self.kind is Kind.STRING:
            return not self.all("pattern") and self.smallest("maxLength") is None
        if self.kind not in (Kind.INTEGER, Kind.NUMBER):
            return False
        bounds = interval(self.readings, integers=self.kind is Kind.INTEGER)
        dense = self.kind is Kind.NUMBER and not self.all("multipleOf")
        return dense or bounds.low is None or bounds.high is None

    def all(self, keyword: str) -> list[Any]:
        """Every value of *keyword* among the nodes."""
        return [r.usable[keyword] for r in self.readings if keyword in r.usable]


@dataclass(frozen=True, slots=True)
class Interval:
    """A range of numbers; `None` is no bound.

    Attributes:
        low: Lower bound.
        low_open: The bound itself is excluded.
        high: Upper bound.
        high_open: The bound itself is excluded.
    """

    low: Any
    low_open: bool
    high: Any
    high_open: bool

    @property
    def empty(self) -> bool:
        """No number lies in it."""
        if self.low is None or self.high is None:
            return False
        return bool(self.low > self.high or (self.low == self.high and (self.low_open or self.high_open)))


def interval(readings: tuple[Reading, ...], *, integers: bool) -> Interval:
    """The range that all *readings* allow; its bounds are whole and included when only *integers* matter."""
    lows = [(r.usable["minimum"], False) for r in readings if "minimum" in r.usable]
    lows += [(r.usable["exclusiveMinimum"], True) for r in readings if "exclusiveMinimum" in r.usable]
    highs = [(r.usable["maximum"], True) for r in readings if "maximum" in r.usable]
    highs += [(r.usable["exclusiveMaximum"], False) for r in readings if "exclusiveMaximum" in r.usable]
    low, low_open = max(lows, default=(None, False))
    high, high_closed = min(highs, default=(None, True))
    if integers and low is not None:
        low, low_open = (math.floor(low) + 1 if low_open else math.ceil(low)), False
    if integers and high is not None:
        high, high_closed = (math.floor(high) if high_closed else math.ceil(high) - 1), True
    return Interval(low, low_open, high, not high_closed)


class Unfolder:
    """Turns conjunctions of one document into shapes."""

    def __init__(self, document: Document, *, open_world: bool) -> None:
        self.document = document
        self.open_world = open_world
        self._unfolded: dict[frozenset[int], tuple[Shape, ...]] = {}

    def shapes(self, nodes: Conjunction) -> tuple[Shape, ...]:
        """Every value valid against all *nodes* is in one of these shapes; none means there is no such value.

        Raises:
            LimitReached: Too many combinations, or no comparison left.
        """
        key = frozenset(id(node) for node in nodes)
        if key not in self._unfolded:
            self._unfolded[key] = tuple(self._unfold(nodes))
        return self._unfolded[key]

    def _unfold(self, nodes: Conjunction) -> Iterator[Shape]:
        for count, (facets, exact) in enumerate(self._terms(list(nodes), (), True)):
            if count >= _TERM_LIMIT:
                raise LimitReached
            readings = tuple(self.document.read(facet) for facet in facets)
            yield from self._by_type(facets, readings, exact)

    def _terms(self, pending: list[Any], facets: Conjunction, exact: bool) -> Iterator[tuple[Conjunction, bool]]:
        choices: list[list[Any]] = []
        while pending:
            self.document.budget.spend()
            node, pending = pending[0], pending[1:]
            reading = self.document.read(node)
            if reading.never:
                return
            if any(node is facet for facet in facets):
                # said already; a reference that only leads back to itself says nothing at all
                exact = exact and "$ref" not in reading.usable
                continue
            facets = (*facets, node)
            exact = exact and not reading.opaque and "not" not in reading.usable
            if "$ref" in reading.usable:
                target = self.document.resolve(reading.usable["$ref"])
                exact = exact and target is not MISSING
                pending = [*pending, *([] if target is MISSING else [target])]
            pending = [*pending, *reading.usable.get("allOf", ())]
            choices += [reading.usable[keyword] for keyword in ("anyOf", "oneOf") if keyword in reading.usable]
        if not choices:
            yield facets, exact
            return
        yield from self._chosen(choices, facets, exact)

    def _chosen(self, choices: list[list[Any]], facets: Conjunction, exact: bool) -> Iterator[tuple[Conjunction, bool]]:
        first, rest = choices[0], choices[1:]
        for alternative in first:
            for chosen, still_exact in self._terms([alternative], facets, exact):
                if rest:
                    yield from self._chosen(rest, chosen, still_exact)
                else:
                    yield chosen, still_exact

    def _by_type(self, facets: Conjunction, readings: tuple[Reading, ...], exact: bool) -> Iterator[Shape]:
        atoms = EVERY_ATOM.intersection(*(reading.atoms for reading in readings))
        listed: list[Any] = [r.usable["enum"] for r in readings if "enum" in r.usable]
        listed += [(r.usable["const"],) for r in readings if "const" in r.usable]
        if listed:
            shortest = min(listed, key=len)
            yield from self._values(facets, readings, tuple(shortest))
            return
        few = ((None,) if "null" in atoms else ()) + ((False, True) if "boolean" in atoms else ())
        yield from self._values(facets, readings, few)
        if "integer" in atoms:
            yield from self._numbers(facets, readings, exact, whole="fraction" not in atoms)
        for kind in (Kind.STRING, Kind.ARRAY, Kind.OBJECT):
            if kind in atoms:
                yield from self._containers(Shape(kind, facets, readings, exact))

    def _values(self, facets: Conjunction, readings: tuple[Reading, ...], values: tuple[Any, ...]) -> Iterator[Shape]:
        sure: list[Any] = []
        unsure: list[Any] = []
        for value in values:
            answer = all_of(accepts(self.document, facet, value) for facet in facets)
            if answer is not False:
                (sure if answer else unsure).append(value)
        if sure:
            yield Shape(Kind.VALUES, facets, readings, True, tuple(sure))
        if unsure:
            yield Shape(Kind.VALUES, facets, readings, False, tuple(unsure))

    def _numbers(
        self, facets: Conjunction, readings: tuple[Reading, ...], exact: bool, *, whole: bool
    ) -> Iterator[Shape]:
        divisors = [reading.usable["multipleOf"] for reading in readings if "multipleOf" in reading.usable]
        whole = whole or any(is_integer(divisor) for divisor in divisors)
        bounds = interval(readings, integers=whole)
        if bounds.empty:
            return
        bounded = bounds.low is not None and bounds.high is not None
        step = max((int(divisor) for divisor in divisors if is_integer(divisor)), default=1)
        if whole and bounded and (bounds.high - bounds.low) // step < _RANGE_LIMIT:
            steps = range(-(-bounds.low // step) * step, bounds.high + 1, step)
            yield from self._values(facets, readings, tuple(steps))
            return
        if bounded and bounds.low == bounds.high:
            yield from self._values(facets, readings, (bounds.low,))
            return
        sparse = bounded and any(divisor != step for divisor in divisors)  # perhaps none lies in it
        yield Shape(Kind.INTEGER if whole else Kind.NUMBER, facets, readings, exact and not sparse)

    def _containers(self, shape: Shape) -> Iterator[Shape]:
        lower, upper, nothing = _SIZES[shape.kind]
        least, most = shape.largest(lower), shape.smallest(upper)
        if least is not None and most is not None and least > most:
            return
        if most == 0:
            yield from self._values(shape.nodes, shape.readings, (nothing,))
        else:
            yield shape


_SIZES: Final[dict[Kind, tuple[str, str, Any]]] = {
    Kind.STRING: ("minLength", "maxLength", ""),
    Kind.ARRAY: ("minItems", "maxItems", []),
    Kind.OBJECT: ("minProperties", "maxProperties", {}),
}
