"""Makes the API: routes, errors, documentation, and the frame around them. Source: T003, INTERFACES 2."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig

from switchgear import __version__
from switchgear.interface.api.documentation import install_documentation
from switchgear.interface.api.event_hub import EventHub
from switchgear.interface.api.frame import Frame
from switchgear.interface.api.hot_reads import HotReads
from switchgear.interface.api.problems import install_handlers
from switchgear.interface.api.readiness import CHECKS, WORKER_CHECKS, Check
from switchgear.interface.api.refusals import Refusals
from switchgear.interface.api.routes import OF_WORKERS, OUTSIDE, ROUTERS
from switchgear.interface.api.routing import BASE, need_of, serve_routes
from switchgear.interface.api.services import Services

UPLOAD_PATH: Final = f"{BASE}/documents"


def api_routes() -> Iterator[APIRoute]:
    """Every route of the API."""
    for router in (*ROUTERS, *OUTSIDE):
        yield from (route for route in router.routes if isinstance(route, APIRoute))


def create_app(services: Services) -> FastAPI:
    """Make the API on the services of one instance.

    Args:
        services: Built and started by `bootstrap`; the API neither starts nor stops them.

    Raises:
        RouteWithoutNeed: A route does not say what it needs of its caller.
    """
    app = _new_app(services, CHECKS)
    app.state.hot_reads = HotReads()
    app.state.events = EventHub(services)
    serve_routes(app, *ROUTERS, *OUTSIDE)
    routes = {route.name: route for route in api_routes()}
    for route in routes.values():
        need_of(route)
    install_documentation(app, routes)
    return app


def create_worker_app(services: Services) -> FastAPI:
    """Make what a process answers that serves no API: `/livez`, `/readyz`, `/metrics`; the rest as `create_app`."""
    app = _new_app(services, WORKER_CHECKS)
    serve_routes(app, *OF_WORKERS)
    for route in app.routes:
        if isinstance(route, APIRoute):
            need_of(route)
    return app


#: The framework's own traces and logs would hold requests and refused values as they came; ours are redacted.
_NO_TELEMETRY: Final[TelemetryConfig] = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


def _new_app(services: Services, checks: Mapping[str, Check]) -> FastAPI:
    """An application without a route, in its frame: credentials and errors are the same wherever one asks."""
    app = FastAPI(
        title="Switchgear",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_lifespan,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
    )
    app.state.services = services
    app.state.refusals = Refusals(services.access, services.clock)
    app.state.events = None
    app.state.checks = checks
    install_handlers(app)
    app.add_middleware(Frame, upload_path=UPLOAD_PATH, max_upload_bytes=services.settings.max_upload_bytes)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    flushing = asyncio.create_task(app.state.refusals.keep_flushing())
    try:
        yield
    finally:
        if app.state.events is not None:
            await app.state.events.close()
        flushing.cancel()
        with suppress(asyncio.CancelledError):
            await flushing
