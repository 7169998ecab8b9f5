"""Versions, differences, and rolling back. T024"""

from __future__ import annotations

import pytest

from factories.instance import ON_BOTH, Instance, problem_of

pytestmark = [pytest.mark.anyio, ON_BOTH]


async def test_a_version_is_found_by_id_label_and_alias(instance: Instance) -> None:
    made = await instance.configure(upper="upper-inline")
    for reference in (made["id"], "v2"):
        assert (await instance.get(f"/configurations/{reference}"))["id"] == made["id"]
    assert (await instance.get("/configurations/active"))["version"] == 1


async def test_the_detail_has_everything_that_the_version_holds(instance: Instance) -> None:
    version = await instance.get("/configurations/v1")
    upper = next(item for item in version["selections"] if item["stage_id"] == "upper")
    assert upper == {"stage_id": "upper", "module_id": "upper-text", "settings": {}, "limits": {}}
    policy = next(item for item in version["fallback_policies"] if item["stage_id"] == "upper")
    assert policy["then"] == "park"
    assert policy["chain"][0]["module_id"] == "upper-other"
    assert version["created_by"] == "system"
    assert len(version["digest"]) == 64


async def test_a_diff_names_what_differs_in_meaning(instance: Instance) -> None:
    made = await instance.configure(upper="upper-inline")
    diff = await instance.get(f"/configurations/{made['id']}/diff?against=v1")
    assert not diff["same"]
    assert (diff["from_version"], diff["to_version"]) == (1, 2)
    change = diff["changes"][0]
    assert (change["stage_id"], change["before"], change["after"]) == ("upper", "upper-text", "upper-inline")
    assert (await instance.get("/configurations/v1/diff"))["same"]


async def test_rolling_back_restores_the_version_before_and_blocks_what_was_left(instance: Instance) -> None:
    bad = await instance.configure(upper="upper-inline")
    assert (await instance.activated(bad["id"]))["state"] == "applied"
    ended = await instance.activated("previous", verb="rollback", message="worse")
    assert ended["state"] == "applied"
    assert ended["kind"] == "rollback"
    assert ended["max_wait_s"] == 10
    assert (await instance.get("/configurations/active"))["version"] == 1
    assert (await instance.get(f"/configurations/{bad['id']}"))["status"] == "rolled_back"
    problem = problem_of(await instance.request("POST", f"/configurations/{bad['id']}/activate", json={}, expect=409))
    assert problem["code"] == "configuration.digest_blocked"
    assert (await instance.activated(bad["id"], unblock=True))["state"] == "applied"


async def test_rolling_back_to_a_version_that_was_never_active_is_refused(instance: Instance) -> None:
    made = await instance.configure(upper="upper-inline")
    problem = problem_of(await instance.request("POST", f"/configurations/{made['id']}/rollback", json={}, expect=409))
    assert problem["code"] == "configuration.illegal_transition"


async def test_without_an_earlier_version_there_is_nothing_to_roll_back_to(instance: Instance) -> None:
    response = await instance.request("POST", "/configurations/previous/rollback", json={})
    assert response.status_code == 404
    problem_of(response)


async def test_a_version_made_from_an_older_base_names_what_it_would_undo(instance: Instance) -> None:
    first = await instance.configure(upper="upper-inline")
    second = await instance.configure(count="count-inline")
    assert (await instance.activated(first["id"]))["state"] == "applied"
    response = await instance.request("POST", f"/configurations/{second['id']}/activate", json={}, expect=409)
    problem = problem_of(response)
    assert problem["code"] == "configuration.base_moved"
    assert "upper" in str(problem["facts"]["changes"])
    assert (await instance.activated(second["id"], accept_base_moved=True))["state"] == "applied"


async def test_activating_with_a_stale_etag_changes_nothing(instance: Instance) -> None:
    etag = (await instance.request("GET", "/configurations/active", expect=200)).headers["etag"]
    first = await instance.configure(upper="upper-inline")
    second = await instance.configure(count="count-inline")
    accepted = await instance.request(
        "POST", f"/configurations/{first['id']}/activate", json={}, headers={"If-Match": etag}, expect=202
    )
    assert (await instance.get(f"/activations/{accepted.json()['id']}?wait=30"))["state"] == "applied"
    stale = await instance.request(
        "POST",
        f"/configurations/{second['id']}/activate",
        json={"accept_base_moved": True},
        headers={"If-Match": etag},
        expect=412,
    )
    assert problem_of(stale)["code"] == "request.precondition_failed"
    assert (await instance.get("/configurations/active"))["id"] == first["id"]


async def test_activations_are_listed_newest_first_with_who_and_why(instance: Instance) -> None:
    made = await instance.configure(upper="upper-inline")
    await instance.activated(made["id"], message="faster")
    items = (await instance.get("/activations"))["items"]
    assert items[0]["configuration_id"] == made["id"]
    assert items[0]["message"] == "faster"
    assert items[0]["actor"] == "test-admin"
    assert items[0]["from_version"] == 1
    assert items[-1]["kind"] == "first_start"
    assert items[-1]["actor"] == "system"


async def test_the_audit_tells_the_story_of_a_swap_and_verifies(instance: Instance) -> None:
    made = await instance.configure(upper="upper-inline")
    await instance.activated(made["id"])
    await instance.activated("previous", verb="rollback")
    actions = [entry["action"] for entry in (await instance.get("/audit?limit=200"))["items"]]
    for action in ("configuration.created", "activation.queued", "activation.applied", "configuration.rolled_back"):
        assert action in actions
    verified = await instance.get("/audit/verify")
    assert verified["ok"]
    assert verified["checked"] == len(actions)
    exported = (await instance.request("GET", "/audit/export", expect=200)).text.splitlines()
    assert len(exported) == len(actions)
    assert (await instance.get(f"/audit/verify?head={verified['head']}"))["ok"]
