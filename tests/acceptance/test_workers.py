"""Worker processes beside the server: work queues, hand-over, crash, shutdown. DESIGN 5, RELIABILITY 36, I13."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from factories import plugin
from factories.backends import BACKENDS
from factories.server import Answer, RunningServer, Start, until

Hire = Callable[..., subprocess.Popen[bytes]]
SWITCHGEAR = str(Path(sys.executable).parent / "switchgear")


@pytest.fixture
def hire() -> Iterator[Hire]:
    """Starts `switchgear worker` on a server's instance; each is ended after the test."""
    workers: list[subprocess.Popen[bytes]] = []

    def start(server: RunningServer, *words: str, site: Path | None = None) -> subprocess.Popen[bytes]:
        command = [SWITCHGEAR, "worker", *words]
        variables = {**server.variables(), **({"PYTHONPATH": str(site)} if site is not None else {})}
        with (server.home / f"worker-{len(workers)}.txt").open("ab") as log:
            worker = subprocess.Popen(
                command, env=variables, cwd=server.home, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        if worker.poll() is None:
            worker.kill()
        worker.wait(30)


def heavy(**settings: object) -> Answer:
    """The stage upper is carried by the workers of the queue `heavy`."""
    module = "upper-faulty" if settings else "upper-text"
    return {"stage_id": "upper", "module_id": module, "settings": settings, "limits": {"queue": "heavy"}}


@pytest.fixture(params=BACKENDS, ids=lambda backend: f"{backend.name}-{backend.dialect}")
def backend(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of a queue backend on a database that it supports."""
    settings = {"QUEUE_BACKEND": request.param.name}
    if request.param.dialect == "postgresql":
        settings["DATABASE_URL"] = request.getfixturevalue("postgres_url")
    return settings


def test_a_worker_of_a_queue_carries_its_stage_and_gives_the_run_back(
    start: Start, hire: Hire, backend: dict[str, str]
) -> None:
    server = start(QUEUES="default", **backend)
    server.switch_to(heavy(), mode="rolling")
    run_id = server.send("hello")["run"]["id"]
    until(lambda: (server.run(run_id)["why"] or {}).get("code") == "waiting.worker")
    assert server.run(run_id)["why"]["summary"].startswith("No live worker serves the queue heavy.")
    assert any("serves the queue heavy" in stop["summary"] for stop in server.get("/status")["stops"])

    worker = hire(server, "--queues", "heavy", "--concurrency", "2")
    run = server.ended(run_id)

    assert (run["status"], run["degraded"], run["losses"]) == ("succeeded", False, 0)
    assert run["result"]["text"] == "HELLO"
    assert [attempt["outcome"] for attempt in run["attempts"]] == ["succeeded"] * 5
    assert [each["queues"] for each in server.get("/status")["workers"]] == [["default"], ["heavy"]]
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert len(server.get("/status")["workers"]) == 1


def test_a_killed_workers_run_goes_on_with_another_one(
    start: Start, hire: Hire, tmp_path: Path, backend: dict[str, str]
) -> None:
    gate = tmp_path / "gate"
    server = start(QUEUES="default", **backend)
    server.switch_to(heavy(mode="wait", file=str(gate)), mode="rolling")
    worker = hire(server, "--queues", "heavy")
    run_id = server.send("hello")["run"]["id"]
    until(lambda: (server.run(run_id)["status"], server.run(run_id)["stage_id"]) == ("running", "upper"))

    worker.kill()
    gate.touch()
    hire(server, "--queues", "heavy")
    run = server.ended(run_id)

    assert (run["status"], run["losses"]) == ("succeeded", 1)
    assert [attempt["outcome"] for attempt in run["attempts"] if attempt["stage_id"] == "upper"] == [
        "lost",
        "succeeded",
    ]
    assert {attempt["configuration_version"] for attempt in run["attempts"]} == {run["configuration_version"]}
    assert server.get("/audit/verify")["ok"] is True


def test_a_worker_that_is_told_to_stop_hands_back_what_it_cannot_finish(
    start: Start, hire: Hire, tmp_path: Path, backend: dict[str, str]
) -> None:
    gate = tmp_path / "gate"
    server = start(QUEUES="default", SHUTDOWN_GRACE_S="1", **backend)
    server.switch_to(heavy(mode="wait", file=str(gate)), mode="rolling")
    worker = hire(server, "--queues", "heavy")
    run_id = server.send("hello")["run"]["id"]
    until(lambda: (server.run(run_id)["status"], server.run(run_id)["stage_id"]) == ("running", "upper"))

    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    waiting = server.run(run_id)
    assert (waiting["status"], waiting["queue"], waiting["losses"]) == ("queued", "heavy", 0)
    gate.touch()
    hire(server, "--queues", "heavy")

    assert server.ended(run_id)["status"] == "succeeded"


def test_without_an_instance_a_worker_says_where_it_looked(tmp_path: Path) -> None:
    command = [SWITCHGEAR, "worker"]
    ended = subprocess.run(command, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "There is no Switchgear instance here" in ended.stderr


def test_a_late_worker_that_cannot_load_the_active_version_takes_no_runs(
    start: Start, hire: Hire, tmp_path: Path
) -> None:
    server = start(ON_MODULE_CHANGE="hold", WORKERS="1")
    alone = [{"stage_id": "upper", "chain": [], "then": "fail"}]
    server.switch_to({"stage_id": "upper", "module_id": "upper-text"}, policies=alone, mode="rolling")
    until(lambda: server.get("/status")["workers"][0]["generation"] == server.get("/status")["generation"])
    other = plugin.install(tmp_path / "elsewhere")
    plugin.change_code(other)

    hire(server, "--concurrency", "4", site=other)
    until(lambda: "version.not_loaded" in (server.home / "worker-0.txt").read_text())
    until(lambda: len(server.get("/status")["workers"]) == 2)
    runs = [server.send(f"document {number}")["run"]["id"] for number in range(12)]

    assert {server.ended(run)["status"] for run in runs} == {"succeeded"}
    warnings = server.get("/status")["warnings"]
    assert any("has not made the active version ready and takes no runs" in warning for warning in warnings)


# --- back-pressure ---


def test_a_full_queue_refuses_documents_and_says_when_to_come_again(start: Start) -> None:
    server = start(MAX_QUEUED="1", WORKERS="0")
    server.send("one")
    refused = server.request("POST", "/documents", content=b"two", expect=429)
    assert refused.json()["code"] == "waiting.backpressure"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert [document["name"] for document in server.get("/documents")["items"]] == ["a.txt"]
    assert server.get("/status")["workers"] == []


def test_sending_a_folder_to_a_full_queue_takes_longer_and_loses_nothing(start: Start, tmp_path: Path) -> None:
    server = start(MAX_QUEUED="1", WORKERS="1")
    folder = tmp_path / "inbox"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.txt").write_text(f"document {number}")

    ended = subprocess.run(
        [SWITCHGEAR, "ingest", str(folder), "--wait", "--json"],
        env=server.variables(),
        cwd=server.home,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert [one["run"]["status"] for one in json.loads(ended.stdout)] == ["succeeded"] * 6
    assert "the queue is full; going on in" in ended.stderr
