"""Answers that come before the body has ended reach senders that read only when they have sent all."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from factories.live import LiveServer
from switchgear.interface.api import frame

MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, environment: Mapping[str, str]) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("live") / "home", environment) as server:
        yield server


def answer_to(live: LiveServer, body: Any, token: str, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(live.url.removeprefix("http://"), timeout=30)
    try:
        connection.request(
            "POST",
            "/api/v1/configurations",
            body,
            {"Content-Type": "application/json", "Authorization": f"Bearer {token}", **headers},
        )
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def chunks(size: int) -> Iterator[bytes]:
    yield from (b" " * MEBIBYTE for _ in range(size // MEBIBYTE))


def sent_until_closed(peer: socket.socket, chunk: bytes = b" " * MEBIBYTE) -> int:
    sent = 0
    try:
        while True:
            peer.sendall(chunk)
            sent += len(chunk)
    except ConnectionError:
        return sent


@pytest.mark.parametrize("size", [3 * MEBIBYTE, 20 * MEBIBYTE])
def test_a_body_that_is_too_long_is_answered_to_who_reads_only_after_sending(live: LiveServer, size: int) -> None:
    for _ in range(20):
        status, problem = answer_to(live, b" " * size, live.token)
        assert (status, problem["code"]) == (413, "request.too_large")
    assert answer_to(live, chunks(size), live.token)[0] == 413  # its length is not declared


def test_a_refusal_before_the_body_reaches_who_wants_the_connection_closed(live: LiveServer) -> None:
    for _ in range(5):
        status, problem = answer_to(live, b" " * 20 * MEBIBYTE, "wrong", Connection="close")
        assert (status, problem["code"]) == (401, "access.unauthenticated")


def test_nobody_holds_a_connection_by_sending_without_end_or_not_at_all(
    live: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame, "_REST_S", 0.5)
    host, _, port = live.url.removeprefix("http://").partition(":")
    head = (
        f"POST /api/v1/configurations HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {live.token}\r\nContent-Length: {10**12}\r\n\r\n"
    )
    for is_sending in (False, True):
        with socket.create_connection((host, int(port)), timeout=10) as peer:
            began = time.monotonic()
            peer.sendall(head.encode())
            assert peer.recv(65536).startswith(b"HTTP/1.1 413")  # at once, not after the rest
            answered = time.monotonic()
            sent = sent_until_closed(peer) if is_sending else len(peer.recv(65536))
            assert answered - began < 0.4
            assert time.monotonic() - began < 5
            assert sent < frame._REST_BYTES + 32 * MEBIBYTE  # what the kernel holds for both is sent too


@pytest.mark.parametrize("length", [f"Content-Length: {10**15}", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/configurations", 401),
        ("/api/v1/nothing-here", 404),
        ("/livez", 405),
    ],
)
def test_a_sender_who_was_refused_is_not_read_for_ever(
    live: LiveServer, monkeypatch: pytest.MonkeyPatch, path: str, status: int, length: str
) -> None:
    monkeypatch.setattr(frame, "_REST_S", 0.5)
    host, _, port = live.url.removeprefix("http://").partition(":")
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/plain\r\n{length}\r\n\r\n"
    chunk = b" " * MEBIBYTE if "Length" in length else b"100000\r\n" + b" " * MEBIBYTE + b"\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as peer:
        began = time.monotonic()
        peer.sendall(head.encode())
        answer = peer.recv(65536)
        assert answer.startswith(f"HTTP/1.1 {status}".encode())
        assert b"connection: close" in answer.lower()
        sent_until_closed(peer, chunk)
        assert time.monotonic() - began < 5
