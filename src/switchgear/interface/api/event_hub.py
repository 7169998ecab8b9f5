"""Looks at what changes, once for all who listen: audit entries, and hints that something should be read again.

One look serves every stream, and nobody looks while nobody listens. Source: INTERFACES 2 (`/events/stream`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from switchgear.domain.errors import DatabaseUnreachable
from switchgear.interface.api.services import Services

LOOK_EVERY_S: Final = 1.0
#: Events that a slow listener may be behind; then its stream ends, and it comes back with Last-Event-ID.
_BACKLOG: Final = 500


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """A hint to read again: `kind` is runs, activations, modules or audit."""

    kind: str
    facts: Mapping[str, Any] = field(default_factory=dict)


class EventHub:
    """Hands out changes to any number of listeners.

    Args:
        app: The services.
        every_s: Pause between two looks, in seconds.
    """

    def __init__(self, app: Services, every_s: float = LOOK_EVERY_S) -> None:
        self._app = app
        self._every_s = every_s
        self._listeners: set[asyncio.Queue[StreamEvent | None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._seen: dict[str, Any] = {}
        self.is_closed = False

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[asyncio.Queue[StreamEvent | None]]:
        """Give a queue of events; None in it means that the stream has to end."""
        queue: asyncio.Queue[StreamEvent | None] = asyncio.Queue(_BACKLOG)
        if self.is_closed:
            queue.put_nowait(None)
        self._listeners.add(queue)
        if self._task is None and not self.is_closed:
            self._seen = {}
            self._task = asyncio.create_task(self._look())
        try:
            yield queue
        finally:
            self._listeners.discard(queue)
            if not self._listeners:
                await self._stop()

    async def close(self) -> None:
        """End every stream."""
        self.is_closed = True
        for queue in self._listeners:
            _put(queue, None)
        await self._stop()

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _look(self) -> None:
        while True:
            with suppress(DatabaseUnreachable):
                await self._look_once()
            await asyncio.sleep(self._every_s)

    async def _look_once(self) -> None:
        async with self._app.units(write=False) as unit:
            newest = await unit.audit.list(limit=1)
            pending = await unit.activations.pending()
        counts = await self._app.runs.counts()
        modules = self._app.registry.current().modules
        now: dict[str, Any] = {
            "audit": newest.items[0].sequence if newest.items else 0,
            "activations": pending and (pending.id, str(pending.state)),
            "runs": dict(counts.by_status),
            "modules": {name: str(module.status) for name, module in modules.items()},
        }
        first, before, self._seen = not self._seen, self._seen, now
        for kind, value in now.items():
            if not first and before.get(kind) != value:
                self._send(StreamEvent(kind, value if kind == "runs" else {}))

    def _send(self, event: StreamEvent) -> None:
        for queue in list(self._listeners):
            _put(queue, event)


def _put(queue: asyncio.Queue[StreamEvent | None], event: StreamEvent | None) -> None:
    try:
        queue.put_nowait(event)
    except asyncio.QueueFull:
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)
