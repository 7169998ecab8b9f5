"""The seed's one timed promise: p95 of the configuration endpoints under 500 ms, at 1,000 stored versions. T041."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx2
import pytest

from factories.server import RunningServer, Start

pytestmark = pytest.mark.timeout(600)

VERSIONS = 1000
LIMIT_S = 0.5
TRIES = 30


@pytest.fixture
def server(start: Start) -> RunningServer:
    return start()


def p95_s(ask: Callable[[int], httpx2.Response], expect: set[int]) -> float:
    times = []
    for number in range(TRIES):
        begin = time.perf_counter()
        response = ask(number)
        times.append(time.perf_counter() - begin)
        assert response.status_code in expect, response.text[:1000]
    return sorted(times)[int(TRIES * 0.95)]


def test_configuration_endpoints_answer_in_time_at_a_thousand_versions(server: RunningServer) -> None:
    headers = {"Authorization": f"Bearer {server.token}"}
    with httpx2.Client(base_url=f"{server.url}/api/v1", headers=headers, timeout=60) as client:

        def body(number: int) -> dict[str, object]:
            selection = {
                "stage_id": "upper",
                "module_id": "upper-text",
                "settings": {},
                "limits": {"timeout_s": 1 + number / 100},
            }
            return {"base": "active", "selections": [selection]}

        ids = [client.post("/configurations", json=body(number)).json()["id"] for number in range(VERSIONS)]
        assert len(set(ids)) == VERSIONS

        def activate(number: int) -> httpx2.Response:
            path = f"/configurations/{ids[number]}/activate"
            return client.post(path, json={"accept_base_moved": True, "replace_pending": True, "unblock": True})

        measured = {
            "list": p95_s(lambda _: client.get("/configurations"), {200}),
            "detail": p95_s(lambda number: client.get(f"/configurations/{ids[number]}"), {200}),
            "create": p95_s(lambda number: client.post("/configurations", json=body(VERSIONS + number)), {201}),
            "validate": p95_s(lambda number: client.post("/configurations/validate", json=body(number)), {200}),
            "active": p95_s(lambda _: client.get("/configurations/active"), {200}),
            "modules": p95_s(lambda _: client.get("/modules"), {200}),
            "stages": p95_s(lambda _: client.get("/stages"), {200}),
            "activate": p95_s(activate, {202}),
        }
    assert {name: seconds for name, seconds in measured.items() if seconds >= LIMIT_S} == {}, measured
