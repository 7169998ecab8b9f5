"""Requests that carry an Idempotency-Key: the same one again gets the same answer and has one effect.

Only answers that changed something are kept; a refusal had no effect, so it is decided anew. Source: I10.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from fastapi import Request
from fastapi.responses import Response

from switchgear.domain.access import Actor
from switchgear.domain.errors import DatabaseUnreachable
from switchgear.interface.api.dependencies import services_of
from switchgear.sdk.errors import SwitchgearError

HEADER: Final = "idempotency-key"
_KEPT_HEADERS: Final = ("location", "etag", "content-type")
_HIDES: Final = "_switchgear_hides"

Handler = Callable[[Request], Awaitable[Response]]
ENDPOINT = TypeVar("ENDPOINT", bound=Callable[..., object])


def hides(field: str) -> Callable[[ENDPOINT], ENDPOINT]:
    """Mark an endpoint whose answer has a field that must not be stored; a repeated answer has null there."""

    def mark(endpoint: ENDPOINT) -> ENDPOINT:
        setattr(endpoint, _HIDES, field)
        return endpoint

    return mark


def hidden_field(endpoint: object) -> str | None:
    """The field that `hides` named, or None."""
    found: str | None = getattr(endpoint, _HIDES, None)
    return found


async def answer_once(
    request: Request, actor: Actor, body: bytes, answer: Handler, *, hidden: str | None = None
) -> Response:
    """Answer a request, or give the answer that the first one with the same key got.

    Args:
        request: The request; without the header it is simply answered.
        actor: The verified caller; keys of different callers never meet.
        body: What must be the same: the body, or its digest.
        answer: Does the work.
        hidden: A field of the answer that is not stored.

    Raises:
        InvalidRequest: The key is empty or too long.
        IdempotencyMismatch: It was used for another request.
        StillAtWork: The first request has not been answered yet.
        AnswerLost: It took effect, and its answer is not known.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return await answer(request)
    keys = services_of(request).idempotency
    route = f"{request.method} {request.url.path}?{request.url.query}"
    earlier = await keys.reserve(actor, key, route, body)
    if earlier is not None:
        headers = {**earlier.headers, "Idempotency-Replayed": "true"}
        return Response(earlier.response, status_code=earlier.status, headers=headers)
    try:
        with keys.at_work(actor, key):
            response = await answer(request)
    except BaseException as error:
        is_refusal = isinstance(error, SwitchgearError) and not isinstance(error, DatabaseUnreachable)
        await keys.release(actor, key, unless_done=not is_refusal)
        raise
    if not 200 <= response.status_code < 300:
        await keys.release(actor, key)
        return response
    kept = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    text = _without(bytes(response.body), hidden)
    await keys.complete(actor, key, response.status_code, text, kept)
    return response


def _without(body: bytes, hidden: str | None) -> str:
    if hidden is None:
        return body.decode()
    return json.dumps({**json.loads(body), hidden: None})
