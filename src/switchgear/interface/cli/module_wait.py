"""Says what a command waits for while modules are imported. Source: RELIABILITY row 16, ADR 0021."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from switchgear.interface.cli.output import printable, progress

if TYPE_CHECKING:
    from switchgear.bootstrap import Application

#: A command that waits no longer than this says nothing, in seconds.
_QUIET_S: Final = 2.0
_REFRESH_S: Final = 0.2
_MOST_NAMES: Final = 5


async def started(application: Application) -> None:
    """Start *application*, and say which modules it waits for; raises what its start raises."""
    async with telling(lambda: application.registry.importing):
        await application.start()


@asynccontextmanager
async def telling(waits_for: Callable[[], Collection[str]]) -> AsyncIterator[None]:
    """While the block takes long, say on stderr what it waits for: progress on a terminal, else one line.

    Args:
        waits_for: What is imported now: names of modules.
    """
    task = asyncio.create_task(_tell(waits_for), name="telling")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _tell(waits_for: Callable[[], Collection[str]]) -> None:
    await asyncio.sleep(_QUIET_S)
    told: Collection[str] = ()
    with progress("modules", None) as bar:
        while True:
            names = set(waits_for())
            if names and names != told and (not told or sys.stderr.isatty()):
                bar.note(f"Waiting for the import of {_named(names)}.")
                told = names
            await asyncio.sleep(_REFRESH_S)


def _named(names: Collection[str]) -> str:
    """The first names in a row, and how many more there are."""
    shown = [printable(name) for name in sorted(names)[:_MOST_NAMES]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
