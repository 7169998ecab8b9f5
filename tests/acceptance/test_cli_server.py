"""The command line against a real server, in two processes: what an operator does on an ordinary day."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from factories import plugin
from factories.command_line import SWITCHGEAR, CommandLine
from factories.fleet import WorkerProcess
from factories.server import WEB, RunningServer, Start, until


def shell(server: RunningServer, **variables: str) -> CommandLine:
    """Commands of somebody who works on the server's machine."""
    own = {"SWITCHGEAR_HOME": str(server.home), "SWITCHGEAR_PIPELINE": "tiny", **variables}
    return CommandLine(server.home.parent, server.site, own)


def test_ingest_swap_watch_why_rollback_verify(server: RunningServer, tmp_path: Path) -> None:
    switchgear = shell(server)
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number in range(5):
        (inbox / f"letter-{number}.txt").write_text(f"letter number {number}")
    assert switchgear("ingest", "inbox", "--wait").count("succeeded") == 5

    gate = tmp_path / "gate"
    change = ["upper=upper-faulty", "upper.settings.mode=wait", f"upper.settings.file={gate}"]
    change += ["upper.limits.timeout_s=200"]  # longer than four commands take on a busy machine
    switchgear("config", "set", *change, "upper.settings.only_if=slow", "-m", "Slow", "--activate")
    switchgear("activations", "watch")
    (tmp_path / "slow.txt").write_text("a slow document")
    (slow,) = switchgear.json("ingest", "slow.txt")
    until(lambda: server.run(slow["run"]["id"])["status"] == "running", what="the slow run")
    assert "Accepted as act_" in switchgear.run("config", "set", "upper=upper-other", "-m", "Swap", "--activate").stderr
    until(lambda: server.get("/status")["pending_activation"]["state"] == "draining", what="the drain")
    (tmp_path / "next.txt").write_text("the next document")
    switchgear("ingest", "next.txt")
    with subprocess.Popen(
        [SWITCHGEAR, "activations", "watch"],
        cwd=tmp_path,
        env=switchgear.environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        assert "draining, 1 left, 1 waiting" in watching.stdout.readline()
        assert f"waits for {slow['run']['id']} (slow.txt" in watching.stdout.readline()
        gate.touch()
        rest = watching.stdout.read()
    assert watching.returncode == 0
    assert "v2 -> v3: applied" in rest

    broken_now = ("upper=upper-faulty", "upper.settings.mode=raise", "upper.settings.only_if=")
    switchgear("config", "set", *broken_now, "-m", "Break", "--activate")
    switchgear("activations", "watch")
    (tmp_path / "broken.txt").write_text("a broken day")
    (broken,) = switchgear.json("ingest", "broken.txt", "--wait")
    why = switchgear("runs", "why", broken["run"]["id"])
    assert "wanted upper-faulty" in why
    assert "upper-faulty raised an error" in why
    assert "rollback v4 -> v3" in switchgear("config", "rollback", "--wait", "-m", "Mend")
    assert "is whole" in switchgear("audit", "verify")


def test_the_server_says_where_it_is_and_ends_in_order(start: Start) -> None:
    server = start()
    log = server.home / f"log-{server.port}.txt"
    named = json.loads((server.home / "server.json").read_text())
    assert named["url"] == server.url
    assert stat.S_IMODE((server.home / "server.json").stat().st_mode) == 0o600
    said = until(lambda: text if "upper-nobinary" in (text := log.read_text()) else "", what="the introduction")
    assert server.url in said
    assert str(server.home / "admin.token") in said
    assert server.token not in said  # the log is no terminal
    assert "v1" in said
    assert "load-text" in said
    assert server.stop() == 0
    assert not (server.home / "server.json").exists()


def test_a_server_answers_while_it_still_looks_at_its_modules(start: Start, tmp_path: Path) -> None:
    server = start(wait=False, site=with_slow_module(tmp_path, seconds=5))

    until(lambda: answers(f"{server.url}/livez") == 200, what="the first answer")
    assert answers(f"{server.url}/readyz") == 503
    early = WEB.get(f"{server.url}/api/v1/status", headers={"Authorization": "Bearer any"})
    assert early.status_code == 503
    assert early.json()["code"] == "system.starting"
    assert int(early.headers["Retry-After"]) <= 5
    assert not (server.home / "server.json").exists()  # commands of this home wait until it can take them

    until(server.is_ready)
    assert server.get("/modules/upper-slow")["status"] == "unavailable"


#: Writes beside itself what the collector passes over, and what it goes through, when asked.
_TELLS_ON_COLLECTION = """
import gc, os, pathlib, signal

def tell(*_):
    file = pathlib.Path(__file__).with_name(f"collection-{os.getpid()}")
    file.with_suffix(".new").write_text(f"{gc.get_freeze_count()} {len(gc.get_objects())}")
    file.with_suffix(".new").rename(file)

signal.signal(signal.SIGUSR1, tell)
"""


def test_the_garbage_collector_passes_over_what_a_process_holds_from_its_start(start: Start, tmp_path: Path) -> None:
    site = plugin.install(tmp_path / "plugin")
    (site / "sitecustomize.py").write_text(_TELLS_ON_COLLECTION)
    server = start(site=site)
    worker = WorkerProcess(server, "one").start()
    until(lambda: b"Worker wrk_" in worker.log.read_bytes(), what="the worker")
    until(lambda: "Switchgear serves at" in (server.home / f"log-{server.port}.txt").read_text(), what="the server")
    try:
        for process in (server.process, worker.process):
            assert process is not None
            told = site / f"collection-{process.pid}"

            def looked(process: subprocess.Popen[bytes] = process, told: Path = told) -> tuple[int, int] | None:
                process.send_signal(signal.SIGUSR1)
                passed_over, gone_through = map(int, told.read_text().split()) if told.exists() else (0, 0)
                return (passed_over, gone_through) if passed_over > gone_through > 0 else None

            assert until(looked, what="a collector that has little to do")
    finally:
        worker.stop()


def test_a_server_goes_on_when_nobody_reads_what_it_says(start: Start) -> None:
    server = start()
    server.stop()
    nobody, output = os.pipe()
    os.close(nobody)
    command = [str(Path(sys.executable).parent / "switchgear"), "serve"]
    with (server.home / f"log-{server.port}.txt").open("ab") as log:
        server.process = subprocess.Popen(command, env=server.variables(), stdout=output, stderr=log)
    os.close(output)

    until(server.is_ready)
    until(lambda: (server.home / "server.json").exists(), what="the introduction")
    assert server.get("/status")["pipeline"] == "tiny"
    assert server.stop() == 0


def test_a_server_that_is_stopped_while_it_starts_ends_in_order(start: Start, tmp_path: Path) -> None:
    server = start(wait=False, site=with_slow_module(tmp_path, seconds=60))
    until(lambda: answers(f"{server.url}/livez") == 200, what="the first answer")

    assert server.stop() == 0

    assert "Traceback" not in (server.home / f"log-{server.port}.txt").read_text()


def with_slow_module(folder: Path, *, seconds: int) -> Path:
    """Plug-ins with one more module, whose import takes so long."""
    site = plugin.install(folder)
    (site / "takes_its_time.py").write_text(f"import time\n\ntime.sleep({seconds})\n")
    plugin.write_distribution(site, "takes-its-time", "1.0", {"upper-slow": "takes_its_time:UpperSlow"})
    return site


def answers(url: str) -> int:
    """The status of an answer; 0 while nobody listens."""
    try:
        return WEB.get(url, timeout=5).status_code
    except httpx2.TransportError:
        return 0


def test_two_servers_on_one_home_both_serve_and_a_second_on_the_port_is_refused(start: Start) -> None:
    first = start()
    second = start()
    assert second.get("/configurations/active")["version"] == 1
    switchgear = shell(first, SWITCHGEAR_PORT=str(first.port))
    ended = switchgear.run("serve", expect=1)
    assert f"Cannot listen on 127.0.0.1:{first.port}" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    second.process.send_signal(signal.SIGINT)  # type: ignore[union-attr]
    assert second.process.wait(60) == 0  # type: ignore[union-attr]
    assert "v1" in shell(first)("status")


def test_a_server_elsewhere_is_named_by_two_variables(server: RunningServer, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    far = CommandLine(away, None, {"SWITCHGEAR_URL": server.url, "SWITCHGEAR_TOKEN": server.token})
    far("init", "unused")  # needs no server
    (away / "one.txt").write_text("from far away")
    assert "succeeded" in far("ingest", "one.txt", "--wait")
    assert far.json("status")["pipeline"] == "tiny"
    wrong = CommandLine(away, None, {"SWITCHGEAR_URL": server.url, "SWITCHGEAR_TOKEN": "swg_wrong"})
    assert wrong.run("status", expect=1).stderr.strip()


@pytest.mark.parametrize("words", [("config", "rollback"), ("runs", "why", "run_x"), ("documents", "show", "doc_x")])
def test_refusals_are_sentences(server: RunningServer, words: tuple[str, ...]) -> None:
    ended = shell(server).run(*words, expect=1)
    assert len(ended.stderr.splitlines()[0]) > 20
    assert ended.stdout == ""


def test_a_newer_schema_is_one_sentence(start: Start) -> None:
    import sqlite3

    server = start()
    server.stop()
    with sqlite3.connect(server.home / "switchgear.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    ended = shell(server).run("serve", expect=1)
    assert "newer" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
