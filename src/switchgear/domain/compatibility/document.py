"""One JSON Schema as the checker sees it: references followed, keywords sorted into usable and opaque."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

#: Comparisons after which the answer is `unknown`; bounds the time of a hostile or huge pair of schemas.
COMPARISON_LIMIT: Final = 10_000

#: JSON types split so that no two overlap; `number` is both the integers and the fractions.
ATOMS: Final[Mapping[str, frozenset[str]]] = {
    "null": frozenset({"null"}),
    "boolean": frozenset({"boolean"}),
    "integer": frozenset({"integer"}),
    "number": frozenset({"integer", "fraction"}),
    "string": frozenset({"string"}),
    "array": frozenset({"array"}),
    "object": frozenset({"object"}),
}
EVERY_ATOM: Final = frozenset().union(*ATOMS.values())

#: Say nothing about which values are valid. Names that start with `x-` are treated alike.
ANNOTATIONS: Final = frozenset(
    {"title", "description", "examples", "example", "default", "deprecated", "readOnly", "writeOnly", "discriminator"}
    | {"$comment", "$defs", "definitions", "$schema", "$anchor"}
)


class LimitReached(Exception):
    """The comparison has used up its budget; never leaves this package."""


class Budget:
    """Counts comparisons down."""

    def __init__(self, comparisons: int = COMPARISON_LIMIT) -> None:
        self.left = comparisons

    def spend(self) -> None:
        """Count one comparison.

        Raises:
            LimitReached: None was left.
        """
        self.left -= 1
        if self.left < 0:
            raise LimitReached


def is_number(value: object) -> bool:
    """A finite JSON number; `True` and `False` are none."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def is_integer(value: object) -> bool:
    """A JSON number without a fraction; `1.0` is one (JSON Schema 2020-12, §4.2.3)."""
    return is_number(value) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


def _is_count(value: object) -> bool:
    return is_integer(value) and isinstance(value, int | float) and value >= 0


