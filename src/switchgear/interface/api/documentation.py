"""The OpenAPI document: every answer of every route, also the refusals, and the links between operations.

A route names what is special about it; what holds for all is added here, so that it cannot be forgotten.
Source: INTERFACES 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from switchgear.domain.access import Need
from switchgear.interface.api.problems import MEDIA_TYPE
from switchgear.interface.api.routing import need_of
from switchgear.interface.api.schemas.common import Problem

DESCRIPTION: Final = (
    "Every stage of the ingestion pipeline can be swapped, protected and isolated while it runs. Refusals are problem "
    "details (RFC 9457); each code is explained at `/problems/{code}`. Lists are pages: give `next_cursor` back as "
    "`cursor`. Send `Authorization: Bearer TOKEN`, and `Idempotency-Key` with a POST that may be repeated."
)
_SENTENCES: Final[Mapping[int, str]] = {
    304: "Not changed since the ETag in If-None-Match",
    401: "No valid token",
    403: "The role does not allow it",
    404: "There is no such thing, or it is not visible for this token",
    409: "The present state does not allow it",
    412: "If-Match names another state",
    413: "The body is too large",
    415: "The body has another media type",
    422: "The request does not fit; every finding is listed",
    428: "If-Match is required",
    429: "Too many wrong credentials, or the first request with this Idempotency-Key is still at work",
    500: "An unexpected error",
    503: "The database does not answer; nothing was changed",
    507: "The disk is nearly full",
}
#: operation -> status -> link name -> (operation, parameter, where its value is in the answer)
_LINKS: Final[Mapping[str, Mapping[str, Mapping[str, tuple[str, str, str]]]]] = {
    "create_configuration": {
        "201": {
            "read": ("get_configuration", "ref", "/id"),
            "activate": ("activate_configuration", "ref", "/id"),
            "diff": ("diff_configuration", "ref", "/id"),
        },
        "200": {"read": ("get_configuration", "ref", "/id")},
    },
    "get_active_configuration": {"200": {"diff": ("diff_configuration", "ref", "/id")}},
    "activate_configuration": {
        "202": {
            "watch": ("get_activation", "activation_id", "/id"),
            "cancel": ("cancel_activation", "activation_id", "/id"),
            "switch": ("switch_activation", "activation_id", "/id"),
        }
    },
    "rollback_configuration": {"202": {"watch": ("get_activation", "activation_id", "/id")}},
    "send_document": {
        "202": {"run": ("get_run", "run_id", "/run/id"), "document": ("get_document", "document_id", "/document/id")},
        "200": {"run": ("get_run", "run_id", "/run/id"), "document": ("get_document", "document_id", "/document/id")},
    },
    "get_document": {"200": {"file": ("get_document_file", "document_id", "/id")}},
    "get_run": {"200": {"document": ("get_document", "document_id", "/document_id")}},
    "retry_run": {"202": {"read": ("get_run", "run_id", "/id")}},
    "create_token": {"201": {"read": ("get_token", "token_id", "/token/id")}},
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can be refused with these statuses beside those that every route has."""
    return {status: _problem(status) for status in statuses}


def _problem(status: int) -> dict[str, Any]:
    if status == 304:
        return {"description": _SENTENCES[status]}
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    answer: dict[str, Any] = {"description": _SENTENCES[status], "content": content}
    if status in (429, 503):
        answer["headers"] = {"Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer"}}}
    return answer


def install_documentation(app: FastAPI, routes: Mapping[str, APIRoute]) -> None:
    """Let *app* describe itself; *routes* is operation id -> route."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, routes)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI, routes: Mapping[str, APIRoute]) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for operation in operations_of(document):
        route = routes[operation["operationId"]]
        _complete(operation, need_of(route), takes_body="requestBody" in operation)
    return document


def operations_of(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every operation of an OpenAPI document."""
    for item in document["paths"].values():
        yield from (operation for name, operation in item.items() if name in ("get", "post", "patch", "put", "delete"))


def _complete(operation: dict[str, Any], need: Need, *, takes_body: bool) -> None:
    answers = operation["responses"]
    parameters = operation.get("parameters", [])
    statuses = [422, 500, 503]
    if need is not Need.ANONYMOUS:
        operation["security"] = [{"token": []}]
        operation["x-need"] = str(need)
        statuses += [401, 403, 429]
    if any(parameter["in"] == "path" for parameter in parameters):
        statuses.append(404)
    if takes_body:
        statuses += [413, 415]
    for status in statuses:
        if str(status) not in answers or status == 422:
            answers[str(status)] = _problem(status)
    operation["responses"] = dict(sorted(answers.items()))
    for answer in operation["responses"].values():
        answer.setdefault("headers", {})["X-Request-ID"] = {"schema": {"type": "string"}}
    for answered, links in _LINKS.get(operation["operationId"], {}).items():
        if answered in answers:
            answers[answered]["links"] = {
                name: {"operationId": target, "parameters": {parameter: f"$response.body#{pointer}"}}
                for name, (target, parameter, pointer) in links.items()
            }
