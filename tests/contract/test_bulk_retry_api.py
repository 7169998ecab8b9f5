"""`POST /runs/retry` as documented: filters, dry run, roles, one effect per key. INTERFACES 2"""

from __future__ import annotations

import pytest

from factories.instance import Answer, Instance, problem_of

pytestmark = pytest.mark.anyio

#: A version on which documents fail at the stage `upper`.
_FAILING = {
    "base": "active",
    "selections": [{"stage_id": "upper", "module_id": "upper-faulty", "settings": {"mode": "raise"}}],
    "fallback_policies": [{"stage_id": "upper", "chain": [], "then": "fail"}],
}


async def failed_runs(instance: Instance, *texts: bytes) -> list[Answer]:
    """Runs that failed, on a version that is not active any more."""
    broken = await instance.post("/configurations", _FAILING, expect=201)
    await instance.activated(broken["id"])
    sent = [await instance.send(text) for text in texts]
    ended = [await instance.get(f"/runs/{item['run']['id']}?wait=30") for item in sent]
    assert [run["status"] for run in ended] == ["failed"] * len(texts)
    await instance.activated("v1", verb="rollback")
    return ended


async def test_failed_runs_are_shown_first_and_then_retried_once_on_the_active_version(working: Instance) -> None:
    runs = await failed_runs(working, b"one", b"two")
    asked = {"filter": {"status": "failed", "stage_id": "upper", "code": runs[0]["why"]["code"]}}
    active = {**asked, "configuration": "active", "message": "mended"}

    shown = await working.post("/runs/retry", {**active, "dry_run": True}, role="operator", expect=200)
    none_yet = await working.get("/audit?action=run.retried")
    headers = {"Idempotency-Key": "the-same"}
    done = await working.post("/runs/retry", active, role="operator", expect=202, headers=headers)
    again = await working.request("POST", "/runs/retry", json=active, role="operator", expect=202, headers=headers)

    assert [run["id"] for run in shown["retried"]] == [run["id"] for run in runs]
    assert shown["dry_run"] is True
    assert none_yet["items"] == []
    assert {run["retried_as"] for run in shown["retried"]} == {None}
    assert again.json() == done
    assert again.headers["Idempotency-Replayed"] == "true"
    for before, item in zip(runs, done["retried"], strict=True):
        new = await working.get(f"/runs/{item['retried_as']}?wait=30")
        assert (new["retry_of"], new["status"], new["configuration_version"]) == (before["id"], "succeeded", 1)
    audited = (await working.get("/audit?action=run.retried"))["items"]
    assert [event["message"] for event in audited] == ["mended", "mended"]
    after = await working.post("/runs/retry", active, expect=202)
    assert (after["retried"], after["skipped"], after["more"]) == ([], [], False)


async def test_a_bounded_call_goes_on_after_the_last_run_of_the_one_before(working: Instance) -> None:
    runs = await failed_runs(working, b"one", b"two", b"three")
    wanted = {"filter": {"configuration": "v2"}, "limit": 2, "dry_run": True}
    first = await working.post("/runs/retry", wanted)
    rest = await working.post("/runs/retry", {**wanted, "filter": {"configuration": "v2", "after": first["last"]}})
    seen = [run["id"] for run in first["retried"] + rest["retried"]]
    assert (first["more"], rest["more"]) == (True, False)
    assert seen == [run["id"] for run in runs]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/filter"),
        ({"filter": {"status": "succeeded"}}, "/filter/status"),
        ({"filter": {"since": "yesterday"}}, "/filter/since"),
        ({"filter": {"stage": "upper"}}, "/filter"),
        ({"filter": {}, "limit": 1001}, "/limit"),
    ],
)
async def test_what_does_not_fit_is_named(instance: Instance, body: Answer, pointer: str) -> None:
    problem = problem_of(await instance.request("POST", "/runs/retry", json=body, expect=422))
    assert problem["errors"][0]["pointer"].startswith(pointer)
