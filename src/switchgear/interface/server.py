"""The whole server as one ASGI application: the API, and a small page for people at `/`. Source: INTERFACES 7, T003.

The console is a later work item; until then the page shows version, active configuration, stages and links.
"""

from __future__ import annotations

import base64
from html import escape
from typing import Final

from fastapi import Request
from fastapi.responses import HTMLResponse

from switchgear import __version__
from switchgear.core.module_registry import Serves, StageAvailability
from switchgear.domain.access import Need
from switchgear.domain.activation import StoredActivation
from switchgear.domain.errors import Unauthenticated
from switchgear.interface.api.dependencies import Anybody, services_of
from switchgear.interface.api.hot_reads import Present, present
from switchgear.interface.api.main import create_app
from switchgear.interface.api.pages import page, table
from switchgear.interface.api.ready_answers import ReadyAnswers
from switchgear.interface.api.routing import guarded_router, serve_routes
from switchgear.interface.api.services import Services

router = guarded_router("pages", below="")

_LINKS: Final = (
    '<h2>More</h2><p><a href="/docs">API</a> &middot; <a href="/openapi.json">OpenAPI</a> &middot; '
    '<a href="/problems">Reason codes</a> &middot; <code>switchgear status</code></p>'
)
_WORDS: Final = {
    Serves.SELECTED: ("good", "&#10003; works"),
    Serves.FALLBACK: ("warn", "&#9888; fallback serves"),
    Serves.NOBODY: ("bad", "&#10007; nobody serves"),
    Serves.NOT_SELECTED: ("", "&ndash; not selected"),
}


def create_server(services: Services) -> ReadyAnswers:
    """Make the server on the services of one instance; `bootstrap` starts and stops them."""
    app = create_app(services)
    serve_routes(app, router)
    return ReadyAnswers(app, services=services, reads=app.state.hot_reads)


@router.get("/", dependencies=[Anybody], response_class=HTMLResponse, include_in_schema=False)
async def start_page(request: Request, sign_in: bool = False) -> HTMLResponse:
    """Say what runs here; the rest is for whoever has a token, which a browser asks for as a password."""
    body = f"<h1>Switchgear {escape(__version__)}</h1>"
    secret = _password(request.headers.get("authorization", ""))
    app = services_of(request)
    try:
        reader = await app.access.authenticate(secret) if secret and app.trouble is None else None
    except Unauthenticated:
        reader = None
    if reader is not None and reader.may(Need.READ):
        return HTMLResponse(page("Switchgear", body + _overview(await present(app)) + _LINKS))
    if sign_in:
        body += "<p>Give any name, and a token as the password.</p>"
        challenge = {"WWW-Authenticate": 'Basic realm="switchgear", charset="UTF-8"'}
        return HTMLResponse(page("Sign in", body), 401, challenge)
    body += '<p><a href="/?sign_in=true">Sign in with a token</a> to see configuration and stages.</p>'
    return HTMLResponse(page("Switchgear", body + _LINKS))


def _password(authorization: str) -> str | None:
    """The token in the header, be it a bearer or the password of a browser."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        return None


def _overview(now: Present) -> str:
    if now.active is None:
        active = '<p class="warn">&#9888; No configuration is active; documents are stored and wait.</p>'
    else:
        active = (
            f"<p>Active configuration: <strong>{escape(now.active.label)}</strong> {escape(now.active.message)}</p>"
        )
    if now.pending is not None:
        active += f'<p class="warn">&#8987; {_waits(now.pending)}</p>'
    heads = ["Stage", "Selected", "State", "Serves", "Why"]
    title = f"<h2>Stages of the pipeline {escape(now.snapshot.pipeline.name)}</h2>"
    return active + title + table(heads, [_row(stage) for stage in now.stages()])


def _row(stage: StageAvailability) -> list[str]:
    css, words = _WORDS[stage.serves]
    return [
        escape(stage.stage_id),
        escape(stage.selected or ""),
        f'<span class="{css}">{words}</span>',
        escape(stage.module_id or ""),
        "" if stage.lack is None else escape(stage.lack.message) + _repair(stage.lack.fix),
    ]


def _repair(fix: str | None) -> str:
    return "" if fix is None else f"<br><code>{escape(fix)}</code>"


def _waits(pending: StoredActivation) -> str:
    words = f"v{pending.configuration_version} waits to replace it ({pending.state}). {pending.message}"
    return f"{escape(words)} <code>switchgear activations watch</code> shows for what."
