"""Documents: send, look at, download, decide. Source: INTERFACES 2, RELIABILITY I12, I16, faults 43, 49, 50."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from tempfile import SpooledTemporaryFile
from typing import IO, Annotated, Any, Final

import anyio
from fastapi import Query, Request, Response
from fastapi.responses import FileResponse
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.status import HTTP_400_BAD_REQUEST

from switchgear.domain.access import Actor
from switchgear.domain.errors import InvalidRequest
from switchgear.interface.api.dependencies import (
    App,
    Operator,
    Owner,
    PageOf,
    Sender,
    answer_bytes,
    check_own,
    own_only,
)
from switchgear.interface.api.documentation import problems
from switchgear.interface.api.problems import UnsupportedMediaType
from switchgear.interface.api.repeated import HEADER, answer_once
from switchgear.interface.api.routing import guarded_router, streams_body
from switchgear.interface.api.schemas.common import Page
from switchgear.interface.api.schemas.documents import AcceptedView, DecisionBody, DocumentView, RunSummary
from switchgear.interface.api.services import Services
from switchgear.interface.api.views.runs import document_view, run_summary

router = guarded_router("documents")

_CHUNK: Final = 256 * 1024
_IN_MEMORY: Final = 1024 * 1024
_FORM: Final = "multipart/form-data"
_BAD_FORM: Final = (
    "The form cannot be read. Send it whole, with one file in the field `file` and a shorter file name, "
    "or send the file itself as the body."
)
_OTHER_FIELD: Final = (
    "The form has a field beside `file`; nothing was stored. `again=true` is a parameter of the address: "
    "`/documents?again=true`."
)
_RAW: Final = "application/octet-stream"
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            _FORM: {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "string", "format": "binary"}},
                    "required": ["file"],
                }
            },
            _RAW: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
_ACCEPTED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": AcceptedView, "description": "The same bytes are known already"}
}


@router.post(
    "/documents",
    status_code=202,
    response_model=AcceptedView,
    responses={**_ACCEPTED, **problems(413, 415, 429, 507)},
    openapi_extra=_BODY,
)
@streams_body
async def send_document(
    app: App,
    by: Sender,
    request: Request,
    again: Annotated[bool, Query(description="Make a new run although the bytes are known")] = False,
    name: Annotated[str | None, Query(max_length=255, description="File name of a raw body; for display only")] = None,
) -> Response:
    """Store a document durably, then queue its run. Send the file itself, or a form with one file.

    What it is, is decided from its content; name and media type are for display only.
    """
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaType("The body is compressed. Send it as it is, without the header `Content-Encoding`.")
    media_type = request.headers.get("content-type", _RAW).partition(";")[0].strip().lower()
    if media_type == _FORM:
        return await _send_form(app, by, request, again)
    if media_type.startswith("multipart/") or media_type == "application/x-www-form-urlencoded":
        raise UnsupportedMediaType("Send the file itself as the body, or a form of type multipart/form-data.")
    if HEADER not in request.headers:
        return await _accept(app, by, request.stream(), name or "document", media_type or _RAW, again)
    with SpooledTemporaryFile(_IN_MEMORY) as file:
        async for chunk in request.stream():
            await anyio.to_thread.run_sync(file.write, chunk)
        return await _accept_once(app, by, request, file, name or "document", media_type or _RAW, again)


async def _send_form(app: Services, by: Actor, request: Request, again: bool) -> Response:
    try:
        form = await request.form(max_files=1, max_fields=10)
    except HTTPException as error:
        if error.status_code != HTTP_400_BAD_REQUEST:
            raise
        raise InvalidRequest(_BAD_FORM) from None
    try:
        if [name for name, _ in form.multi_items() if name != "file"]:
            raise InvalidRequest(_OTHER_FIELD, errors=[{"pointer": "/", "detail": "There is no such field."}])
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise InvalidRequest(
                "The form has no file in the field `file`.",
                errors=[{"code": "request.invalid", "pointer": "/file", "detail": "This field is required."}],
            )
        name, media_type = file.filename or "document", file.content_type or _RAW
        if HEADER in request.headers:
            return await _accept_once(app, by, request, file.file, name, media_type, again)
        return await _accept(app, by, _chunks(file.file), name, media_type, again)
    finally:
        await form.close()


async def _accept_once(
    app: Services, by: Actor, request: Request, file: IO[bytes], name: str, media_type: str, again: bool
) -> Response:
    """Accept under an Idempotency-Key: the digest of the document stands for the body, since forms differ each time."""

    async def accept(_request: Request) -> Response:
        return await _accept(app, by, _chunks(file), name, media_type, again)

    digest = hashlib.sha256()
    async for chunk in _chunks(file):
        digest.update(chunk)
    return await answer_once(request, by, digest.digest(), accept)


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    await anyio.to_thread.run_sync(file.seek, 0)
    while chunk := await anyio.to_thread.run_sync(file.read, _CHUNK):
        yield chunk


async def _accept(
    app: Services, by: Actor, stream: AsyncIterator[bytes], name: str, media_type: str, again: bool
) -> Response:
    accepted = await app.intake.accept(stream, file_name=name, media_type=media_type[:255], by=by, again=again)
    own = own_only(by)
    document = accepted.document
    location = f"documents/{document.id}"
    if own is not None and document.actor != own:  # nothing of the first sender; `run` is the caller's own
        location = f"runs/{accepted.run.id}"
        document = replace(document, name=name, received_at=accepted.run.accepted_at)
    known = accepted.duplicate and not again
    view = AcceptedView(
        document=document_view(document),
        run=run_summary(accepted.run, own),
        duplicate_of=document.id if accepted.duplicate else None,
    )
    headers = {"Location": f"/api/v1/{location}"}
    return Response(view.model_dump_json(), 200 if known else 202, headers, media_type="application/json")


@router.get("/documents")
async def list_documents(app: App, by: Owner, page: PageOf) -> Page[DocumentView]:
    """List documents, newest first; a token that only sends sees its own."""
    found = await app.runs.documents(page.limit, page.position, actor=own_only(by))
    return Page(items=[document_view(item) for item in found.items], next_cursor=page.next(found.next_cursor))


@router.get("/documents/{document_id}", response_model=DocumentView, responses=problems(304))
async def get_document(app: App, by: Owner, request: Request, document_id: str) -> Response:
    """Show a document and its last run."""
    row = await app.runs.document(document_id)
    check_own(by, row.actor, "document")
    return answer_bytes(request, document_view(row).model_dump_json().encode())


@router.get(
    "/documents/{document_id}/file",
    response_class=FileResponse,
    responses={200: {"content": {_RAW: {"schema": {"type": "string", "format": "binary"}}}}},
)
async def get_document_file(app: App, by: Owner, document_id: str) -> FileResponse:
    """Download the original, byte for byte; never shown in the browser."""
    row = await app.runs.document(document_id)
    check_own(by, row.actor, "document")
    path = await app.runs.original(row)
    name = document_view(row).name
    return FileResponse(path, media_type=_RAW, filename=name, headers={"ETag": f'"{row.sha256[:32]}"'})


@router.post("/documents/{document_id}/release", status_code=202, responses=problems(409))
async def release_document(app: App, by: Operator, document_id: str, body: DecisionBody) -> RunSummary:
    """Release a document that waits for review: its run goes on."""
    return run_summary((await app.runs.release(document_id, message=body.message, by=by)).run)


@router.post("/documents/{document_id}/reject", status_code=202, responses=problems(409))
async def reject_document(app: App, by: Operator, document_id: str, body: DecisionBody) -> RunSummary:
    """Reject a document that waits for review: its run ends without a delivery."""
    return run_summary((await app.runs.reject(document_id, message=body.message, by=by)).run)
