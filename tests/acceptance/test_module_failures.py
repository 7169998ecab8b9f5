"""A module that raises, hangs, exits, crashes or answers wrongly costs its own attempt; everybody can see why."""

from __future__ import annotations

import pytest

from factories.server import Answer, RunningServer, Start, until

#: mode of the faulty module -> the outcome of its attempt, and how its detail starts
FAULTS = {
    "raise": ("error", "ValueError"),
    "hang": ("timeout", ""),
    "hang_in_c": ("timeout", ""),
    "ignore_sigterm": ("timeout", ""),
    "exit0": ("crash", "exit:0"),
    "os_exit": ("crash", "exit:0"),
    "segv": ("crash", "signal:SEGV"),
    "abort": ("crash", "signal:ABRT"),
    "alloc": ("crash", "memory_limit"),
    "none": ("contract_violation", "wrong_type"),
    "wrong_type": ("contract_violation", ""),
    "invalid": ("contract_violation", ""),
    "huge": ("contract_violation", "output_too_large"),
    "broken_guarantee": ("contract_violation", "guarantee:is_upper"),
    "unavailable": ("unavailable", ""),
}
ALL = ["error", "timeout", "crash", "contract_violation", "unavailable"]


def faulty(mode: str, **settings: object) -> Answer:
    return {
        "stage_id": "upper",
        "module_id": "upper-faulty",
        "settings": {"mode": mode, **settings},
        "limits": {"timeout_s": 2 if "hang" in mode or mode == "ignore_sigterm" else 60},
    }


def chain(then: str = "park", *, modules: tuple[str, ...] = ("upper-other",)) -> list[Answer]:
    return [
        {
            "stage_id": "upper",
            "chain": [{"module_id": module, "on": ALL, "settings": {}} for module in modules],
            "then": then,
        }
    ]


def attempts_of(run: Answer, stage: str) -> list[Answer]:
    return [attempt for attempt in run["attempts"] if attempt["stage_id"] == stage]


def test_the_fallback_completes_the_run_and_the_reason_is_shown(server: RunningServer) -> None:
    for mode, (outcome, detail) in FAULTS.items():
        server.switch_to(faulty(mode), policies=chain(), mode="rolling")
        run = server.ended(server.send(f"hello {mode}")["run"]["id"])
        first, second = attempts_of(run, "upper")
        assert (first["module_id"], first["outcome"]) == ("upper-faulty", outcome), (mode, first)
        assert first["detail"].startswith(detail), (mode, first)
        assert (second["module_id"], second["outcome"]) == ("upper-other", "succeeded"), mode
        assert run["status"] == "succeeded"
        assert run["degraded"] is True
        assert run["result"]["text"] == f"HELLO {mode.upper()}!"
        served = next(stage for stage in run["stages"] if stage["stage_id"] == "upper")
        assert served["module_id"] == "upper-other"
        assert served["wanted_module_id"] == "upper-faulty"
        assert served["why"]["code"] == f"fallback.{outcome}"
    assert server.get("/audit/verify")["ok"] is True


@pytest.mark.parametrize(("then", "status"), [("fail", "failed"), ("park", "parked")])
def test_without_a_fallback_only_that_run_ends_otherwise(server: RunningServer, then: str, status: str) -> None:
    policies = chain(then, modules=())
    server.switch_to(faulty("segv", only_if="bad"), policies=policies)
    runs = {text: server.send(text)["run"]["id"] for text in ("good one", "bad one", "good two")}
    ended = {text: server.ended(run) for text, run in runs.items()}
    assert ended["bad one"]["status"] == status
    assert ended["bad one"]["why"]["next_actions"]
    assert [ended[text]["status"] for text in ("good one", "good two")] == ["succeeded", "succeeded"]
    repaired = server.switch_to({"stage_id": "upper", "module_id": "upper-text", "settings": {}})
    answer = server.request("POST", f"/runs/{runs['bad one']}/retry", json={"configuration": "active"}, expect=202)
    again = server.ended(answer.json()["id"])
    assert again["status"] == "succeeded"
    assert again["retry_of"] == runs["bad one"]
    assert again["configuration_id"] == repaired["id"]


def test_selecting_another_module_changes_that_module_and_only_that(server: RunningServer) -> None:
    before = server.ended(server.send("hello")["run"]["id"])
    other = {"stage_id": "upper", "module_id": "upper-other", "settings": {}}
    server.switch_to(other, policies=chain(modules=("upper-text",)))
    after = server.ended(server.send("hello", again=True)["run"]["id"])
    modules = [{a["stage_id"]: a["module_id"] for a in run["attempts"]} for run in (before, after)]
    assert modules[0]["upper"] == "upper-text"
    assert modules[1] == {**modules[0], "upper": "upper-other"}
    assert (before["result"]["text"], after["result"]["text"]) == ("HELLO", "HELLO!")


