"""The audit trail: who did what, when and why, and whether it is whole. Source: INTERFACES 2, I26, I27."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Annotated, Any, Final

from fastapi import Query
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator, WithJsonSchema

from switchgear.domain.audit import AuditAction, AuditEvent
from switchgear.interface.api.dependencies import App, PageOf, Reader
from switchgear.interface.api.routing import guarded_router
from switchgear.interface.api.schemas.access import AuditEventView, AuditVerification
from switchgear.interface.api.schemas.common import Page, time_of
from switchgear.interface.api.services import Services

router = guarded_router("audit")

_AT_ONCE: Final = 500
_HEAD: Final = r"^(\d{1,18}:)?[0-9a-f]{64}$"
Text = Annotated[str | None, Query(max_length=200)]


def _head(text: str) -> str:
    if re.fullmatch(_HEAD, text) is None:
        raise ValueError(
            "This must be a head as `switchgear audit export` prints it: 64 characters from 0 to 9 and a to f, "
            "with or without a number before them, such as 12:3f2a..."
        )
    return text


Head = Annotated[str, AfterValidator(_head), WithJsonSchema({"type": "string", "pattern": _HEAD})]
After = Annotated[int, Query(ge=0, le=2**53, description="Only events after this sequence")]


def view_of(event: AuditEvent) -> AuditEventView:
    """Show an event with what differs between before and after."""
    return AuditEventView(
        sequence=event.sequence,
        id=event.id,
        at=time_of(event.at),
        actor=event.actor,
        actor_role=event.actor_role,
        action=event.action,
        result=event.result,
        subjects=list(event.subjects),
        message=event.message,
        before=None if event.before is None else dict(event.before),
        after=None if event.after is None else dict(event.after),
        diff=list(_differences(event.before, event.after)) if event.before and event.after else [],
        request_id=event.request_id,
        previous_hash=event.previous_hash,
        hash=event.hash,
    )


def _differences(before: Any, after: Any, path: str = "") -> Iterator[dict[str, Any]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            yield from _differences(before.get(key), after.get(key), f"{path}/{key}")
    elif before != after:
        yield {"path": path, "before": before, "after": after}


@router.get("/audit")
async def list_audit(
    app: App,
    by: Reader,
    page: PageOf,
    action: AuditAction | None = None,
    actor: Text = None,
    subject: Text = None,
    after: After = 0,
) -> Page[AuditEventView]:
    """List events, newest first."""
    async with app.units(write=False) as unit:
        found = await unit.audit.list(
            limit=page.limit,
            cursor=page.position,
            action=action,
            actor=actor,
            subject=subject,
            after_sequence=after or None,
        )
    return Page(items=[view_of(event) for event in found.items], next_cursor=page.next(found.next_cursor))


@router.get(
    "/audit/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
)
async def export_audit(app: App, by: Reader, after: After = 0) -> StreamingResponse:
    """Every event after a sequence, oldest first, one JSON object a line; the last line's hash is the head."""
    return StreamingResponse(_lines(app, after), media_type="application/x-ndjson")


async def _lines(app: Services, after: int) -> AsyncIterator[bytes]:
    while True:
        async with app.units(write=False) as unit:
            events = await unit.audit.read_forward(after, _AT_ONCE)
        if not events:
            return
        after = events[-1].sequence
        rows = [view_of(event).model_dump(mode="json", exclude={"diff"}) for event in events]
        yield "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows).encode()


@router.get("/audit/verify")
async def verify_audit(
    app: App,
    by: Reader,
    head: Annotated[Head | None, Query(description="A head that was kept elsewhere")] = None,
) -> AuditVerification:
    """Check the whole chain; with `head` also that its tail was not cut."""
    async with app.units(write=False) as unit:
        result = await unit.audit.verify(head)
    return AuditVerification(
        ok=result.ok,
        checked=result.checked,
        first_bad_sequence=result.first_bad_sequence,
        reason=result.reason or "",
        head=result.head,
    )
