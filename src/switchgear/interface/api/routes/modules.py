"""Modules: what is installed, whether it works here, and who uses it. Source: T015, T018, INTERFACES 2."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response
from pydantic import TypeAdapter

from switchgear.domain.breaker import BreakerState
from switchgear.domain.stage import ModuleStatus
from switchgear.domain.wanted_values import check_known
from switchgear.interface.api.dependencies import App, Maintainer, PageOf, Paging, Reader, answer_bytes
from switchgear.interface.api.documentation import problems
from switchgear.interface.api.hot_reads import Present, hot, present
from switchgear.interface.api.routing import guarded_router
from switchgear.interface.api.schemas.common import Page
from switchgear.interface.api.schemas.modules import (
    BreakerBody,
    ModulePatch,
    ModuleSummary,
    ModuleView,
    RescanBody,
    RescanView,
)
from switchgear.interface.api.views.modules import change_view, module_summary, module_view

router = guarded_router("modules")

Filter = Annotated[str | None, Query(max_length=128)]
_PAGE: TypeAdapter[Page[ModuleSummary]] = TypeAdapter(Page[ModuleSummary])


@router.get("/modules", response_model=Page[ModuleSummary], responses=problems(304))
async def list_modules(
    app: App,
    by: Reader,
    request: Request,
    page: PageOf,
    stage_id: Filter = None,
    status: ModuleStatus | None = None,
) -> Response:
    """List installed modules by id, also those that are unavailable, each with the reason."""

    def render(now: Present) -> bytes:
        return _PAGE.dump_json(_listed(now, page, stage_id, status))

    snapshot = app.registry.current()
    stages = dict.fromkeys(each.id for each in snapshot.pipeline.stages)
    check_known(stage_id, stages | dict.fromkeys(each.stage_id for each in snapshot.modules.values()), "stage")
    is_plain = (page.position, stage_id, status) == (None, None, None)
    body, etag = await hot(request, app, f"modules {page.limit}" if is_plain else None, render)
    return answer_bytes(request, body, etag=etag)


def _listed(now: Present, page: Paging, stage_id: str | None, status: ModuleStatus | None) -> Page[ModuleSummary]:
    wanted = [
        module
        for module in sorted(now.snapshot.modules.values(), key=lambda each: each.id)
        if (page.position is None or module.id > page.position)
        and stage_id in (None, module.stage_id)
        and status in (None, module.status)
    ]
    items = [module_summary(module, now.active, now.breakers) for module in wanted[: page.limit]]
    return Page(items=items, next_cursor=page.next(items[-1].id) if len(wanted) > page.limit else None)


@router.get("/modules/{module_id}", response_model=ModuleView, responses=problems(304))
async def get_module(app: App, by: Reader, request: Request, module_id: str) -> Response:
    """Show a module with its settings schema, what it needs, and why it is unavailable if it is."""
    return answer_bytes(request, _one(await present(app), module_id).model_dump_json().encode())


def _one(now: Present, module_id: str) -> ModuleView:
    return module_view(now.snapshot.module(module_id), now.active, now.breakers)


@router.patch("/modules/{module_id}")
async def set_module(app: App, by: Maintainer, module_id: str, body: ModulePatch) -> ModuleView:
    """Enable or disable a module. A disabled one is used by nobody; its fallback serves."""
    await app.modules.set_enabled(module_id, body.enabled, by=by, message=body.message)
    return _one(await present(app), module_id)


@router.post("/modules/{module_id}/breaker")
async def set_breaker(app: App, by: Maintainer, module_id: str, body: BreakerBody) -> ModuleView:
    """Open a module's breaker by hand, keep it from opening, or close it; whatever its settings.

    `forced_open`: nobody calls the module, its fallback serves. `disabled`: it is called however often it fails.
    `closed`: back to counting; what had opened by itself is closed as well.
    """
    app.registry.current().module(module_id)
    await app.breakers.set(module_id, BreakerState(body.state), by=by, message=body.message)
    return _one(await present(app), module_id)


@router.post("/modules/rescan", status_code=202)
async def rescan_modules(app: App, by: Maintainer, body: RescanBody | None = None) -> RescanView:
    """Find newly installed, removed and changed modules without a restart."""
    changes = await app.modules.rescan(by=by, message=body.message if body else "")
    installed = app.registry.current().modules
    return RescanView(modules=len(installed), changes=[change_view(change) for change in changes])
