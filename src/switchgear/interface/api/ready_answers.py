"""Answers the read that everybody repeats, the active configuration, from memory while nothing has changed.

Nothing is decided here: caller and answer are those of an earlier request, and are used only as long as the database
says that nobody has committed anything since. All else goes the ordinary way. Source: DESIGN 7 (hot reads), 9.
"""

from __future__ import annotations

import re
from typing import Final

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from switchgear.domain.access import Need
from switchgear.domain.errors import DatabaseUnreachable
from switchgear.domain.ids import new_id
from switchgear.interface.api.frame import SANE_ID, completed
from switchgear.interface.api.hot_reads import ACTIVE, HotReads, Rendering, active_etag
from switchgear.interface.api.routing import BASE
from switchgear.interface.api.services import Services

_PATH: Final = f"{BASE}/configurations/active"
_BEARER: Final = re.compile(rb"Bearer ([!-~]{1,256})")
#: A request with one of these has a body.
_SPECIAL: Final = frozenset({b"content-length", b"transfer-encoding", b"expect"})
_JSON: Final = (b"*/*", b"application/json")

_Headers = list[tuple[bytes, bytes]]


class ReadyAnswers:
    """Wraps the whole application, the framework's own layers too: they cost as much again as an answer.

    Args:
        app: The ordinary way.
        services: Know callers, and whether the instance works.
        reads: Keep what was rendered.
    """

    def __init__(self, app: FastAPI, *, services: Services, reads: HotReads) -> None:
        self.app = app
        self._services = services
        self._reads = reads
        self._rendering: Rendering | None = None
        self._etag = b""
        self._headers: _Headers = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer at once, or hand on."""
        if scope["type"] != "http" or scope["path"] != _PATH or not self._answers(scope):
            await self.app(scope, receive, send)
            return
        given = dict(scope["headers"])
        request_id = given.get(b"x-request-id", b"")
        if not SANE_ID.fullmatch(request_id):
            request_id = new_id("req").encode()
        assert self._rendering is not None
        status, body, headers = 200, self._rendering.body, self._headers
        if given.get(b"if-none-match") == self._etag:
            status, body = 304, b""
            headers = [pair for pair in headers if not pair[0].startswith(b"content-") or pair[0].endswith(b"policy")]
        headers = [(b"x-request-id", request_id), *headers]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _answers(self, scope: Scope) -> bool:
        """Whether this is the plain request, from a caller who is known, for an answer that still holds."""
        secret = self._plain(scope)
        if secret is None or self._services.trouble is not None:
            return False
        try:
            version = self._services.database.narrow.version()
            actor = self._services.access.known(secret, version)
            rendering = self._reads.kept(self._services, ACTIVE, version)
        except DatabaseUnreachable:
            return False
        if actor is None or not actor.may(Need.READ) or rendering is None:
            return False
        if rendering is not self._rendering:
            self._take(rendering)
        return True

    def _plain(self, scope: Scope) -> str | None:
        """The secret that a request brings which asks for nothing special; None for any other."""
        if scope["method"] != "GET" or scope["query_string"]:
            return None
        secret = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                match = _BEARER.fullmatch(value)
                if match is None or secret is not None:
                    return None
                secret = match[1].decode()
            elif (
                name in _SPECIAL
                or (name == b"accept" and value not in _JSON)
                or (name == b"if-none-match" and value != self._etag)
            ):
                return None
        return secret

    def _take(self, rendering: Rendering) -> None:
        self._rendering = rendering
        self._etag = active_etag(rendering).encode()
        own = [
            (b"etag", self._etag),
            (b"vary", b"Accept, Authorization"),
            (b"content-length", str(len(rendering.body)).encode()),
            (b"content-type", b"application/json"),
        ]
        self._headers = completed(own)
