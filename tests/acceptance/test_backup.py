"""Backup of a server under load and restore to another home, with real processes. RELIABILITY 30-34, 62."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any, Self

from factories.command_line import CommandLine
from factories.server import RunningServer, Start, until


def shell(home: Path, server: RunningServer, **variables: str) -> CommandLine:
    """Commands of somebody who works on the instance in *home*."""
    own = {"SWITCHGEAR_HOME": str(home), "SWITCHGEAR_PIPELINE": "tiny", **variables}
    return CommandLine(server.home.parent, server.site, own)


class Senders:
    """Send one document after the other until told to stop."""

    def __init__(self, server: RunningServer, threads: int = 2) -> None:
        self.accepted: list[str] = []
        self._server = server
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(threads)]
        for thread in self._threads:
            thread.start()

    def _send(self, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            count += 1
            self.accepted.append(self._server.send(f"document {number} {count}")["document"]["id"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until nobody sends any more."""
        self._stop.set()
        for thread in self._threads:
            thread.join()


def every(server: RunningServer, path: str) -> list[dict[str, Any]]:
    """All items of a list."""
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = server.get(f"{path}?limit=200{cursor}")
        items += page["items"]
        if not page["next_cursor"]:
            return items
        cursor = f"&cursor={page['next_cursor']}"


def test_a_backup_under_load_is_restored_whole_and_goes_on(start: Start, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    server = start()
    server.switch_to(
        {"stage_id": "upper", "module_id": "upper-faulty", "settings": {"mode": "wait", "file": str(gate)}}
    )
    held = server.send("was running at the time")["run"]["id"]
    until(lambda: (server.run(held)["status"], server.run(held)["stage_id"]) == ("running", "upper"))
    with Senders(server) as senders:
        until(lambda: len(senders.accepted) > 30)
        before = list(senders.accepted)
        saved = json.loads(shell(server.home, server)("backup", str(tmp_path / "saved"), "--json"))
        sent_meanwhile = len(senders.accepted) - len(before)
    server.kill()

    assert sent_meanwhile > 0
    assert saved["complete"] is True
    assert saved["counts"]["documents"] > len(before)
    home = tmp_path / "restored"
    restored = json.loads(shell(home, server)("restore", str(tmp_path / "saved"), "--json"))
    assert restored["audit_head"] == saved["audit_head"]
    gate.touch()
    second = start(home="restored")
    assert second.token != server.token
    documents = every(second, "/documents")
    assert set(before) <= {document["id"] for document in documents}
    assert len(documents) == saved["counts"]["documents"]
    assert second.ended(held)["status"] == "succeeded"
    for document in documents:
        assert second.request("GET", f"/documents/{document['id']}/file", expect=200).content
    until(lambda: {run["status"] for run in every(second, "/runs")} == {"succeeded"})
    assert second.get(f"/audit/verify?head={saved['audit_head']}")["ok"] is True
    assert second.get("/configurations/active")["version"] == 2
