"""Configuration and fallback together, on both databases: swap, drain, the primary fails, fallback, rollback. T040."""

from __future__ import annotations

from pathlib import Path

import pytest

from factories.server import Answer, RunningServer, Start, until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def server(start: Start, database_url: str) -> RunningServer:
    return start(DATABASE_URL=database_url)


def modules_of(run: Answer) -> dict[str, str]:
    """Stage -> module whose output counts."""
    return {stage["stage_id"]: stage["module_id"] for stage in run["stages"] if stage["module_id"]}


def test_swap_drain_failure_fallback_and_rollback(server: RunningServer, tmp_path: Path) -> None:
    first = server.ended(server.send("one")["run"]["id"])
    assert modules_of(first)["upper"] == "upper-text"
    original = server.get("/configurations/active")

    # Swap: the faulty module waits at a gate for slow documents and breaks on bad ones.
    gate = tmp_path / "gate"
    waits = {"mode": "wait", "file": str(gate), "only_if": "slow"}
    limits = {"timeout_s": 600}
    server.switch_to({"stage_id": "upper", "module_id": "upper-faulty", "settings": waits, "limits": limits})
    slow = server.send("slow")["run"]["id"]
    until(lambda: server.run(slow)["status"] == "running", what="the slow run")

    # Drain: the next version waits for the slow run, and what comes meanwhile waits for it.
    breaks = {"mode": "raise", "only_if": "bad"}
    chain = [{"module_id": "upper-other", "on": ["error"], "settings": {}}]
    next_version = server.change(
        {"stage_id": "upper", "module_id": "upper-faulty", "settings": breaks},
        policies=[{"stage_id": "upper", "chain": chain, "then": "fail"}],
    )
    activation = server.activate(next_version["id"], message="break on bad ones")["id"]
    until(lambda: server.activation(activation)["state"] == "draining", what="the drain")
    bad = server.send("bad")["run"]["id"]
    assert server.run(bad)["why"]["code"] == "waiting.drain"
    gate.touch()
    server.applied(activation)
    assert server.ended(slow)["configuration_version"] == next_version["version"] - 1

    # Fallback: the primary fails, the run is completed, degraded, with the reason.
    ended = server.ended(bad)
    assert (ended["status"], ended["degraded"]) == ("succeeded", True)
    assert ended["configuration_id"] == next_version["id"]
    assert modules_of(ended)["upper"] == "upper-other"
    upper = next(stage for stage in ended["stages"] if stage["stage_id"] == "upper")
    assert upper["why"]["code"] == "fallback.error"

    # Rollback: two steps back to the original; its modules execute again.
    back = server.request("POST", f"/configurations/{original['id']}/rollback", json={"message": "enough"}, expect=202)
    server.applied(back.json()["id"])
    again = server.ended(server.send("bad", again=True)["run"]["id"])
    assert (again["status"], again["degraded"]) == ("succeeded", False)
    assert modules_of(again) == modules_of(first)
    assert again["configuration_id"] == original["id"]

    # Everybody can see who did what, and nobody changed it afterwards.
    actions = [event["action"] for event in server.get("/audit?limit=200")["items"]]
    for action in (
        "configuration.created",
        "activation.queued",
        "configuration.activated",
        "configuration.rolled_back",
    ):
        assert action in actions
    assert server.get("/audit/verify")["ok"] is True
