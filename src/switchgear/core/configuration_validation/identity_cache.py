"""Remembers what was worked out about objects that stay the same: schemas, parts of versions."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

_MOST: Final = 4096


class IdentityCache(Generic[T]):
    """Keeps one answer per combination of objects; the objects stay alive with it, so no id is ever used twice.

    Args:
        most: Answers that are kept; of more, those that were asked for last.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._known: OrderedDict[tuple[int, ...], tuple[tuple[Any, ...], T]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, *objects: Any, make: Callable[[], T]) -> T:
        """Return the answer about *objects*; *make* works it out when it is not known."""
        key = tuple(map(id, objects))
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known[1]
        answer = make()
        with self._lock:
            self._known[key] = (objects, answer)
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return answer
