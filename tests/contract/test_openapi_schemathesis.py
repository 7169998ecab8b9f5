"""The OpenAPI document against the running server: no 5xx, no answer that is not documented, for generated requests.

Derandomized and bounded: the same requests each time, about a minute.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from factories.instance import settings_for
from switchgear.bootstrap import build
from switchgear.interface.api.main import api_routes
from switchgear.interface.server import create_server

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
#: It does not end by itself, and the token that the tests use must stay.
NOT_CALLED = {"stream_events", "revoke_token", "change_token"}


class LiveServer:
    """A whole server in a thread of its own, on a free port of this machine."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self._ready = threading.Event()
        self._home = home
        self._environment = environment
        self.url = ""
        self.token = ""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self) -> None:
        application = build(settings_for(self._home), environment=self._environment)
        await application.start()
        self.token = (self._home / "admin.token").read_text().strip()
        configuration = uvicorn.Config(
            create_server(application), host="127.0.0.1", port=0, log_level="error", ws="none"
        )
        self._server = uvicorn.Server(configuration)
        serving = asyncio.create_task(self._server.serve())
        while not self._server.started:
            await asyncio.sleep(0.01)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
        self._ready.set()
        await serving
        await application.stop()

    def __enter__(self) -> LiveServer:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(60)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, environment: Mapping[str, str]) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("live") / "home", environment) as server:
        yield server


@pytest.fixture(scope="module")
def operations(live: LiveServer) -> Mapping[str, Any]:
    document = httpx2.get(f"{live.url}/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=live.url)
    found = [result.ok() for result in schema.get_all_operations()]
    return {operation.definition.raw["operationId"]: operation for operation in found}


@pytest.mark.parametrize("name", sorted(route.name for route in api_routes() if route.name not in NOT_CALLED))
def test_no_answer_is_undocumented_and_none_is_a_server_error(
    name: str, live: LiveServer, operations: Mapping[str, Any]
) -> None:
    @settings(
        max_examples=12,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operations[name].as_strategy())
    def send(case: Any) -> None:
        response = case.call(headers={"Authorization": f"Bearer {live.token}"})
        case.validate_response(response, checks=CHECKS)

    send()


def test_the_document_links_operations_and_documents_refusals(live: LiveServer) -> None:
    document = httpx2.get(f"{live.url}/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    created = document["paths"]["/api/v1/configurations"]["post"]["responses"]
    assert created["201"]["links"]["activate"]["operationId"] == "activate_configuration"
    for path, item in document["paths"].items():
        for operation in item.values():
            refusals = {int(status) for status in operation["responses"]}
            assert {422, 500, 503} <= refusals, path
            if operation.get("security"):
                assert {401, 403, 429} <= refusals, path
    assert "HTTPValidationError" not in document["components"]["schemas"]
