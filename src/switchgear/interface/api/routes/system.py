"""What stands outside the base path: is it alive, is it ready, metrics, documentation, runbook. INTERFACES 2."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from pydantic import BeforeValidator

from switchgear.domain.access import Need
from switchgear.domain.errors import Code, NotFound
from switchgear.interface.api.dependencies import Anybody, App, Reader, authorize
from switchgear.interface.api.documentation import problems
from switchgear.interface.api.gauges import METRICS_TYPE, rendered_metrics
from switchgear.interface.api.pages import documentation_page, problem_page, problems_page
from switchgear.interface.api.problem_catalogue import CATALOGUE
from switchgear.interface.api.readiness import readiness
from switchgear.interface.api.routing import guarded_router
from switchgear.interface.api.schemas.status import ReadinessView, RunbookView

#: `?verbose` alone means yes, as people write it.
Verbose = Annotated[bool, BeforeValidator(lambda value: True if value == "" else value), Query()]

#: What every process answers that is watched, workers too.
health = guarded_router("system", below="")
router = guarded_router("system", below="")


@health.get("/livez", dependencies=[Anybody], response_class=PlainTextResponse)
async def livez() -> PlainTextResponse:
    """Answer `ok` as long as the process serves at all."""
    return PlainTextResponse("ok")


@health.get(
    "/readyz",
    dependencies=[Anybody],
    response_model=ReadinessView,
    responses={503: {"model": ReadinessView, "description": "Not ready"}, **problems(401, 403, 429)},
)
async def readyz(app: App, request: Request, verbose: Verbose = False) -> Response:
    """Whether work can be taken now; `verbose` lists each check and needs a viewer."""
    if verbose:
        await authorize(request, Need.READ)
    view = await readiness(app, request.app.state.checks)
    shown = view if verbose else ReadinessView(ready=view.ready)
    headers = {} if view.ready else {"Retry-After": "2"}
    body = shown.model_dump_json(exclude_none=True, exclude_defaults=True)
    return Response(body, 200 if view.ready else 503, headers, media_type="application/json")


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(app: App, by: Reader) -> Response:
    """Metrics for Prometheus."""
    return Response(await rendered_metrics(app), media_type=METRICS_TYPE)


@router.get("/openapi.json", dependencies=[Anybody])
async def openapi_document(request: Request) -> dict[str, Any]:
    """The description of this API for tools."""
    document: dict[str, Any] = request.app.openapi()
    return document


@router.get("/docs", dependencies=[Anybody], response_class=HTMLResponse)
async def documentation(request: Request) -> HTMLResponse:
    """The description of this API for people."""
    return HTMLResponse(documentation_page(request.app.openapi()))


@router.get("/problems", dependencies=[Anybody], response_class=HTMLResponse)
async def list_problems() -> HTMLResponse:
    """Every reason code."""
    return HTMLResponse(problems_page())


@router.get(
    "/problems/{code}",
    dependencies=[Anybody],
    response_model=RunbookView,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}},
)
async def get_problem(request: Request, code: str) -> Response:
    """Explain a reason code: HTML for people, JSON with `Accept: application/json`."""
    try:
        known = Code(code)
    except ValueError:
        raise NotFound("There is no such reason code. /problems lists all of them.") from None
    if "application/json" in request.headers.get("accept", ""):
        entry = CATALOGUE[known]
        return JSONResponse(RunbookView(code=known, **entry._asdict()).model_dump(mode="json"))
    return HTMLResponse(problem_page(known))