def test_a_rejected_document_burns_no_chain(server: RunningServer) -> None:
    server.switch_to(faulty("reject"), policies=chain())
    run = server.ended(server.send("hello")["run"]["id"])
    assert run["status"] == "failed"
    assert run["why"]["code"] == "failed.input_rejected"
    assert "encrypted" in run["why"]["summary"]
    assert [a["module_id"] for a in attempts_of(run, "upper")] == ["upper-faulty"]


def test_low_confidence_lets_the_better_value_win(server: RunningServer) -> None:
    step = {"module_id": "upper-other", "on": ["low_confidence"], "threshold": 0.6, "settings": {}}
    policies: list[Answer] = [{"stage_id": "upper", "chain": [step], "then": "park"}]
    server.switch_to(faulty("low_confidence", confidence=0.3), policies=policies)
    run = server.ended(server.send("hello")["run"]["id"])
    assert run["degraded"] is True
    assert run["result"]["text"] == "HELLO!"
    assert attempts_of(run, "upper")[0]["outcome"] == "low_confidence"


def test_a_review_waits_for_a_person_and_goes_on_with_the_decision(server: RunningServer) -> None:
    server.switch_to(faulty("review"))
    sent = server.send("hello")
    run = server.ended(sent["run"]["id"])
    assert (run["status"], run["why"]["code"]) == ("parked", "parked.review")
    path = f"/documents/{sent['document']['id']}"
    server.request("POST", f"{path}/release", json={}, expect=422)
    server.request("POST", f"{path}/release", json={"message": "looks right"}, expect=202)
    until(lambda: server.run(run["id"])["status"] == "succeeded", what="the release")
    actions = [event["action"] for event in server.get("/audit?limit=50")["items"]]
    assert "document.released" in actions


def test_everything_survives_a_restart(start: Start) -> None:
    first = start()
    other = {"stage_id": "upper", "module_id": "upper-other", "settings": {}}
    version = first.switch_to(other, policies=chain(modules=()))
    run = first.ended(first.send("hello")["run"]["id"])
    events = first.get("/audit?limit=200")["items"]
    assert first.stop() == 0
    second = start()
    assert second.get("/configurations/active")["id"] == version["id"]
    assert second.run(run["id"])["result"] == run["result"]
    assert second.get("/audit?limit=200")["items"][-len(events) :] == events
    assert second.get("/audit/verify")["ok"] is True


def test_a_module_that_is_gone_at_start_is_served_by_its_fallback(start: Start) -> None:
    first = start()
    first.switch_to({"stage_id": "upper", "module_id": "upper-environment", "settings": {}}, policies=chain())
    assert first.stop() == 0
    second = start()
    status = second.get("/status")
    assert status["degraded"] is True
    upper = next(stage for stage in status["stages"] if stage["stage_id"] == "upper")
    assert (upper["serves"], upper["module_id"]) == ("fallback", "upper-other")
    run = second.ended(second.send("hello")["run"]["id"])
    assert (run["status"], run["degraded"]) == ("succeeded", True)


def test_rollback_restores_selections_settings_and_policies(server: RunningServer) -> None:
    policies = chain("fail")
    settings = {"mode": "slow", "seconds": 0.01}
    old = server.switch_to({"stage_id": "upper", "module_id": "upper-faulty", "settings": settings}, policies=policies)
    new = server.switch_to({"stage_id": "upper", "module_id": "upper-text", "settings": {}}, policies=chain("park"))
    path = "/configurations/previous/rollback"
    activation = server.request("POST", path, json={"message": "numbers look wrong"}, expect=202).json()
    server.applied(activation["id"])
    active = server.get("/configurations/active")
    assert active["id"] == old["id"]
    upper = next(item for item in active["selections"] if item["stage_id"] == "upper")
    assert (upper["module_id"], upper["settings"]) == ("upper-faulty", settings)
    policy = next(item for item in active["fallback_policies"] if item["stage_id"] == "upper")
    assert policy["then"] == "fail"
    assert server.get(f"/configurations/{new['id']}")["status"] == "rolled_back"
    response = server.request("POST", f"/configurations/{new['id']}/activate", json={}, expect=409)
    assert response.json()["code"] == "configuration.digest_blocked"
    rolled = next(e for e in server.get("/audit?limit=50")["items"] if e["action"] == "configuration.rolled_back")
    assert rolled["actor"] == "local-admin"
    refused = next(e for e in server.get("/audit?limit=50")["items"] if e["result"] == "refused")
    assert refused["actor"] == "local-admin"
