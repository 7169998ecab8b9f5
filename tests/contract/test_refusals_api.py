"""Refusals say where, why, and exactly what to send instead."""

from __future__ import annotations

import json
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
