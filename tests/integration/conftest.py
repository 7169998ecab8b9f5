"""What several files of integration tests start from.

Queue backends: a test that takes `make_queue` runs with each one, on each database that it supports. Its module says
so: there, `dialect` is the backend's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from factories.backends import BACKENDS, Backend
from factories.core import Clock, Core, running_core
from factories.runs import Office
from factories.works import Plugged, Works, plugged_in, running_works
from switchgear.core.database import Database
from switchgear.core.unit_of_work import Units
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


@pytest.fixture
async def office(database: Database, units: Units, tmp_path: Path) -> Office:
    """Runs that stand where a person has to act."""
    return await Office(database, units, tmp_path).prepare()


@pytest.fixture
def clock() -> Clock:
    """The time of `core` and of its database."""
    return Clock()


@pytest.fixture
async def core(database_url: str, clock: Clock) -> AsyncIterator[Core]:
    """The core services over plain data, with version 1 active."""
    async with running_core(database_url, clock) as core:
        yield core


@pytest.fixture(scope="module")
def plugged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plugged]:
    """The tiny plug-in with every module, for all tests of one file."""
    with plugged_in(tmp_path_factory.mktemp("plugged")) as plugged:
        yield plugged


@pytest.fixture
async def works(database: Database, plugged: Plugged, tmp_path: Path) -> AsyncIterator[Works]:
    """What carries runs, with real module processes."""
    async with running_works(database, plugged, tmp_path) as works:
        yield works
