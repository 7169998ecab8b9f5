"""What a machine does to a server: disks, logs, descriptors, other writers, signals. RELIABILITY 29-32, 36, 63, 64."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from factories.server import WEB, RunningServer, Start, until

#: Makes a disk of its own for the command that follows: `$0` is its folder, `$1` its size in MiB.
_OWN_DISK = 'mount -t tmpfs -o size=${1}m none "$0" && shift && exec "$@"'


def own_disk(folder: Path, mebibytes: int) -> tuple[str, ...]:
    """What lets a server find a small disk in *folder*; skips where namespaces of mounts are not allowed."""
    folder.mkdir()
    before = ("unshare", "-rm", "sh", "-c", _OWN_DISK, str(folder), str(mebibytes))
    tried = subprocess.run([*before, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no disk of its own can be made here: {tried.stderr.strip()}")
    return before


def seen(server: RunningServer, folder: Path) -> Path:
    """*folder* as the server sees it."""
    assert server.process is not None
    return Path(f"/proc/{server.process.pid}/root{folder}")


def inside(server: RunningServer, *command: str) -> None:
    """Run a command among the mounts that the server sees."""
    assert server.process is not None
    words = ["nsenter", "-U", "--preserve-credentials", "-m", "-t", str(server.process.pid), *command]
    subprocess.run(words, check=True, capture_output=True)


def upload(server: RunningServer, content: bytes) -> httpx2.Response:
    response: httpx2.Response = server.request("POST", "/documents", content=content)
    return response


def ready(server: RunningServer) -> httpx2.Response:
    return WEB.get(f"{server.url}/readyz?verbose=true", headers={"Authorization": f"Bearer {server.token}"}, timeout=30)


def is_refused_for_now(response: httpx2.Response) -> bool:
    if response.status_code == 507:
        return True
    return response.status_code == 503 and 1 <= int(response.headers["retry-after"]) <= 5


def all_succeed(server: RunningServer, run_ids: list[str]) -> bool:
    return {server.ended(run_id)["status"] for run_id in run_ids} == {"succeeded"}


class ServerOnOwnDisk(RunningServer):
    """A server whose HOME is on a disk that only it sees."""

    @property
    def token(self) -> str:
        return (seen(self, Path(self.environment["HOME"])) / "admin.token").read_text().strip()


@pytest.fixture
def on_own_disk(tmp_path: Path, installed_plugin: Path) -> Iterator[ServerOnOwnDisk]:
    disk = tmp_path / "disk"
    settings = {"HOME": str(disk), "WORKERS": "2", "MIN_FREE_BYTES": "0", "HEARTBEAT_S": "0.5", "LEASE_S": "3"}
    server = ServerOnOwnDisk(tmp_path / "logs", installed_plugin, settings, before=own_disk(disk, 48))
    yield server
    if server.process is not None and server.process.poll() is None:
        server.process.kill()
        server.process.wait(30)


def test_a_full_disk_refuses_changes_and_loses_nothing_that_was_accepted(on_own_disk: ServerOnOwnDisk) -> None:
    server = on_own_disk
    server.start()
    disk = seen(server, Path(server.environment["HOME"]))
    accepted = [server.send(f"document {number}")["run"]["id"] for number in range(5)]
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass

    refused = [upload(server, os.urandom(100_000)) for _ in range(3)]
    assert all(map(is_refused_for_now, refused)), [one.text for one in refused]
    assert {one.json()["code"] for one in refused} == {"system.disk_full"}
    until(lambda: ready(server).status_code == 503, what="readiness that says so")
    assert WEB.get(f"{server.url}/livez", timeout=10).status_code == 200

    (disk / "filler").unlink()
    until(server.is_ready, what="readiness")
    assert all_succeed(server, [*accepted, server.send("room again")["run"]["id"]])
    assert len(server.get("/documents")["items"]) == 6
    assert server.get("/audit/verify")["ok"] is True


def test_a_file_system_that_becomes_read_only_is_named_and_recovered_from(on_own_disk: ServerOnOwnDisk) -> None:
    server = on_own_disk
    server.start()
    disk = server.environment["HOME"]
    accepted = server.send("before")["run"]["id"]
    assert all_succeed(server, [accepted])

    inside(server, "mount", "--bind", disk, disk)
    inside(server, "mount", "-o", "remount,bind,ro", disk)

    refused = upload(server, b"not now")
    assert is_refused_for_now(refused), refused.text
    assert refused.json()["code"] == "system.read_only"
    answer = ready(server)
    assert answer.status_code == 503
    assert "cannot be written: Read-only file system" in answer.text
    assert server.run(accepted)["status"] == "succeeded"

    inside(server, "umount", "--lazy", disk)
    until(server.is_ready, what="readiness")
    assert all_succeed(server, [server.send("not now")["run"]["id"]])


def test_another_writer_for_half_a_minute_costs_an_answer_and_no_document(start: Start) -> None:
    server = start()
    with contextlib.closing(sqlite3.connect(server.home / "switchgear.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = upload(server, b"one")
        assert server.get("/documents")["items"] == []  # readers are not held up
        other.execute("ROLLBACK")
    assert refused.status_code == 503, refused.text
    assert 1 <= int(refused.headers["retry-after"]) <= 5

    until(lambda: upload(server, b"one").status_code in (200, 202), what="room for our own writer")

    (document,) = server.get("/documents")["items"]
    (run,) = server.get("/runs")["items"]
    assert run["document_id"] == document["id"]
    assert all_succeed(server, [run["id"]])


def test_twenty_runs_at_work_are_handed_back_when_their_server_is_told_to_stop(start: Start, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    server = start(WORKERS="20", SHUTDOWN_GRACE_S="1")
    settings = {"mode": "wait", "file": str(gate)}
    server.switch_to({"stage_id": "upper", "module_id": "upper-faulty", "settings": settings}, mode="rolling")
    runs = [server.send(f"document {number}")["run"]["id"] for number in range(20)]
    until(lambda: {server.run(run_id)["status"] for run_id in runs} == {"running"}, what="twenty runs at work")

    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 30
    with contextlib.closing(sqlite3.connect(server.home / "switchgear.db")) as database:
        left = database.execute("SELECT DISTINCT status, losses FROM runs").fetchall()
    assert left == [("queued", 0)]

    gate.touch()
    server.start()
    assert all_succeed(server, runs)
    assert {server.run(run_id)["configuration_version"] for run_id in runs} == {2}


def test_a_log_that_takes_nothing_stops_no_service(start: Start) -> None:
    server = start(before=("sh", "-c", 'exec "$0" "$@" > /dev/full 2>&1'))

    assert all_succeed(server, [server.send("unheard")["run"]["id"]])
    assert server.change({"stage_id": "upper", "module_id": "upper-text", "limits": {"timeout_s": 7}})["version"] == 2
    assert server.get("/audit/verify")["ok"] is True


def test_with_few_descriptors_and_a_thousand_idle_connections_it_sheds_load_and_recovers(start: Start) -> None:
    server = start(WORKERS="1", before=("sh", "-c", 'ulimit -n 64 && exec "$0" "$@"'))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most[1] < 1200:
        pytest.skip(f"this process may open {most[1]} files, too few for a thousand connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(most[0], 1200), most[1]))
    with contextlib.ExitStack() as idle:
        for _ in range(1000):
            idle.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
    resource.setrlimit(resource.RLIMIT_NOFILE, most)

    until(server.is_ready, what="readiness")
    assert all_succeed(server, [server.send("after the crowd")["run"]["id"]])
    assert server.stop() == 0


def test_a_damaged_database_is_named_and_nothing_is_made_worse(start: Start) -> None:
    server = start()
    assert all_succeed(server, [server.send("whole")["run"]["id"]])
    server.stop()
    path = server.home / "switchgear.db"
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    damaged = path.read_bytes()

    server.start(wait=False)
    log = server.home / f"log-{server.port}.txt"
    until(lambda: "The database is damaged; nothing was changed." in log.read_text(), what="the sentence")
    assert WEB.get(f"{server.url}/livez", timeout=10).status_code == 200
    refused = upload(server, b"not into that one")
    assert (refused.status_code, refused.json()["code"]) == (503, "system.database_damaged")
    assert ready(server).status_code == 503
    assert server.stop() == 0
    assert "Traceback" not in log.read_text()
    assert path.read_bytes() == damaged
