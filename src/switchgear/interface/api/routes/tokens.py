"""Tokens: who may call. The secret is shown once, in the answer that makes the token. Source: T014, INTERFACES 2."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from switchgear.core.access_repository import StoredToken
from switchgear.interface.api.dependencies import Admin, App, IfMatch, PageOf, require_match
from switchgear.interface.api.documentation import problems
from switchgear.interface.api.repeated import hides
from switchgear.interface.api.routing import guarded_router
from switchgear.interface.api.schemas.access import CreatedToken, TokenBody, TokenPatch, TokenView
from switchgear.interface.api.schemas.common import Message, Page, microseconds_of, time_of
from switchgear.interface.api.services import Services

router = guarded_router("tokens")


def _view(token: StoredToken, app: Services) -> TokenView:
    return TokenView(
        id=token.id,
        name=token.name,
        role=token.role,
        created_by=token.created_by,
        created_at=time_of(token.created_at),
        expires_at=time_of(token.expires_at),
        revoked_at=time_of(token.revoked_at),
        is_valid=token.is_valid(app.clock()),
    )


@router.get("/tokens")
async def list_tokens(app: App, by: Admin, page: PageOf) -> Page[TokenView]:
    """List tokens, newest first, revoked ones included."""
    found = await app.access.list(page.limit, page.position)
    return Page(items=[_view(token, app) for token in found.items], next_cursor=page.next(found.next_cursor))


@router.post("/tokens", status_code=201)
@hides("secret")
async def create_token(app: App, by: Admin, body: TokenBody, response: Response) -> CreatedToken:
    """Make a token; its secret is in this answer and nowhere else."""
    token, secret = await app.access.create_token(
        body.name, body.role, microseconds_of(body.expires_at), by, body.message
    )
    response.headers["Location"] = f"/api/v1/tokens/{token.id}"
    response.headers["ETag"] = token.etag
    return CreatedToken(token=_view(token, app), secret=secret)


@router.get("/tokens/{token_id}")
async def get_token(app: App, by: Admin, token_id: str, response: Response) -> TokenView:
    """Show a token without its secret."""
    token = await app.access.get(token_id)
    response.headers["ETag"] = token.etag
    return _view(token, app)


@router.patch("/tokens/{token_id}", responses=problems(412, 428))
async def change_token(
    app: App, by: Admin, token_id: str, body: TokenPatch, response: Response, if_match: IfMatch = None
) -> TokenView:
    """Change a token's name, role or end; it acts on the next request. Needs If-Match."""
    given = {"expires_at": microseconds_of(body.expires_at)} if "expires_at" in body.model_fields_set else {}
    token = await app.access.update(
        token_id, by, require_match(if_match), name=body.name, role=body.role, message=body.message, **given
    )
    response.headers["ETag"] = token.etag
    return _view(token, app)


@router.delete("/tokens/{token_id}", responses=problems(412, 428))
async def revoke_token(
    app: App,
    by: Admin,
    token_id: str,
    response: Response,
    message: Annotated[Message, Query()] = "",
    if_match: IfMatch = None,
) -> TokenView:
    """Revoke a token: it opens nothing from the next request on. Needs If-Match."""
    token = await app.access.revoke(token_id, by, require_match(if_match), message)
    response.headers["ETag"] = token.etag
    return _view(token, app)
