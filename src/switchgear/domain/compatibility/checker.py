"""The comparison itself: every shape of the producer against the consumer's schema."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from switchgear.domain.compatibility.arrays import array_fits
from switchgear.domain.compatibility.document import (
    COMPARISON_LIMIT,
    MISSING,
    Budget,
    Document,
    LimitReached,
    Reading,
    shown,
)
from switchgear.domain.compatibility.evaluation import accepts, atom_of
from switchgear.domain.compatibility.objects import Sent, object_fits
from switchgear.domain.compatibility.scalars import number_fits, string_fits
from switchgear.domain.compatibility.shapes import Conjunction, Kind, Shape, Unfolder
from switchgear.domain.compatibility.verdict import COMPATIBLE, Compatibility, Verdict, every, incompatible, unknown
from switchgear.domain.compatibility.witness import witness

#: Levels of nested values followed; deeper is `unknown`.
_DEPTH: Final = 40
#: Levels of nested properties looked at to tell two union members apart.
_TAG_DEPTH: Final = 2
#: A tag with more values than this is not split.
_TAG_LIMIT: Final = 32

#: Values of an `enum` that a message may name.
_SHOWN: Final = 20

Trail = frozenset[int]


def schema_within(
    producer: Mapping[str, Any], consumer: Mapping[str, Any], *, open_world: bool = False
) -> Compatibility:
    """Is every JSON value that *producer* allows accepted by *consumer*?

    Args:
        producer: Pydantic *serialization* schema of what is sent (JSON Schema 2020-12).
        consumer: Pydantic *validation* schema of what is accepted.
        open_world: How an object of the producer is read that declares properties but not `additionalProperties`.
            `False`: it sends only those (the engine drops undeclared fields at the boundary), and those with a
            `default` always (so Pydantic serializes). `True`: JSON Schema to the letter, anything may come along.

    Returns:
        The verdict with its reasons. Never raises, whatever the two JSON values are; more than `COMPARISON_LIMIT`
        comparisons are answered with `unknown`.

    Source: DESIGN §3 "Compatibility".
    """
    try:
        found = Checker(producer, consumer, open_world=open_world).compare((producer,), consumer)
        return Compatibility(found.verdict, tuple(sorted(found.reasons, key=lambda reason: reason.pointer.count("/"))))
    except LimitReached:
        return unknown(f"The schemas are too large to be compared within {COMPARISON_LIMIT} comparisons.")
    except RecursionError:
        return unknown("The schemas are nested too deeply to be compared.")
    except (ValueError, OverflowError):  # a number with more digits than Python converts to text or to a float
        return unknown("The schemas hold a value that cannot be compared.")


class Checker:
    """One comparison of two documents.

    A pair that comes up again while it is being compared is taken to fit: recursive types are compared by
    coinduction, which is sound because a pair comes up only one level deeper in the value.
    """

    def __init__(self, producer: Any, consumer: Any, *, open_world: bool) -> None:
        budget = Budget()
        self.producer = Document(producer, budget)
        self.consumer = Document(consumer, budget)
        self.unfolder = Unfolder(self.producer, open_world=open_world)
        self._budget = budget
        self._open: dict[tuple[frozenset[int], int], int] = {}
        self._done: dict[tuple[frozenset[int], int], Compatibility] = {}
        self._sent: dict[int, tuple[Shape, Sent]] = {}
        #: least depth of an open pair that was taken to fit since the current pair began
        self._assumed: float = math.inf

    def compare(self, nodes: Conjunction, node: Any) -> Compatibility:
        """Every value valid against all producer *nodes*, against the consumer's *node*.

        Raises:
            LimitReached: The budget is used up.
        """
        if node is True:
            return COMPATIBLE
        key = (frozenset(id(each) for each in nodes), id(node))
        if key in self._done:
            return self._done[key]
        if key in self._open:
            self._assumed = min(self._assumed, self._open[key])
            return COMPATIBLE
        depth = len(self._open)
        if depth > _DEPTH:
            return unknown(f"Values nested more than {_DEPTH} levels deep are not compared.")
        outer, self._assumed = self._assumed, math.inf
        self._open[key] = depth
        result = every(self.fits(shape, node) for shape in self.unfolder.shapes(nodes))
        del self._open[key]
        if self._assumed >= depth:  # it rests on nothing outside itself
            self._done[key] = result
            self._assumed = math.inf
        self._assumed = min(outer, self._assumed)
        return result

    def sent(self, shape: Shape) -> Sent:
        """The properties of an object shape, worked out once."""
        if id(shape) not in self._sent:
            self._sent[id(shape)] = (shape, Sent(self, shape))  # holding the shape keeps its id its own
        return self._sent[id(shape)][1]

    def sends_nothing(self, nodes: Conjunction) -> bool:
        """No value is valid against all of the producer's *nodes*."""
        return bool(nodes) and not self.unfolder.shapes(nodes)

    def fits(self, shape: Shape, node: Any, trail: Trail = frozenset()) -> Compatibility:
        """One shape against one consumer node; *trail* holds the consumer nodes passed at this level."""
        self._budget.spend()
        if id(node) in trail:
            return unknown("The consumer's schema refers to itself without end.")
        if self.producer.root is self.consumer.root and any(node is each for each in shape.nodes):
            return COMPATIBLE  # the same node of the same document
        reading = self.consumer.read(node)
        if shape.kind is Kind.VALUES:
            result = every(self._value_fits(value, node) for value in shape.values)
        elif not shape.kind.atoms <= reading.atoms or reading.never:
            result = incompatible(
                f"The producer may send {shape.kind.phrase}; the consumer accepts {accepted(reading)}."
            )
        else:
            result = every(self._parts(shape, node, reading, trail | {id(node)}))
        return result if shape.exact else result.doubted()

    def _value_fits(self, value: Any, node: Any) -> Compatibility:
        answer = accepts(self.consumer, node, value)
        if answer:
            return COMPATIBLE
        says = f"The producer may send {shown(value)}; the consumer accepts {accepted(self._followed(node))}."
        return incompatible(says) if answer is False else unknown(says + " It cannot be decided whether it does.")

    def _followed(self, node: Any) -> Reading:
        """*node*'s reading, through references, for a message."""
        reading = self.consumer.read(node)
        for _ in range(10):
            if "$ref" not in reading.usable or (target := self.consumer.resolve(reading.usable["$ref"])) is MISSING:
                break
            reading = self.consumer.read(target)
        return reading

    def _parts(self, shape: Shape, node: Any, reading: Reading, trail: Trail) -> Iterator[Compatibility]:
        usable = reading.usable
        if "enum" in usable or "const" in usable:
            yield self._listed(shape, node, reading)
        if "$ref" in usable:
            target = self.consumer.resolve(usable["$ref"])
            if target is MISSING:
                yield unknown(f"The consumer's reference {shown(usable['$ref'])} leads nowhere.")
            else:
                yield self.fits(shape, target, trail)
        for each in usable.get("allOf", ()):
            yield self.fits(shape, each, trail)
        if "anyOf" in usable:
            yield self._one_fits(shape, usable["anyOf"], trail)
        if "oneOf" in usable:
            yield self._exactly_one_fits(shape, usable["oneOf"], trail)
        if "not" in usable and not self.apart(shape, usable["not"]):
            yield unknown("The consumer refuses what its keyword not describes; whether that is sent is not decided.")
        if shape.kind is Kind.ARRAY:
            yield from array_fits(self, shape, reading)
        elif shape.kind is Kind.OBJECT:
            yield from object_fits(self, shape, reading)
        else:
            yield from _SCALARS[shape.kind](shape, reading)
        for keyword in reading.opaque_for("number" if shape.kind is Kind.INTEGER else str(shape.kind)):
            yield unknown(f"The consumer's keyword {shown(keyword)} is not understood.")

    def _listed(self, shape: Shape, node: Any, reading: Reading) -> Compatibility:
        """A shape of many values against a list of few."""
        says = f"The producer may send {shape.kind.phrase}; the consumer accepts only {accepted(reading)}."
        if shape.endless or witness(self, shape, [node]) is not None:
            return incompatible(says)
        return unknown(says)

    def _one_fits(self, shape: Shape, alternatives: list[Any], trail: Trail) -> Compatibility:
        """A shape against a union: one member must take all of it, or members must share it out by a tag."""
        near = [each for each in alternatives if not self.apart(shape, each)]
        results = []
        for each in near:
            results.append(self.fits(shape, each, trail))
            if results[-1].verdict is Verdict.COMPATIBLE:
                return COMPATIBLE
        if not near:
            alike = [each for each in alternatives if not self.consumer_atoms(each).isdisjoint(shape.kind.atoms)]
            result = self.fits(shape, alike[0], trail) if len(alike) == 1 else COMPATIBLE
            return result if result.verdict is Verdict.INCOMPATIBLE else self._none_fits(shape, alternatives)
        if len(near) == 1:
            return results[0]
        parts = self._by_tag(shape, near)
        if parts:
            return every(self._one_fits(part, near, trail) for part in parts)
        example = witness(self, shape, near)
        if example is not None:
            return incompatible(
                f"The producer may send {shown(example[0])}; none of the consumer's alternatives accepts that."
            )
        return Compatibility(Verdict.UNKNOWN, every(results).reasons)

    def _none_fits(self, shape: Shape, alternatives: list[Any]) -> Compatibility:
        choices = dict.fromkeys(accepted(self._followed(each)) for each in alternatives)
        return incompatible(f"The producer may send {shape.kind.phrase}; the consumer accepts {' or '.join(choices)}.")

    def _exactly_one_fits(self, shape: Shape, alternatives: list[Any], trail: Trail) -> Compatibility:
        result = self._one_fits(shape, alternatives, trail)
        if result.verdict is not Verdict.COMPATIBLE:
            return result
        near = [each for each in alternatives if not self.apart(shape, each)]
        if len(near) > 1:
            parts = self._by_tag(shape, near)
            if parts:
                return every(self._exactly_one_fits(part, near, trail) for part in parts)
            return unknown("The consumer accepts exactly one of several alternatives; more than one may match.")
        return COMPATIBLE

    def consumer_atoms(self, node: Any, trail: Trail = frozenset()) -> frozenset[str]:
        """The types *node* can let through: at least those it does."""
        reading = self.consumer.read(node)
        atoms = frozenset() if reading.never else reading.atoms
        if id(node) in trail:
            return atoms
        self._budget.spend()
        trail |= {id(node)}
        if "const" in reading.usable:
            atoms &= {atom_of(reading.usable["const"])}
        if "enum" in reading.usable:
            atoms &= {atom_of(value) for value in reading.usable["enum"]}
        target = self.consumer.resolve(reading.usable["$ref"]) if "$ref" in reading.usable else MISSING
        for each in (*reading.usable.get("allOf", ()), *(() if target is MISSING else (target,))):
            atoms &= self.consumer_atoms(each, trail)
        for keyword in ("anyOf", "oneOf"):
            if keyword in reading.usable:
                members = (self.consumer_atoms(each, trail) for each in reading.usable[keyword])
                atoms &= frozenset().union(*members)
        return atoms

    def apart(self, shape: Shape, node: Any, depth: int = 0, trail: Trail = frozenset()) -> bool:
        """No value of *shape* is accepted by the consumer's *node*: proven. `False` proves nothing."""
        self._budget.spend()
        if shape.kind is Kind.VALUES:
            return all(accepts(self.consumer, node, value) is False for value in shape.values)
        if id(node) in trail or depth > _TAG_DEPTH:
            return False
        if self.consumer_atoms(node).isdisjoint(shape.kind.atoms):
            return True
        trail |= {id(node)}
        usable = self.consumer.read(node).usable
        target = self.consumer.resolve(usable["$ref"]) if "$ref" in usable else MISSING
        must = (*usable.get("allOf", ()), *(() if target is MISSING else (target,)))
        if any(self.apart(shape, each, depth, trail) for each in must):
            return True
        for keyword in ("anyOf", "oneOf"):
            if keyword in usable and all(self.apart(shape, each, depth, trail) for each in usable[keyword]):
                return True
        return shape.kind is Kind.OBJECT and self._tags_apart(shape, usable, depth)

    def _tags_apart(self, shape: Shape, usable: Mapping[str, Any], depth: int) -> bool:
        sent, required = self.sent(shape), usable.get("required", ())
        if any(sent.nodes(name) is None for name in required):
            return True
        for name, child in usable.get("properties", {}).items():
            nodes = sent.nodes(name)
            if nodes and (name in sent.required or name in required):
                shapes = self.unfolder.shapes(nodes)
                if all(self.apart(each, child, depth + 1) for each in shapes):
                    return True
        return False

    def _by_tag(self, shape: Shape, alternatives: list[Any]) -> list[Shape]:
        """*shape* cut along a property with few values that the *alternatives* are told apart by; empty if none."""
        if shape.kind is not Kind.OBJECT:
            return []
        sent = self.sent(shape)
        tags = {name for each in alternatives for name in self._followed(each).usable.get("properties", {})}
        for name in sorted(tags & sent.required):
            shapes = self.unfolder.shapes(sent.nodes(name) or ())
            values = [value for each in shapes for value in each.values]
            if 1 < len(values) <= _TAG_LIMIT and all(each.kind is Kind.VALUES for each in shapes):
                return [self._with_tag(shape, name, value) for value in values]
        return []

    def _with_tag(self, shape: Shape, name: str, value: Any) -> Shape:
        node = self.producer.intern({"properties": {name: {"const": value}}})
        return Shape(shape.kind, (*shape.nodes, node), (*shape.readings, self.producer.read(node)), shape.exact)


_SCALARS: Final[Mapping[Kind, Callable[[Shape, Reading], Iterator[Compatibility]]]] = {
    Kind.INTEGER: number_fits,
    Kind.NUMBER: number_fits,
    Kind.STRING: string_fits,
}


def accepted(reading: Reading) -> str:
    """What a consumer node accepts, in a few words."""
    if reading.never:
        return "nothing here"
    if "const" in reading.usable:
        return shown(reading.usable["const"])
    if "enum" in reading.usable:
        return "one of " + shown(list(reading.usable["enum"][:_SHOWN]))  # thousands would be cut off anyhow
    names = reading.usable.get("type")
    if names:
        limits = {k: v for k, v in reading.usable.items() if k != "type" and isinstance(v, int | float | str)}
        text = names if isinstance(names, str) else " or ".join(names)
        return text + (f" with {shown(limits)}" if limits else "")
    for keyword in ("anyOf", "oneOf"):
        if keyword in reading.usable:
            return f"one of {len(reading.usable[keyword])} alternatives"
    return "only some values here"
