"""Metrics of a process that carries runs and serves no API. INTERFACES 2, 6."""

from __future__ import annotations

from fastapi.responses import PlainTextResponse, Response

from switchgear.interface.api.dependencies import App, Reader
from switchgear.interface.api.gauges import METRICS_TYPE, rendered_worker_metrics
from switchgear.interface.api.routing import guarded_router

router = guarded_router("worker", below="")


@router.get("/metrics", response_class=PlainTextResponse)
async def worker_metrics(app: App, by: Reader) -> Response:
    """What this process did, for Prometheus."""
    return Response(await rendered_worker_metrics(app), media_type=METRICS_TYPE)
