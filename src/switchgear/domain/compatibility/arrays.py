"""Arrays: length, uniqueness, and the items at each position."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from switchgear.domain.compatibility.document import Reading
from switchgear.domain.compatibility.shapes import Conjunction, Shape
from switchgear.domain.compatibility.verdict import Compatibility, incompatible, unknown

if TYPE_CHECKING:
    from switchgear.domain.compatibility.checker import Checker


def item_nodes(shape: Shape, index: int) -> Conjunction:
    """What the producer's nodes say about the item at *index* (from 0)."""
    nodes = []
    for reading in shape.readings:
        prefix = reading.usable.get("prefixItems", ())
        if index < len(prefix):
            nodes.append(prefix[index])
        elif "items" in reading.usable:
            nodes.append(reading.usable["items"])
    return tuple(nodes)


def prefix_length(shape: Shape) -> int:
    """The first position from which on all items are described alike."""
    return max((len(prefix) for prefix in shape.all("prefixItems")), default=0)


def longest(checker: Checker, shape: Shape) -> int | None:
    """The most items the producer may send; `None` without a bound."""
    most: int | None = shape.smallest("maxItems")
    rest = prefix_length(shape)
    for index in range(rest + 1 if most is None else min(rest + 1, most)):
        nodes = item_nodes(shape, index)
        if any(node is False for node in nodes) or (nodes and checker.sends_nothing(nodes)):
            return index  # nothing fits here, so the array ends before
    return most


def array_fits(checker: Checker, shape: Shape, consumer: Reading) -> Iterator[Compatibility]:
    """One array shape against one consumer node."""
    most, least = longest(checker, shape), shape.largest("minItems") or 0
    if most is not None and most < least:
        return  # no array is that short and that long
    unique = True in shape.all("uniqueItems")
    for result in _length_fits(least, most, consumer):
        yield result.doubted() if unique else result  # there may be few different items
    if consumer.usable.get("uniqueItems") and not unique and (most is None or most > 1):
        message = "The producer may send an array with equal items; the consumer accepts only unique items."
        yield unknown(message) if shape.all("prefixItems") else incompatible(message)
    prefix, items = consumer.usable.get("prefixItems", ()), consumer.usable.get("items", True)
    positions = max(prefix_length(shape), len(prefix))
    for index in range(positions if most is None else min(positions, most)):
        accepted = prefix[index] if index < len(prefix) else items
        yield checker.compare(item_nodes(shape, index), accepted).under(str(index))
    if most is None or most > positions:
        yield checker.compare(item_nodes(shape, positions), items).under("*")


def _length_fits(least: int, most: int | None, consumer: Reading) -> Iterator[Compatibility]:
    accepted_least, accepted_most = consumer.usable.get("minItems", 0), consumer.usable.get("maxItems")
    if least < accepted_least:
        yield incompatible(
            f"The producer may send an array of {least} items; the consumer accepts at least {accepted_least}."
        )
    if accepted_most is not None and (most is None or most > accepted_most):
        length = "any length" if most is None else f"{most} items"
        yield incompatible(
            f"The producer may send an array of {length}; the consumer accepts at most {accepted_most} items."
        )
