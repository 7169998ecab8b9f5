"""The OpenAPI document against the running server: no 5xx, no answer that is not documented, for generated requests.

Derandomized and bounded: the same requests each time, about a minute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from factories.live import LiveServer
from factories.server import WEB
from switchgear.interface.api.main import api_routes

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
#: It does not end by itself, and the token that the tests use must stay.
NOT_CALLED = {"stream_events", "revoke_token", "change_token"}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, environment: Mapping[str, str]) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("live") / "home", environment) as server:
        yield server


@pytest.fixture(scope="module")
def operations(live: LiveServer) -> Mapping[str, Any]:
    document = WEB.get(f"{live.url}/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=live.url)
    found: list[Any] = [result.ok() for result in schema.get_all_operations()]  # type: ignore[union-attr]
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
    document = WEB.get(f"{live.url}/openapi.json").json()
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
