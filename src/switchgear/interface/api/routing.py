"""A route that refuses early: first who calls, then the parameters, then the body, then whether it was answered before.

FastAPI reads and parses a body before it asks who sent it, takes lenient JSON, and ignores parameters that it does
not know. This route class does not. Source: INTERFACES 2, RELIABILITY I10, I29.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from fastapi import APIRouter, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.responses import Response
from fastapi.routing import APIRoute

from switchgear.domain.access import Need
from switchgear.domain.errors import InvalidRequest, NotFound
from switchgear.domain.wanted_values import did_you_mean
from switchgear.interface.api.dependencies import Requires, authorize
from switchgear.interface.api.problems import UnsupportedMediaType
from switchgear.interface.api.repeated import answer_once, hidden_field
from switchgear.interface.api.strict_json import parse_strict

BASE: Final = "/api/v1"
_LONGEST_PARAMETER: Final = 200
_STREAMS: Final = "_switchgear_streams"
ENDPOINT = TypeVar("ENDPOINT", bound=Callable[..., object])


def streams_body(endpoint: ENDPOINT) -> ENDPOINT:
    """Mark an endpoint that reads its body itself: it may be large and is no JSON."""
    setattr(endpoint, _STREAMS, True)
    return endpoint


class RouteWithoutNeed(RuntimeError):
    """A route does not say what it needs of its caller; the application is not made."""


class GuardedRoute(APIRoute):
    """Checks the caller before anything else, then parameters, body and Idempotency-Key."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """Return the handler with the checks around it."""
        inner = super().get_route_handler()
        need = need_of(self)
        known = frozenset(_query_names(self.dependant))
        takes_json = self.body_field is not None
        hidden = hidden_field(self.endpoint)

        async def handler(request: Request) -> Response:
            _check_path(request)
            actor = None if need is Need.ANONYMOUS else await authorize(request, need)
            _check_query(request, known)
            if request.method != "POST" or actor is None or getattr(self.endpoint, _STREAMS, False):
                if takes_json:
                    await _check_body(request)
                return await inner(request)
            body = await _check_body(request)
            return await answer_once(request, actor, body, inner, hidden=hidden)

        return handler


def need_of(route: APIRoute) -> Need:
    """What a route needs of its caller.

    Raises:
        RouteWithoutNeed: It does not say so, or says two things.
    """
    needs = {each.call.need for each in _dependants(route.dependant) if isinstance(each.call, Requires)}
    if len(needs) != 1:
        raise RouteWithoutNeed(
            f"Route {route.path} must say once what it needs of its caller; it says {needs or 'nothing'}."
        )
    return next(iter(needs))


def guarded_router(tag: str, *, below: str = BASE) -> APIRouter:
    """A router whose routes all are guarded, and are called below *below*; an operation has the name of its function.

    `serve_routes` takes its routes as they are. FastAPI's `include_router` makes each a second time, which took a tenth
    of a start.
    """
    return APIRouter(
        prefix=below, route_class=GuardedRoute, tags=[tag], generate_unique_id_function=lambda route: route.name
    )


def serve_routes(app: FastAPI, *routers: APIRouter) -> None:
    """Let *app* answer the routes of *routers*."""
    for router in routers:
        app.routes.extend(router.routes)


def _dependants(dependant: Dependant) -> Iterator[Dependant]:
    for each in dependant.dependencies:
        yield each
        yield from _dependants(each)


def _query_names(dependant: Dependant) -> Iterator[str]:
    for each in (dependant, *_dependants(dependant)):
        yield from (parameter.alias for parameter in each.query_params)


def _check_path(request: Request) -> None:
    for value in request.path_params.values():
        if len(str(value)) > _LONGEST_PARAMETER or not str(value).isprintable():
            raise NotFound("There is nothing with such an id.")


def _check_query(request: Request, known: frozenset[str]) -> None:
    errors = []
    for name, value in request.query_params.multi_items():
        if name not in known:
            hint = did_you_mean(name, known) or f"There are: {', '.join(sorted(known)) or 'none'}."
            errors.append({"pointer": "query", "detail": "There is no such parameter.", "hint": hint})
        elif "\0" in value or not _encodable(value):
            errors.append({"pointer": f"query:{name}", "detail": "It has characters that are none."})
    if errors:
        raise InvalidRequest("Parameters do not fit; each is listed. Nothing was done.", errors=errors)
    repeated = len(request.query_params.multi_items()) - len(set(request.query_params))
    if repeated:
        raise InvalidRequest("A parameter is given twice. Which one counts would be a guess: send one.")


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


async def _check_body(request: Request) -> bytes:
    raw = await request.body()
    if not raw:
        return raw
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType("The body must be JSON: send it with `Content-Type: application/json`.")
    parse_strict(raw)
    return raw
