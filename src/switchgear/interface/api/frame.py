"""What surrounds every request: its id, the limit of its body, safe headers, and an answer to the unexpected.

Plain ASGI, so that it costs little and streams pass through. Source: INTERFACES 2, RELIABILITY I30.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from fastapi.responses import Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from switchgear.core.logging import get_logger, request_context
from switchgear.core.observability import EventName
from switchgear.domain.errors import Code, larger_than
from switchgear.domain.ids import new_id
from switchgear.interface.api.problems import BodyTooLarge, answer_to, problem_answer
from switchgear.sdk.errors import SwitchgearError

MAX_JSON_BYTES: Final = 1024 * 1024
#: What a multipart body needs beside the document itself.
_MULTIPART_EXTRA: Final = 64 * 1024
#: The most that is still taken of a body after its answer, in bytes and in seconds, before the connection is closed.
_REST_BYTES: Final = 32 * 1024 * 1024
_REST_S: Final = 2.0
#: What is left of a body may be read to its end when it is this small, and the connection stays.
_SMALL_REST: Final = 64 * 1024
SANE_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_METHODS: Final = "DELETE, GET, HEAD, PATCH, POST"
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
)

log = get_logger()


class Frame:
    """Wraps an ASGI application.

    Args:
        app: The application.
        upload_path: Path whose POST takes documents.
        max_upload_bytes: Largest document.
    """

    def __init__(self, app: ASGIApp, *, upload_path: str, max_upload_bytes: int) -> None:
        self._app = app
        self._upload_path = upload_path
        self._max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        body = self._body_of(scope, receive)
        answer = _Answer(send, request_id, body, has_body=scope["method"] != "HEAD")
        if scope["method"] == "HEAD":  # answered as GET is
            scope = {**scope, "method": "GET"}
        with request_context(request_id):
            try:
                await self._app(scope, body.receive, answer.send)
            except ClientDisconnect:
                return  # the sender went away: nobody waits for an answer, and nothing here is at fault
            except SwitchgearError as error:
                await self._refuse(answer, scope, receive, answer_to(error), error)
            except Exception as error:
                sentence = "An unexpected error. Try again; the log has it under the request id."
                refusal = problem_answer(Code.SYSTEM_ERROR, 500, sentence)
                await self._refuse(answer, scope, receive, refusal, error)

    async def _refuse(
        self, answer: _Answer, scope: Scope, receive: Receive, refusal: Response, error: Exception
    ) -> None:
        if refusal.status_code >= 500:
            log.error(EventName.REQUEST_FAILED, path=scope["path"], method=scope["method"], exc_info=error)
        if answer.started:
            raise error  # the server cuts the connection; half an answer must not look whole
        await refusal(scope, receive, answer.send)

    def _body_of(self, scope: Scope, receive: Receive) -> _Body:
        if scope["method"] == "POST" and scope["path"].rstrip("/") == self._upload_path:
            return _Body(scope, receive, limit=self._max_upload_bytes + _MULTIPART_EXTRA, shown=self._max_upload_bytes)
        return _Body(scope, receive, limit=MAX_JSON_BYTES, shown=MAX_JSON_BYTES)


class _Body:
    """The body of a request: the application reads no more than *limit* bytes of it, and is told *shown*."""

    def __init__(self, scope: Scope, receive: Receive, *, limit: int, shown: int) -> None:
        self._receive = receive
        self._limit = limit
        self._shown = shown
        self._declared = _declared(scope)
        self._seen = 0
        self.has_ended = self._declared == 0 and _header(scope, b"transfer-encoding") is None
        #: Whether the sender wants the connection closed after the answer.
        self.is_last = scope.get("http_version") == "1.0" or _closes(scope["headers"])

    async def receive(self) -> Message:
        """What the application reads; raises `BodyTooLarge`."""
        if self._declared <= self._limit:
            message = await self._next()
            if self._seen <= self._limit:
                return message
        raise BodyTooLarge(larger_than(self._shown))

    async def _next(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        self.has_ended = not message.get("more_body", False)
        return message

    @property
    def may_go_on(self) -> bool:
        """Whether much is still to come, or nobody knows how much: a refused sender must not go on for ever."""
        return not self.has_ended and (not self._declared or self._declared - self._seen > _SMALL_REST)

    async def throw_rest_away(self) -> None:
        """Take what still comes, within bounds.

        A connection that is closed with unread data is reset, and the sender loses the answer if it reads only after
        it has sent all, as many libraries do.
        """
        most = self._seen + _REST_BYTES
        with suppress(TimeoutError):
            async with asyncio.timeout(_REST_S):
                while not self.has_ended and self._seen < most:
                    await self._next()


class _Answer:
    """Adds the headers that every answer has, and remembers whether it began."""

    def __init__(self, send: Send, request_id: str, asked: _Body, *, has_body: bool) -> None:
        self._send = send
        self._request_id = request_id
        self._asked = asked
        self._has_body = has_body
        self._is_last = asked.is_last
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self._is_last = self._is_last or _closes(message.get("headers", ()))
            closing: list[tuple[bytes, bytes]] = []
            if message["status"] >= 400 and self._asked.may_go_on and not self._is_last:
                self._is_last, closing = True, [(b"connection", b"close")]
            message = {
                **message,
                "headers": [
                    (b"x-request-id", self._request_id.encode()),
                    *completed(message.get("headers", ())),
                    *closing,
                ],
            }
        elif not self._has_body:
            await self._send({"type": "http.response.body"})
            if message.get("more_body"):
                raise ClientDisconnect  # whoever makes the rest, be it a stream without end, is to stop
            return
        elif self._is_last and not self._asked.has_ended and not message.get("more_body"):
            await self._send({**message, "more_body": True})  # whole for who reads it; it ends the connection below
            await self._asked.throw_rest_away()
            message = {"type": "http.response.body"}
        await self._send(message)


def completed(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """An answer's headers with those that every answer has, but for its id."""
    given = list(headers)
    present = {name for name, _ in given}
    given += [pair for pair in _HEADERS if pair[0] not in present]
    if b"cache-control" not in present:
        given.append((b"cache-control", b"no-store" if b"etag" not in present else b"private, no-cache"))
    return given


