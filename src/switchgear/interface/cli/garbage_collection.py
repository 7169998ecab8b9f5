"""Python's garbage collector beside a start: what is loaded and made then is no garbage, and need not be looked at."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Final

#: New objects between two looks: Python's own 700 are those of one or two requests, which are still at work.
_OBJECTS: Final = 10_000


@contextlib.contextmanager
def without_collection(*, for_good: bool = False) -> Iterator[None]:
    """Collect nothing while code is loaded and parts are made: looking took an eighth of a start.

    Args:
        for_good: Pass over what was made from then on, because it lives as long as the process. To look at it once in
            each generation took another tenth.
    """
    gc.disable()
    try:
        yield
    finally:
        if for_good:
            gc.freeze()
        gc.enable()


def spare_from_collection() -> None:
    """Pass over what is there after the start as well, and look at what is new less often.

    Each full collection looked at all of it, and stood still for a tenth of a second, twice a second under load.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS)
