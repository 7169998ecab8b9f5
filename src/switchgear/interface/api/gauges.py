"""Metrics that show a present state: looked up when somebody reads them, so that they are never old. INTERFACES 6."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from switchgear.core import admission
from switchgear.domain.errors import DatabaseUnreachable
from switchgear.interface.api.hot_reads import present
from switchgear.interface.api.services import Services

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


async def rendered_metrics(app: Services) -> bytes:
    """Refresh what shows a state, and return the text for Prometheus; without the database the rest is still given."""
    with suppress(DatabaseUnreachable):  # readiness says so; counters of this process are still worth reading
        await _refresh(app)
    return await _rendered(app)


async def rendered_worker_metrics(app: Services) -> bytes:
    """Return what this process did and has loaded; what is the same for all is counted by servers, not by each worker.

    Without the database the rest is still given.
    """
    with suppress(DatabaseUnreachable):
        state = await admission.read(app.database.narrow, app.settings.pipeline)
        app.metrics.set_generation(desired=state.generation)
    app.metrics.set_available(())  # a server tells it as all workers together have it
    return await _rendered(app)


async def _rendered(app: Services) -> bytes:
    app.metrics.set_disk_free(await asyncio.to_thread(app.artifacts.free_bytes))
    return await asyncio.to_thread(app.metrics.render)


async def _refresh(app: Services) -> None:
    counts = await app.runs.counts()
    app.metrics.set_runs(counts.by_status, counts.parked_by_code)
    app.metrics.set_queue_ages(counts.oldest_queued_s)
    now = await present(app)
    modules = now.snapshot.modules
    app.metrics.set_available((each.stage_id, each.id, each.is_usable) for each in modules.values())
    app.metrics.set_generation(desired=now.generation)
    if now.active is not None:
        app.metrics.set_configuration(now.active.version, now.active.digest)
        app.metrics.set_selections(
            (item.stage_id, item.module_id, modules[item.module_id].version if item.module_id in modules else "")
            for item in now.active.content.selections
        )
