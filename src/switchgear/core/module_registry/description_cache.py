"""Descriptions on disk, so that a second start imports nothing. Source: DESIGN 2 (cached by digest), ADR 0021."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from switchgear.core.module_registry.discovery import (
    Offer,
    Signature,
    installed_signature,
    sdk_signature,
    signature_of,
)

_FORMAT: Final = 4
#: A hang is believed for so long, and twice as long each time that it is seen again. Both are twice the pauses of the
#: server: while one runs, it has looked again before anybody else has to.
_FIRST_BELIEF_US: Final = 60_000_000
_LONGEST_BELIEF_US: Final = 600_000_000
#: A process that was stopped while it writes is waited for so often and so long.
_LOCK_TRIES: Final = 20
_LOCK_PAUSE_S: Final = 0.05

Entry = dict[str, Any]


class DescriptionCache:
    """One file for all processes; an entry counts only while every source file it depends on is as it was.

    Whatever is wrong with the file, the answer is "not known": it is a cache.

    Args:
        folder: Where the file is.
        clock: Microseconds UTC.
    """

    def __init__(self, folder: Path, clock: Callable[[], int]) -> None:
        self._file = folder / "descriptions.json"
        self._clock = clock
        self._key = ""
        self._entries: dict[str, Entry] = {}  #: as they were read last
        self._news: dict[str, Entry | None] = {}  #: what was learnt since; None: what was known is over

    def load(self) -> None:
        """Read the file; forget everything when packages or the interpreter changed."""
        before, self._key = self._key, _key_now()
        self._entries = self._read()
        if before != self._key:
            self._news = {}

    def _read(self) -> dict[str, Entry]:
        with contextlib.suppress(OSError, ValueError, KeyError):
            content = json.loads(self._file.read_text(encoding="utf-8"))
            if isinstance(content, dict) and content.get("key") == self._key and isinstance(content["entries"], dict):
                return {name: entry for name, entry in content["entries"].items() if _is_entry(entry)}
        return {}

    def get(self, group: str, offer: Offer) -> dict[str, Any] | None:
        """Return the stored answer for *offer*, or None when it is not known or no longer true."""
        entry = self._entry(group, offer)
        if entry is None or not self._is_believed(entry):
            return None
        watched = [tuple(item) for item in entry["watched"]]
        if list(signature_of([str(item[0]) for item in watched])) != watched:
            return None
        answer: dict[str, Any] = entry["answer"]
        return answer

    def _entry(self, group: str, offer: Offer) -> Entry | None:
        name = f"{group} {offer.key}"
        return self._news[name] if name in self._news else self._entries.get(name)

    def _is_believed(self, entry: Entry) -> bool:
        """Whether it is not too old; a hang may pass although no file changes."""
        belief = entry.get("belief_us")
        return belief is None or 0 <= self._clock() - entry["at"] < belief

    def put(self, group: str, offer: Offer, answer: dict[str, Any], source: Signature = ()) -> None:
        """Remember *answer* until a file that it depends on changes; a hang for some time, a death not at all.

        Args:
            group: Entry point group.
            offer: Who was asked.
            answer: What was said.
            source: State of the code before it was asked: all that a hanging import depends on, as far as is known.
        """
        error = (answer.get("failure") or {}).get("error")
        if error == "crash" or (error == "timeout" and not source):
            self.forget(group, offer)
            return
        entry: Entry = {"answer": answer}
        if error == "timeout":
            before = (self._entry(group, offer) or {}).get("belief_us", _FIRST_BELIEF_US // 2)
            entry |= {"at": self._clock(), "belief_us": min(2 * before, _LONGEST_BELIEF_US), "watched": source}
        else:
            watched = answer.get("watched") or (answer.get("description") or {}).get("watched") or []
            entry["watched"] = signature_of(watched)
        self._news[f"{group} {offer.key}"] = entry

    def forget(self, group: str, offer: Offer) -> None:
        """What was known of *offer* is over."""
        self._news[f"{group} {offer.key}"] = None

    def save(self) -> None:
        """Write what was learnt in one step, beside what other processes wrote; a full disk costs only the cache."""
        if not self._news or _key_now() != self._key:  # what was learnt of packages that are gone helps nobody
            return
        news, self._news = self._news, {}
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with _alone(self._file.with_suffix(".lock")):
                self._entries = _merged(self._entries, self._read(), news)
                self._write()
        except OSError:
            self._entries = _merged(self._entries, self._entries, news)

    def _write(self) -> None:
        number, name = tempfile.mkstemp(dir=self._file.parent, prefix="descriptions-")
        try:
            with os.fdopen(number, "w", encoding="utf-8") as file:
                # Not `json.dump`, which encodes in Python, ten times as slowly.
                file.write(json.dumps({"key": self._key, "entries": self._entries}, separators=(",", ":")))
            os.replace(name, self._file)
        except OSError:
            os.unlink(name)
            raise


def _is_entry(entry: Any) -> bool:
    """Whether it has the form of one: a file that was damaged, or written by hand, costs only what is wrong in it."""
    try:
        answer, watched = entry["answer"], entry["watched"]
        described = isinstance(answer.get("description"), dict) or isinstance(answer["failure"]["message"], str)
        believed = "belief_us" not in entry or isinstance(entry["belief_us"] + entry["at"], int)
        return described and believed and all(isinstance(path, str) for path, *_ in watched)
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def _merged(read: dict[str, Entry], written: dict[str, Entry], news: dict[str, Entry | None]) -> dict[str, Entry]:
    """What others wrote, and what was learnt here; but no hang or death replaces what another wrote meanwhile."""
    merged = dict(written)
    for name, entry in list(news.items()):
        is_bad = entry is None or "belief_us" in entry
        if is_bad and written.get(name) != read.get(name):
            continue
        if entry is None:
            merged.pop(name, None)
        else:
            merged[name] = json.loads(json.dumps(entry))
    return merged


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let no other process write meanwhile; raises BlockingIOError when one does not end."""
    with path.open("w") as file:
        for left in reversed(range(_LOCK_TRIES)):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    raise
                time.sleep(_LOCK_PAUSE_S)
            except OSError:
                break  # a file system without locks: the last one who writes wins
        yield


def _key_now() -> str:
    return f"{_FORMAT} {installed_signature()} {hash_of(sdk_signature())}"


def hash_of(value: object) -> str:
    """A short text that is equal for equal signatures, in every process."""
    import hashlib

    return hashlib.sha256(repr(value).encode()).hexdigest()
