"""Backup under load, restore to another home, retention, a low disk: with real processes. RELIABILITY 30-34, 62."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import threading
from datetime import UTC, datetime
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


# --- retention ---


def test_what_was_kept_long_enough_is_shown_then_removed_beside_the_server(start: Start) -> None:
    server = start(RETENTION_DOCUMENTS_DAYS="7")
    old = server.send("old")
    server.ended(old["run"]["id"])
    young = server.send("young")
    server.ended(young["run"]["id"])
    age(server, old["document"]["id"], days=8)
    switchgear = shell(server.home, server, SWITCHGEAR_RETENTION_DOCUMENTS_DAYS="7")

    shown = switchgear("prune", "--dry-run")
    assert re.search(r"originals of documents +7 days +1 +3\n", shown)
    assert server.request("GET", f"/documents/{old['document']['id']}/file", expect=200).content == b"old"
    pruned = switchgear.json("prune", "-m", "Room is needed")

    assert pruned["originals"] == {"count": 1, "bytes": 3}
    refused = server.request("GET", f"/documents/{old['document']['id']}/file", expect=404)
    assert "Send the file again" in refused.json()["detail"]
    assert server.request("GET", f"/documents/{young['document']['id']}/file", expect=200).content == b"young"
    (entry,) = server.get("/audit?action=instance.pruned")["items"]
    assert (entry["actor"], entry["message"]) == ("local-admin", "Room is needed")
    assert server.get("/audit/verify")["ok"] is True
    saved = switchgear.json("backup", str(server.home.parent / "saved"))
    assert (saved["counts"]["documents"], saved["counts"]["files"], saved["lacking"]) == (2, 1, [])
    said = switchgear("backup", str(server.home.parent / "again"))
    assert said.startswith("Saved 2 documents, 2 runs, 1 configuration, 1 file (5 bytes) into ")


def age(server: RunningServer, document_id: str, *, days: int) -> None:
    """Let a document and its files be older."""
    past = days * 86_400
    with contextlib.closing(sqlite3.connect(server.home / "switchgear.db", timeout=10)) as database:
        microseconds = past * 1_000_000
        database.execute("UPDATE documents SET received_at = received_at - ? WHERE id = ?", (microseconds, document_id))
        database.execute("UPDATE runs SET ended_at = ended_at - ? WHERE document_id = ?", (microseconds, document_id))
        database.commit()
    for path in (server.home / "artifacts").rglob("*"):
        if path.is_file():
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - past))


# --- a disk that is nearly full ---


def test_while_the_disk_is_low_nothing_comes_in_and_everything_else_goes_on(start: Start, tmp_path: Path) -> None:
    gate, inbox = tmp_path / "gate", tmp_path / "inbox"
    inbox.mkdir()
    source = f'pipeline = "tiny"\n[[source]]\nkind = "folder"\npath = "{inbox}"\n'
    server = start()
    slow = {"stage_id": "upper", "module_id": "upper-faulty", "settings": {"mode": "wait", "file": str(gate)}}
    server.switch_to(slow)
    held = server.send("before")["run"]["id"]
    until(lambda: (server.run(held)["status"], server.run(held)["stage_id"]) == ("running", "upper"))
    server.kill()
    (server.home / "switchgear.toml").write_text(source)

    server.environment = {**server.environment, "MIN_FREE_BYTES": str(2**60)}
    server.start()
    refused = server.request("POST", "/documents", content=b"late", expect=507)
    (inbox / "waits.txt").write_text("waits")
    rollback = server.request("POST", "/configurations/previous/rollback", json={"mode": "rolling"}, expect=202).json()
    server.applied(rollback["id"])
    gate.touch()

    assert refused.json()["code"] == "system.disk_low"
    assert server.ended(held)["status"] == "succeeded"
    assert server.run(held)["configuration_version"] == 2
    assert server.get("/configurations/active")["version"] == 1
    assert any("MIN_FREE_BYTES" in warning for warning in server.get("/status")["warnings"])
    assert (inbox / "waits.txt").exists()

    server.stop()
    again_at = datetime.now(UTC)
    server.environment = {**server.environment, "MIN_FREE_BYTES": "0"}
    server.start()
    until(lambda: not (inbox / "waits.txt").exists())
    until(lambda: {run["status"] for run in every(server, "/runs")} == {"succeeded"})
    taken, sent = every(server, "/documents")
    assert (taken["name"], sent["name"]) == ("waits.txt", "a.txt")
    assert datetime.fromisoformat(taken["received_at"]) > again_at