def _is_strings(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _is_type(value: object) -> bool:
    names = [value] if isinstance(value, str) else value
    return isinstance(names, list | tuple) and all(isinstance(name, str) and name in ATOMS for name in names)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_string(value: object) -> bool:
    return isinstance(value, str)


def _is_boolean(value: object) -> bool:
    return isinstance(value, bool)


def _is_divisor(value: object) -> bool:
    return is_number(value) and isinstance(value, int | float) and value > 0


def _is_anything(value: object) -> bool:
    return True


#: Keywords the checker understands, and the form their value must have to be understood.
FORMS: Final[Mapping[str, Callable[[object], bool]]] = {
    "$ref": _is_string,
    "allOf": _is_list,
    "anyOf": _is_list,
    "oneOf": _is_list,
    "not": _is_anything,
    "type": _is_type,
    "enum": _is_list,
    "const": _is_anything,
    "minimum": is_number,
    "maximum": is_number,
    "exclusiveMinimum": is_number,
    "exclusiveMaximum": is_number,
    "multipleOf": _is_divisor,
    "minLength": _is_count,
    "maxLength": _is_count,
    "pattern": _is_string,
    "format": _is_string,
    "contentEncoding": _is_string,
    "contentMediaType": _is_string,
    "contentSchema": _is_anything,
    "items": _is_anything,
    "prefixItems": _is_list,
    "minItems": _is_count,
    "maxItems": _is_count,
    "uniqueItems": _is_boolean,
    "properties": _is_mapping,
    "required": _is_strings,
    "additionalProperties": _is_anything,
    "patternProperties": _is_mapping,
    "propertyNames": _is_anything,
    "minProperties": _is_count,
    "maxProperties": _is_count,
}

#: Keywords that are not understood, by the only type of value they can refuse; any other unknown one may refuse all.
OPAQUE_FOR: Final[Mapping[str, str]] = {
    **dict.fromkeys(("contains", "minContains", "maxContains", "unevaluatedItems", "additionalItems"), "array"),
    **dict.fromkeys(("dependentRequired", "dependentSchemas", "dependencies", "unevaluatedProperties"), "object"),
}


@dataclass(frozen=True, slots=True)
class Reading:
    """One schema node, read once.

    Attributes:
        usable: Understood keywords, each in its proper form.
        opaque: Names of the keywords that may refuse a value in a way the checker does not understand.
        never: The node is `false`.
    """

    usable: Mapping[str, Any]
    opaque: frozenset[str] = frozenset()
    never: bool = False

    @property
    def atoms(self) -> frozenset[str]:
        """The types this node lets through."""
        if "type" not in self.usable:
            return EVERY_ATOM
        names = self.usable["type"]
        return frozenset().union(*(ATOMS[name] for name in ([names] if isinstance(names, str) else names)))

    def opaque_for(self, atom: str) -> list[str]:
        """The opaque keywords that matter to a value of this type, sorted."""
        return sorted(name for name in self.opaque if OPAQUE_FOR.get(name, atom) == atom)


MISSING: Final = object()


class Document:
    """A schema with its definitions.

    Nodes are told apart by identity: they belong to *root*, which lives as long as this object does.
    """

    def __init__(self, root: Any, budget: Budget) -> None:
        self.root = root
        self.budget = budget
        self._readings: dict[int, Reading] = {}
        self._interned: dict[str, Any] = {}
        self._choices: dict[int, frozenset[str]] = {}

    def resolve(self, reference: str) -> Any:
        """The node that a reference inside this document names, or `MISSING`."""
        if not reference.startswith("#"):
            return MISSING
        node = self.root
        for raw in unquote(reference[1:]).split("/")[1:]:
            part = raw.replace("~1", "/").replace("~0", "~")
            if isinstance(node, Mapping) and part in node:
                node = node[part]
            elif isinstance(node, list | tuple) and part.isdecimal() and int(part) < len(node):
                node = node[int(part)]
            else:
                return MISSING
        # "#name" is an anchor, which Pydantic never writes
        return node if reference == "#" or reference.startswith("#/") else MISSING

    def read(self, node: Any) -> Reading:
        """*node*'s keywords, sorted; never fails, whatever *node* is."""
        if node is True:
            return Reading({})
        if node is False:
            return Reading({}, never=True)
        if not isinstance(node, Mapping):
            return Reading({}, frozenset({"schema"}))
        reading = self._readings.get(id(node))
        if reading is None:
            reading = self._readings[id(node)] = self._sorted(node)
        return reading

    def _sorted(self, node: Mapping[str, Any]) -> Reading:
        usable: dict[str, Any] = {}
        opaque = set()
        for name, value in node.items():
            form = FORMS.get(name)
            if form is not None and form(value):
                usable[name] = int(value) if form is _is_count else value
            elif name == "$id" and node is self.root:
                continue  # further down it would change what "#" means
            elif name not in ANNOTATIONS and not str(name).startswith("x-"):
                opaque.add(str(name))
        return Reading(usable, frozenset(opaque))

    def intern(self, node: Any) -> Any:
        """The one object that stands for this made-up schema, so that equal ones are the same node."""
        return self._interned.setdefault(json.dumps(node, sort_keys=True, default=str), node)

    def choices(self, values: list[Any] | tuple[Any, ...]) -> frozenset[str]:
        """The canonical forms of an `enum`'s values, computed once."""
        found = self._choices.get(id(values))
        if found is None:
            found = self._choices[id(values)] = frozenset(canonical(value) for value in values)
        return found


def canonical(value: Any) -> str:
    """Text that two JSON values share exactly when JSON Schema calls them equal.

    `1` and `1.0` are equal, `1` and `true` are not.
    """
    return json.dumps(_plain(value), sort_keys=True, ensure_ascii=True, default=repr)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def shown(value: Any) -> str:
    """A JSON value as text for a message, cut to a readable length."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
