"""Listing modules, stages and contracts. T015"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factories import plugin
from factories.instance import Instance, problem_of, running
from switchgear.core.breaker_service import Admission
from switchgear.core.configuration_models import Worker
from switchgear.core.settings import Settings
from switchgear.domain.configuration import Lock, sha256_of
from switchgear.domain.errors import Code
from switchgear.domain.run import Outcome
from switchgear.interface.api.hot_reads import present

pytestmark = pytest.mark.anyio


async def test_modules_are_listed_with_status_reason_and_use(instance: Instance) -> None:
    modules = {module["id"]: module for module in (await instance.get("/modules?limit=200"))["items"]}
    assert modules["upper-text"]["status"] == "available"
    assert modules["upper-text"]["is_selected"]
    assert modules["upper-text"]["used_by"] == [{"configuration": "v1", "stage_id": "upper", "role": "selection"}]
    assert modules["upper-other"]["is_fallback"]
    assert not modules["upper-other"]["is_selected"]
    assert modules["upper-old"]["status"] == "deprecated"


@pytest.mark.parametrize(
    ("module_id", "code"),
    [
        ("upper-nobinary", "module.missing_binary"),
        ("upper-nopackage", "module.missing_package"),
        ("upper-environment", "module.missing_environment"),
    ],
)
async def test_an_unavailable_module_says_why_and_what_repairs_it(
    instance: Instance, module_id: str, code: str
) -> None:
    module = await instance.get(f"/modules/{module_id}")
    assert module["status"] == "unavailable"
    assert module["why"]["code"] == code
    assert module["why"]["summary"]
    assert module["why"]["help"] == f"/problems/{code}"
    assert module["why"]["next_actions"][0]["cli"]


async def test_a_module_that_cannot_be_imported_says_why(
    settings: Settings, environment: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {"upper-importerror": plugin.MODULES["upper-importerror"]}
    monkeypatch.syspath_prepend(plugin.write_distribution(tmp_path / "more", "broken", "1.0.0", broken).parent)
    async with running(settings, environment, with_worker=False) as instance:
        module = await instance.get("/modules/upper-importerror")
    assert module["status"] == "unavailable"
    assert module["why"]["code"] == "module.import_error"
    assert module["why"]["summary"]
    assert module["why"]["help"] == "/problems/module.import_error"


async def test_what_a_worker_can_use_is_available_although_the_process_that_is_asked_lacks_it(
    instance: Instance,
) -> None:
    async def status() -> str:
        return str((await instance.get("/modules/upper-nobinary"))["status"])

    assert "upper-nobinary" in str(await instance.get("/modules?status=unavailable"))
    await instance.configure(upper="upper-nobinary")
    await instance.activated("v2", accept_degraded=True)
    assert (await serving(instance))["upper"] == "fallback"
    async with instance.application.units() as unit:
        now = await unit.now_us()
        worker = Worker(id="wrk_far", host="far", process_id=1, boot_id="b", started_at=now, heartbeat_at=now)
        worker.unavailable, worker.isolation, worker.queues = {}, {}, []
        unit.session.add(worker)
        await unit.commit()

    assert await status() == "available"
    assert "upper-nobinary" not in str(await instance.get("/modules?status=unavailable"))
    assert (await serving(instance))["upper"] == "selected"


async def serving(instance: Instance) -> dict[str, str]:
    """Who serves each stage, as the status page says."""
    return {stage["stage_id"]: stage["serves"] for stage in (await instance.get("/status"))["stages"]}


async def test_modules_can_be_filtered_and_paged(instance: Instance) -> None:
    everything = (await instance.get("/modules?limit=200"))["items"]
    first = await instance.get("/modules?limit=5")
    seen = [module["id"] for module in first["items"]]
    cursor = first["next_cursor"]
    while cursor:
        page = await instance.get(f"/modules?limit=5&cursor={cursor}")
        seen += [module["id"] for module in page["items"]]
        cursor = page["next_cursor"]
    assert seen == [module["id"] for module in everything]
    of_upper = (await instance.get("/modules?stage_id=upper&status=available"))["items"]
    assert {module["stage_id"] for module in of_upper} == {"upper"}
    assert {module["status"] for module in of_upper} == {"available"}


async def test_a_module_shows_its_settings_schema_and_what_it_needs(instance: Instance) -> None:
    module = await instance.get("/modules/upper-secret")
    assert module["settings_schema"]["type"] == "object"
    assert module["secret_pointers"]
    assert module["code_digest"]


async def test_an_unknown_module_is_a_problem(instance: Instance) -> None:
    problem = problem_of(await instance.request("GET", "/modules/nobody", expect=404))
    assert problem["code"] == "request.not_found"


async def test_stages_come_in_order_with_selection_and_candidates(instance: Instance) -> None:
    stages = (await instance.get("/stages"))["items"]
    assert [stage["id"] for stage in stages] == ["load", "upper", "count", "check", "send"]
    upper = stages[1]
    assert upper["contract"] == "tiny-upper@1.2"
    assert upper["required"]
    assert [stage["id"] for stage in stages if stage["chain_is_ordered"]] == ["check"]
    assert upper["selection"]["module_id"] == "upper-text"
    assert upper["serves"] == "selected"
    assert upper["fallback_policy"]["then"] == "park"
    candidates = {candidate["module_id"]: candidate for candidate in upper["candidates"]}
    assert candidates["upper-text"]["compatibility"] == "compatible"
    assert candidates["upper-text"]["is_selected"]
    assert candidates["upper-misfit"]["compatibility"] == "incompatible"
    assert candidates["upper-misfit"]["reasons"]
    assert candidates["upper-unguaranteed"]["compatibility"] == "incompatible"
    assert "count-words" not in candidates


async def test_one_stage_is_the_same_as_in_the_list(instance: Instance) -> None:
    stages = (await instance.get("/stages"))["items"]
    assert await instance.get("/stages/count") == stages[2]
    assert (await instance.request("GET", "/stages/nothing")).status_code == 404


async def test_contracts_are_shown_with_their_schemas(instance: Instance) -> None:
    names = [contract["id"] for contract in (await instance.get("/contracts"))["items"]]
    assert names == sorted(names)
    contract = await instance.get("/contracts/tiny-upper/1.2")
    assert contract["stage_ids"] == ["upper"]
    assert contract["inputs"]["text"]["json_schema"]["properties"]["text"]["type"] == "string"
    assert contract["guarantees"] == ["is_upper", "keeps_length"]
    assert (await instance.request("GET", "/contracts/tiny-upper/9.9")).status_code == 404


@pytest.mark.parametrize("path", ["/modules", "/stages", "/stages/upper", "/configurations/active"])
async def test_hot_reads_carry_an_etag_and_answer_304(instance: Instance, path: str) -> None:
    first = await instance.request("GET", path, expect=200)
    again = await instance.request("GET", path, headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["etag"] == first.headers["etag"]


async def test_disabling_a_module_shows_at_once_everywhere_and_is_audited(instance: Instance) -> None:
    before = await instance.request("GET", "/stages", expect=200)
    module = await instance.request(
        "PATCH", "/modules/upper-text", json={"enabled": False, "message": "bad results"}, expect=200
    )
    assert module.json()["status"] == "disabled"
    after = await instance.request("GET", "/stages", headers={"If-None-Match": before.headers["etag"]}, expect=200)
    upper = after.json()["items"][1]
    assert upper["serves"] == "fallback"
    assert upper["serving_module_id"] == "upper-other"
    active = await instance.get("/configurations/active")
    assert [stage["stage_id"] for stage in active["degraded"]] == ["upper"]
    assert (await instance.get("/status"))["degraded"]
    entry = (await instance.audit("module.disabled"))[0]
    assert entry["subjects"] == ["upper-text"]
    assert entry["message"] == "bad results"
    assert entry["actor"] == "test-admin"
    again = await instance.request("PATCH", "/modules/upper-text", json={"enabled": True}, expect=200)
    assert again.json()["status"] == "available"
    assert (await instance.get("/configurations/active"))["degraded"] == []


async def test_a_rescan_answers_what_changed_and_is_audited(instance: Instance) -> None:
    answer = await instance.post("/modules/rescan", expect=202)
    assert answer["changes"] == []
    assert answer["modules"] > 20
    assert (await instance.audit("module.rescanned"))[0]["actor"] == "test-admin"


async def test_a_breaker_opened_by_hand_stops_a_module_and_everybody_sees_it(instance: Instance) -> None:
    before = (await instance.request("GET", "/modules?limit=200")).headers["etag"]
    body = {"state": "forced_open", "message": "Wrong totals"}
    set_to = await instance.post("/modules/upper-text/breaker", body, role="maintainer")
    assert (set_to["breaker"], set_to["status"]) == ("forced_open", "available")
    [one] = set_to["breakers"]
    assert (one["state"], one["settings_digest"], one["why"]) == ("forced_open", None, "Wrong totals")
    listed = await instance.request("GET", "/modules?limit=200")
    assert listed.headers["etag"] != before
    assert {m["id"] for m in listed.json()["items"] if m["breaker"] != "closed"} == {"upper-text"}
    active = await instance.get("/configurations/active")
    assert [stage["stage_id"] for stage in active["degraded"]] == ["upper"]
    warnings = (await instance.get("/status"))["warnings"]
    assert any("opened the breaker of upper-text: Wrong totals" in warning for warning in warnings)

    closed = await instance.post("/modules/upper-text/breaker", {"state": "closed"}, role="maintainer")
    assert (closed["breaker"], closed["breakers"]) == ("closed", [])
    trail = (await instance.get("/audit?action=breaker.set"))["items"]
    assert [(event["message"], event["subjects"]) for event in trail] == [
        ("", ["upper-text"]),
        ("Wrong totals", ["upper-text"]),
    ]


async def test_the_status_says_what_validation_finds_in_the_active_version_by_now(instance: Instance) -> None:
    async def warnings() -> str:
        return " ".join((await instance.get("/status"))["warnings"])

    assert "deprecated" not in await warnings()
    await instance.configure(upper="upper-old")
    assert (await instance.activated("v2"))["state"] == "applied"
    assert "Module upper-old is deprecated: Use upper-text." in await warnings()


async def test_a_stage_that_nobody_serves_offers_the_repair_and_the_way_back(instance: Instance) -> None:
    async def stop() -> Any:
        stops = (await instance.get("/status"))["stops"]
        [found] = [each for each in stops if each["facts"].get("stage_id") == "upper"]
        return found

    for module_id in ("upper-text", "upper-other"):
        await instance.request("PATCH", f"/modules/{module_id}", json={"enabled": False}, expect=200)
    labels = [action["label"] for action in (await stop())["next_actions"]]
    assert labels == ["Repair it"]  # there is no earlier version

    for module_id in ("upper-text", "upper-other"):
        await instance.request("PATCH", f"/modules/{module_id}", json={"enabled": True}, expect=200)
    body = {
        "base": "active",
        "selections": [{"stage_id": "upper", "module_id": "upper-inline"}],
        "fallback_policies": [{"stage_id": "upper", "chain": [], "then": "park"}],
    }
    await instance.activated((await instance.post("/configurations", body, expect=201))["id"])
    await instance.request("PATCH", "/modules/upper-inline", json={"enabled": False}, expect=200)
    [repair, back] = (await stop())["next_actions"]
    assert repair["cli"] == "switchgear modules enable upper-inline"
    assert (back["label"], back["role"], back["cli"]) == ("Go back to v1", "operator", "switchgear config rollback")
    answer = await instance.request(back["method"], back["path"].removeprefix("/api/v1"), json={}, expect=202)
    assert (await instance.get(f"/activations/{answer.json()['id']}?wait=30"))["state"] == "applied"


async def opened(instance: Instance, settings_digest: str) -> Any:
    """What is shown of the module after a breaker opened by itself."""
    for _ in range(5):
        await instance.application.breakers.record(
            "upper-text", settings_digest, Admission(), Outcome.ERROR, "ValueError", "It broke."
        )
    return await instance.get("/modules/upper-text")


async def test_a_breaker_of_settings_that_nobody_uses_is_no_stop(instance: Instance) -> None:
    assert (await opened(instance, "other settings"))["breaker"] == "closed"
    assert (await opened(instance, sha256_of({})))["breaker"] == "open"


async def test_what_a_person_said_about_a_breaker_is_shown_instead_of_what_opened_by_itself(instance: Instance) -> None:
    await opened(instance, sha256_of({}))
    assert (await instance.get("/status"))["degraded"]

    set_to = await instance.post("/modules/upper-text/breaker", {"state": "disabled"}, role="maintainer")

    assert set_to["breaker"] == "disabled"
    assert [one["state"] for one in set_to["breakers"]] == ["disabled"]
    assert not (await instance.get("/status"))["degraded"]


@pytest.mark.parametrize("body", [{"state": "open"}, {"state": "half_open"}, {}, {"state": "closed", "who": "me"}])
async def test_a_breaker_is_set_to_what_a_person_may_say_and_nothing_else(
    instance: Instance, body: dict[str, str]
) -> None:
    answer = await instance.request("POST", "/modules/upper-text/breaker", json=body, role="maintainer", expect=422)
    assert problem_of(answer)["code"] == "request.invalid"


async def test_the_breaker_of_a_module_that_is_not_installed_cannot_be_set(instance: Instance) -> None:
    answer = await instance.request("POST", "/modules/nobody/breaker", json={"state": "closed"}, expect=404)
    assert "modules list" in problem_of(answer)["detail"]


async def test_a_stage_whose_modules_code_is_not_the_locked_one_is_not_said_to_be_served(instance: Instance) -> None:
    now = await present(instance.app.state.services)
    assert now.active is not None
    lock = Lock(now.active.lock)
    lock["upper-text"] = replace(lock["upper-text"], code_digest="other")

    [line] = [line for line in replace(now, active=replace(now.active, lock=lock)).stages() if line.stage_id == "upper"]

    assert line.is_degraded
    assert line.lack is not None
    assert line.lack.code is Code.MODULE_VERSION_CHANGED
