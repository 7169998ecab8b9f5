"""Runs: where each stands, which module did what, and why. Source: INTERFACES 2, DESIGN 5."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import Query, Request, Response

from switchgear.domain.run import RunStatus
from switchgear.ingestion.retries import Repeat
from switchgear.ingestion.run_repository import RetryFilter, RunFilter
from switchgear.ingestion.run_service import RunView as FoundRun
from switchgear.interface.api.dependencies import (
    App,
    Operator,
    Owner,
    PageOf,
    Wait,
    answer_bytes,
    check_own,
    own_only,
)
from switchgear.interface.api.documentation import problems
from switchgear.interface.api.routing import guarded_router
from switchgear.interface.api.schemas.common import Page, microseconds_of
from switchgear.interface.api.schemas.configurations import Reference
from switchgear.interface.api.schemas.documents import (
    CancelBody,
    RetriedView,
    RetryBody,
    RetryManyBody,
    RunSummary,
    RunView,
)
from switchgear.interface.api.services import Services
from switchgear.interface.api.views.runs import ENDED, retried_view, run_summary, run_view

router = guarded_router("runs")

#: Pauses between two looks at a run that somebody waits for, in seconds; no connection is held meanwhile.
_FIRST_LOOK_S: Final = 0.05
_LAST_LOOK_S: Final = 0.5
Text = Annotated[str | None, Query(max_length=128)]


def _view(app: Services, found: FoundRun, own: str | None = None) -> RunView:
    return run_view(found.run, found.attempts, found.outputs, app.registry.pipeline, own)


@router.get("/runs", responses=problems(404))
async def list_runs(
    app: App,
    by: Owner,
    page: PageOf,
    status: RunStatus | None = None,
    document_id: Text = None,
    configuration: Annotated[Reference | None, Query(description="`cfg_...`, `v12`, `active` or `previous`")] = None,
    code: Annotated[str | None, Query(max_length=64, description="Reason code of runs on hold or failed")] = None,
    degraded: bool | None = None,
) -> Page[RunSummary]:
    """List runs, newest first; a token that only sends sees those that it asked for."""
    wanted = RunFilter(
        status=status,
        document_id=document_id,
        configuration_id=None if configuration is None else (await app.configurations.get(configuration)).id,
        why_code=code,
        degraded=degraded,
        actor=own_only(by),
    )
    found = await app.runs.list(wanted, page.limit, page.position)
    return Page(
        items=[run_summary(item, own_only(by)) for item in found.items], next_cursor=page.next(found.next_cursor)
    )


@router.get("/runs/{run_id}", response_model=RunView, responses=problems(304))
async def get_run(app: App, by: Owner, request: Request, run_id: str, wait: Wait = 0) -> Response:
    """Show a run with its stages, its attempts, the rules that did not match, and why it stands where it does.

    `wait` answers when it has ended or is on hold, at the latest after so many seconds.
    """
    found = await app.runs.get(run_id)
    check_own(by, found.run.actor, "run")
    if wait and found.run.status not in ENDED:
        found = await _wait(app, request, run_id, wait)
    return answer_bytes(request, _view(app, found, own_only(by)).model_dump_json().encode())


async def _wait(app: Services, request: Request, run_id: str, wait_s: float) -> FoundRun:
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + wait_s, _FIRST_LOOK_S
    while True:
        await asyncio.sleep(min(pause, max(0.0, deadline - loop.time())))
        found = await app.runs.get(run_id)
        if found.run.status in ENDED or loop.time() >= deadline or await request.is_disconnected():
            return found
        pause = min(_LAST_LOOK_S, pause * 1.5)


@router.post(
    "/runs/retry",
    status_code=202,
    responses={200: {"model": RetriedView, "description": "What a dry run found"}, **problems(404)},
)
async def retry_runs(app: App, by: Operator, response: Response, body: RetryManyBody) -> RetriedView:
    """Retry failed and parked runs, the oldest first; each is audited. `dry_run` changes nothing and answers 200.

    With `filter.degraded` those are repeated that succeeded although a fallback served, such as results that were kept
    until their target is there again: name the stage as `from` too.

    Runs that wait for a person's decision are skipped, unless `filter.code` names `parked.review`: then they go to
    their stage again, and what still needs a person is on hold again.
    """
    asked = body.filter
    wanted = RetryFilter(
        degraded=asked.degraded is True,
        status=RunStatus(asked.status) if asked.status else None,
        code=asked.code,
        stage_id=asked.stage_id,
        module_id=asked.module_id,
        configuration_id=(await app.configurations.get(asked.configuration)).id if asked.configuration else None,
        since=microseconds_of(asked.since),
        until=microseconds_of(asked.until),
        after=asked.after,
    )
    how = Repeat(body.configuration, body.from_, body.message)
    done = await app.runs.retry_many(wanted, how, by=by, limit=body.limit, dry_run=body.dry_run)
    response.status_code = 200 if body.dry_run else 202
    return retried_view(done, dry_run=body.dry_run)


@router.post("/runs/{run_id}/retry", status_code=202, responses=problems(409))
async def retry_run(app: App, by: Operator, run_id: str, response: Response, body: RetryBody | None = None) -> RunView:
    """Run a document again, on the version that the run holds, on the active one, or on another."""
    asked = body or RetryBody()
    found = await app.runs.retry(
        run_id, by=by, configuration=asked.configuration, from_=asked.from_, message=asked.message
    )
    response.headers["Location"] = f"/api/v1/runs/{found.run.id}"
    return _view(app, found)


@router.post("/runs/{run_id}/cancel", status_code=202, responses=problems(409))
async def cancel_run(app: App, by: Operator, run_id: str, body: CancelBody | None = None) -> RunView:
    """Cancel a run; one that is at work is ended by its worker within a heartbeat."""
    return _view(app, await app.runs.cancel(run_id, by=by, message=body.message if body else ""))
