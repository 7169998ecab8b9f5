"""Examples of what a producer may send; one that the consumer refuses proves the pair incompatible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from switchgear.domain.compatibility.arrays import item_nodes, longest
from switchgear.domain.compatibility.evaluation import accepts, all_of
from switchgear.domain.compatibility.shapes import Conjunction, Kind, Shape, interval

if TYPE_CHECKING:
    from switchgear.domain.compatibility.checker import Checker

_DEPTH: Final = 4
_EXAMPLES: Final = 8
_LENGTH: Final = 32

#: One text per format that validators agree on.
_TEXTS: Final = ("", "a", "2024-02-29", "2024-02-29T12:30:00Z", "123e4567-e89b-42d3-a456-426614174000", "192.0.2.1")


def witness(checker: Checker, shape: Shape, alternatives: list[Any]) -> tuple[Any] | None:
    """A value, in a tuple, that *shape* surely includes and every consumer node in *alternatives* surely refuses.

    `None` when no such value was found, which proves nothing.
    """
    if not shape.exact:
        return None
    for value in _examples(checker, shape, 0):
        sent = all_of(accepts(checker.producer, each, value) for each in shape.nodes)
        if sent and all(accepts(checker.consumer, node, value) is False for node in alternatives):
            return (value,)
    return None


def _examples(checker: Checker, shape: Shape, depth: int) -> list[Any]:
    checker.producer.budget.spend()
    if shape.kind is Kind.VALUES:
        return list(shape.values[:_EXAMPLES])
    if shape.kind in (Kind.INTEGER, Kind.NUMBER):
        return _numbers(shape)
    if shape.kind is Kind.STRING:
        return _texts(shape)
    if depth >= _DEPTH:
        return []
    return _objects(checker, shape, depth) if shape.kind is Kind.OBJECT else _arrays(checker, shape, depth)


def _children(checker: Checker, nodes: Conjunction, depth: int) -> list[Any]:
    each = [_examples(checker, shape, depth + 1)[:3] for shape in checker.unfolder.shapes(nodes)]
    # neighbours come from different shapes, so that rows of an array mix them
    return [values[turn] for turn in range(3) for values in each if turn < len(values)][:_EXAMPLES]


def _numbers(shape: Shape) -> list[Any]:
    bounds = interval(shape.readings, integers=shape.kind is Kind.INTEGER)
    middle = bounds.low if bounds.low is not None else bounds.high if bounds.high is not None else 0
    steps = shape.all("multipleOf") or [1]
    found = [middle, middle + steps[0], middle - steps[0], 0, steps[0], 1_000_003 * steps[0]]
    if shape.kind is Kind.NUMBER:
        found += [middle + 0.25, middle - 0.25]
    return found


def _texts(shape: Shape) -> list[Any]:
    least = shape.largest("minLength") or 0
    if least > _LENGTH:
        return []
    return [*_TEXTS, "a" * least, "0" * least, "a" * (least + 1)]


def _arrays(checker: Checker, shape: Shape, depth: int) -> list[Any]:
    least, most = shape.largest("minItems") or 0, longest(checker, shape)
    if least > _LENGTH:
        return []
    lengths = [count for count in (least, least + 1, least + 2) if most is None or count <= most]
    found = []
    for count in lengths:
        columns = [_children(checker, item_nodes(shape, index), depth) for index in range(count)]
        if all(columns):
            deepest = max((len(column) for column in columns), default=1)
            # the second row is shifted, so that unions mix their members
            found += [[c[row % len(c)] for c in columns] for row in range(min(deepest, 3))]
            found.append([column[index % len(column)] for index, column in enumerate(columns)])
    return found


def _objects(checker: Checker, shape: Shape, depth: int) -> list[Any]:
    sent = checker.sent(shape)
    columns: dict[str, list[Any]] = {}
    for name in sorted(sent.names)[:_LENGTH]:
        nodes = sent.nodes(name)
        examples = [] if nodes is None else _children(checker, nodes, depth)
        if examples:
            columns[name] = examples
        elif name in sent.required:
            return []
    least = {name: column[0] for name, column in columns.items() if name in sent.required}
    found: list[Any] = [least, {name: column[0] for name, column in columns.items()}]
    for name, column in columns.items():
        found += [{**least, name: value} for value in column]
    return found[: 4 * _EXAMPLES]
