"""Every call of the database fails once, in every way, over the life of an activation and of a run. RELIABILITY 5, 34.

So does every call of the store of files, over the life of a run whose outputs are files.

The processes are applications in this one, one after the other on the same database; their modules are inline. After
each fault another process recovers, and the invariants must hold.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

from factories import plugin
from factories.faults import Deed, Faults, FileFaults
from factories.instance import settings_for
from factories.invariants import breaches
from switchgear import bootstrap
from switchgear.core import job_schema
from switchgear.core.configuration_service.errors import ActivationPending, AlreadyActive
from switchgear.core.database import Database, Statement
from switchgear.core.unit_of_work import Units
from switchgear.domain.access import SYSTEM
from switchgear.domain.activation import ActivationRequest
from switchgear.domain.configuration import Content, Selection
from switchgear.domain.errors import DatabaseUnreachable
from switchgear.domain.run import RunStatus

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.exhaustive,
    pytest.mark.timeout(300),
    # Whoever is killed closes nothing.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]

T = TypeVar("T")
#: The clock may be the database's, so the lost process has said its last a while ago: its leases and its heartbeat
#: have run out, as has the pause of a run that it broke on; an activation may still warm.
_LATER = (
    Statement("UPDATE runs SET lease_expires_at = lease_us() - 1 WHERE status = 'running'"),
    Statement("UPDATE runs SET available_at = available_at - 25000000 WHERE status = 'queued'"),
    Statement("UPDATE workers SET heartbeat_at = heartbeat_at - 25000000"),
)
_TRIES = 3
#: Two runs are taken by themselves, and two with the commit that ends the one before; then an idle worker looks.
_JOBS = 4
_MOST_ADVANCES = 10


@pytest.fixture(scope="module")
def environment(installed_plugin: Path) -> Iterator[Mapping[str, str]]:
    site = str(installed_plugin)
    sys.path.insert(0, site)
    yield {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([site, *filter(None, sys.path)])}
    sys.path.remove(site)


@dataclass
class Room:
    """One database on which processes follow each other, and what they have accepted.

    Attributes:
        documents: Ids of runs whose documents were accepted.
        activations: Ids of activations that were accepted.
        eye: Looks at the database from outside.
    """

    home: Path
    url: str
    environment: Mapping[str, str]
    eye: Database
    backend: str = "builtin"
    documents: list[str] = field(default_factory=list)
    activations: list[str] = field(default_factory=list)
    sent: int = 0

    @property
    def folder(self) -> Path:
        """Where deliveries go."""
        return self.home / "delivered"

    def build(self, faults: Faults) -> bootstrap.Application:
        """A process that is not started."""
        settings = settings_for(
            self.home, database_url=self.url, shutdown_grace_s=0.2, workers=1, queue_backend=self.backend
        )
        application = bootstrap.build(settings, environment=self.environment, wrap=faults.wrap)
        faults.wrap_store(application.artifacts)
        return application

    @asynccontextmanager
    async def process(self, faults: Faults) -> AsyncIterator[bootstrap.Application]:
        """A process without tasks in the background; the test says what it does."""
        application = self.build(faults)
        await application.artifacts.start()
        await application.pools.start()
        await application.database.start()
        try:
            yield application
        finally:
            await application.activations.stop()
            await application.pools.close()
            await application.database.close()

    def content(self, number: int) -> Content:
        """Another content for each number."""
        inline = {stage: f"{stage}-inline" for stage in ("load", "upper", "count", "check")}
        send = Selection("send", "send-inline", {"folder": str(self.folder)}, {"timeout_s": 5.0 + number / 10})
        return Content((*(Selection(stage, module) for stage, module in inline.items()), send))

    # --- what happens in a life ---

    async def send(self, application: bootstrap.Application, text: str) -> None:
        """Send a document that was never there, again when it was not accepted, as a sender does."""
        self.sent += 1
        content = f"{text}, {self.sent}".encode()

        async def stream() -> AsyncIterator[bytes]:
            yield content

        accepted = await again(
            lambda: application.intake.accept(stream(), file_name="a.txt", media_type="text/plain", by=SYSTEM)
        )
        self.documents.append(accepted.run.id)

    async def work(self, application: bootstrap.Application) -> None:
        """Let the process carry runs until none can be claimed."""
        stop = asyncio.Event()
        working = asyncio.create_task(application.worker.run_forever(stop))
        seen_idle = 0
        while seen_idle < 3 and not working.done():
            await asyncio.sleep(0.01)
            claimable = "SELECT 1 FROM runs WHERE status = 'queued' AND available_at <= now_us() LIMIT 1"
            is_busy = application.worker.held or await self.eye.narrow.query(claimable)
            seen_idle = 0 if is_busy else seen_idle + 1
        stop.set()
        await working

    async def activate(self, application: bootstrap.Application, number: int) -> None:
        """Make a version and ask for it."""
        service = application.configurations
        created = await again(lambda: service.create(self.content(number), by=SYSTEM))
        request = ActivationRequest(accept_base_moved=True)
        with suppress(ActivationPending, AlreadyActive):  # it was accepted the first time, but nobody heard it
            asked = await again(lambda: service.activate(created.configuration.id, by=SYSTEM, request=request))
            self.activations.append(asked.id)

    async def advance(self, application: bootstrap.Application) -> None:
        """Do for the pending activation what can be done."""
        for _ in range(_MOST_ADVANCES):
            with suppress(DatabaseUnreachable):  # the next tick tries again
                if await application.activations.advance() is None:
                    return
            await application.activations.idle()

    # --- a fault and what follows ---

    async def suffer(self, life: Life, number: int, faults: Faults) -> None:
        """Live through *life* with a fault in it; it may end early when the process is killed."""
        async with self.process(faults) as application:
            of_others = asyncio.all_tasks()
            faults.armed = True
            living = asyncio.create_task(life(self, application, number))
            killed = asyncio.create_task(faults.ended.wait())
            await asyncio.wait({living, killed}, return_when=asyncio.FIRST_COMPLETED)
            while left := asyncio.all_tasks() - of_others:
                for task in left:
                    task.cancel()
                await asyncio.wait(left, timeout=0.01)
            faults.armed = False
            faults.ended.clear()
            if not living.cancelled():
                living.result()

    async def recover(self) -> None:
        """Another process finds what is left, after the leases of the first have run out."""
        async with self.process(Faults()) as application:
            await application.database.narrow.run(*_LATER)
            await application.sweeper.take_from_lost_workers()
            await self.advance(application)
            await self.work(application)
            await self.advance(application)
            await self.check(application)

    async def check(self, application: bootstrap.Application) -> None:
        """All that was accepted has come to its end, and nothing is doubled."""
        assert breaches(self.url, settled=True, deliveries=self.folder) == []
        assert all([(await application.repository.get(run)).status is RunStatus.SUCCEEDED for run in self.documents])
        states = {(await application.activations.get(each)).activation.state for each in self.activations}
        assert states <= {"applied"}
        named = "SELECT artifact_sha256 FROM stage_outputs WHERE artifact_sha256 IS NOT NULL"
        assert all([await application.artifacts.verify(row[0]) for row in await self.eye.narrow.query(named)])
        self.documents.clear()
        self.activations.clear()


Life = Callable[[Room, bootstrap.Application, int], Coroutine[None, None, None]]


async def again(call: Callable[[], Awaitable[T]]) -> T:
    """Ask again while the database does not answer, or a file cannot be written."""
    for _ in range(_TRIES - 1):
        with suppress(DatabaseUnreachable, OSError):
            return await call()
    return await call()


@pytest.fixture
async def room(
    tmp_path: Path,
    shared_folder: Path,
    database_url: str,
    environment: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Room]:
    """A database with a first version whose modules are inline."""
    eye = Database(database_url)
    await eye.start()
    made = Room(tmp_path / "home", database_url, environment, eye)
    first = made.build(Faults())
    first.with_worker = False
    made.folder.mkdir(parents=True)
    with plugin.known_modules(made.home / "cache", shared_folder / "descriptions-of-instances"):
        await first.start()
    monkeypatch.setattr(bootstrap, "ModuleRegistry", lambda **_: first.registry)  # each would look for itself
    monkeypatch.setattr(importlib.metadata, "entry_points", cache(importlib.metadata.entry_points))
    await made.activate(first, 0)
    await made.advance(first)
    await made.check(first)
    yield made
    await first.stop()
    await eye.close()


async def a_run(room: Room, application: bootstrap.Application, number: int) -> None:
    """A document comes, is carried through five stages, and is delivered."""
    await room.send(application, f"document {number}")
    await room.work(application)


async def a_drain(room: Room, application: bootstrap.Application, number: int) -> None:
    """A version is made and asked for while a run is at work; it waits for the run, then it is active."""
    await room.send(application, f"before {number}")
    claim = await again(lambda: application.queue.claim(application.worker_id))
    await room.activate(application, number)
    await room.send(application, f"after {number}")
    await room.advance(application)
    if claim is not None:
        await application.orchestrator.execute(claim)
    await room.advance(application)
    await room.work(application)


async def a_large_run(room: Room, application: bootstrap.Application, number: int) -> None:
    """As `a_run`; what the stages give is too large for rows and becomes files."""
    await room.send(application, f"document {number} " * 10_000)
    await room.work(application)


@pytest.mark.parametrize("deed", Deed, ids=[deed.name.lower() for deed in Deed])
async def test_whichever_call_about_a_file_fails_nothing_is_lost_doubled_or_mixed(room: Room, deed: Deed) -> None:
    assert await rounds(room, a_large_run, deed, kind=FileFaults) > 4, "the wrapper has seen too few calls"


@pytest.mark.parametrize("deed", Deed, ids=[deed.name.lower() for deed in Deed])
@pytest.mark.parametrize(("life", "calls"), [(a_run, 5), (a_drain, 20)], ids=["run", "activation"])
async def test_whichever_call_fails_nothing_is_lost_doubled_or_mixed(
    room: Room, deed: Deed, life: Life, calls: int
) -> None:
    assert await rounds(room, life, deed) > calls, "the wrapper has seen too few calls"


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_whichever_call_about_a_job_fails_procrastinate_loses_doubles_and_mixes_nothing(room: Room) -> None:
    """What else the backend does is the repository's, and fails above; once a night all of it fails here as well."""
    room.backend = "procrastinate"
    job_schema.install(room.url)
    is_nightly = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
    about, most = ("", sys.maxsize) if is_nightly else ("procrastinate_fetch_job", _JOBS)
    for life in (a_run, a_drain):
        for deed in Deed:
            assert await rounds(room, life, deed, about, most) > 2, "the wrapper has seen too few calls"


async def rounds(
    room: Room, life: Life, deed: Deed, about: str = "", most: int = sys.maxsize, kind: type[Faults] = Faults
) -> int:
    """Let each call fail once, and return how many there were.

    Args:
        room: Where.
        life: What is lived through, once for each call.
        deed: What happens at the call.
        about: Only calls with this word in a statement.
        most: At most so many.
        kind: What fails.
    """
    number, happened = 0, True
    while happened and number < most:
        number += 1
        faults = kind(number, deed, about)
        await room.suffer(life, number, faults)
        happened = faults.happened
        try:
            await room.recover()
        except Exception as error:
            error.add_note(f"the {number}. call of {life.__name__}: {deed}")
            raise
    async with Units(room.eye, time.time_ns)(write=False) as unit:
        assert (await unit.audit.verify()).ok  # a link that is broken once stays so
    return number
