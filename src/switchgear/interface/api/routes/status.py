"""The whole at-a-glance page in one call, and who the caller is. Source: INTERFACES 2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fastapi import Request

from switchgear import __version__
from switchgear.core.module_registry import Serves, StageAvailability
from switchgear.domain.access import ALLOWED, Need, Role
from switchgear.domain.configuration import Terminal
from switchgear.domain.errors import Code, NextAction, NotFound, Why, repair
from switchgear.domain.stage import IsolationReport
from switchgear.ingestion.run_repository import WorkerRow
from switchgear.interface.api.dependencies import App, Owner, Reader
from switchgear.interface.api.hot_reads import Present, present
from switchgear.interface.api.routes.activations import view_of
from switchgear.interface.api.routing import guarded_router
from switchgear.interface.api.schemas.access import MeView
from switchgear.interface.api.schemas.common import WhyView, time_of
from switchgear.interface.api.schemas.status import IsolationView, MeasureView, StageStatus, StatusView, WorkerView
from switchgear.interface.api.services import Services
from switchgear.interface.api.views.configurations import summary_of, why_of_lack
from switchgear.sdk.pipeline import DEFAULT_QUEUE

router = guarded_router("status")


@router.get("/me")
async def get_me(app: App, by: Owner) -> MeView:
    """Who the caller is, what the role allows, and how large a document may be."""
    may = [str(need) for need in Need if need is not Need.ANONYMOUS and by.role in ALLOWED[need]]
    return MeView(
        name=by.name, role=Role(by.role), token_id=by.token_id, may=may, max_upload_bytes=app.settings.max_upload_bytes
    )


@router.get("/status")
async def get_status(app: App, by: Reader, request: Request) -> StatusView:
    """Version, active configuration, stages, what waits, how many runs stand where, workers, isolation, disk."""
    return await status_of(app)


async def status_of(app: Services) -> StatusView:
    """Collect the status."""
    now = await present(app)
    stages = now.stages()
    counts = await app.runs.counts()
    workers = await app.runs.live_workers()
    pending = view_of(await app.activations.get(now.pending.id)) if now.pending else None
    degraded = now.active is not None and any(stage.is_degraded for stage in stages)
    is_stuck = now.active is not None and any(map(_is_stuck, stages))
    stops = list(_stops(app, now, workers, await _way_back(app) if is_stuck else ()))
    return StatusView(
        version=__version__,
        pipeline=app.registry.pipeline.name,
        now=time_of(app.clock()),
        active=summary_of(now.active) if now.active else None,
        generation=now.generation,
        degraded=degraded,
        stages=[
            StageStatus(
                stage_id=stage.stage_id,
                required=description.required,
                selected=stage.selected,
                serves=str(stage.serves),
                module_id=stage.module_id,
                message=stage.message,
                why=why_of_lack(stage.lack),
            )
            for stage, description in zip(stages, app.registry.pipeline.stages, strict=True)
        ],
        pending_activation=pending,
        runs=dict(counts.by_status),
        parked=dict(counts.parked_by_code),
        workers=[_worker(each) for each in workers],
        isolation=_isolation(app.isolation),
        disk_free_bytes=app.artifacts.free_bytes(),
        warnings=[*await _warnings(app, now, workers), *(why.summary for why in stops)],
        stops=[found for why in stops if (found := WhyView.of(why.as_json()))],
    )


async def _warnings(app: Services, now: Present, workers: Sequence[WorkerRow]) -> list[str]:
    """What needs attention although work goes on."""
    told = (f"{found.message} {found.hint or ''}".rstrip() for found in await app.configurations.shortcomings())
    return [*_covered(now), *told, *_behind(now, workers), *_left(app)]


def _isolation(report: IsolationReport) -> IsolationView:
    measures = [MeasureView(name=each.name, is_available=each.is_available, why=each.why) for each in report.measures]
    return IsolationView(level=report.level, measures=measures)


def _worker(row: WorkerRow) -> WorkerView:
    level = str(row.isolation.get("level", ""))
    return WorkerView(
        id=row.id, host=row.host, queues=list(row.queues), generation=row.generation_loaded, isolation=level
    )


def _behind(now: Present, workers: Sequence[WorkerRow]) -> Iterator[str]:
    """Workers that have not made the active version ready although others have."""
    ready = [worker for worker in workers if worker.generation_loaded == now.generation]
    for worker in workers if ready and now.pending is None else ():
        if worker not in ready:
            yield f"Worker {worker.id} on {worker.host} has not made the active version ready and takes no runs."


def _left(app: Services) -> Iterator[str]:
    """Files of watched folders that cannot be taken, and links and pipes there."""
    for folder in app.folders:
        yield from folder.left()


def _unserved(app: Services, now: Present, workers: Sequence[WorkerRow]) -> Iterator[Why]:
    """Work queues of selected modules that no live worker serves."""
    stages = app.registry.pipeline.stages if now.active is not None else ()
    selections = [(stage, now.active.content.selection(stage.id)) for stage in stages if now.active is not None]
    limits = [{**stage.limits, **selection.limits} for stage, selection in selections if selection is not None]
    wanted = {DEFAULT_QUEUE, *(str(each["queue"]) for each in limits)}
    for queue in sorted(wanted):
        if not any(not worker.queues or queue in worker.queues for worker in workers):
            start = f"`switchgear worker --queues {queue}`"
            yield Why(Code.WAITING_WORKER, f"No live worker serves the queue {queue}: runs wait there. Start {start}.")


def _covered(now: Present) -> Iterator[str]:
    """What is missing although work goes on."""
    if now.active is not None:
        yield from (stage.message for stage in now.stages() if stage.is_degraded and not _is_stuck(stage))


def _is_stuck(stage: StageAvailability) -> bool:
    return stage.serves is Serves.NOBODY and stage.then is not Terminal.SKIP


async def _way_back(app: Services) -> Sequence[NextAction]:
    """The rollback for stages that nobody serves; nothing without an earlier version. DESIGN 4"""
    try:
        earlier = await app.configurations.get("previous")
    except NotFound:
        return ()
    path = "/api/v1/configurations/previous/rollback"
    return (NextAction(f"Go back to {earlier.label}", cli="switchgear config rollback", method="POST", path=path),)


def _stops(app: Services, now: Present, workers: Sequence[WorkerRow], way_back: Sequence[NextAction]) -> Iterator[Why]:
    """What keeps documents from being taken or finished."""
    if now.active is None:
        summary = "No configuration is active; documents are stored and wait. Create one and activate it."
        yield Why(Code.WAITING_CONFIGURATION, summary)
    else:
        for stage in filter(_is_stuck, now.stages()):
            code = stage.lack.code if stage.lack is not None else Code.SELECTION_MISSING_STAGE
            actions = (*repair(stage.lack.fix if stage.lack is not None else None), *way_back)
            yield Why(code, stage.message, {"stage_id": stage.stage_id}, next_actions=actions)
    if not workers:
        yield Why(Code.WAITING_WORKER, "No worker is alive: accepted documents wait. Start `switchgear serve`.")
    else:
        yield from _unserved(app, now, workers)
    yield from (folder.trouble for folder in app.folders if folder.trouble is not None)
    if app.intake.is_paused:
        summary = f"Less than MIN_FREE_BYTES is free on the disk ({Code.SYSTEM_DISK_LOW}): documents are refused."
        yield Why(Code.SYSTEM_DISK_LOW, summary)
