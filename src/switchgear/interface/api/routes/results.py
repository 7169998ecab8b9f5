"""Results: the invoice of a document, and all of them for systems that pull. Source: INTERFACES 2, I31."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

from fastapi import Query, Request, Response

from switchgear.interface.api.dependencies import (
    App,
    Owner,
    Paging,
    Reader,
    answer_bytes,
    check_own,
    own_only,
    position_of,
)
from switchgear.interface.api.documentation import problems
from switchgear.interface.api.invoice_csv import as_csv
from switchgear.interface.api.routing import guarded_router
from switchgear.interface.api.schemas.common import MAX_PAGE, Page, time_of
from switchgear.interface.api.schemas.documents import ResultEntry

router = guarded_router("results")

CSV: Final = "text/csv"
_INVOICE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The result; its schema is at /api/v1/schemas/invoice",
        "content": {"application/json": {"schema": {"type": "object"}}, CSV: {"schema": {"type": "string"}}},
    }
}


@router.get("/documents/{document_id}/invoice", responses={**_INVOICE, **problems(304)}, response_class=Response)
async def get_invoice(app: App, by: Owner, request: Request, document_id: str) -> Response:
    """Show the newest accepted result of a document; while it waits for review, what is to be reviewed.

    As a table with `Accept: text/csv`.
    """
    document = await app.runs.document(document_id)
    check_own(by, document.actor, "document")
    body = (await app.runs.result(document_id)).body
    if CSV in request.headers.get("accept", ""):
        return answer_bytes(request, as_csv(json.loads(body), document_id), media_type=f"{CSV}; charset=utf-8")
    return answer_bytes(request, body)


@router.get("/invoices")
async def list_invoices(
    app: App,
    by: Owner,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    after: Annotated[str | None, Query(max_length=500, description="`next_cursor` of the answer before")] = None,
) -> Page[ResultEntry]:
    """Every accepted result, oldest first. Keep `next_cursor` and ask with it for what is accepted later."""
    page = Paging(limit, None if after is None else position_of(after, "query:after"))
    found = await app.runs.results_after(page.position, limit, actor=own_only(by))
    items = [
        ResultEntry(
            run_id=item.run_id,
            document_id=item.document_id,
            configuration_version=item.configuration_version,
            degraded=item.degraded,
            ended_at=time_of(item.ended_at),
            invoice=item.value(),
        )
        for item in found.items
    ]
    return Page(items=items, next_cursor=page.next(found.next_cursor))


@router.get("/schemas/invoice", responses=problems(304), response_class=Response)
async def get_invoice_schema(app: App, by: Reader, request: Request) -> Response:
    """The JSON Schema of a result."""
    pipeline = app.registry.pipeline
    schema = next(s.contract.output_sent_schema for s in pipeline.stages if s.contract.output_name == pipeline.result)
    return answer_bytes(request, json.dumps(schema, ensure_ascii=False).encode(), media_type="application/schema+json")
