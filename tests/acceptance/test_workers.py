"""Worker processes beside the server: work queues, hand-over, crash, shutdown. DESIGN 5, RELIABILITY 36, I13."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from factories import plugin
from factories.backends import BACKENDS
from factories.server import WEB, Answer, RunningServer, Start, until

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


def is_at_heavy_stage(run: Answer) -> bool:
    """Whether a worker of the queue has it: before it was given there, the server had it at that stage for a moment."""
    return (run["status"], run["queue"], run["stage_id"]) == ("running", "heavy", "upper")


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
    until(lambda: is_at_heavy_stage(server.run(run_id)))

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
    until(lambda: is_at_heavy_stage(server.run(run_id)))

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


# --- other machines ---


def elsewhere(server: RunningServer, home: Path, **settings: object) -> RunningServer:
    """The instance as another machine sees it: the same database, a home of its own."""
    home.mkdir()
    shared = {**server.environment, "WORKERS": "1", **{name: str(value) for name, value in settings.items()}}
    return RunningServer(home, server.site, shared)


def test_a_worker_on_another_machine_carries_runs_with_the_shared_folder_and_none_without(
    start: Start, hire: Hire, postgres_url: str, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    server = start(DATABASE_URL=postgres_url, WORKERS="0", ARTIFACTS_DIR=str(shared))
    run_id = server.send("hello")["run"]["id"]

    stranger = elsewhere(server, tmp_path / "stranger", ARTIFACTS_DIR=tmp_path / "not-mounted")
    refused = hire(stranger)
    assert refused.wait(120) == 1
    (said,) = [line for line in (stranger.home / "worker-0.txt").read_text().splitlines() if "ARTIFACTS_DIR" in line]
    assert f"{tmp_path / 'not-mounted'} is not the folder" in said
    assert server.run(run_id)["status"] == "queued"
    assert server.get("/status")["workers"] == []

    hire(elsewhere(server, tmp_path / "other"))
    run = server.ended(run_id)
    assert (run["status"], run["result"]["text"]) == ("succeeded", "HELLO")
    assert not (tmp_path / "other" / "artifacts").exists()


def test_while_the_shared_folder_is_gone_nothing_is_taken_and_all_goes_on_when_it_is_back(
    start: Start, hire: Hire, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    server = start(WORKERS="0", ARTIFACTS_DIR=str(shared))
    accepted = server.send("before")["run"]["id"]
    hire(server, "--concurrency", "1", "--metrics-port", "0", "--json")
    assert server.ended(accepted)["status"] == "succeeded"

    def ready() -> list[int]:
        return [WEB.get(f"{url}/readyz").status_code for url in (server.url, watched_at(server))]

    shared.rename(tmp_path / "unmounted")
    shared.mkdir()  # where it was mounted
    until(lambda: ready() == [503, 503])
    until(lambda: "artifacts.lost" in (server.home / "worker-0.txt").read_text())
    refused = server.request("POST", "/documents", files={"file": ("a.txt", b"meanwhile", "text/plain")}, expect=503)
    assert refused.json()["code"] == "system.read_only"
    again = server.request("POST", f"/runs/{accepted}/retry", json={"from": "start"}, expect=(200, 202)).json()["id"]
    shared.rmdir()
    (tmp_path / "unmounted").rename(shared)

    until(lambda: ready() == [200, 200])
    assert server.ended(again)["status"] == "succeeded"
    assert server.ended(server.send("after")["run"]["id"])["status"] == "succeeded"


# --- what a worker says about itself ---


def watched_at(server: RunningServer) -> str:
    """Where the first worker serves its metrics, as it said at its start."""
    log = server.home / "worker-0.txt"
    lines = until(lambda: [line for line in log.read_text().splitlines() if '"worker":' in line], what="the worker")
    url: str = json.loads(lines[0])["metrics"]
    return url.removesuffix("/metrics")


def test_a_worker_counts_what_it_did_for_whoever_has_a_token(start: Start, hire: Hire) -> None:
    server = start(WORKERS="0")
    alone = [{"stage_id": "upper", "chain": [{"module_id": "upper-text", "on": ["crash"]}], "then": "fail"}]
    crashes = {"stage_id": "upper", "module_id": "upper-faulty", "settings": {"mode": "abort"}}
    server.switch_to(crashes, policies=alone, mode="rolling")
    worker = hire(server, "--concurrency", "1", "--metrics-port", "0", "--json")
    url = watched_at(server)
    assert server.ended(server.send("hello")["run"]["id"])["degraded"] is True

    assert WEB.get(f"{url}/livez").text == "ok"
    assert until(lambda: WEB.get(f"{url}/readyz").json()) == {"ready": True}
    refused = WEB.get(f"{url}/metrics")
    assert (refused.status_code, refused.json()["code"]) == (401, "access.unauthenticated")
    token = {"Authorization": f"Bearer {server.token}"}
    lines = WEB.get(f"{url}/metrics", headers=token).text.splitlines()
    assert 'switchgear_runs_total{result="degraded"} 1.0' in lines
    assert any(line.startswith("switchgear_fallbacks_total{") and line.endswith(" 1.0") for line in lines)
    crashed = 'switchgear_stage_attempts_total{module="upper-faulty",outcome="crash",stage="upper"} 1.0'
    assert crashed in lines
    generation = server.get("/status")["generation"]
    for kind in ("desired", "applied"):
        assert f'switchgear_configuration_generation{{kind="{kind}"}} {float(generation)}' in lines
    assert WEB.get(f"{url}/api/v1/status", headers=token).status_code == 404
    # what is the same for all is told by servers, so that no worker has to count it
    assert [line for line in lines if line.startswith(("switchgear_runs{", "switchgear_module_available{"))] == []
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0


def test_a_worker_without_a_port_for_metrics_listens_nowhere(start: Start, hire: Hire) -> None:
    server = start(WORKERS="0")
    worker = hire(server, "--concurrency", "1", "--json")
    until(lambda: len(server.get("/status")["workers"]) == 1)
    sockets = {os.readlink(each) for each in Path(f"/proc/{worker.pid}/fd").iterdir()}
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert not {f"socket:[{fields[9]}]" for fields in listening if fields[3] == "0A"} & sockets


def test_a_worker_that_takes_no_runs_is_alive_but_not_ready(start: Start, hire: Hire, tmp_path: Path) -> None:
    server = start(ON_MODULE_CHANGE="hold", WORKERS="1")
    alone = [{"stage_id": "upper", "chain": [], "then": "fail"}]
    server.switch_to({"stage_id": "upper", "module_id": "upper-text"}, policies=alone, mode="rolling")
    until(lambda: server.get("/status")["workers"][0]["generation"] == server.get("/status")["generation"])
    other = plugin.install(tmp_path / "elsewhere")
    plugin.change_code(other)
    hire(server, "--metrics-port", "0", "--json", site=other)
    url = watched_at(server)

    until(lambda: WEB.get(f"{url}/readyz").status_code == 503)
    assert WEB.get(f"{url}/livez").status_code == 200
    token = {"Authorization": f"Bearer {server.token}"}
    checks = {one["name"]: one for one in WEB.get(f"{url}/readyz?verbose", headers=token).json()["checks"]}
    assert [name for name, check in checks.items() if not check["ok"]] == ["version"]
    assert "upper-text" in checks["version"]["why"]["summary"]


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
