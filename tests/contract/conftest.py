"""Instances for the tests of the REST API."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest

from factories.instance import Instance, running, settings_for
from factories.plugin import known_modules
from switchgear.core.settings import Settings


@pytest.fixture(scope="session")
def tiny_site(installed_plugin: Path) -> Iterator[Path]:
    """The tiny plug-in, found by this process and by its children."""
    sys.path.insert(0, str(installed_plugin))
    yield installed_plugin
    sys.path.remove(str(installed_plugin))


@pytest.fixture(scope="session")
def environment(tiny_site: Path) -> Mapping[str, str]:
    """What an instance sees: enough to find the plug-in."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(tiny_site), *filter(None, sys.path)])}


@pytest.fixture
def dialect(request: pytest.FixtureRequest) -> str:
    """SQLite; tests of what the databases do differently say that they run on both."""
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture
def home(tmp_path: Path, shared_folder: Path, sqlite_template: Path) -> Iterator[Path]:
    """The home of an instance that knows its modules already."""
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(sqlite_template, folder / "switchgear.db")
    with known_modules(folder / "cache", shared_folder / "descriptions-of-instances"):
        yield folder


@pytest.fixture
def settings(home: Path, dialect: str, request: pytest.FixtureRequest) -> Settings:
    """Settings of an instance on the test's database."""
    if dialect == "sqlite":
        return settings_for(home)
    return settings_for(home, database_url=request.getfixturevalue("postgres_url"))


@pytest.fixture
async def instance(settings: Settings, environment: Mapping[str, str]) -> AsyncIterator[Instance]:
    """An instance that carries no runs."""
    async with running(settings, environment, with_worker=False) as made:
        yield made


@pytest.fixture
async def working(settings: Settings, environment: Mapping[str, str]) -> AsyncIterator[Instance]:
    """An instance that carries runs."""
    async with running(settings, environment, with_worker=True) as made:
        yield made


@pytest.fixture(scope="module")
async def shared(
    tmp_path_factory: pytest.TempPathFactory, environment: Mapping[str, str], sqlite_template: Path
) -> AsyncIterator[Instance]:
    """An instance for tests of one file that change nothing, or nothing that another one sees."""
    home = tmp_path_factory.mktemp("shared")
    shutil.copy(sqlite_template, home / "switchgear.db")
    async with running(settings_for(home), environment, with_worker=False) as made:
        yield made
