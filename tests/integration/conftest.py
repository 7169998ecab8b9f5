"""Queue backends: a test that takes `make_queue` runs with each one, on each database that it supports.

Its module says so: there, `dialect` is the backend's.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from factories.backends import BACKENDS, Backend
from switchgear.ingestion.run_queue import RunQueue

MakeQueue = Callable[..., RunQueue]


@pytest.fixture(params=BACKENDS, ids=lambda backend: f"{backend.name}-{backend.dialect}")
def backend(request: pytest.FixtureRequest) -> Backend:
    backend: Backend = request.param
    return backend


@pytest.fixture
def make_queue(backend: Backend, database_url: str) -> MakeQueue:
    """Makes queues as another process each: `make_queue(repository, "ocr")`."""
    backend.prepare(database_url)
    return lambda repository, *queues: backend.queue(repository, database_url, *queues)
