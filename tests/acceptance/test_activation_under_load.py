"""An activation waits for running work, is applied although nobody calls again, and survives the death of processes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from factories.server import Answer, RunningServer, Start, until


def waiting_upper(gate: Path) -> Answer:
    """A selection whose calls go on when *gate* exists, for documents that say so."""
    settings = {"mode": "wait", "file": str(gate), "only_if": "slow"}
    limits = {"timeout_s": 600}
    return {"stage_id": "upper", "module_id": "upper-faulty", "settings": settings, "limits": limits}


NORMAL: Answer = {"stage_id": "upper", "module_id": "upper-faulty", "settings": {"mode": "ok"}}


def is_running(server: RunningServer, run_id: str) -> bool:
    return bool(server.run(run_id)["status"] == "running")


def is_draining(server: RunningServer, activation_id: str) -> bool:
    return bool(server.activation(activation_id)["state"] == "draining")


def blocked_at(server: RunningServer, activation_id: str) -> list[tuple[str, str | None]]:
    """The runs that an activation waits for, and at which stage each is."""
    return [(run["id"], run["stage_id"]) for run in server.activation(activation_id)["blocking"]]


def test_a_drain_is_applied_after_the_last_run_with_no_further_call(server: RunningServer, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    old = server.switch_to(waiting_upper(gate))
    slow = server.send("slow document")["run"]["id"]
    until(lambda: is_running(server, slow), what="the slow run")
    new = server.change(NORMAL)
    activation = server.activate(new["id"])["id"]
    until(lambda: is_draining(server, activation), what="draining")
    waiting = [server.send(f"document {number}")["run"]["id"] for number in range(3)]
    seen = server.activation(activation)
    assert seen["runs_remaining"] == 1
    assert seen["runs_held"] == 3
    assert [server.run(run)["status"] for run in waiting] == ["queued"] * 3
    assert server.run(waiting[0])["why"]["code"] == "waiting.drain"
    assert server.get("/configurations/active")["id"] == old["id"]
    until(lambda: blocked_at(server, activation) == [(slow, "upper")], what="the stage of the slow run")

    gate.touch()

    server.applied(activation)
    assert server.ended(slow)["configuration_id"] == old["id"]
    for run in waiting:
        ended = server.ended(run)
        assert ended["status"] == "succeeded"
        assert ended["configuration_id"] == new["id"]
        assert {attempt["configuration_version"] for attempt in ended["attempts"]} == {new["version"]}
    assert server.get("/audit/verify")["ok"] is True


def test_rolling_switches_at_once_and_running_work_keeps_its_version(server: RunningServer, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    old = server.switch_to(waiting_upper(gate))
    slow = server.send("slow document")["run"]["id"]
    until(lambda: is_running(server, slow), what="the slow run")
    new = server.switch_to(NORMAL, mode="rolling")
    quick = server.ended(server.send("another")["run"]["id"])
    gate.touch()
    assert quick["configuration_id"] == new["id"]
    assert server.ended(slow)["configuration_id"] == old["id"]


def test_max_wait_ends_a_drain(server: RunningServer, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    old = server.switch_to(waiting_upper(gate))
    slow = server.send("slow document")["run"]["id"]
    until(lambda: is_running(server, slow), what="the slow run")
    new = server.change(NORMAL)
    cancelled = server.activate(new["id"], max_wait_s=1, on_expiry="cancel")["id"]
    until(lambda: server.activation(cancelled)["state"] == "expired", what="expiry")
    assert server.activation(cancelled)["why"]["code"] == "activation.expired"
    assert server.get("/configurations/active")["id"] == old["id"]
    server.applied(server.activate(new["id"], max_wait_s=1)["id"])
    assert is_running(server, slow)
    gate.touch()
    assert server.ended(slow)["configuration_id"] == old["id"]


def test_an_activation_survives_the_death_of_the_process_that_took_it(start: Start, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    first = start(LEASE_S="3")
    first.switch_to(waiting_upper(gate))
    slow = first.send("slow document")["run"]["id"]
    until(lambda: is_running(first, slow), what="the slow run")
    new = first.change(NORMAL)
    activation = first.activate(new["id"])["id"]
    first.kill()
    gate.touch()
    second = start()
    second.applied(activation)
    ended = second.ended(slow)
    assert ended["status"] == "succeeded"
    assert ended["configuration_id"] != new["id"]  # a run never changes its version
    assert any(attempt["outcome"] == "lost" for attempt in ended["attempts"])
    assert second.get("/audit/verify")["ok"] is True


@pytest.fixture
def pair(start: Start, postgres_url: str) -> tuple[RunningServer, RunningServer]:
    """Two server processes on one home and one PostgreSQL."""
    return start(DATABASE_URL=postgres_url), start(DATABASE_URL=postgres_url)


def test_fifty_concurrent_activators_leave_one_active_and_one_pending_at_most(
    pair: tuple[RunningServer, RunningServer], tmp_path: Path
) -> None:
    one, two = pair
    gate = tmp_path / "gate"
    one.switch_to(waiting_upper(gate))
    slow = one.send("slow document")["run"]["id"]
    until(lambda: is_running(one, slow), what="the slow run")
    candidates = [
        one.change({"stage_id": "upper", "module_id": "upper-faulty", "settings": {"seconds": float(number + 1)}})["id"]
        for number in range(50)
    ]

    def attempt(number: int) -> int:
        server = pair[number % 2]
        response: httpx2.Response = server.request("POST", f"/configurations/{candidates[number]}/activate", json={})
        return response.status_code

    with ThreadPoolExecutor(16) as pool:
        statuses = sorted(pool.map(attempt, range(50)))
    assert statuses == [202] + [409] * 49
    pending = [a for a in two.get("/activations?limit=200")["items"] if a["state"] in ("queued", "warming", "draining")]
    assert len(pending) == 1
    gate.touch()
    two.applied(pending[0]["id"])
    active = [c for c in two.get("/configurations?limit=200")["items"] if c["status"] == "active"]
    assert [c["id"] for c in active] == [pending[0]["configuration_id"]]
    assert two.get("/audit/verify")["ok"] is True


def test_a_killed_worker_process_holds_no_drain_back(pair: tuple[RunningServer, RunningServer], tmp_path: Path) -> None:
    one, two = pair
    gate = tmp_path / "gate"
    old = one.switch_to(waiting_upper(gate))
    runs = [one.send(f"slow {number}")["run"]["id"] for number in range(8)]
    until(lambda: all(is_running(two, run) for run in runs), what="eight running runs")
    new = one.change(NORMAL)
    activation = one.activate(new["id"])["id"]
    until(lambda: is_draining(two, activation), what="draining")
    one.kill()
    gate.touch()
    two.applied(activation)
    for run in runs:
        ended = two.ended(run)
        assert ended["status"] == "succeeded"
        assert ended["configuration_id"] == old["id"]
    assert two.ended(two.send("afterwards")["run"]["id"])["configuration_id"] == new["id"]


def test_a_module_that_is_disabled_in_one_process_is_used_by_none(pair: tuple[RunningServer, RunningServer]) -> None:
    one, two = pair
    one.request("PATCH", "/modules/upper-text", json={"enabled": False, "message": "broken since today"}, expect=200)
    until(lambda: two.get("/modules/upper-text")["status"] == "disabled", what="the other process's notice")
    runs = [two.ended(two.send(f"document {number}")["run"]["id"]) for number in range(4)]
    assert {run["degraded"] for run in runs} == {True}
    one.request("PATCH", "/modules/upper-text", json={"enabled": True, "message": "repaired"}, expect=200)
    until(lambda: two.get("/modules/upper-text")["status"] == "available", what="the other process's notice")
