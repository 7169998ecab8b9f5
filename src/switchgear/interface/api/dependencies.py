"""Who calls, what it may do, and what it asked for: dependencies of the routes. Source: T014, INTERFACES 2.

Each route says once what it needs, by one of `Reader`, `Operator`, ...; a route without that is refused when the
application is made (see `routing.py`), so that nothing is open by mistake.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Annotated, Final, cast

from fastapi import Depends, Header, Query, Request
from fastapi.responses import Response

from switchgear.core.logging import actor_var
from switchgear.domain.access import Actor, Need, Role, least_role, who_may
from switchgear.domain.errors import Forbidden, InvalidRequest, NotFound, PreconditionFailed, Unauthenticated
from switchgear.interface.api.problems import PreconditionRequired, RateLimited
from switchgear.interface.api.refusals import Refusals
from switchgear.interface.api.schemas.common import MAX_PAGE
from switchgear.interface.api.services import Services

_ACTOR: Final = "switchgear.actor"
_LONGEST_HEADER: Final = 512


def services_of(request: Request) -> Services:
    """The services behind the API."""
    return cast(Services, request.app.state.services)


def _refusals_of(request: Request) -> Refusals:
    return cast(Refusals, request.app.state.refusals)


async def _app(request: Request) -> Services:
    """As `services_of`; asynchronous, because FastAPI calls any other dependency in a thread."""
    return services_of(request)


App = Annotated[Services, Depends(_app)]


class Requires:
    """A dependency that lets pass whose role allows *need*, and gives the verified caller."""

    def __init__(self, need: Need) -> None:
        self.need = need

    async def __call__(self, request: Request) -> Actor | None:
        """Return the caller; None where nobody has to say who they are."""
        if self.need is Need.ANONYMOUS:
            return None
        return await authorize(request, self.need)


async def authorize(request: Request, need: Need) -> Actor:
    """Return the verified caller when its role allows *need*.

    Raises:
        Unauthenticated: There is no valid token.
        RateLimited: The client sent too many wrong ones.
        Forbidden: The role does not allow it; recorded in the audit trail.
        DatabaseUnreachable: Nobody can be verified now.
    """
    actor = cast("Actor | None", request.scope.get(_ACTOR))
    if actor is None:
        actor = await _authenticate(request)
        request.scope[_ACTOR] = actor
        actor_var.set(actor.name)
    if not actor.may(need):
        what = f"{request.method} {request.url.path[:200]}"
        await services_of(request).access.record_refusal(actor, what)
        raise Forbidden(
            f"The role {actor.role} does not allow this; it needs the role {who_may(need)}. "
            "Ask an admin for a token with that.",
            role=str(actor.role),
            needs=str(least_role(need)),
        )
    return actor


async def _authenticate(request: Request) -> Actor:
    trouble = services_of(request).trouble
    if trouble is not None:
        raise trouble
    given = request.headers.get("authorization", "")
    scheme, _, secret = given.partition(" ")
    try:
        if scheme.lower() != "bearer" or not secret.strip() or len(given) > _LONGEST_HEADER:
            raise Unauthenticated("This needs a token: send the header `Authorization: Bearer TOKEN`.")
        return await services_of(request).access.authenticate(secret.strip())
    except Unauthenticated:
        client = request.client.host if request.client else "unknown"
        wait_s = _refusals_of(request).count(client, gave_one=bool(secret.strip()))
        if wait_s is not None:
            raise RateLimited(
                f"Too many requests without a valid token from this client. Wait {wait_s} s and correct the token.",
                retry_after_s=wait_s,
            ) from None
        raise


Reader = Annotated[Actor, Depends(Requires(Need.READ))]
Sender = Annotated[Actor, Depends(Requires(Need.SEND))]
Owner = Annotated[Actor, Depends(Requires(Need.OWN_RUNS))]
Operator = Annotated[Actor, Depends(Requires(Need.CHANGE))]
Maintainer = Annotated[Actor, Depends(Requires(Need.MODULES))]
Admin = Annotated[Actor, Depends(Requires(Need.TOKENS))]
#: For routes that anybody may call.
Anybody: Final = Depends(Requires(Need.ANONYMOUS))


def own_only(by: Actor) -> str | None:
    """The token id that a caller's documents and runs must come from, or None when it may read all."""
    return by.token_id or "none" if by.role is Role.INGEST else None


