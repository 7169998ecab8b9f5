"""Secrets: found by reference, remembered only to be taken out of logs. Source: INTERFACES 5, invariant 10.

`env:SWITCHGEAR_SECRET_NAME` names a variable, `file:NAME` a file in one of the secrets folders. They are resolved when
a worker warms, and travel over its pipe.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

#: Shorter values would be found by chance.
_SHORTEST: Final = 6
_MASK: Final = "[secret]"
_LARGEST_BYTES: Final = 64 * 1024
_VARIABLE: Final = "SWITCHGEAR_SECRET_"


class SecretResolver:
    """Finds secrets by reference and takes their values out of everything that is logged.

    Args:
        environment: Variables to look in.
        folders: Folders to look in, first match wins.
    """

    def __init__(self, environment: Mapping[str, str], folders: Sequence[Path] = ()) -> None:
        self._environment = environment
        self._folders = tuple(folders)
        self._lock = threading.Lock()
        self._words: tuple[str, ...] = ()

    def resolve(self, reference: str) -> str | None:
        """Return the secret's value, None when there is none; its value is taken out of logs from now on."""
        value = self._find(reference)
        if value is not None:
            self.remember(value)
        return value

    def exists(self, reference: str) -> bool:
        """Whether the reference leads to a value."""
        return self._find(reference) is not None

    def remember(self, value: str) -> None:
        """Take *value* out of logs from now on: a token, a password."""
        forms = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
        new = {form for form in forms if len(form) >= _SHORTEST} - set(self._words)
        if new:
            with self._lock:
                self._words = tuple(sorted({*self._words, *new}, key=len, reverse=True))

    def redact(self, value: Any) -> Any:
        """Return plain data with every remembered secret masked; what holds none is returned as it is."""
        if not self._words:
            return value
        if isinstance(value, str):
            return self._redacted(value)
        if isinstance(value, Mapping):
            return {self._redacted(str(key)): self.redact(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.redact(item) for item in value]
        if value is None or isinstance(value, bool):
            return value
        words = str(value)
        clean = self._redacted(words)
        return value if clean == words else clean

    def _redacted(self, text: str) -> str:
        for word in self._words:
            if word in text:
                text = text.replace(word, _MASK)
        return text

    def _find(self, reference: str) -> str | None:
        kind, _, name = reference.partition(":")
        if kind == "env" and name.startswith(_VARIABLE):
            return self._environment.get(name) or None
        if kind == "file" and name and name == Path(name).name and name not in (".", ".."):
            return self._in_folders(name)
        return None

    def _in_folders(self, name: str) -> str | None:
        for folder in self._folders:
            path = folder / name
            try:
                if not path.is_file() or path.stat().st_size > _LARGEST_BYTES:
                    continue
                return path.read_text(encoding="utf-8").rstrip("\r\n") or None
            except (OSError, UnicodeDecodeError):
                continue
        return None