def unknown_method() -> bytes:
    """The whole answer to a method that HTTP does not have: a server refuses it before an application sees it."""
    sentence = "There is no such method, so nothing was done. The header `Allow` names those that are used here."
    return _refused_unseen(Code.REQUEST_METHOD_NOT_ALLOWED, 405, sentence, {"Allow": _METHODS})


def no_request() -> bytes:
    """The whole answer to bytes that are no HTTP, or that a proxy would not read alike."""
    sentence = (
        "What was sent cannot be read as HTTP: its first line, a header or the length of its body does not fit. "
        "Nothing was done. Let a library for HTTP write the request."
    )
    return _refused_unseen(Code.REQUEST_INVALID, 400, sentence, {})


def _refused_unseen(code: Code, status: int, sentence: str, headers: Mapping[str, str]) -> bytes:
    request_id = new_id("req")
    with request_context(request_id):
        answer = problem_answer(code, status, sentence, headers={**headers, "Connection": "close"})
    headers_sent = [(b"x-request-id", request_id.encode()), *completed(answer.raw_headers)]
    first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()
    return b"\r\n".join([first, *(name + b": " + value for name, value in headers_sent), b"", bytes(answer.body)])


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key == name), None)


def _closes(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name == b"connection" and b"close" in value.lower() for name, value in headers)


def _request_id(scope: Scope) -> str:
    given = _header(scope, b"x-request-id")
    return given.decode() if given is not None and SANE_ID.fullmatch(given) else new_id("req")


def _declared(scope: Scope) -> int:
    given = _header(scope, b"content-length")
    return int(given) if given is not None and given.isdigit() and len(given) < 19 else 0
