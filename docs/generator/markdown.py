"""Small pieces of Markdown."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; cells are one line each."""
    lines = ["| " + " | ".join(headers) + " |", "|" + "---|" * len(headers)]
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def cell(value: object) -> str:
    """Return *value* as the text of a cell."""
    return " ".join(str(value).split()).replace("|", "\\|")


def code(value: object) -> str:
    """Return *value* in code type; empty stays empty."""
    return f"`{value}`" if str(value) else ""


def comments_of(kind: type[StrEnum]) -> dict[str, str]:
    """Return value -> the `#:` comment behind it in the source."""
    comments = {}
    for line in inspect.getsource(kind).splitlines():
        match = re.match(r"\s+(\w+) = .*?#: (.*)", line)
        if match:
            comments[str(kind[match[1]])] = match[2]
    return comments


def first_paragraph(text: str | None) -> str:
    """Return the first paragraph of a docstring in one line."""
    return " ".join((text or "").strip().split("\n\n")[0].split())


def module_docstring(module: Any) -> str:
    """Return the docstring of a loaded module's file."""
    return ast.get_docstring(ast.parse(inspect.getsource(module))) or ""


def type_words(schema: Mapping[str, Any]) -> str:
    """Return a JSON Schema's type in words, with its bounds."""
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    if "const" in schema:
        return code(schema["const"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(type_words(each) for each in schema[key])
    kind = str(schema.get("type", "value"))
    if kind == "array" and isinstance(schema.get("items"), Mapping):
        return f"list of {type_words(schema['items'])}"
    bounds = [
        f"{words} {schema[name]}"
        for name, words in (
            ("exclusiveMinimum", "above"),
            ("minimum", "from"),
            ("maximum", "to"),
            ("exclusiveMaximum", "below"),
        )
        if name in schema
    ]
    return " ".join([kind, *bounds])
