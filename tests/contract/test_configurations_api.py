"""Making, validating and activating configurations; reading the active one. T016"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import yaml

from factories.instance import ON_BOTH, Instance, problem_of
from switchgear.domain.access import Actor, Role
from switchgear.domain.audit import AuditAction

pytestmark = [pytest.mark.anyio, ON_BOTH]

HOUR_US = 3_600_000_000

FULL = [
    {"stage_id": "load", "module_id": "load-inline"},
    {"stage_id": "upper", "module_id": "upper-inline"},
    {"stage_id": "count", "module_id": "count-inline"},
    {"stage_id": "check", "module_id": "check-inline"},
    {"stage_id": "send", "module_id": "send-inline"},
]


async def test_the_first_start_leaves_an_active_version_one(instance: Instance) -> None:
    active = await instance.get("/configurations/active")
    assert active["version"] == 1
    assert active["label"] == "v1"
    assert active["status"] == "active"
    assert active["generation"] == 1
    assert active["pending_activation"] is None
    assert active["degraded"] == []
    assert {item["stage_id"] for item in active["selections"]} == {"load", "upper", "count", "check", "send"}
    assert active["module_lock"]["upper-text"]["code_digest"]


async def test_creating_answers_201_with_location_and_findings(instance: Instance) -> None:
    body = {"selections": FULL, "message": "everything inline"}
    response = await instance.request("POST", "/configurations", json=body, expect=201)
    made = response.json()
    assert response.headers["location"] == f"/api/v1/configurations/{made['id']}"
    assert made["status"] == "validated"
    assert made["version"] == 2
    assert made["message"] == "everything inline"
    assert made["created_by"] == "test-admin"
    assert isinstance(made["findings"], list)
    shown = await instance.get(f"/configurations/{made['id']}")
    assert {**shown, "runs": None} == made


async def test_equal_content_answers_200_with_the_stored_version(instance: Instance) -> None:
    first = await instance.post("/configurations", {"selections": FULL}, expect=201)
    again = await instance.post("/configurations", {"selections": list(reversed(FULL))}, expect=200)
    assert again["id"] == first["id"]


async def test_a_partial_body_changes_only_what_it_names(instance: Instance) -> None:
    made = await instance.configure(upper="upper-inline")
    active = await instance.get("/configurations/active")
    assert made["base_id"] == active["id"]
    before = {item["stage_id"]: item["module_id"] for item in active["selections"]}
    after = {item["stage_id"]: item["module_id"] for item in made["selections"]}
    assert after == {**before, "upper": "upper-inline"}


async def test_content_that_does_not_fit_is_refused_with_every_finding_and_stores_nothing(instance: Instance) -> None:
    selections = [
        {"stage_id": "uper", "module_id": "upper-text"},
        {"stage_id": "load", "module_id": "lod-text"},
        {"stage_id": "check", "module_id": "count-words"},
        {"stage_id": "send", "module_id": "send-file"},
    ]
    response = await instance.request("POST", "/configurations", json={"selections": selections}, expect=422)
    problem = problem_of(response)
    assert problem["code"] == "configuration.invalid"
    codes = {error["code"] for error in problem["errors"]}
    assert {
        "selection.unknown_stage",
        "selection.unknown_module",
        "selection.wrong_stage",
        "selection.missing_stage",
    } <= codes
    hints = " ".join(error.get("hint") or "" for error in problem["errors"])
    assert "upper" in hints
    assert "load-text" in hints
    assert len((await instance.get("/configurations"))["items"]) == 1
    assert (await instance.audit("configuration.create_refused"))[0]["result"] == "refused"


async def test_a_draft_is_stored_and_rejected_when_it_is_validated(instance: Instance) -> None:
    body = {"base": "active", "selections": [{"stage_id": "upper", "module_id": "nobody"}], "draft": True}
    draft = await instance.post("/configurations", body, expect=201)
    assert draft["status"] == "draft"
    found = await instance.post(f"/configurations/{draft['id']}/validate")
    assert not found["is_valid"]
    assert found["errors"][0]["code"] == "selection.unknown_module"
    assert (await instance.get(f"/configurations/{draft['id']}"))["status"] == "rejected"
    refused = await instance.request("POST", f"/configurations/{draft['id']}/activate", json={}, expect=409)
    assert problem_of(refused)["code"] == "configuration.illegal_transition"


async def test_validating_a_body_stores_nothing(instance: Instance) -> None:
    good = await instance.post("/configurations/validate", {"selections": FULL})
    assert good == {"is_valid": True, "errors": [], "warnings": good["warnings"]}
    bad = await instance.post("/configurations/validate?probe=true", {"selections": FULL[:2]})
    assert not bad["is_valid"]
    assert {error["code"] for error in bad["errors"]} == {"selection.missing_stage"}
    assert len((await instance.get("/configurations"))["items"]) == 1


async def test_activating_is_accepted_queued_and_applied(instance: Instance) -> None:
    made = await instance.post("/configurations", {"selections": FULL}, expect=201)
    response = await instance.request(
        "POST", f"/configurations/{made['label']}/activate", json={"message": "try it"}, expect=202
    )
    activation = response.json()
    assert response.headers["location"] == f"/api/v1/activations/{activation['id']}"
    assert activation["kind"] == "activate"
    assert activation["mode"] == "drain"
    assert activation["max_wait_s"] == 300
    ended = await instance.get(f"/activations/{activation['id']}?wait=30")
    assert ended["state"] == "applied"
    assert not ended["is_pending"]
    active = await instance.get("/configurations/active")
    assert active["id"] == made["id"]
    assert active["generation"] == 2
    assert (await instance.get("/configurations/v1"))["status"] == "superseded"
    applied = (await instance.audit("activation.applied"))[0]
    assert activation["id"] in applied["subjects"]


async def test_activating_without_a_body_takes_the_defaults(instance: Instance) -> None:
    made = await instance.post("/configurations", {"selections": FULL}, expect=201)
    response = await instance.request("POST", f"/configurations/{made['id']}/activate", expect=202)
    assert response.json()["on_expiry"] == "switch"


async def test_activating_the_active_version_is_refused(instance: Instance) -> None:
    problem = problem_of(await instance.request("POST", "/configurations/active/activate", json={}, expect=409))
    assert problem["code"] == "configuration.already_active"


async def test_a_second_activation_is_refused_with_a_link_to_the_first(working: Instance) -> None:
    await _hold(working)
    first = await working.configure(upper="upper-inline")
    second = await working.configure(upper="upper-old")
    pending = await working.post(f"/configurations/{first['id']}/activate", {}, expect=202)
    problem = problem_of(await working.request("POST", f"/configurations/{second['id']}/activate", json={}, expect=409))
    assert problem["code"] == "activation.pending"
    assert problem["facts"]["activation_id"] == pending["id"]
    assert any(action["path"] == f"/api/v1/activations/{pending['id']}/cancel" for action in problem["next_actions"])
    assert (await working.get("/configurations/active"))["pending_activation"]["id"] == pending["id"]
    replaced = await working.post(f"/configurations/{second['id']}/activate", {"replace_pending": True}, expect=202)
    assert (await working.get(f"/activations/{pending['id']}"))["state"] == "cancelled"
    await working.post(f"/activations/{replaced['id']}/cancel")


async def test_a_draining_activation_shows_what_it_waits_for_and_can_be_switched(working: Instance) -> None:
    run_id = await _hold(working)
    made = await working.configure(upper="upper-inline")
    pending = await working.post(f"/configurations/{made['id']}/activate", {}, expect=202)
    for _ in range(200):
        shown = await working.get(f"/activations/{pending['id']}")
        if shown["state"] == "draining":
            break
        await asyncio.sleep(0.05)
    assert shown["state"] == "draining"
    assert shown["runs_remaining"] == 1
    assert shown["why"]["code"] == "activation.draining"
    assert [run["id"] for run in shown["blocking"]] == [run_id]
    assert (await working.get("/status"))["pending_activation"]["id"] == pending["id"]
    switched = await working.post(f"/activations/{pending['id']}/switch", {"message": "now"})
    assert switched["state"] == "applied"
    late = problem_of(await working.request("POST", f"/activations/{pending['id']}/cancel", expect=409))
    assert late["code"] == "activation.not_pending"


async def _hold(working: Instance) -> str:
    """Let a run be at work for a long time; returns its id."""
    slow = await working.post(
        "/configurations",
        {
            "base": "active",
            "selections": [
                {"stage_id": "upper", "module_id": "upper-faulty", "settings": {"mode": "hang"}, "limits": _SLOW}
            ],
        },
        expect=201,
    )
    assert (await working.activated(slow["id"]))["state"] == "applied"
    run_id: str = (await working.send(b"slow text"))["run"]["id"]
    for _ in range(400):
        if (await working.get(f"/runs/{run_id}"))["status"] == "running":
            return run_id
        await asyncio.sleep(0.05)
    raise AssertionError("the run did not start")


_SLOW: dict[str, Any] = {"timeout_s": 100}


async def test_the_active_version_can_be_read_as_the_file_that_makes_it_again(instance: Instance) -> None:
    response = await instance.request(
        "GET", "/configurations/active", headers={"Accept": "application/yaml"}, expect=200
    )
    assert response.headers["content-type"].startswith("application/yaml")
    body = yaml.safe_load(response.text)
    assert body.pop("format") == 1
    assert body.pop("pipeline") == "tiny"
    again = await instance.post("/configurations", body, expect=200)
    assert again["version"] == 1


async def test_versions_are_listed_newest_first_and_paged(instance: Instance) -> None:
    for module in ("upper-inline", "upper-faulty", "upper-old"):
        await instance.configure(upper=module)
    first = await instance.get("/configurations?limit=3")
    assert [item["version"] for item in first["items"]] == [4, 3, 2]
    rest = await instance.get(f"/configurations?limit=3&cursor={first['next_cursor']}")
    assert [item["version"] for item in rest["items"]] == [1]
    assert rest["next_cursor"] is None


async def test_without_an_active_version_the_answer_is_404_and_uploads_wait(instance: Instance) -> None:
    assert (await instance.request("GET", "/configurations/v99")).status_code == 404
    assert (await instance.request("GET", "/configurations/previous")).status_code == 404


async def test_the_same_idempotency_key_gives_the_same_answer_and_one_version(instance: Instance) -> None:
    headers = {"Idempotency-Key": "make-once"}
    body = {"base": "active", "selections": [{"stage_id": "upper", "module_id": "upper-inline"}]}
    first = await instance.request("POST", "/configurations", json=body, headers=headers, expect=201)
    again = await instance.request("POST", "/configurations", json=body, headers=headers, expect=201)
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotency-replayed"] == "true"
    other = {**body, "message": "another"}
    problem = problem_of(await instance.request("POST", "/configurations", json=other, headers=headers, expect=422))
    assert problem["code"] == "request.idempotency_mismatch"
    assert len((await instance.get("/configurations"))["items"]) == 2


async def test_a_request_whose_answer_was_lost_with_its_server_is_not_done_again(instance: Instance) -> None:
    application, body = instance.application, b'{"message": "Once"}'
    by = Actor("test-operator", Role.OPERATOR, instance.ids["operator"])
    route = "POST /api/v1/configurations/v1/activate?"
    assert await application.idempotency.reserve(by, "lost", route, body) is None
    with application.idempotency.at_work(by, "lost"):
        async with application.units() as unit:
            await unit.audit.append(AuditAction.ACTIVATION_QUEUED, actor=by)
            await unit.commit()
    async with application.units() as unit:  # long ago
        await unit.access.change_key(instance.ids["operator"], "lost", expires_at=application.clock() + HOUR_US)
        await unit.commit()

    answer = await instance.request(
        "POST",
        "/configurations/v1/activate",
        content=body,
        headers={"Idempotency-Key": "lost", "Content-Type": "application/json"},
        role="operator",
        expect=409,
    )

    assert problem_of(answer)["code"] == "request.answer_lost"
    assert "took effect" in problem_of(answer)["detail"]
