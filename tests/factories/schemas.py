"""JSON Schemas as Pydantic writes them, in few words, and the three verdicts of a comparison."""

from __future__ import annotations

from typing import Any

from switchgear.domain.compatibility import Verdict

YES, NO, MAYBE = Verdict.COMPATIBLE, Verdict.INCOMPATIBLE, Verdict.UNKNOWN

INT: dict[str, Any] = {"type": "integer"}
NUM: dict[str, Any] = {"type": "number"}
STR: dict[str, Any] = {"type": "string"}
NULL: dict[str, Any] = {"type": "null"}
BOOL: dict[str, Any] = {"type": "boolean"}


def model(required: str = "", /, **properties: Any) -> dict[str, Any]:
    """An object schema as Pydantic writes it for a model; *required* is a list of names in one string."""
    return {"type": "object", "properties": properties, **({"required": required.split()} if required else {})}


def mapping(values: Any, **more: Any) -> dict[str, Any]:
    """An object schema as Pydantic writes it for a `dict`."""
    return {"type": "object", "additionalProperties": values, **more}


def named(**values: Any) -> dict[str, Any]:
    """An object whose properties are named by patterns: `a` stands for names that begin with it."""
    return {"type": "object", "patternProperties": {f"^{name}": node for name, node in values.items()}}


def array(items: Any, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


def tuple_of(*items: Any, **more: Any) -> dict[str, Any]:
    """An array schema as Pydantic writes it for a `tuple`, without its length."""
    return {"type": "array", "prefixItems": list(items), **more}


def union(*members: Any) -> dict[str, Any]:
    return {"anyOf": list(members)}


def both(*members: Any) -> dict[str, Any]:
    return {"allOf": list(members)}


def text(**limits: Any) -> dict[str, Any]:
    return {"type": "string", **limits}


def whole(**limits: Any) -> dict[str, Any]:
    return {"type": "integer", **limits}


def number(**limits: Any) -> dict[str, Any]:
    return {"type": "number", **limits}


def defined(reference: str = "A", /, **definitions: Any) -> dict[str, Any]:
    """A schema that refers to one of its definitions."""
    return {"$defs": definitions, "$ref": f"#/$defs/{reference}"}


CAT = model("kind", kind={"const": "cat"}, lives=INT)
DOG = model("kind", kind={"const": "dog"}, tricks=array(STR))
EEL = model("kind", kind={"const": "eel"})
#: No value is a string and an integer.
NOTHING = both(STR, INT)
