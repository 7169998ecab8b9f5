"""Stages and contracts: the steps of the pipeline, who serves them, and who could. Source: T015, T019, INTERFACES 2."""

from __future__ import annotations

from fastapi import Request, Response
from pydantic import TypeAdapter

from switchgear.core.configuration_validation.contracts import disagreements
from switchgear.domain.compatibility import Verdict
from switchgear.domain.errors import NotFound
from switchgear.domain.stage import ContractDescription, ModuleDescription, PipelineDescription, StageDescription
from switchgear.interface.api.dependencies import App, PageOf, Paging, Reader, answer_bytes
from switchgear.interface.api.documentation import problems
from switchgear.interface.api.hot_reads import Present, hot
from switchgear.interface.api.routing import guarded_router
from switchgear.interface.api.schemas.common import Page
from switchgear.interface.api.schemas.modules import ContractView, StageView
from switchgear.interface.api.views.modules import Answer, contract_view, stage_view

router = guarded_router("stages")

_STAGES: TypeAdapter[Page[StageView]] = TypeAdapter(Page[StageView])


def _compatibility(module: ModuleDescription, stage: StageDescription) -> tuple[Answer, list[str]]:
    found = list(disagreements(module, stage))
    missing = sorted(set(stage.contract.guarantees) - set(module.guarantees))
    reasons = [message for _, message in found]
    reasons += [f"It does not promise {name}, which the contract demands." for name in missing]
    if missing or any(verdict is Verdict.INCOMPATIBLE for verdict, _ in found):
        return "incompatible", reasons
    return ("unknown" if found else "compatible"), reasons


def _views(now: Present) -> list[StageView]:
    modules = now.snapshot.modules
    return [
        stage_view(
            stage,
            now.active,
            modules,
            availability,
            {
                module.id: _compatibility(module, stage)
                for module in modules.values()
                if module.stage_id == stage.id and module.output_schema
            },
        )
        for stage, availability in zip(now.snapshot.pipeline.stages, now.stages(), strict=True)
    ]


def _page(now: Present, page: Paging) -> Page[StageView]:
    order = int(page.position) if page.position and page.position.lstrip("-").isdigit() else None
    left = [view for view in _views(now) if order is None or view.order > order]
    items = left[: page.limit]
    return Page(items=items, next_cursor=page.next(str(items[-1].order)) if len(left) > page.limit else None)


@router.get("/stages", response_model=Page[StageView], responses=problems(304))
async def list_stages(app: App, by: Reader, request: Request, page: PageOf) -> Response:
    """List the stages in order: contract, active selection, who serves, and every candidate with its compatibility."""

    def render(now: Present) -> bytes:
        return _STAGES.dump_json(_page(now, page))

    name = f"stages {page.limit}" if page.position is None else None  # of other pages there may be any number
    body, etag = await hot(request, app, name, render)
    return answer_bytes(request, body, etag=etag)


@router.get("/stages/{stage_id}", response_model=StageView, responses=problems(304))
async def get_stage(app: App, by: Reader, request: Request, stage_id: str) -> Response:
    """Show one stage."""
    if app.registry.pipeline.stage(stage_id) is None:
        raise NotFound("The pipeline has no such stage. `switchgear stages list` shows all of them.")

    def render(now: Present) -> bytes:
        return next(view for view in _views(now) if view.id == stage_id).model_dump_json().encode()

    body, etag = await hot(request, app, f"stage {stage_id}", render)
    return answer_bytes(request, body, etag=etag)


def _contracts(pipeline: PipelineDescription) -> list[ContractDescription]:
    found = {f"{stage.contract.name}@{stage.contract.version}": stage.contract for stage in pipeline.stages}
    return [found[name] for name in sorted(found)]


@router.get("/contracts")
async def list_contracts(app: App, by: Reader, page: PageOf) -> Page[ContractView]:
    """List the capability contracts of the pipeline."""
    views = [contract_view(contract, app.registry.pipeline) for contract in _contracts(app.registry.pipeline)]
    left = [view for view in views if page.position is None or view.id > page.position]
    items = left[: page.limit]
    return Page(items=items, next_cursor=page.next(items[-1].id) if len(left) > page.limit else None)


@router.get("/contracts/{name}/{version}", response_model=ContractView, responses=problems(304))
async def get_contract(app: App, by: Reader, request: Request, name: str, version: str) -> Response:
    """Show one contract with its schemas."""
    for contract in _contracts(app.registry.pipeline):
        if (contract.name, contract.version) == (name, version):
            view = contract_view(contract, app.registry.pipeline)
            return answer_bytes(request, view.model_dump_json().encode())
    raise NotFound("The pipeline has no such contract. `switchgear contracts list` shows all of them.")