def check_own(by: Actor, sender: str | None, what: str) -> None:
    """Hide from a token with the scope `ingest` what it did not send.

    Raises:
        NotFound: It belongs to somebody else; the same answer as if it did not exist.
    """
    own = own_only(by)
    if own is not None and sender != own:
        raise NotFound(f"There is no such {what}.")


# --- lists ---


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of a list: at most `limit` items after `position`; `of` is the path of the list."""

    limit: int
    position: str | None
    of: str = ""

    def next(self, position: str | None) -> str | None:
        """The cursor for what comes after; None at the end."""
        if position is None:
            return None
        return base64.urlsafe_b64encode(f"{self.of}{position}".encode()).rstrip(b"=").decode()


async def _paging(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="At most so many items")] = 50,
    cursor: Annotated[str | None, Query(max_length=500, description="`next_cursor` of the page before")] = None,
) -> Paging:
    of = f"{request.url.path} "
    return Paging(limit, None if cursor is None else position_of(cursor, "query:cursor", of), of)


PageOf = Annotated[Paging, Depends(_paging)]


def position_of(cursor: str, pointer: str, of: str = "") -> str:
    """Read a cursor that `Paging.next` wrote; *pointer* names the parameter, *of* the list.

    Raises:
        InvalidRequest: It is none.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        position = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        position = ""
    if not position.startswith(of) or position == of or not position.isprintable() or not position.isascii():
        raise bad_parameter(pointer, "It is no cursor of this list.", "Start again without a cursor.")
    return position.removeprefix(of)


def bad_parameter(pointer: str, detail: str, hint: str | None = None) -> InvalidRequest:
    """The error for one parameter that does not fit."""
    return InvalidRequest(
        f"A parameter does not fit: {detail}",
        errors=[{"code": "request.invalid", "pointer": pointer, "detail": detail, "hint": hint}],
    )


Wait = Annotated[
    float, Query(ge=0, le=60, description="Wait so many seconds at most for the end; then answer as it stands")
]

# --- conditions ---

IfMatch = Annotated[str | None, Header(max_length=200, description="ETag of the state that the change is meant for")]


def etag_of(body: bytes) -> str:
    """A strong ETag of an answer's bytes."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def require_match(if_match: str | None) -> str:
    """Return If-Match where a change cannot do without.

    Raises:
        PreconditionRequired: It is missing.
    """
    if if_match is None:
        raise PreconditionRequired(
            "This change needs the header If-Match with the ETag of what it changes. Read it first."
        )
    return if_match


def check_match(if_match: str | None, etag: str) -> None:
    """Compare If-Match with the present ETag.

    Raises:
        PreconditionFailed: It names another state.
    """
    if if_match is not None and if_match.strip() != "*" and etag not in [tag.strip() for tag in if_match.split(",")]:
        raise PreconditionFailed("It was changed in between; nothing was done. Read it again and repeat the change.")


def answer_bytes(
    request: Request, body: bytes, *, etag: str | None = None, media_type: str = "application/json"
) -> Response:
    """Answer with bytes and their ETag, or 304 when the caller has them already."""
    tag = etag or etag_of(body)
    headers = {"ETag": tag, "Vary": "Accept, Authorization"}
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)


async def still_allowed(request: Request, need: Need) -> bool:
    """Whether the caller's token still opens what *need* says; long streams ask before each event."""
    secret = request.headers.get("authorization", "").partition(" ")[2].strip()
    try:
        return (await services_of(request).access.authenticate(secret)).may(need)
    except Unauthenticated:
        return False
