"""Configurations: make, validate, compare, activate, roll back. Source: T016, T020-T024, T027, T028, INTERFACES 2."""

from __future__ import annotations

import json
from typing import Annotated, Any

import yaml
from fastapi import Query, Request, Response

from switchgear.domain.activation import ActivationRequest
from switchgear.domain.configuration import StoredConfiguration, content_from_json
from switchgear.interface.api.dependencies import (
    App,
    IfMatch,
    Operator,
    PageOf,
    Reader,
    answer_bytes,
)
from switchgear.interface.api.documentation import problems
from switchgear.interface.api.hot_reads import active_configuration
from switchgear.interface.api.routing import guarded_router
from switchgear.interface.api.schemas.activations import ActivationView
from switchgear.interface.api.schemas.common import Page
from switchgear.interface.api.schemas.configurations import (
    ActivationBody,
    ActiveConfigurationView,
    ConfigurationBody,
    ConfigurationSummary,
    ConfigurationView,
    DiffEntry,
    DiffView,
    FindingsView,
    Reference,
    ValidationBody,
)
from switchgear.interface.api.views.configurations import (
    activation_view,
    configuration_body,
    finding_of,
    findings_view,
    run_shares,
    summary_line,
)

router = guarded_router("configurations")

YAML = "application/yaml"
_YAML_ANSWER: dict[int | str, dict[str, Any]] = {200: {"content": {YAML: {"schema": {"type": "string"}}}}}
Probe = Annotated[bool, Query(description="Also ask each module whether it can work with these settings")]


def _content(body: ConfigurationBody) -> Any:
    return content_from_json(body.model_dump(mode="json", exclude_none=True))


@router.get("/configurations", response_model=Page[ConfigurationSummary])
async def list_configurations(app: App, by: Reader, page: PageOf) -> Response:
    """List versions, newest first."""
    found = await app.configurations.list(page.limit, page.position)
    lines = b",".join(map(summary_line, found.items))
    cursor = json.dumps(page.next(found.next_cursor)).encode()
    return Response(b'{"items":[' + lines + b'],"next_cursor":' + cursor + b"}", media_type="application/json")


@router.post(
    "/configurations",
    status_code=201,
    response_model=ConfigurationView,
    responses={200: {"model": ConfigurationView, "description": "Equal content is stored already"}, **problems(404)},
)
async def create_configuration(app: App, by: Operator, body: ConfigurationBody) -> Response:
    """Make a version. It is validated at once; content that does not fit is refused with every finding.

    With `base`, selections and policies replace those of the base stage by stage. With `draft`, it is stored although
    it does not fit.
    """
    created = await app.configurations.create(
        _content(body), base=body.base, partial=body.base is not None, message=body.message, draft=body.draft, by=by
    )
    stored = created.configuration
    answer = configuration_body(stored, findings=[finding_of(item) for item in created.findings.stored()])
    headers = {"Location": f"/api/v1/configurations/{stored.id}"}
    return Response(answer, 201 if created.created else 200, headers, media_type="application/json")


@router.post("/configurations/validate", responses=problems(404))
async def validate_content(app: App, by: Reader, body: ConfigurationBody, probe: Probe = False) -> FindingsView:
    """Validate content without storing it."""
    found = await app.configurations.validate_content(_content(body), base=body.base, probe=probe)
    return findings_view(found.errors, found.warnings)


@router.get(
    "/configurations/active", response_model=ActiveConfigurationView, responses={**_YAML_ANSWER, **problems(304, 404)}
)
async def get_active_configuration(app: App, by: Reader, request: Request) -> Response:
    """Show the active version, what waits to replace it, and which stages are degraded."""
    if _wants_yaml(request):
        return _as_yaml(request, await app.configurations.get("active"))
    body, etag = await active_configuration(request, app)
    return answer_bytes(request, body, etag=etag)


@router.get("/configurations/{ref}", response_model=ConfigurationView, responses={**_YAML_ANSWER, **problems(304)})
async def get_configuration(app: App, by: Reader, request: Request, ref: str) -> Response:
    """Show a version: `cfg_...`, `v12`, `active` or `previous`. As a file with `Accept: application/yaml`."""
    stored = await app.configurations.get(ref)
    if _wants_yaml(request):
        return _as_yaml(request, stored)
    shares = run_shares(await app.runs.counts_of(stored.id))
    return answer_bytes(request, configuration_body(stored, runs=shares))


@router.post("/configurations/{ref}/validate", responses=problems(409))
async def validate_configuration(
    app: App, by: Operator, ref: str, probe: Probe = False, body: ValidationBody | None = None
) -> FindingsView:
    """Validate a stored draft: it becomes `validated`, or `rejected`."""
    found = await app.configurations.validate_stored(ref, probe=probe, by=by, message=body.message if body else "")
    return findings_view(found.errors, found.warnings)


@router.get("/configurations/{ref}/diff")
async def diff_configuration(
    app: App,
    by: Reader,
    ref: str,
    against: Annotated[Reference, Query(description="The other version")] = "active",
) -> DiffView:
    """Show what differs in meaning between two versions, from `against` to this one."""
    found = await app.configurations.diff(ref, against)
    return DiffView(
        from_id=found.before.id,
        from_version=found.before.version,
        to_id=found.after.id,
        to_version=found.after.version,
        same=found.same,
        changes=[DiffEntry.model_validate(dict(change)) for change in found.changes],
    )


@router.post("/configurations/{ref}/activate", status_code=202, responses=problems(409, 412))
async def activate_configuration(
    app: App,
    by: Operator,
    ref: str,
    response: Response,
    body: ActivationBody | None = None,
    if_match: IfMatch = None,
) -> ActivationView:
    """Ask for a version to become the active one. It is queued: look at the activation to see when it is applied."""
    stored = await app.configurations.activate(ref, by=by, request=_request(body), if_match=if_match)
    return _accepted(stored, response)


@router.post("/configurations/{ref}/rollback", status_code=202, responses=problems(409, 412))
async def rollback_configuration(
    app: App,
    by: Operator,
    ref: str,
    response: Response,
    body: ActivationBody | None = None,
    if_match: IfMatch = None,
) -> ActivationView:
    """Go back to a version that was active before, such as `previous`. It replaces a pending activation."""
    stored = await app.configurations.rollback(ref, by=by, request=_request(body), if_match=if_match)
    return _accepted(stored, response)


def _request(body: ActivationBody | None) -> ActivationRequest:
    return ActivationRequest(**body.model_dump()) if body is not None else ActivationRequest()


def _accepted(stored: Any, response: Response) -> ActivationView:
    response.headers["Location"] = f"/api/v1/activations/{stored.id}"
    return activation_view(stored)


def _wants_yaml(request: Request) -> bool:
    return YAML in request.headers.get("accept", "")


def _as_yaml(request: Request, stored: StoredConfiguration) -> Response:
    body = {"format": 1, "pipeline": stored.pipeline, **stored.content.as_json()}
    text = f"# {stored.label} ({stored.status}), {stored.digest}\n" + yaml.safe_dump(body, sort_keys=False)
    return answer_bytes(request, text.encode(), media_type=YAML)
