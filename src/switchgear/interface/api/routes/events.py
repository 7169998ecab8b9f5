"""Server-sent events: audit entries by sequence, and hints to read again. Source: INTERFACES 2."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import Header, Query, Request
from fastapi.responses import StreamingResponse

from switchgear.domain.access import Need
from switchgear.interface.api.dependencies import App, Reader, bad_parameter, still_allowed
from switchgear.interface.api.event_hub import EventHub, StreamEvent
from switchgear.interface.api.routes.audit import view_of
from switchgear.interface.api.routing import guarded_router
from switchgear.interface.api.services import Services

router = guarded_router("events")

#: A comment after so much silence keeps proxies from cutting the stream.
_BEAT_S: Final = 15.0
_SILENCE: Final = StreamEvent("silence", {})
_AT_ONCE: Final = 200
_EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "`audit` events carry their sequence as id, `state` events carry none",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


@router.get("/events/stream", response_class=StreamingResponse, responses=_EVENTS)
async def stream_events(
    app: App,
    by: Reader,
    request: Request,
    after: Annotated[int | None, Query(ge=0, le=2**53, description="Only events after this sequence")] = None,
    last_event_id: Annotated[str | None, Header(max_length=40)] = None,
) -> StreamingResponse:
    """Follow what happens. With `Last-Event-ID` or `after` it begins after that entry, which may be 0; else now."""
    if last_event_id:
        if not (last_event_id.isascii() and last_event_id.isdigit()):
            raise bad_parameter("header:last-event-id", "It is no sequence of an audit entry.")
        after = int(last_event_id)
    start = await _newest(app) if after is None else after
    return StreamingResponse(
        _stream(request, app, start), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


async def _newest(app: Services) -> int:
    async with app.units(write=False) as unit:
        newest = await unit.audit.list(limit=1)
    return newest.items[0].sequence if newest.items else 0


async def _stream(request: Request, app: Services, after: int) -> AsyncIterator[bytes]:
    hub: EventHub = request.app.state.events
    async with hub.listen() as queue:
        yield b"retry: 2000\n\n"
        reader = _AuditReader(app, after)
        async for text in reader.read():
            yield text
        while True:
            try:
                event = await asyncio.wait_for(queue.get(), _BEAT_S)
            except TimeoutError:
                event = _SILENCE
            # Asked before each event: a revocation is an audit entry, and so an event, itself.
            if event is None or not await still_allowed(request, Need.READ):
                return
            if event is _SILENCE:
                yield b": still here\n\n"
            elif event.kind == "audit":
                async for text in reader.read():
                    yield text
            else:
                yield _written("state", {"kind": event.kind, **event.facts})


class _AuditReader:
    """Reads the trail forward, each entry once."""

    def __init__(self, app: Services, after: int) -> None:
        self._app = app
        self._after = after

    async def read(self) -> AsyncIterator[bytes]:
        while True:
            async with self._app.units(write=False) as unit:
                events = await unit.audit.read_forward(self._after, _AT_ONCE)
            for event in events:
                self._after = event.sequence
                yield _written("audit", view_of(event).model_dump(mode="json"), event.sequence)
            if len(events) < _AT_ONCE:
                return


def _written(name: str, data: Any, event_id: int | None = None) -> bytes:
    head = f"id: {event_id}\n" if event_id is not None else ""
    return f"{head}event: {name}\ndata: {json.dumps(data, ensure_ascii=True)}\n\n".encode()
