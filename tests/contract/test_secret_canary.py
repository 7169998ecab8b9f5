"""A resolved secret, a pasted one and a token's secret appear in no row, answer, metric, log or artifact. I28"""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from opentelemetry import trace

from factories.instance import Instance, problem_of, running, settings_for
from switchgear.core.logging import configure_logging, renew
from switchgear.interface.api.main import api_routes

pytestmark = pytest.mark.anyio

CANARY = "canary-7f3a9-of-a-secret"
REFERENCE = "env:SWITCHGEAR_SECRET_CANARY"


@pytest.fixture
def log() -> Any:
    stream = io.StringIO()
    before = structlog.get_config()
    configure_logging(level="debug", stream=stream)
    yield stream
    structlog.configure(**before)
    renew()


@pytest.fixture
async def secretive(log: Any, home: Path, environment: Mapping[str, str]) -> AsyncIterator[Instance]:
    seen = {**environment, "SWITCHGEAR_SECRET_CANARY": CANARY}
    async with running(settings_for(home), seen, with_worker=True) as made:
        yield made


async def _everything(instance: Instance) -> str:
    """Every answer of every route that reads, as one text."""
    found = []
    runs = (await instance.get("/runs"))["items"]
    documents = (await instance.get("/documents"))["items"]
    ids = {
        "{run_id}": runs[0]["id"] if runs else "run_x",
        "{document_id}": documents[0]["id"] if documents else "doc_x",
        "{ref}": "active",
        "{module_id}": "upper-secret",
        "{stage_id}": "upper",
        "{activation_id}": (await instance.get("/activations"))["items"][0]["id"],
        "{token_id}": instance.ids["viewer"],
        "{name}": "tiny-upper",
        "{version}": "1.2",
        "{code}": "secret.literal",
    }
    for route in api_routes():
        if "GET" not in (route.methods or ()) or route.name == "stream_events":
            continue
        path = route.path
        for key, value in ids.items():
            path = path.replace(key, value)
        response = await instance.client.get(path, headers={"Authorization": f"Bearer {instance.tokens['admin']}"})
        assert response.status_code < 500
        found.append(response.text)
    return "\n".join(found)


def _stored(instance: Instance) -> bytes:
    home = instance.application.settings.home
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file() and path.name != "admin.token")


async def test_a_resolved_secret_is_nowhere_to_be_seen(secretive: Instance, log: Any) -> None:
    made = await secretive.post(
        "/configurations",
        {
            "base": "active",
            "selections": [{"stage_id": "upper", "module_id": "upper-secret", "settings": {"token": REFERENCE}}],
            "fallback_policies": [{"stage_id": "upper", "chain": [], "then": "park"}],
        },
        expect=201,
    )
    assert (await secretive.activated(made["id"]))["state"] == "applied"
    sent = await secretive.send(b"some words")
    ended = await secretive.get(f"/runs/{sent['run']['id']}?wait=60")
    attempts = [item for item in ended["attempts"] if item["stage_id"] == "upper"]
    assert attempts[0]["module_id"] == "upper-secret"
    assert REFERENCE in json.dumps(await secretive.get("/configurations/active"))
    assert CANARY not in await _everything(secretive)
    assert CANARY.encode() not in _stored(secretive)
    assert log.getvalue()
    assert CANARY not in log.getvalue()


@pytest.mark.parametrize("value", [CANARY, [CANARY], {"inner": CANARY}, 739_551_123_456])
async def test_a_pasted_secret_is_refused_and_kept_nowhere(secretive: Instance, log: Any, value: Any) -> None:
    canary = str(value) if isinstance(value, int) else CANARY
    selections = [{"stage_id": "upper", "module_id": "upper-secret", "settings": {"token": value}}]
    for path, draft in (("/configurations", False), ("/configurations", True), ("/configurations/validate", False)):
        body = {"base": "active", "selections": selections, "draft": draft}
        response = await secretive.request("POST", path, json=body)
        assert response.status_code == (200 if path.endswith("validate") else 422)
        assert canary not in response.text
        if response.status_code == 422:
            codes = {error["code"] for error in problem_of(response)["errors"]}
            assert codes & {"secret.literal", "selection.bad_settings"}
    assert canary not in await _everything(secretive)
    assert canary.encode() not in _stored(secretive)
    assert canary not in log.getvalue()


async def test_a_token_is_shown_once_and_not_kept_with_its_idempotency_key(secretive: Instance, log: Any) -> None:
    headers = {"Idempotency-Key": "make-a-token"}
    body = {"name": "robot", "role": "ingest"}
    first = await secretive.request("POST", "/tokens", json=body, headers=headers, expect=201)
    secret = first.json()["secret"]
    assert secret.startswith("swg_")
    again = await secretive.request("POST", "/tokens", json=body, headers=headers, expect=201)
    assert again.json() == {**first.json(), "secret": None}
    me = await secretive.client.get("/api/v1/me", headers={"Authorization": f"Bearer {secret}"})
    assert me.json()["name"] == "robot"
    assert secret not in await _everything(secretive)
    assert secret.encode() not in _stored(secretive)
    assert secret not in log.getvalue()


async def test_the_framework_traces_no_request(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its spans and logs hold headers, parameters and refused values as they came."""
    asked: list[str] = []

    class Tracers(trace.TracerProvider):
        def get_tracer(self, instrumenting_module_name: str, *_: Any, **__: Any) -> trace.Tracer:
            asked.append(instrumenting_module_name)
            return trace.NoOpTracer()

    monkeypatch.setattr(trace, "get_tracer_provider", Tracers)
    await instance.request("POST", "/configurations", json={"selections": CANARY}, expect=422)
    assert asked == []
