"""Uploads that come all at once, and one that stops half-way. RELIABILITY 41, 42, I16."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from factories.instance import ON_BOTH, Instance, problem_of
from factories.live import LiveServer
from factories.server import WEB, until
from switchgear.core.database import Statement
from switchgear.ingestion.artifact_folder import MARKER
from switchgear.ingestion.retention import Periods
from switchgear.interface.cli.client import connect_to
from switchgear.interface.cli.errors import CommandFailed
from switchgear.interface.cli.folder_watch import FolderWatch
from switchgear.interface.cli.ingest import send_files


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
        documents = WEB.get(f"{live.url}/api/v1/documents", headers={"Authorization": f"Bearer {live.token}"})
        assert documents.json()["items"] == []
    assert "request.failed" not in capsys.readouterr().out  # it is nobody's fault here


def test_a_file_over_the_limit_is_refused_in_words_and_those_beside_it_are_sent(
    home: Path, environment: Mapping[str, str], tmp_path: Path
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    with (inbox / "big.pdf").open("wb") as big:
        big.truncate(64 * 1024 * 1024)
    (inbox / "small.txt").write_bytes(b"a small one")
    with LiveServer(home, environment) as live, connect_to(live.url, live.token) as api:
        sent = send_files(api, sorted(inbox.iterdir()))
        watched = FolderWatch(api, inbox, None, None)
        watched.look()
        until(lambda: "small.txt" in {taken.path.name for taken in watched.look()}, what="the small file")

    problems = [answer.get("problem", {}).get("detail", "") for answer in sent]
    assert ["52428800 bytes, which is the most" in problem for problem in problems] == [True, False]
    assert sorted(path.name for path in (inbox / "done").iterdir()) == ["small.txt"]
    assert "52428800 bytes" in (inbox / "failed" / "big.pdf.why.txt").read_text()


def test_a_server_that_is_gone_is_said_once_however_many_files_there_are(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    files = [tmp_path / f"{number}.txt" for number in range(3)]
    for file in files:
        file.write_bytes(b"words")
    with connect_to(url, "token") as api, pytest.raises(CommandFailed, match="does not answer"):
        send_files(api, files)


def files_in(folder: Path) -> list[Path]:
    """Files of documents; the one that names the instance is always there."""
    return [path for path in folder.rglob("*") if path.is_file() and path.name != MARKER]
