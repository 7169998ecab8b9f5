"""Uploads that come all at once, and one that stops half-way. RELIABILITY 41, 42, I16."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path

import httpx2
import pytest

from factories.instance import ON_BOTH, Instance, problem_of
from factories.live import LiveServer
from factories.server import until
from switchgear.core.database import Statement
from switchgear.ingestion.retention import Periods


@pytest.mark.anyio
@ON_BOTH
async def test_sixteen_identical_uploads_at_once_are_one_document(instance: Instance) -> None:
    files = {"file": ("same.txt", b"the same bytes" * 10_000, "text/plain")}

    answers = await asyncio.gather(*(instance.request("POST", "/documents", files=files) for _ in range(16)))

    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [202]
    assert len({answer.json()["document"]["id"] for answer in answers}) == 1
    assert len({answer.json()["run"]["id"] for answer in answers}) == 1
    assert len((await instance.get("/documents"))["items"]) == 1
    assert len((await instance.get("/runs"))["items"]) == 1


@pytest.mark.anyio
@ON_BOTH
async def test_the_file_of_a_document_that_was_removed_or_lost_is_answered_in_words(instance: Instance) -> None:
    application = instance.application
    document = (await instance.send(b"hello"))["document"]
    application.artifacts.path(document["sha256"]).rename(application.settings.home / "elsewhere")
    lost = await instance.request("GET", f"/documents/{document['id']}/file", expect=404)
    ended = "UPDATE runs SET status = 'cancelled', ended_at = now_us() - 172800000000"
    aged = "UPDATE documents SET received_at = received_at - 172800000000"
    await application.database.narrow.run(Statement(ended), Statement(aged))
    application.retention.periods = Periods(originals=1)
    await application.retention.tick()
    removed = await instance.request("GET", f"/documents/{document['id']}/file", expect=404)
    assert "missing on disk" in problem_of(lost)["detail"]
    assert "RETENTION_DOCUMENTS_DAYS" in problem_of(removed)["detail"]
    assert (await instance.get(f"/documents/{document['id']}"))["file_removed_at"] is not None
    (entry,) = await instance.audit("instance.pruned")
    assert (entry["actor"], entry["after"]["count"]) == ("system", 1)
    sent = await instance.request("POST", "/documents", content=b"hello", expect=200)
    assert sent.json()["document"]["file_removed_at"] is None
    assert (await instance.request("GET", f"/documents/{document['id']}/file", expect=200)).content == b"hello"


def test_a_sender_that_drops_half_way_leaves_nothing(
    home: Path, environment: Mapping[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    size = 4 * 1024 * 1024
    with LiveServer(home, environment) as live:
        host, port = live.url.removeprefix("http://").split(":")
        head = (
            f"POST /api/v1/documents HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {live.token}\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
        )
        with socket.create_connection((host, int(port))) as sender:
            sender.sendall(head.encode() + b"x" * (size // 2))
            until(lambda: files_in(home / "artifacts"), what="the file that begins")

        until(lambda: files_in(home / "artifacts") == [], what="the end of what was begun")
        documents = httpx2.get(f"{live.url}/api/v1/documents", headers={"Authorization": f"Bearer {live.token}"})
        assert documents.json()["items"] == []
    assert "request.failed" not in capsys.readouterr().out  # it is nobody's fault here


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
