"""Secrets of one module: resolved when a worker warms, sent over its pipe, and kept out of everything it says.

Source: INTERFACES 5, DESIGN invariant 10.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from switchgear.domain.errors import Code
from switchgear.domain.stage import Lack
from switchgear.ingestion.module_pool.values import StartRefused
from switchgear.sdk.host.context import secret_fix

#: Shorter values would be found by chance.
_SHORTEST: Final = 6
_MASK: Final = "[secret]"
_PIECE: Final = 2**20
#: What is said of an output and of a saved file.
LEAKING_OUTPUT: Final = "The output holds a secret of the module's settings; it was dropped."
LEAKING_FILE: Final = "the file holds a secret of the module's settings"


def references(settings: Any, pointers: Iterable[str]) -> list[str]:
    """Return the secret references at *pointers*; absent and empty places are left out."""
    found: list[str] = []
    for pointer in pointers:
        found += [value for value in _at(settings, pointer.split("/")[1:]) if isinstance(value, str)]
    return found


def _at(value: Any, parts: list[str]) -> Iterator[Any]:
    if not parts:
        yield value
        return
    head, rest = parts[0].replace("~1", "/").replace("~0", "~"), parts[1:]
    if head == "*":
        items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
        for item in items:
            yield from _at(item, rest)
    elif isinstance(value, Mapping) and head in value:
        yield from _at(value[head], rest)


def resolve(module_id: str, names: Iterable[str], resolver: Callable[[str], str | None]) -> dict[str, str]:
    """Return reference -> value.

    Raises:
        StartRefused: One is not there; the message names the reference, never a value.
    """
    values: dict[str, str] = {}
    for name in names:
        value = resolver(name)
        if value is None:
            raise StartRefused(
                Lack(Code.SECRET_UNVERIFIED, f"Module {module_id}: secret {name} is not there.", secret_fix(name))
            )
        values[name] = value
    return values


class Redactor:
    """Takes secret values out of what a module says, and notices them in what it returns."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._words = sorted({word for value in values for word in _forms(value)}, key=len, reverse=True)
        self._bytes = [word.encode() for word in self._words]

    def text(self, value: str) -> str:
        """Return *value* without secrets."""
        for word in self._words:
            if word in value:
                value = value.replace(word, _MASK)
        return value

    def plain(self, value: Any) -> Any:
        """The same for nested plain data."""
        if not self._words:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.plain(item) for item in value]
        return value

    def finds_in(self, data: bytes) -> bool:
        """Whether a secret is part of *data*."""
        return any(word in data for word in self._bytes)

    def finds_in_file(self, path: Path) -> bool:
        """Whether a secret is part of a file; it is read in pieces, each with the end of the one before."""
        if not self._bytes:
            return False
        longest = max(map(len, self._bytes))
        with path.open("rb") as file:
            piece = b""
            while more := file.read(_PIECE):
                piece = piece[-longest:] + more
                if self.finds_in(piece):
                    return True
        return False


def _forms(value: str) -> set[str]:
    if len(value) < _SHORTEST:
        return set()
    return {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
