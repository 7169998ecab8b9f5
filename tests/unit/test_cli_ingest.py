"""`switchgear ingest`: what it sends, how it ends, and what is told when the server goes away. RELIABILITY 41."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from factories.api_answers import Json
from switchgear.interface.cli.app import run
from switchgear.interface.cli.document_files import find_documents
from switchgear.interface.cli.errors import WrongUse
from switchgear.interface.cli.ingest import exit_code

NOT_DOUBLED = "documents that are known are not doubled"


class LeavingServer(ThreadingHTTPServer):
    """Answers as many uploads and then as many looks at runs as it is told; cuts every other connection."""

    def __init__(self, uploads: int, looks: int, refusal: int | None) -> None:
        super().__init__(("127.0.0.1", 0), Leaving)
        self.uploads = uploads
        self.looks = looks
        self.refusal = refusal
        self.sent = 0
        self.lock = threading.Lock()


class Leaving(BaseHTTPRequestHandler):
    """One request to a `LeavingServer`."""

    server: LeavingServer

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.sent += 1
            number = self.server.sent
        if number <= self.server.uploads:
            self._answer(202, {"document": {"id": f"doc_{number}"}, "run": run_of(number, "queued")})

    def do_GET(self) -> None:
        if self.path.startswith("/api/v1/runs/") and self.server.looks > 0:
            self.server.looks -= 1
            number = int(self.path.partition("run_")[2].partition("?")[0])
            self._answer(200, run_of(number, "succeeded"))
        elif self.server.refusal is not None:
            self._answer(self.server.refusal, {"detail": "It stops."})

    def _answer(self, status: int, body: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the library
        """Say nothing."""


def run_of(number: int, status: str) -> dict[str, object]:
    return {"id": f"run_{number}", "document_id": f"doc_{number}", "document_name": "some.txt", "status": status}


@contextmanager
def leaving_server(
    monkeypatch: pytest.MonkeyPatch, *, uploads: int, looks: int = 0, refusal: int | None = None
) -> Iterator[None]:
    """Have the command line speak to a server that goes away."""
    with LeavingServer(uploads, looks, refusal) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        monkeypatch.setenv("SWITCHGEAR_URL", f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setenv("SWITCHGEAR_TOKEN", "token")
        try:
            yield
        finally:
            server.shutdown()
            serving.join()


@pytest.fixture
def inbox(tmp_path: Path) -> str:
    """A folder with five files."""
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text(f"words {number}")
    return str(tmp_path)


@pytest.mark.parametrize("wait", [[], ["--wait"]])
def test_what_was_accepted_before_the_server_went_away_is_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], inbox: str, wait: list[str]
) -> None:
    with leaving_server(monkeypatch, uploads=3):
        assert run(["ingest", inbox, *wait]) == 1
    printed, said = capsys.readouterr()
    assert [f"run_{number}" in printed for number in (1, 2, 3, 4)] == [True, True, True, False]
    assert said.count("does not answer") == 1
    assert "2 of 5 files got no answer." in said
    assert NOT_DOUBLED in said


def test_json_lists_every_file_and_which_got_no_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], inbox: str
) -> None:
    with leaving_server(monkeypatch, uploads=3):
        assert run(["ingest", inbox, "--wait", "--json"]) == 1
    printed, said = capsys.readouterr()
    listed = json.loads(printed)
    assert sorted(one["run"]["id"] for one in listed if "run" in one) == ["run_1", "run_2", "run_3"]
    assert ["does not answer" in one["problem"]["detail"] for one in listed if "run" not in one] == [True, True]
    assert NOT_DOUBLED in json.loads(said)["detail"]


def test_a_failure_in_json_stands_alone_on_stderr_also_when_something_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], inbox: str
) -> None:
    (Path(inbox) / ".hidden").write_text("x")
    with leaving_server(monkeypatch, uploads=3):
        assert run(["ingest", inbox, "--json"]) == 1
    assert NOT_DOUBLED in json.loads(capsys.readouterr().err)["detail"]
    with leaving_server(monkeypatch, uploads=3):
        assert run(["ingest", inbox]) == 1
    assert "Left out: 1 hidden file" in capsys.readouterr().err


def test_a_server_that_goes_away_while_runs_are_waited_for_leaves_them_as_last_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], inbox: str
) -> None:
    with leaving_server(monkeypatch, uploads=5, looks=2):
        assert run(["ingest", inbox, "--wait", "--json"]) == 1
    printed, said = capsys.readouterr()
    assert [one["run"]["status"] for one in json.loads(printed)] == ["succeeded"] * 2 + ["queued"] * 3
    detail = json.loads(said)["detail"]
    assert "does not answer" in detail
    assert "got no answer" not in detail
    assert NOT_DOUBLED in detail


def test_a_server_that_refuses_while_runs_are_waited_for_is_told_like_one_that_is_gone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], inbox: str
) -> None:
    with leaving_server(monkeypatch, uploads=5, looks=1, refusal=503):
        assert run(["ingest", inbox, "--wait"]) == 1
    printed, said = capsys.readouterr()
    assert printed.count("succeeded") == 1
    assert printed.count("queued") == 4
    assert said.startswith("It stops. ")
    assert NOT_DOUBLED in said


def test_whoever_made_new_runs_of_known_documents_is_warned_of_making_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], inbox: str
) -> None:
    with leaving_server(monkeypatch, uploads=3):
        assert run(["ingest", inbox, "--again"]) == 1
    said = capsys.readouterr().err
    assert NOT_DOUBLED not in said
    assert "another run" in said


def test_without_any_answer_the_server_is_named_and_nothing_is_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], inbox: str
) -> None:
    with leaving_server(monkeypatch, uploads=0):
        assert run(["ingest", inbox]) == 1
    printed, said = capsys.readouterr()
    assert printed == ""
    assert said.count("does not answer") == 1
    assert ".. Is the server" not in said


def test_the_exit_code_of_waiting_is_that_of_the_worst_run() -> None:
    def code(*statuses: str, problem: bool = False) -> int:
        sent: list[Json] = [{"run": {}} for _ in statuses] + ([{"problem": {}}] if problem else [])
        return exit_code(sent, [{"status": status} for status in statuses], waited=True)

    assert code("succeeded", "succeeded") == 0
    assert code("succeeded", "parked") == 3
    assert code("parked", "failed") == 1
    assert code("parked", problem=True) == 1
    assert exit_code([{"run": {}}], [{"status": "queued"}], waited=False) == 0


def test_folders_are_walked_in_order_and_what_is_left_out_is_kept_with_its_reason(tmp_path: Path) -> None:
    for name in ("b.pdf", "a/c.pdf", ".hidden", ".git/config", "elsewhere/.ignored/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    os.mkfifo(tmp_path / "a" / "pipe")
    (tmp_path / "a" / "folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "a" / "file.pdf").symlink_to(tmp_path / "b.pdf")
    (tmp_path / "gone.pdf").symlink_to(tmp_path / "nothing")

    found = find_documents([tmp_path])

    assert [path.name for path in found.files] == ["c.pdf", "file.pdf", "b.pdf"]
    left_out = {kind.name: [str(path.relative_to(tmp_path)) for path in paths] for kind, paths in found.left_out}
    assert left_out == {
        "HIDDEN_FILE": [".hidden"],
        "HIDDEN_FOLDER": [".git", "elsewhere/.ignored"],
        "LINKED_FOLDER": ["a/folder"],
        "BROKEN_LINK": ["gone.pdf"],
        "SPECIAL": ["a/pipe"],
    }


def test_what_is_named_itself_is_sent_also_when_hidden_or_linked(tmp_path: Path) -> None:
    (tmp_path / ".folder").mkdir()
    for name in (".hidden.xml", ".folder/a.pdf"):
        (tmp_path / name).write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / ".folder")

    found = find_documents([tmp_path / ".hidden.xml", tmp_path / ".folder", tmp_path / "link"])

    assert [path.name for path in found.files] == [".hidden.xml", "a.pdf", "a.pdf"]
    assert found.left_out == []
    assert list(found.sentences()) == []


def test_a_name_that_leads_to_no_document_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="does not exist"):
        find_documents([tmp_path / "missing"])
    with pytest.raises(WrongUse, match="neither a file nor a folder"):
        find_documents([Path(os.devnull)])


def test_a_folder_with_only_hidden_files_says_what_was_left_out_and_how_to_send_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for number in range(5):
        (tmp_path / f".{number}.xml").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    with leaving_server(monkeypatch, uploads=1):
        assert run(["ingest", str(tmp_path)]) == 0
        printed, said = capsys.readouterr()
        assert run(["ingest", str(tmp_path), "--json"]) == 0
        listed, said_beside = capsys.readouterr()
        assert run(["ingest", str(tmp_path / ".0.xml")]) == 0
    assert "Nothing was accepted." in printed + said
    folder = tmp_path
    assert (
        f"Left out: 5 hidden files ({folder}/.0.xml, {folder}/.1.xml, {folder}/.2.xml, ...). "
        "Name what is hidden or linked itself to send it." in said
    )
    assert f"Left out: 1 pipe, socket or device ({folder}/pipe)." in said
    assert json.loads(listed) == []
    assert "Left out: 5 hidden files" in said_beside
    assert "run_1" in capsys.readouterr().out


def test_a_folder_that_cannot_be_read_is_a_failure_that_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], inbox: str
) -> None:
    (Path(inbox) / "shut").mkdir()
    listed = os.scandir

    def refusing(path: Any) -> Any:  # a superuser may read what nobody may
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with leaving_server(monkeypatch, uploads=5):
        assert run(["ingest", inbox]) == 1
    printed, said = capsys.readouterr()
    assert "run_5" in printed
    assert f"{inbox}/shut cannot be read: Permission denied." in said
