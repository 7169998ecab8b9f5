"""The race of DESIGN 4: claim, finish and activate in every order of their commits, with each backend (I5, I7)."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import pytest

from factories.backends import Backend
from factories.core import DEFAULTS, OPERATOR, Core, content, running_core
from switchgear.core import admission
from switchgear.core.database.statements import Result, Row, Statement, Statements
from switchgear.core.unit_of_work import UnitOfWork, Units
from switchgear.domain.activation import State
from switchgear.domain.run import RunStatus
from switchgear.ingestion.run_queue import RunQueue
from switchgear.ingestion.run_repository import ClaimedRun, RunRepository

pytestmark = [pytest.mark.anyio, pytest.mark.exhaustive]

MakeQueue = Callable[..., RunQueue]

_actor: ContextVar[str | None] = ContextVar("actor", default=None)


@dataclass
class Turns:
    """Lets one actor run at a time, from one commit to the next, in the order that a test gives."""

    granted: dict[str, asyncio.Event] = field(default_factory=dict)
    stopped: dict[str, asyncio.Event] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    covered: bool = False  #: whether the given order said who comes next as long as there was a choice

    async def pause(self) -> None:
        """Stop here until it is this actor's turn; whoever is no actor, or was left behind by one, goes on."""
        name = _actor.get()
        if name is None or name in self.ended:
            return
        self.stopped[name].set()
        await self.granted[name].wait()
        self.granted[name].clear()

    async def run(
        self,
        actors: Mapping[str, Callable[[], Awaitable[None]]],
        order: Sequence[str],
        after_each: Callable[[], Awaitable[None]],
    ) -> None:
        """Run the actors; *after_each* looks at the database whenever everybody stands still."""
        self.granted = {name: asyncio.Event() for name in actors}
        self.stopped = {name: asyncio.Event() for name in actors}
        self.ended = set()

        async def act(name: str) -> None:
            _actor.set(name)
            await self.pause()
            try:
                await actors[name]()
            finally:
                self.ended.add(name)
                self.granted[name].set()  # warming that this actor began goes on without it

        tasks = {name: asyncio.create_task(act(name)) for name in actors}
        await asyncio.gather(*(stopped.wait() for stopped in self.stopped.values()))
        self.covered = False
        rest = itertools.cycle(actors)
        for number, name in enumerate(itertools.chain(order, rest)):
            left = sum(not task.done() for task in tasks.values())
            if number == len(order):
                self.covered = left <= 1
            if not left:
                self.covered |= number <= len(order)
                break
            if tasks[name].done():
                continue
            self.stopped[name].clear()
            self.granted[name].set()
            stop = asyncio.create_task(self.stopped[name].wait())
            await asyncio.wait({stop, tasks[name]}, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            await after_each()
        for task in tasks.values():
            task.result()


class PausingUnits(Units):
    """Pauses after each commit."""

    turns: Turns

    @asynccontextmanager
    async def __call__(self, *, write: bool = True) -> AsyncIterator[UnitOfWork]:
        async with super().__call__(write=write) as unit:
            commit = unit.commit
            committed = False

            async def note() -> None:
                nonlocal committed
                await commit()
                committed = True

            unit.commit = note  # type: ignore[method-assign]
            yield unit
        if committed:  # not before the connection is given back: who stands still must keep nobody from writing
            await self.turns.pause()


class PausingStatements:
    """Pauses after each group that writes."""

    def __init__(self, narrow: Statements, turns: Turns) -> None:
        self._narrow = narrow
        self._turns = turns
        self.dialect = narrow.dialect
        self.boot_id = narrow.boot_id

    async def run(self, *statements: Statement) -> list[Result]:
        results = await self._narrow.run(*statements)
        await self._turns.pause()
        return results

    async def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        return await self._narrow.query(sql, parameters)

    async def scan(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        return await self._narrow.scan(sql, parameters)


class Bench:
    """A process whose every commit is a pause, and runs that it carries."""

    def __init__(self, core: Core, make_queue: MakeQueue) -> None:
        self.core = core
        self.turns = Turns()
        units = PausingUnits(core.database, core.clock)
        units.turns = self.turns
        self.quiet = RunRepository(core.database.narrow, "threes", result_stage="extract")
        self.runs = RunRepository(PausingStatements(core.database.narrow, self.turns), "threes", result_stage="extract")
        self.queue = make_queue(self.runs)
        self.process = Core(core.database, core.clock, running=self.quiet, registry=core.registry)
        self.process.queue._units = self.process.queue._warming._units = units
        self.process.service._units = units
        self.claimed: list[ClaimedRun] = []
        self.seen: tuple[str, int] = ("", 0)

    async def submit(self, text: str) -> None:
        await self.quiet.accept(
            sha256=hashlib.sha256(text.encode()).hexdigest(),
            size_bytes=1,
            name=f"{text}.txt",
            media_type="text/plain",
            actor="tok_1",
        )

    async def activate(self, ref: str) -> None:
        await self.process.service.activate(ref, by=OPERATOR, request=DEFAULTS)
        await self.process.queue.advance()
        await self.process.queue.idle()

    async def work(self, name: str) -> None:
        """Claim a run, end it, look whether somebody waits: what a worker does."""
        claim = await self.queue.claim(name)
        if claim is None:
            return
        self.claimed.append(claim)
        await self.runs.end(claim, status=RunStatus.SUCCEEDED)
        await self.process.queue.advance()

    async def work_on(self, name: str) -> None:
        """The same for as long as there are runs: the next claim, and the look, go along with the end of a run."""
        claim = await self.queue.claim(name)
        while claim is not None:
            self.claimed.append(claim)
            ride = self.queue.ride(name)
            assert ride is not None
            claim.ride = lambda ride=ride: ride
            await self.runs.end(claim, status=RunStatus.SUCCEEDED)
            if ride.is_activation_pending:
                me = _actor.set(None)  # warming that it begins would stand at this actor's pauses
                await self.process.queue.advance()
                _actor.reset(me)
            claim = ride.claim

    async def look(self) -> None:
        """What must hold at every committed moment."""
        narrow = self.core.database.narrow
        active = await narrow.query("SELECT id FROM module_configurations WHERE status = 'active'")
        assert len(active) == 1
        row = await admission.read(narrow, "threes")
        assert row.active_configuration_id == active[0][0]
        running = {item[0] for item in await narrow.query("SELECT configuration_id FROM runs WHERE status = 'running'")}
        assert running <= {active[0][0]}, "a drain switched while a run held the version before"
        [[state]] = await narrow.query("SELECT state FROM activations ORDER BY id DESC LIMIT 1")
        [[claims]] = await narrow.query("SELECT count(*) FROM runs WHERE fencing_token > 0")
        if state == self.seen[0] == State.DRAINING:
            assert claims == self.seen[1], "a run was claimed for the first time during a drain"
        self.seen = (state, claims)


@pytest.fixture
def dialect(backend: Backend) -> str:
    return backend.dialect


@pytest.fixture
async def bench(make_queue: MakeQueue, database_url: str) -> AsyncIterator[Bench]:
    async with running_core(database_url) as core:
        yield Bench(core, make_queue)


def orders(**steps: int) -> Iterator[tuple[str, ...]]:
    """Every way in which the steps of several actors can follow each other."""
    if not any(steps.values()):
        yield ()
        return
    for name, left in steps.items():
        if left:
            for rest in orders(**{**steps, name: left - 1}):
                yield (name, *rest)


#: queued, warming, acknowledged, draining, applied: each of them commits.
ACTIVATOR_COMMITS = 6
ORDERS = list(orders(activator=ACTIVATOR_COMMITS, worker=3))


def test_all_orders_are_there() -> None:
    assert len(ORDERS) == len(set(ORDERS)) == 84


async def _one_order(bench: Bench, number: int, order: Sequence[str], workers: Sequence[str]) -> None:
    made = await bench.core.make(content(read=("read-a", {"depth": number + 1})))
    before = await bench.core.service.active()
    bench.claimed.clear()
    for name in workers:
        await bench.submit(f"{name} {number}")
    actors: dict[str, Callable[[], Awaitable[None]]] = {"activator": lambda: bench.activate(made.id)}
    actors |= {name: (lambda name=name: bench.work(name)) for name in workers}  # type: ignore[misc]

    await bench.turns.run(actors, order, bench.look)

    # Nobody called again after the last commit, and yet it is applied.
    [activation] = (await bench.core.queue.list(1)).items
    assert activation.state is State.APPLIED, order
    assert (await bench.core.service.active()).id == made.id
    for claim in bench.claimed:
        assert claim.configuration_id in (before.id, made.id)
        [(held,)] = await bench.core.database.narrow.query(
            "SELECT configuration_id FROM runs WHERE id = :id", {"id": claim.run_id}
        )
        assert held == claim.configuration_id
    while (late := await bench.quiet.claim("late", 60)) is not None:
        assert late.configuration_id == made.id  # it waited for the switch
        await bench.quiet.end(late, status=RunStatus.SUCCEEDED)


async def test_claim_finish_and_activate_in_every_order(bench: Bench) -> None:
    for number, order in enumerate(ORDERS):
        await _one_order(bench, number, order, ["worker"])
        assert bench.turns.covered, "somebody commits more often than the orders say: there are more of them"
    async with bench.core.units(write=False) as unit:
        assert (await unit.audit.verify()).ok


async def test_claims_that_ride_and_an_activation_in_every_order(bench: Bench) -> None:
    assert bench.queue.ride("worker") is not None
    bench.work = bench.work_on  # type: ignore[method-assign]
    for number, order in enumerate(ORDERS):
        await bench.submit(f"another {number}")
        await _one_order(bench, number, order, ["worker"])
        assert bench.turns.covered, "somebody commits more often than the orders say: there are more of them"
        assert len(bench.claimed) in (0, 1, 2)


async def test_two_workers_and_an_activation_in_every_order_of_the_first_commits(bench: Bench) -> None:
    """The activator up to its drain, against both workers' claims."""
    for number, order in enumerate(orders(activator=4, worker=1, other=1)):
        await _one_order(bench, number, order, ["worker", "other"])


async def test_the_wrapper_really_interleaves(bench: Bench) -> None:
    """Without it the tests above would prove nothing: a claim between queued and draining must be waited for."""
    made = await bench.core.make(content(read="read-b"))
    await bench.submit("one")
    seen: list[tuple[str, int]] = []

    async def look() -> None:
        [activation] = (await bench.core.queue.list(1)).items
        seen.append((str(activation.state), await bench.quiet.count_running(bench.core.database.narrow)))

    order = ["activator", "worker", "activator", "activator", "activator", "activator", "worker"]
    await bench.turns.run(
        {"activator": lambda: bench.activate(made.id), "worker": lambda: bench.work("worker")}, order, look
    )
    assert ("queued", 1) in seen
    assert ("draining", 1) in seen
    assert seen[-1] == ("applied", 0)
