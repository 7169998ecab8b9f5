"""Activations: what waits, on what, and how it ended. Source: T022, INTERFACES 2, DESIGN 4."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response

from switchgear.interface.api.dependencies import App, Operator, PageOf, Reader, Wait, answer_bytes
from switchgear.interface.api.documentation import problems
from switchgear.interface.api.routing import guarded_router
from switchgear.interface.api.schemas.activations import ActivationView
from switchgear.interface.api.schemas.common import Page
from switchgear.interface.api.schemas.documents import CancelBody
from switchgear.interface.api.views.configurations import activation_view

router = guarded_router("activations")


def view_of(found: Any) -> ActivationView:
    """Show what the activation queue says about one."""
    return activation_view(
        found.activation,
        runs_remaining=found.runs_remaining,
        runs_held=found.runs_held,
        blocking=found.blocking,
        why=found.why,
    )


@router.get("/activations")
async def list_activations(app: App, by: Reader, page: PageOf) -> Page[ActivationView]:
    """List activations and rollbacks, newest first."""
    found = await app.activations.list(page.limit, page.position)
    return Page(items=[activation_view(item) for item in found.items], next_cursor=page.next(found.next_cursor))


@router.get("/activations/{activation_id}", response_model=ActivationView, responses=problems(304))
async def get_activation(app: App, by: Reader, request: Request, activation_id: str, wait: Wait = 0) -> Response:
    """Show an activation; `wait` answers when it has ended, at the latest after so many seconds."""
    if wait:
        await app.activations.wait(activation_id, wait)
    view = view_of(await app.activations.get(activation_id))
    return answer_bytes(request, view.model_dump_json().encode())


@router.post("/activations/{activation_id}/cancel", responses=problems(409))
async def cancel_activation(
    app: App, by: Operator, activation_id: str, body: CancelBody | None = None
) -> ActivationView:
    """Cancel a pending activation; the active version goes on. 409 when it has ended."""
    await app.activations.cancel(activation_id, by, message=body.message if body else "")
    return view_of(await app.activations.get(activation_id))


@router.post("/activations/{activation_id}/switch", responses=problems(409))
async def switch_activation(
    app: App, by: Operator, activation_id: str, body: CancelBody | None = None
) -> ActivationView:
    """Switch now: what runs then finishes on the version that it holds. 409 when it has ended."""
    await app.activations.switch(activation_id, by, message=body.message if body else "")
    return view_of(await app.activations.get(activation_id))
