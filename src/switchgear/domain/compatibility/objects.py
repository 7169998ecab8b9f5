"""Objects: which properties are sent, which are required, and what each may hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from switchgear.domain.compatibility.document import Reading, shown
from switchgear.domain.compatibility.evaluation import accepts, children_of, matches
from switchgear.domain.compatibility.shapes import Conjunction, Kind, Shape
from switchgear.domain.compatibility.verdict import Compatibility, incompatible, unknown

if TYPE_CHECKING:
    from switchgear.domain.compatibility.checker import Checker

_STRING: Mapping[str, Any] = {"type": "string"}


class Sent:
    """The properties an object shape may send.

    Attributes:
        names: Those it declares, or must send.
        required: Those in every object.
        closed: No other property is sent, except under `patterns`.
        patterns: Name patterns and what the properties under them hold.
        keys: What every property name is valid against.
    """

    def __init__(self, checker: Checker, shape: Shape) -> None:
        self._checker = checker
        self._shape = shape
        document, open_world = checker.producer, checker.unfolder.open_world
        self.required = {name for names in shape.all("required") for name in names}
        self.names = self.required | {name for properties in shape.all("properties") for name in properties}
        self.patterns: dict[str, Conjunction] = {}
        for patterns in shape.all("patternProperties"):
            for pattern, node in patterns.items():
                self.patterns[pattern] = (*self.patterns.get(pattern, ()), node)
        rest = shape.all("additionalProperties")
        declares = bool(shape.all("properties") or shape.all("patternProperties"))
        self.closed = (declares and not rest and not open_world) or checker.sends_nothing(tuple(rest))
        self.keys: Conjunction = (document.intern(_STRING), *shape.all("propertyNames"))
        if not open_world:
            # Pydantic always sends a field that has a default, although its schema does not call it required
            self.required |= {name for name in self.names if any(_has_default(node) for node in self._declared(name))}
        self._list_keys()

    def _declared(self, name: str) -> list[Any]:
        return [properties[name] for properties in self._shape.all("properties") if name in properties]

    def _list_keys(self) -> None:
        """Where names are limited to a list (`dict[Literal[...], X]`), they are declared ones."""
        if self._shape.all("propertyNames") and not self.closed:
            keys = self._checker.unfolder.shapes(self.keys)
            if all(key.kind is Kind.VALUES for key in keys):
                self.names |= {str(value) for key in keys for value in key.values}
                self.closed = True

    def nodes(self, name: str) -> Conjunction | None:
        """What the property *name* holds when it is sent; `None` when it never is."""
        shape, document = self._shape, self._checker.producer
        if any(accepts(document, keys, name) is False for keys in shape.all("propertyNames")):
            return None
        if self.closed and name not in self.names and not self._under_a_pattern(name):
            return None
        nodes = tuple(node for reading in shape.readings for node in children_of(document, reading.usable, name)[0])
        return None if self._checker.sends_nothing(nodes) else nodes

    def _under_a_pattern(self, name: str) -> bool:
        for pattern in self.patterns:
            self._checker.producer.budget.spend()
            if matches(pattern, name) is not False:
                return True
        return False

    @property
    def others(self) -> Conjunction:
        """What a property holds that is neither declared nor under a pattern."""
        return tuple(self._shape.all("additionalProperties"))

    @property
    def most(self) -> int | None:
        """The most properties one object has; `None` without a bound."""
        bounds = [self._shape.smallest("maxProperties")]
        if self.closed and not self.patterns:
            bounds.append(sum(self.nodes(name) is not None for name in self.names))
        return min((bound for bound in bounds if bound is not None), default=None)

    @property
    def least(self) -> int:
        """The fewest properties one object has."""
        return max(len(self.required), self._shape.largest("minProperties") or 0)


def _has_default(node: Any) -> bool:
    return isinstance(node, Mapping) and "default" in node


def object_fits(checker: Checker, shape: Shape, consumer: Reading) -> Iterator[Compatibility]:
    """One object shape against one consumer node."""
    sent = checker.sent(shape)
    if any(sent.nodes(name) is None for name in sent.required):
        return  # a required property that can have no value: there is no such object
    for name in consumer.usable.get("required", ()):
        if name not in sent.required:
            verb = "never sends" if sent.nodes(name) is None else "may leave out"
            yield incompatible(f"The producer {verb} {shown(name)}; the consumer requires it.").under(name)
    yield from _count_fits(sent, consumer)
    yield from _names_fit(checker, sent, consumer)
    declared = consumer.usable.get("properties", {})
    candidates = sent.names if sent.closed and not sent.patterns else sent.names | set(declared)
    for name in sorted(candidates):
        nodes = sent.nodes(name)
        if nodes is not None:
            yield from _property_fits(checker, name, nodes, consumer)
    if not sent.closed:
        yield from _others_fit(checker, sent, consumer)
    for pattern, nodes in sent.patterns.items():
        yield from _pattern_fits(checker, pattern, nodes, sent, consumer)


def _count_fits(sent: Sent, consumer: Reading) -> Iterator[Compatibility]:
    least, most = consumer.usable.get("minProperties", 0), consumer.usable.get("maxProperties")
    if sent.least < least:
        yield incompatible(
            f"The producer may send an object of {sent.least} properties; the consumer accepts at least {least}."
        )
    if most is not None and (sent.most is None or sent.most > most):
        count = "any number of" if sent.most is None else str(sent.most)
        yield incompatible(
            f"The producer may send an object of {count} properties; the consumer accepts at most {most}."
        )


def _names_fit(checker: Checker, sent: Sent, consumer: Reading) -> Iterator[Compatibility]:
    if "propertyNames" not in consumer.usable:
        return
    accepted = consumer.usable["propertyNames"]
    for name in sorted(sent.names):
        if sent.nodes(name) is not None:
            answer = accepts(checker.consumer, accepted, name)
            if answer is False:
                yield incompatible(f"The producer may send a property {shown(name)}; the consumer refuses its name.")
            elif answer is None:
                yield unknown(f"It cannot be decided whether the consumer accepts the property name {shown(name)}.")
    if not sent.closed:
        yield checker.compare(sent.keys, accepted).under("*")
    for pattern in sent.patterns:
        key = checker.producer.intern({"pattern": pattern})
        yield checker.compare((*sent.keys, key), accepted).under("*")


def _property_fits(checker: Checker, name: str, nodes: Conjunction, consumer: Reading) -> Iterator[Compatibility]:
    children, sure = children_of(checker.consumer, consumer.usable, name)
    for child in children:
        if child is False:
            yield incompatible(
                f"The producer may send {shown(name)}; the consumer accepts no property of that name."
            ).under(name)
        else:
            yield checker.compare(nodes, child).under(name)
    if not sure:
        yield unknown(f"It cannot be decided which of the consumer's name patterns {shown(name)} matches.").under(name)


def _others_fit(checker: Checker, sent: Sent, consumer: Reading) -> Iterator[Compatibility]:
    """Properties of any other name."""
    patterns = consumer.usable.get("patternProperties", {})
    # then perhaps no name is left that reaches the consumer's node in question
    narrowed = bool(sent.patterns) or len(sent.keys) > 1
    if "additionalProperties" in consumer.usable:
        result = checker.compare(sent.others, consumer.usable["additionalProperties"]).under("*")
        yield result.doubted() if narrowed or patterns else result
    for node in patterns.values():
        result = checker.compare(sent.others, node).under("*")
        yield result.doubted() if narrowed else result


def _pattern_fits(
    checker: Checker, pattern: str, nodes: Conjunction, sent: Sent, consumer: Reading
) -> Iterator[Compatibility]:
    """Properties whose name matches one of the producer's patterns."""
    patterns = consumer.usable.get("patternProperties", {})
    for other, node in patterns.items():
        result = checker.compare(nodes, node).under("*")
        yield result if other == pattern and len(sent.patterns) == 1 else result.doubted()
    if pattern not in patterns and "additionalProperties" in consumer.usable:
        result = checker.compare(nodes, consumer.usable["additionalProperties"]).under("*")
        yield result.doubted() if patterns or len(sent.patterns) > 1 or len(sent.keys) > 1 else result
