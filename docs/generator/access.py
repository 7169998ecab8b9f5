# ruff: noqa: E501  # a paragraph of prose is one line
"""Routes and who may call them, from the API itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from generator.markdown import code, table
from switchgear.domain.access import ALLOWED, Need, Role

_METHODS = ("get", "post", "patch", "put", "delete")


def document() -> dict[str, Any]:
    """The OpenAPI document of the API."""
    from generator.application import described_api

    return described_api()


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, path and operation of each route."""
    for path, item in document()["paths"].items():
        for method in _METHODS:
            if method in item:
                yield method.upper(), path, item[method]


def api_page() -> str:
    """Every route with what it takes and answers."""
    groups: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for method, path, operation in operations():
        groups.setdefault((operation.get("tags") or ["other"])[0], []).append((method, path, operation))
    parts = ["# REST API", "", document()["info"]["description"], ""]
    parts += ["The whole description for tools is at `/openapi.json` of a server.", ""]
    parts += [table(("answer", "means"), _refusals())]
    for name, routes in groups.items():
        parts += [f"## {name}", ""]
        for method, path, operation in routes:
            parts += _route(method, path, operation)
    return "\n".join(parts)


def _route(method: str, path: str, operation: dict[str, Any]) -> list[str]:
    parts = [f"### `{method} {path}`", "", " ".join((operation.get("description") or "").split()), ""]
    parts += [f"Needs `{operation.get('x-need', 'anonymous')}`, see [the role table](role-table.md).", ""]
    rows = [
        (code(each["name"]), each["in"], (each.get("description") or each["schema"].get("description") or ""))
        for each in operation.get("parameters", ())
    ]
    if rows:
        parts += [table(("parameter", "in", "means"), rows)]
    body = _body(operation)
    if body:
        parts += [f"Body: {body}", ""]
    return [*parts, f"Answers: {', '.join(operation['responses'])}.", ""]


def _refusals() -> list[tuple[str, str]]:
    """What each status of a refusal means; the same on every route."""
    found: dict[str, str] = {}
    for _, _, operation in operations():
        for status, answer in operation["responses"].items():
            if status >= "300":
                found.setdefault(status, answer["description"])
    return sorted(found.items())


def _body(operation: dict[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    schemas = document()["components"]["schemas"]
    described = []
    for media_type, value in content.items():
        names = _names(value.get("schema", {}), schemas)
        described.append(f"{code(media_type)}" + (f" with {', '.join(code(name) for name in names)}" if names else ""))
    return " or ".join(described)


def _names(schema: dict[str, Any], schemas: dict[str, Any]) -> list[str]:
    if "$ref" in schema:
        return _names(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "anyOf" in schema:
        return [name for each in schema["anyOf"] for name in _names(each, schemas)]
    return list(schema.get("properties", {}))


def role_table_page() -> str:
    """Who may do what, and which routes ask for it."""
    needs = [(code(need), *("yes" if role in ALLOWED[need] else "" for role in Role), _NEEDS[need]) for need in Need]
    routes = sorted((operation.get("x-need", "anonymous"), path, method) for method, path, operation in operations())
    return f"""# Role table

Every route says once what it needs; the application is not made when one does not. Roles come from the token. A token with the role `ingest` sees the runs that it asked for, with their results, and the documents that it was the first to send; of bytes that somebody else sent before, it has its own run, and nothing of that sender.

{table(("need", *(str(role) for role in Role), "means"), needs)}
## Routes

{table(("need", "route"), [(code(need), code(f"{method} {path}")) for need, path, method in routes])}"""


_NEEDS = {
    Need.ANONYMOUS: "no token",
    Need.READ: "look at things",
    Need.SEND: "send documents",
    Need.OWN_RUNS: "look at documents and runs; `ingest` at its own",
    Need.CHANGE: "change configurations, retry, cancel, end reviews",
    Need.MODULES: "enable, disable, rescan modules",
    Need.TOKENS: "make, change, revoke tokens",
}
