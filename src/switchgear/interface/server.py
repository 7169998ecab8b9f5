"""The whole server as one ASGI application: the API, and a small page for people at `/`. Source: INTERFACES 7, T003.

The console is a later work item; until then the page shows version, active configuration, stages and links.
"""

from __future__ import annotations

from html import escape
from typing import Final

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from switchgear import __version__
from switchgear.core.module_registry import Serves, StageAvailability
from switchgear.interface.api.dependencies import Anybody, services_of
from switchgear.interface.api.hot_reads import present
from switchgear.interface.api.main import create_app
from switchgear.interface.api.pages import page, table
from switchgear.interface.api.routing import guarded_router
from switchgear.interface.api.services import Services

router = guarded_router("pages")

_WORDS: Final = {
    Serves.SELECTED: ("good", "&#10003; works"),
    Serves.FALLBACK: ("warn", "&#9888; fallback serves"),
    Serves.NOBODY: ("bad", "&#10007; nobody serves"),
    Serves.NOT_SELECTED: ("", "&ndash; not selected"),
}


def create_server(services: Services) -> FastAPI:
    """Make the server on the services of one instance; `bootstrap` starts and stops them."""
    app = create_app(services)
    app.include_router(router, include_in_schema=False)
    return app


@router.get("/", dependencies=[Anybody], response_class=HTMLResponse, include_in_schema=False)
async def start_page(request: Request) -> HTMLResponse:
    """Say what runs here, without anything that a token protects beyond names and states."""
    now = await present(services_of(request))
    if now.active is None:
        active = "<p class=warn>&#9888; No configuration is active; documents are stored and wait.</p>"
    else:
        active = f"<p>Active configuration: <strong>{escape(now.active.label)}</strong></p>"
    rows = [_row(stage) for stage in now.stages()]
    body = (
        f"<h1>Switchgear {escape(__version__)}</h1>{active}"
        f"<h2>Stages of the pipeline {escape(now.snapshot.pipeline.name)}</h2>"
        f"{table(['Stage', 'Selected', 'State', 'Serves'], rows)}"
        '<h2>More</h2><p><a href="/docs">API</a> &middot; <a href="/openapi.json">OpenAPI</a> &middot; '
        '<a href="/problems">Reason codes</a> &middot; <code>switchgear status</code></p>'
    )
    return HTMLResponse(page("Switchgear", body))


def _row(stage: StageAvailability) -> list[str]:
    css, words = _WORDS[stage.serves]
    return [
        escape(stage.stage_id),
        escape(stage.selected or ""),
        f'<span class="{css}">{words}</span>',
        escape(stage.module_id or ""),
    ]
