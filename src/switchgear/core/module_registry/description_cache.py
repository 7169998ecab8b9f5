"""Descriptions on disk, so that a second start imports nothing. Source: DESIGN 2 (cached by digest)."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final

from switchgear.core.module_registry.discovery import Offer, installed_signature, sdk_signature, signature_of

_FORMAT: Final = 3


class DescriptionCache:
    """One file; an entry counts only while every source file it depends on is as it was.

    Whatever is wrong with the file, the answer is "not known": it is a cache.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "descriptions.json"
        self._key = ""
        self._is_changed = False
        self._entries: dict[str, dict[str, Any]] = {}

    def load(self) -> None:
        """Read the file; forget everything when packages or the interpreter changed."""
        self._key = f"{_FORMAT} {installed_signature()} {hash_of(sdk_signature())}"
        self._entries = {}
        with contextlib.suppress(OSError, ValueError):
            content = json.loads(self._file.read_text(encoding="utf-8"))
            if isinstance(content, dict) and content.get("key") == self._key:
                self._entries = dict(content["entries"])

    def get(self, group: str, offer: Offer) -> dict[str, Any] | None:
        """Return the stored answer for *offer*, or None when it is not known or no longer true."""
        entry = self._entries.get(f"{group} {offer.key}")
        if entry is None:
            return None
        watched = [tuple(item) for item in entry["watched"]]
        if list(signature_of([str(item[0]) for item in watched])) != watched:
            return None
        answer: dict[str, Any] = entry["answer"]
        return answer

    def put(self, group: str, offer: Offer, answer: dict[str, Any]) -> None:
        """Remember *answer*; a failure that may pass (time, crash) is not kept."""
        failure = answer.get("failure") or {}
        if failure.get("error") in ("timeout", "crash"):
            return
        watched = answer.get("watched") or (answer.get("description") or {}).get("watched") or []
        self._entries[f"{group} {offer.key}"] = {"answer": answer, "watched": signature_of(watched)}
        self._is_changed = True

    def save(self) -> None:
        """Write the file in one step if there is something new; a full disk costs only the cache."""
        if not self._is_changed:
            return
        self._is_changed = False
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(dir=self._file.parent, prefix="descriptions-")
            try:
                with os.fdopen(number, "w", encoding="utf-8") as file:
                    # Not `json.dump`, which encodes in Python, ten times as slowly.
                    file.write(json.dumps({"key": self._key, "entries": self._entries}, separators=(",", ":")))
                os.replace(name, self._file)
            except OSError:
                os.unlink(name)
                raise


def hash_of(value: object) -> str:
    """A short text that is equal for equal signatures, in every process."""
    import hashlib

    return hashlib.sha256(repr(value).encode()).hexdigest()
