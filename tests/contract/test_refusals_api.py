"""Refusals say where, why, and exactly what to send instead."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from factories.instance import Instance, problem_of

pytestmark = pytest.mark.anyio


def at(body: Any, pointer: str) -> Any:
    """What a JSON pointer leads to; a pointer that leads nowhere is a KeyError or IndexError."""
    for part in pointer.split("/")[1:]:
        body = body[int(part)] if isinstance(body, list) else body[part]
    return body


# --- a change over a base ---


async def test_selecting_the_fallback_says_where_it_was_sent_and_what_to_send_with_it(shared: Instance) -> None:
    body: dict[str, Any] = {"base": "active", "selections": [{"stage_id": "upper", "module_id": "upper-other"}]}
    problem = problem_of(await shared.request("POST", "/configurations", json=body, expect=422))
    [error] = problem["errors"]
    assert error["code"] == "policy.cycle"
    assert at(body, error["pointer"]) == "upper-other"
    assert "base v1" in error["detail"]
    told = error["hint"]
    body["fallback_policies"] = [json.loads(told[told.index("{") : told.rindex("}") + 1])]
    made = await shared.post("/configurations", body, expect=201)
    [policy] = [item for item in made["fallback_policies"] if item["stage_id"] == "upper"]
    assert [step["module_id"] for step in policy["chain"]] == ["upper-text"]
    assert policy["then"] == "park"


async def test_in_an_ordered_chain_nothing_earlier_is_proposed_to_stand_in(shared: Instance) -> None:
    body: dict[str, Any] = {"base": "active", "selections": [{"stage_id": "check", "module_id": "check-other"}]}
    [error] = (await shared.post("/configurations/validate", body))["errors"]
    assert error["code"] == "policy.cycle"
    assert at(body, error["pointer"]) == "check-other"
    assert "change places" not in error["hint"]
    assert "never stands in for a later one" in error["hint"]
    told = error["hint"]
    body["fallback_policies"] = [json.loads(told[told.index("{") : told.rindex("}") + 1])]
    assert body["fallback_policies"] == [{"stage_id": "check", "chain": [], "then": "park"}]
    assert (await shared.post("/configurations/validate", body))["errors"] == []


async def test_what_is_wrong_in_the_base_alone_is_said_to_come_from_there(instance: Instance) -> None:
    wrong = {"stage_id": "upper", "module_id": "upper-text", "limits": {"timeout_s": -1}}
    draft = await instance.post("/configurations", {"base": "v1", "selections": [wrong], "draft": True}, expect=201)
    body = {"base": draft["label"], "selections": [{"stage_id": "load", "module_id": "load-other"}]}
    body["fallback_policies"] = [{"stage_id": "load", "chain": []}]
    problem = problem_of(await instance.request("POST", "/configurations", json=body, expect=422))
    [error] = problem["errors"]
    assert error["pointer"] == "/base"
    [stated] = [part for part in error["detail"].split() if part.startswith("/selections/")]
    assert at(draft, stated) == -1
    assert f"base {draft['label']}" in error["detail"]


async def test_warnings_about_a_partial_body_lead_into_it_or_to_its_base(instance: Instance) -> None:
    await instance.request("PATCH", "/modules/upper-other", json={"enabled": False}, expect=200)
    body = {"base": "active", "selections": [{"stage_id": "load", "module_id": "load-inline"}]}
    for found in (
        (await instance.post("/configurations/validate", body))["warnings"],
        (await instance.post("/configurations", body, expect=201))["findings"],
    ):
        [warning] = [item for item in found if item["code"] == "policy.unavailable"]
        assert warning["pointer"] == "/base"
        assert "base v1" in warning["message"]


async def test_findings_of_a_stored_version_lead_into_that_version(instance: Instance) -> None:
    await instance.request("PATCH", "/modules/upper-other", json={"enabled": False}, expect=200)
    made = await instance.configure(load="load-inline")
    stored = await instance.get(f"/configurations/{made['id']}")
    [warning] = [item for item in stored["findings"] if item["code"] == "policy.unavailable"]
    assert at(stored, warning["pointer"]) == "upper-other"


# --- what can be done in spite of a refusal ---


async def test_blocked_content_says_how_to_activate_it_all_the_same(instance: Instance) -> None:
    bad = await instance.configure(upper="upper-inline")
    await instance.activated(bad["id"])
    await instance.activated("previous", verb="rollback", message="worse")
    path = f"/configurations/{bad['id']}/activate"
    problem = problem_of(await instance.request("POST", path, json={"accept_degraded": True}, expect=409))
    assert problem["code"] == "configuration.digest_blocked"
    [action] = problem["next_actions"]
    assert action["role"] == "operator"
    assert action["cli"] == "switchgear config activate v2 --accept-degraded --unblock"
    assert action["path"] == f"/api/v1{path}"
    accepted = await instance.request(action["method"], path, json=action["body"], expect=202)
    assert (await instance.get(f"/activations/{accepted.json()['id']}?wait=30"))["state"] == "applied"


async def test_a_moved_base_shows_what_would_be_undone_and_how_to_do_it_all_the_same(instance: Instance) -> None:
    first = await instance.configure(upper="upper-inline")
    second = await instance.configure(count="count-inline")
    await instance.activated(first["id"])
    path = f"/configurations/{second['id']}/activate"
    problem = problem_of(await instance.request("POST", path, json={}, expect=409))
    [undone] = problem["facts"]["changes"]
    assert (undone["stage_id"], undone["before"], undone["after"]) == ("upper", "upper-text", "upper-inline")
    look, anyway = problem["next_actions"]
    assert look["cli"] == "switchgear config diff active v3"
    assert not (await instance.get(look["path"].removeprefix("/api/v1")))["same"]
    assert anyway["cli"] == "switchgear config activate v3 --accept-base-moved"
    await instance.request(anyway["method"], path, json=anyway["body"], expect=202)


async def test_a_run_that_has_ended_cannot_be_cancelled_or_decided_and_the_request_is_not_at_fault(
    instance: Instance,
) -> None:
    sent = await instance.send(b"some words")
    run, document = sent["run"]["id"], sent["document"]["id"]
    await instance.post(f"/runs/{run}/cancel", expect=202)
    again = problem_of(await instance.request("POST", f"/runs/{run}/cancel", expect=409))
    assert again["code"] == "run.illegal_transition"
    assert again["detail"] == (
        "A run that is cancelled cannot be cancelled; those that are queued, running or parked can."
    )
    for verb in ("release", "reject"):
        refused = await instance.request("POST", f"/documents/{document}/{verb}", json={"message": "m"}, expect=409)
        problem = problem_of(refused)
        assert problem["code"] == "run.illegal_transition"
        assert "does not wait for review" in problem["detail"]
        assert problem["facts"] == {"document_id": document, "run_id": run, "status": "cancelled"}
        assert problem["next_actions"][0]["cli"] == f"switchgear runs show {run}"


# --- values and roles ---


async def test_a_viewer_who_uploads_is_told_both_ways_to_be_allowed(shared: Instance) -> None:
    files = {"file": ("a.txt", b"words", "text/plain")}
    problem = problem_of(await shared.request("POST", "/documents", files=files, role="viewer", expect=403))
    assert "role operator or the scope ingest" in problem["detail"]
    assert problem["facts"]["needs"] == "operator"
    other = problem_of(await shared.request("POST", "/modules/rescan", role="viewer", expect=403))
    assert "the role maintainer" in other["detail"]
    assert "ingest" not in other["detail"]


_SELECTION = {"stage_id": "load", "module_id": "load-text"}
WANTED: dict[str, tuple[str, Any, str]] = {
    "/selections": ("/configurations", {"selections": "canary"}, "must be a list"),
    "/selections/0": ("/configurations", {"selections": ["canary"]}, "must be an object"),
    "/selections/0/settings": (
        "/configurations",
        {"selections": [{**_SELECTION, "settings": ["canary"]}]},
        "must be an object",
    ),
    "/selections/0/limits/timeout_s": (
        "/configurations",
        {"base": "active", "selections": [{**_SELECTION, "limits": {"timeout_s": "canary"}}]},
        "Limit timeout_s must be a number.",
    ),
    "/selections/0/limits/retries": (
        "/configurations",
        {"base": "active", "selections": [{**_SELECTION, "limits": {"retries": 99}}]},
        "Limit retries must be at most 10.",
    ),
    "/message": ("/configurations", {"selections": [], "message": 7}, "must be text"),
    "/base": ("/configurations", {"base": ""}, "must not be empty"),
    "/draft": ("/configurations", {"draft": "canary"}, "must be true or false"),
    "/fallback_policies/0/then": (
        "/configurations",
        {"fallback_policies": [{"stage_id": "load", "then": "canary"}]},
        "must be one of: fail, park, skip",
    ),
    "/fallback_policies/0/budget_s": (
        "/configurations",
        {"fallback_policies": [{"stage_id": "load", "budget_s": 0}]},
        "must be more than 0",
    ),
    "/max_wait_s": ("/configurations/v1/activate", {"max_wait_s": 100_000}, "must be at most 86400"),
    "/mode": ("/configurations/v1/activate", {"mode": "canary"}, "must be one of: drain, rolling"),
    "/expires_at": ("/tokens", {"name": "a", "role": "viewer", "expires_at": "canary"}, "must be a time"),
    "/name": ("/tokens", {"name": "canary" * 50, "role": "viewer"}, "must have at most 64 characters"),
}


@pytest.mark.parametrize("pointer", WANTED)
async def test_a_value_that_does_not_fit_is_answered_with_what_is_wanted(shared: Instance, pointer: str) -> None:
    path, body, wanted = WANTED[pointer]
    response = await shared.request("POST", path, json=body, expect=422)
    [detail] = [error["detail"] for error in problem_of(response)["errors"] if error["pointer"] == pointer]
    assert wanted in detail
    assert "canary" not in response.text
    assert "Input" not in response.text


async def test_a_parameter_that_does_not_fit_is_answered_with_what_is_wanted(shared: Instance) -> None:
    limit = problem_of(await shared.request("GET", "/runs?limit=many", expect=422))
    assert limit["errors"][0]["detail"] == "This must be a whole number."
    status = problem_of(await shared.request("GET", "/runs?status=canary", expect=422))
    assert status["errors"][0]["detail"] == (
        "This must be one of: queued, running, succeeded, failed, parked, cancelled."
    )


FILTERS = {
    "/audit?action=configuration.activatd": "configuration.activated",
    "/modules?stage_id=laod": "load",
    "/modules?status=disable": "disabled",
    "/runs?status=parkd": "parked",
    "/runs?code=parked.reveiw": "parked.review",
}


@pytest.mark.parametrize("path", FILTERS)
async def test_a_filter_by_what_was_never_known_is_refused_with_what_was_meant_and_all_there_is(
    shared: Instance, path: str
) -> None:
    response = await shared.request("GET", path, expect=422)
    problem = problem_of(response)
    said = " ".join([problem["detail"], *(f"{each['detail']} {each.get('hint')}" for each in problem["errors"])])
    assert f"Did you mean '{FILTERS[path]}'?" in said
    assert path.partition("=")[2] not in re.split(r"[\s',.]+", said)
    assert said.count(", ") > 2, said


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [({"stage_id": "uper"}, "upper"), ({"module_id": "uper-text"}, "upper-text"), ({"status": "faild"}, "failed")],
)
async def test_a_retry_of_many_by_what_was_never_known_is_refused_likewise(
    shared: Instance, wanted: dict[str, str], meant: str
) -> None:
    response = await shared.request("POST", "/runs/retry", json={"filter": wanted, "dry_run": True}, expect=422)
    problem_of(response)
    assert f"Did you mean '{meant}'?" in response.text


@pytest.mark.parametrize("value", ["canary", "-7", "", "canary" * 500])
async def test_no_parameter_of_any_route_is_refused_in_the_words_of_a_library_or_with_what_was_sent(
    shared: Instance, value: str
) -> None:
    asked = 0
    for path, item in shared.app.openapi()["paths"].items():
        names = [each["name"] for each in item.get("get", {}).get("parameters", ()) if each["in"] == "query"]
        for name in names:
            url = path.removeprefix("/api/v1").replace("{ref}", "v1") if path.startswith("/api") else f"/{path}"
            response = await shared.request("GET", url, params={name: value}, headers={"Last-Event-ID": "no number"})
            if response.status_code >= 400:
                problem_of(response)
                asked += 1
            assert "canary" not in response.text
            assert not re.search(r"Input should|Value error|does not fit\.|pattern|regex|unable to", response.text)
    assert asked > 10


async def test_a_head_that_is_none_is_told_how_one_looks(shared: Instance) -> None:
    problem = problem_of(await shared.request("GET", "/audit/verify?head=canary", expect=422))
    [error] = problem["errors"]
    assert error["pointer"] == "query:head"
    assert "64 characters from 0 to 9 and a to f" in error["detail"]
    assert "switchgear audit export" in error["detail"]


# --- why, in the audit trail ---


async def test_whoever_decides_about_a_draft_says_why(instance: Instance) -> None:
    body = {"base": "active", "selections": [{"stage_id": "upper", "module_id": "upper-inline"}], "draft": True}
    draft = await instance.post("/configurations", body, expect=201)
    await instance.post(f"/configurations/{draft['id']}/validate", {"message": "Reviewed together"})
    [entry] = await instance.audit("configuration.validated")
    assert entry["message"] == "Reviewed together"


async def test_the_revocation_of_a_token_and_a_rescan_say_why(instance: Instance) -> None:
    path = f"/tokens/{instance.ids['viewer']}"
    etag = (await instance.request("GET", path)).headers["etag"]
    headers = {"If-Match": etag}
    await instance.request("DELETE", f"{path}?message={'x' * 2001}", headers=headers, expect=422)
    await instance.request("DELETE", f"{path}?message=Lost", headers=headers, expect=200)
    assert (await instance.audit("token.revoked"))[0]["message"] == "Lost"
    await instance.post("/modules/rescan", {"message": "Upgraded"}, expect=202)
    await instance.post("/modules/rescan", expect=202)
    assert [entry["message"] for entry in await instance.audit("module.rescanned")] == ["", "Upgraded"]
