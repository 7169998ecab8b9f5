"""Who may call what: every route of the application against every kind of caller. I29, T014"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pytest
from fastapi import APIRouter, FastAPI

from factories.instance import Instance, problem_of
from switchgear.domain.access import Need
from switchgear.interface.api.main import api_routes, create_app
from switchgear.interface.api.refusals import PER_MINUTE
from switchgear.interface.api.routes import OUTSIDE, ROUTERS
from switchgear.interface.api.routing import GuardedRoute, RouteWithoutNeed, need_of

pytestmark = pytest.mark.anyio

ANYBODY: Final = ("anonymous", "ingest", "viewer", "operator", "maintainer", "admin", "revoked")
READERS: Final = ("viewer", "operator", "maintainer", "admin")
#: The table that the product promises, written down a second time on purpose; a route without a row fails.
TABLE: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        ("livez", "readyz", "openapi_document", "documentation", "list_problems", "get_problem"),
        ANYBODY,
    ),
    **dict.fromkeys(
        (
            "metrics",
            "list_modules",
            "get_module",
            "list_stages",
            "get_stage",
            "list_contracts",
            "get_contract",
            "list_configurations",
            "get_active_configuration",
            "get_configuration",
            "diff_configuration",
            "validate_content",
            "list_activations",
            "get_activation",
            "list_audit",
            "export_audit",
            "verify_audit",
            "stream_events",
            "get_status",
            "get_invoice_schema",
        ),
        READERS,
    ),
    **dict.fromkeys(
        (
            "get_me",
            "list_documents",
            "get_document",
            "get_document_file",
            "get_invoice",
            "list_invoices",
            "list_runs",
            "get_run",
        ),
        ("ingest", *READERS),
    ),
    "send_document": ("ingest", "operator", "maintainer", "admin"),
    **dict.fromkeys(
        (
            "create_configuration",
            "validate_configuration",
            "activate_configuration",
            "rollback_configuration",
            "cancel_activation",
            "switch_activation",
            "release_document",
            "reject_document",
            "retry_run",
            "retry_runs",
            "cancel_run",
        ),
        ("operator", "maintainer", "admin"),
    ),
    **dict.fromkeys(("set_module", "set_breaker", "rescan_modules"), ("maintainer", "admin")),
    **dict.fromkeys(("list_tokens", "create_token", "get_token", "change_token", "revoke_token"), ("admin",)),
}
_ROUTES: Final = {route.name: route for route in api_routes()}
_BODIES: Final[Mapping[str, Any]] = {
    "create_token": {"name": "made-by-a-test", "role": "viewer"},
    "set_module": {"enabled": True},
    "set_breaker": {"state": "closed"},
    "release_document": {"message": "fine"},
    "reject_document": {"message": "no"},
    "validate_content": {"selections": []},
    "retry_runs": {"filter": {}},
}


def _path(name: str) -> str:
    path = _ROUTES[name].path
    given = {"code": "request.invalid", "ref": "v77", "module_id": "nobody", "version": "1.0", "name": "nothing"}
    for key in _ROUTES[name].param_convertors:
        path = path.replace("{" + key + "}", given.get(key, "nothing"))
    return path


def test_every_route_has_a_row_in_the_table() -> None:
    assert set(TABLE) == set(_ROUTES)


def test_a_route_that_does_not_say_what_it_needs_is_never_served() -> None:
    router = APIRouter(route_class=GuardedRoute)
    with pytest.raises(RouteWithoutNeed):
        router.get("/open")(lambda: None)


async def test_no_route_exists_beside_the_guarded_ones(shared: Instance) -> None:
    documented = {
        operation["operationId"] for item in shared.app.openapi()["paths"].values() for operation in item.values()
    }
    assert documented == set(TABLE)
    app = create_app(shared.application)
    assert isinstance(app, FastAPI)
    for router in (*ROUTERS, *OUTSIDE):
        assert all(isinstance(route, GuardedRoute) for route in router.routes)


@pytest.mark.parametrize("caller", ANYBODY)
async def test_every_route_refuses_whoever_is_not_in_its_row(shared: Instance, caller: str) -> None:
    for name, allowed in TABLE.items():
        route = _ROUTES[name]
        method = next(iter(route.methods or ()))
        if name == "stream_events" and caller in allowed:
            continue  # it does not end; tested by itself
        token = {} if caller == "anonymous" else {"Authorization": f"Bearer {shared.tokens[caller]}"}
        body = {"json": _BODIES[name]} if name in _BODIES else {}
        response = await shared.client.request(method, _path(name), headers=token, **body)
        if caller in allowed:
            assert response.status_code not in (401, 403), (name, caller, response.status_code)
            continue
        expected = 401 if caller in ("anonymous", "revoked") else 403
        assert response.status_code == expected, (name, caller, response.status_code, response.text[:300])
        problem = problem_of(response)
        assert problem["code"] == ("access.unauthenticated" if expected == 401 else "access.forbidden")
        if expected == 401:
            assert response.headers["www-authenticate"].startswith("Bearer")


async def test_a_refusal_by_role_is_in_the_audit_trail(instance: Instance) -> None:
    await instance.request("POST", "/configurations/v1/activate", role="viewer", expect=403)
    entry = (await instance.audit("access.refused"))[0]
    assert entry["actor"] == "test-viewer"
    assert entry["actor_role"] == "viewer"
    assert entry["subjects"] == ["POST /api/v1/configurations/v1/activate"]
    assert entry["result"] == "refused"


async def test_a_revoked_token_opens_nothing_from_the_next_request_on(instance: Instance) -> None:
    await instance.get("/status", role="viewer")
    shown = await instance.request("GET", f"/tokens/{instance.ids['viewer']}", expect=200)
    await instance.request(
        "DELETE", f"/tokens/{instance.ids['viewer']}", headers={"If-Match": shown.headers["etag"]}, expect=200
    )
    await instance.request("GET", "/status", role="viewer", expect=401)


async def test_a_lowered_role_acts_on_the_next_request(instance: Instance) -> None:
    path = f"/tokens/{instance.ids['operator']}"
    etag = (await instance.request("GET", path, expect=200)).headers["etag"]
    await instance.request("PATCH", path, json={"role": "viewer"}, headers={"If-Match": etag}, expect=200)
    await instance.request("POST", "/configurations/v1/activate", role="operator", expect=403)


async def test_changing_a_token_needs_its_etag(shared: Instance) -> None:
    path = f"/tokens/{shared.ids['operator']}"
    missing = await shared.request("PATCH", path, json={"role": "viewer"}, expect=428)
    assert problem_of(missing)["code"] == "request.precondition_required"
    stale = await shared.request("DELETE", path, headers={"If-Match": '"old"'}, expect=412)
    assert problem_of(stale)["code"] == "request.precondition_failed"
    assert (await shared.get(path))["is_valid"]


async def test_a_sender_sees_only_what_it_sent_itself(instance: Instance) -> None:
    mine = await instance.send(b"mine", role="ingest")
    other = await instance.send(b"other", role="operator")
    assert [item["id"] for item in (await instance.get("/documents", role="ingest"))["items"]] == [
        mine["document"]["id"]
    ]
    assert [item["id"] for item in (await instance.get("/runs", role="ingest"))["items"]] == [mine["run"]["id"]]
    await instance.get(f"/runs/{mine['run']['id']}", role="ingest")
    for path in (
        f"/documents/{other['document']['id']}",
        f"/documents/{other['document']['id']}/file",
        f"/documents/{other['document']['id']}/invoice",
        f"/runs/{other['run']['id']}",
    ):
        problem_of(await instance.request("GET", path, role="ingest", expect=404))
        assert (await instance.request("GET", path, role="viewer")).status_code in (200, 404)
    assert len((await instance.get("/documents", role="viewer"))["items"]) == 2


async def test_a_sender_of_known_bytes_gets_a_run_of_its_own_and_nothing_of_the_first_sender(
    instance: Instance,
) -> None:
    first = await instance.send(b"known bytes", "secret-project.txt", role="operator")
    mine = await instance.send(b"known bytes", "mine.txt", role="ingest")
    assert mine["run"]["id"] != first["run"]["id"]
    assert mine["document"]["last_run_id"] == mine["run"]["id"]
    assert mine["duplicate_of"] is None
    assert "secret-project" not in str(mine)
    assert first["run"]["id"] not in str(mine)
    assert "secret-project" not in str(await instance.get(f"/runs/{mine['run']['id']}", role="ingest"))
    assert "secret-project" not in str(await instance.get("/runs", role="ingest"))
    again = await instance.send(b"known bytes", "mine.txt", role="ingest", expect=200)
    assert again["run"]["id"] == mine["run"]["id"]
    assert len((await instance.get("/documents", role="viewer"))["items"]) == 1
    files = {"file": ("mine.txt", b"known bytes", "text/plain")}
    for role, kind in (("ingest", "run"), ("operator", "document")):
        location = (await instance.request("POST", "/documents", files=files, role=role)).headers["location"]
        assert location.startswith(f"/api/v1/{kind}s/")
        await instance.get(location.removeprefix("/api/v1"), role=role)


async def test_me_says_who_calls_and_what_it_may(shared: Instance) -> None:
    me = await shared.get("/me", role="operator")
    assert (me["name"], me["role"]) == ("test-operator", "operator")
    assert "change" in me["may"]
    assert "tokens" not in me["may"]


async def test_readiness_details_need_a_viewer(shared: Instance) -> None:
    plain = await shared.get("//readyz", role=None)
    assert plain == {"ready": True}
    await shared.request("GET", "//readyz?verbose=true", role=None, expect=401)
    await shared.request("GET", "//readyz?verbose=true", role="ingest", expect=403)
    for bare in ("//readyz?verbose", "//readyz?verbose="):
        await shared.request("GET", bare, role=None, expect=401)
        assert (await shared.get(bare, role="viewer"))["checks"]
    checks = (await shared.get("//readyz?verbose=true", role="viewer"))["checks"]
    assert {check["name"] for check in checks} == {"database", "storage"}


async def test_ten_thousand_wrong_tokens_are_slowed_down_and_counted_without_locking_out_valid_ones(
    instance: Instance,
) -> None:
    statuses = []
    for number in range(PER_MINUTE + 20):
        headers = {"Authorization": f"Bearer swg_wrong{number}"}
        response = await instance.client.get("/api/v1/status", headers=headers)
        statuses.append(response.status_code)
    assert set(statuses) == {401, 429}
    assert int(response.headers["retry-after"]) >= 1
    assert problem_of(response)["code"] == "request.rate_limited"
    await instance.get("/status")
    await instance.app.state.refusals.flush(everything=True)
    counted = await instance.audit("access.unauthenticated_counted")
    limited = await instance.audit("access.rate_limited_counted")
    assert len(counted) <= 2
    assert sum(entry["after"]["count"] for entry in [*counted, *limited]) == PER_MINUTE + 20


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic dGVzdDp0ZXN0",
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
        "Bearer ' OR 1=1 --",
        "Bearer " + "x" * 5000,
    ],
)
async def test_whatever_is_no_token_of_ours_is_refused_alike(shared: Instance, authorization: str) -> None:
    response = await shared.client.get("/api/v1/me", headers={"Authorization": authorization})
    assert response.status_code == 401
    problem_of(response)


def test_needs_and_table_agree() -> None:
    by_need: dict[Need, set[tuple[str, ...]]] = {}
    for name, route in _ROUTES.items():
        by_need.setdefault(need_of(route), set()).add(TABLE[name])
    assert all(len(rows) == 1 for rows in by_need.values())
