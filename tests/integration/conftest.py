"""What several files of integration tests start from.

Queue backends: a test that takes `make_queue` runs with each one, on each database that it supports. Its module says
so: there, `dialect` is the backend's.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal

import pytest
import structlog

from factories import plugin
from factories.backends import BACKENDS, Backend, MakeQueue
from factories.backups import House
from factories.command_line import CommandsInProcess, quiet_logging
from factories.core import Clock, Core, running_core
from factories.enclosure import Bench, install_reaching, listening_sockets, running_bench
from factories.isolation import Level, highest_level, needs_level
from factories.module_processes import Desk, install_showing, running_desk
from factories.orchestration import Plant
from factories.runs import Office, Room
from factories.works import Plugged, Works, plugged_in, running_works
from switchgear.core.database import Database
from switchgear.core.logging import renew
from switchgear.core.unit_of_work import Units
from switchgear.interface.cli.app import run


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
async def room(database: Database) -> Room:
    """A database in which runs can be made, with version 1 active."""
    return await Room(database).prepare()


@pytest.fixture
async def plant(room: Room, tmp_path: Path) -> Plant:
    """Everything that carries runs, with version 1 active."""
    return await Plant(room, tmp_path / "artifacts").start()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tiny plug-in and modules that show what they see, on the search path of this process."""
    folder = install_showing(tmp_path_factory.mktemp("pool"))
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture
def level(request: pytest.FixtureRequest) -> Level:
    """The highest level of this machine; a test may demand another one."""
    wanted: Level | Literal["highest"] = getattr(request, "param", "highest")
    if wanted == "highest":
        return highest_level()
    needs_level(wanted)
    return wanted


@pytest.fixture
async def desk(site: Path, tmp_path: Path, level: Level) -> AsyncIterator[Desk]:
    """Pools of real module processes at this level."""
    async with running_desk(tmp_path, level) as desk:
        yield desk


@pytest.fixture(scope="module")
def reaching_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The module that reaches for what it is told to, on the search path of this process."""
    folder = install_reaching(tmp_path_factory.mktemp("enclosed"))
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture
async def bench(reaching_site: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    """An instance whose home lies where modules may read."""
    async with running_bench(reaching_site, tmp_path / "outside") as bench:
        yield bench


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Sockets that somebody listens on, by deed."""
    with listening_sockets(str(tmp_path / "s")) as sockets:
        yield sockets


@pytest.fixture
def switchgear(
    tmp_path: Path,
    shared_folder: Path,
    installed_plugin: Path,
    sqlite_template: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[CommandsInProcess]:
    """Commands in a new instance with the tiny pipeline."""
    for name in [name for name in os.environ if name.startswith("SWITCHGEAR_")]:
        monkeypatch.delenv(name)
    site = str(installed_plugin)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([site, *filter(None, sys.path)]))
    monkeypatch.setenv("SWITCHGEAR_MIN_FREE_BYTES", "1000000")
    monkeypatch.chdir(tmp_path)
    before = structlog.get_config()
    for place in ("switchgear.core.logging", "switchgear.interface.cli.folder_watch"):
        monkeypatch.setattr(f"{place}.configure_logging", quiet_logging)
    assert run(["init", "instance", "--pipeline", "tiny"]) == 0
    monkeypatch.chdir(instance := tmp_path / "instance")
    (home := instance / "switchgear-data").mkdir(mode=0o700)
    shutil.copy(sqlite_template, home / "switchgear.db")
    with plugin.known_modules(home / "cache", shared_folder / "descriptions-of-instances"):
        yield CommandsInProcess(instance, capsys)
    structlog.configure(**before)
    renew()


@pytest.fixture
async def house(database: Database, database_url: str, tmp_path: Path) -> House:
    """An instance that is worth saving."""
    return await House(database, database_url, tmp_path).furnish()


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
