"""Every router of the API, in the order of the documentation. T003"""

from typing import Final

from fastapi import APIRouter

from switchgear.interface.api.routes import (
    activations,
    audit,
    configurations,
    documents,
    events,
    modules,
    results,
    runs,
    stages,
    status,
    system,
    tokens,
    worker,
)

#: Routers below the base path.
ROUTERS: Final[tuple[APIRouter, ...]] = (
    modules.router,
    stages.router,
    configurations.router,
    activations.router,
    documents.router,
    results.router,
    runs.router,
    audit.router,
    events.router,
    tokens.router,
    status.router,
)
#: Routers outside it.
OUTSIDE: Final[tuple[APIRouter, ...]] = (system.health, system.router)
#: All that a process answers which serves no API.
OF_WORKERS: Final[tuple[APIRouter, ...]] = (system.health, worker.router)
