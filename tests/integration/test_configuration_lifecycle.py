"""Any sequence of requests, failures and time keeps invariants 1, 5 and 6 of DESIGN 8; looked at after each step."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Coroutine, Iterator
from contextlib import closing, suppress
from typing import Any, ClassVar, TypeVar

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from factories.core import GONE, OPERATOR, Clock, Core, FakeRuns, content
from switchgear.core import admission
from switchgear.core.configuration_models import Base
from switchgear.core.configuration_repository import history
from switchgear.core.configuration_validation import Purpose, content_errors, validate
from switchgear.core.database import Database, sqlite
from switchgear.core.unit_of_work import Units
from switchgear.domain.activation import ActivationRequest, Mode, OnExpiry, State
from switchgear.domain.audit import AuditAction, Verifier
from switchgear.domain.configuration import Content
from switchgear.domain.errors import Code, DomainError, Why

T = TypeVar("T")

CONTENTS = st.builds(
    content,
    read=st.sampled_from(["read-a", "read-b", "read-x", ("read-a", {"depth": 2}), ("read-a", {"depth": 0})]),
    extract=st.sampled_from(["extract-a", "extract-c", "extract-b"]),
    then=st.sampled_from(["park", "fail", None]),
)
REQUESTS = st.builds(
    ActivationRequest,
    mode=st.sampled_from(Mode),
    max_wait_s=st.sampled_from([None, 1, 30]),
    on_expiry=st.sampled_from(OnExpiry),
    replace_pending=st.sampled_from([None, True]),
    accept_degraded=st.booleans(),
    accept_base_moved=st.sampled_from([True, False]),
    unblock=st.sampled_from([True, False]),
)
PREPARED = (
    content(read="read-b"),
    content(extract="extract-c"),
    content(read=("read-a", {"depth": 2}), extract="extract-c", chain=(), then="fail"),
)
REFERENCES = st.sampled_from(["v3", "v4", "previous", "v1", "v2", "v5", "v6", "active", "nowhere"])
TABLES = [table.name for table in Base.metadata.sorted_tables]
#: Many short lives find more than a few long ones; a step on PostgreSQL costs twice as much.
STEPS = {"sqlite": 10, "postgresql": 7}
MODULES = st.sampled_from(["read-a", "read-b", "extract-a", "extract-b", "extract-c"])


class Bench:
    """A database with version 2 active, one to go back to and others to activate, and a quick way back to that.

    Making one for each example takes too long; and without versions that fit, hardly any example comes to a switch.
    """

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.database = Database(url, clock=self.clock)
        self.runner = asyncio.Runner()
        self.runner.run(self._prepare())
        self._keep()

    async def _prepare(self) -> None:
        await self.database.start()
        core = Core(self.database, self.clock)
        await core.service.start()
        for made in PREPARED:
            await core.make(made)
        await core.switch_to("v2")

    def _keep(self) -> None:
        if self.database.dialect == "sqlite":
            self._sqlite_copy(self._file, self._kept)
            return
        with self._postgres() as connection:
            connection.execute("CREATE SCHEMA kept")
            for table in TABLES:
                connection.execute(f"CREATE TABLE kept.{table} AS SELECT * FROM {table}".encode())

    def reset(self) -> None:
        """Version 2 is active again, and nothing was ever activated after it."""
        self.clock.now_us = Clock().now_us
        if self.database.dialect == "sqlite":
            self._sqlite_copy(self._kept, self._file)
            return
        with self._postgres() as connection:
            connection.execute("SET session_replication_role = replica")  # no triggers, no foreign keys
            statements = [f"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept.{table}" for table in TABLES]
            connection.execute("; ".join(statements).encode())

    def close(self) -> None:
        self.runner.run(self.database.close())
        self.runner.close()

    @property
    def _file(self) -> str:
        return str(self.database.url.database)

    @property
    def _kept(self) -> str:
        return f"{self._file}.kept"

    @staticmethod
    def _sqlite_copy(source: str, target: str) -> None:
        with closing(sqlite3.connect(source)) as reader, closing(sqlite3.connect(target)) as writer:
            reader.backup(writer)

    def _postgres(self) -> psycopg.Connection:
        return psycopg.connect(self.database.url.set(drivername="postgresql").render_as_string(hide_password=False))


class ConfigurationLifecycle(RuleBasedStateMachine):
    """Two processes over one database, and whatever may happen to them."""

    bench: ClassVar[Bench]

    @initialize()
    def begin(self) -> None:
        self.bench.reset()
        self.clock = self.bench.clock
        self.core = Core(self.bench.database, self.clock)
        self.other = Core(
            self.bench.database, self.clock, worker_id="second", registry=self.core.registry, running=self.core.runs
        )
        self.seen_active = self.do(self.core.service.active()).id
        self.chain = Verifier()
        self.events = 0
        self.activated = ""

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.bench.runner.run(work)

    def teardown(self) -> None:
        if hasattr(self, "core"):
            for core in (self.core, self.other):
                self.do(core.queue.stop())
            self.do(self._check_everything())

    # --- what people ask ---

    @rule(made=CONTENTS, draft=st.booleans(), base=st.sampled_from([None, "active", "v1"]))
    def create(self, made: Content, draft: bool, base: str | None) -> None:
        with suppress(DomainError):
            self.do(self.core.service.create(made, by=OPERATOR, base=base, draft=draft))

    @rule(ref=REFERENCES)
    def validate(self, ref: str) -> None:
        with suppress(DomainError):
            self.do(self.core.service.validate_stored(ref, by=OPERATOR))

    @rule(ref=REFERENCES, request=REQUESTS, settle=st.booleans())
    def activate(self, ref: str, request: ActivationRequest, settle: bool) -> None:
        with suppress(DomainError):
            self.do(self.core.service.activate(ref, by=OPERATOR, request=request))
        if settle:
            self.advance(True)

    @rule(ref=REFERENCES, request=REQUESTS, settle=st.booleans())
    def roll_back(self, ref: str, request: ActivationRequest, settle: bool) -> None:
        with suppress(DomainError):
            self.do(self.other.service.rollback(ref, by=OPERATOR, request=request))
        if settle:
            self.advance(False)

    @rule(cancel=st.booleans())
    def end_waiting(self, cancel: bool) -> None:
        pending = self.do(self.core.queue.pending())
        if pending is not None:
            command = self.core.queue.cancel if cancel else self.other.queue.switch
            with suppress(DomainError):
                self.do(command(pending.id, OPERATOR))

    # --- what happens ---

    @rule(first=st.booleans())
    def advance(self, first: bool) -> None:
        self.do((self.core if first else self.other).settle())

    @rule()
    def advance_twice_at_once(self) -> None:
        async def both() -> None:
            await asyncio.gather(self.core.settle(), self.other.settle())

        self.do(both())

    @rule(seconds=st.sampled_from([0.5, 2, 31, 301]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(number=st.integers(0, 2))
    def runs_run(self, number: int) -> None:
        assert isinstance(self.core.runs, FakeRuns)
        self.core.runs.running = number

    @rule(name=MODULES, gone=st.booleans())
    def module_goes_or_comes(self, name: str, gone: bool) -> None:
        self.core.registry.change(name, lack=GONE if gone else None)

    @rule(name=MODULES, version=st.sampled_from(["1.0.0", "2.0.0"]), fits=st.booleans())
    def module_is_upgraded(self, name: str, version: str, fits: bool) -> None:
        contract = "x-read" if name.startswith("read") else "x-extract"
        major = 1 if fits else 2
        self.core.registry.change(
            name, version=version, code_digest=f"{name} {version} {fits}", contract=f"{contract}@{major}"
        )
        self.do(self.core.service.look_at_modules())

    @rule(number=st.integers(0, 20), breaks=st.booleans())
    def module_breaks_while_an_activation_waits(self, number: int, breaks: bool) -> None:
        """What is accepted may not be activated any more: I3."""
        self.runs_run(1)
        self.core.refusal = None
        versions = self.do(self.core.service.list(200)).items
        chosen = self.do(self.core.service.get(versions[number % len(versions)].id))
        request = ActivationRequest(replace_pending=True, accept_base_moved=True, unblock=True)
        with suppress(DomainError):
            self.do(self.core.service.activate(chosen.id, by=OPERATOR, request=request))
        self.advance(True)
        self.do(self._check())
        before = self.core.registry.modules
        name = chosen.content.selections[0].module_id
        if breaks and name in before:
            self.core.registry.change(name, contract="another@1")
        self.runs_run(0)
        self.advance(False)
        self.do(self._check())
        self.core.registry.modules = before

    @rule(refuses=st.booleans())
    def warming_refuses(self, refuses: bool) -> None:
        self.core.refusal = Why(Code.ACTIVATION_WORKER_REFUSED, "No.") if refuses else None

    # --- what must hold ---

    @invariant()
    def the_invariants_hold(self) -> None:
        if hasattr(self, "core"):
            self.do(self._check())

    async def _check(self) -> None:
        """Invariants 1, 5 and 6, with plain statements: this is looked at thousands of times."""
        narrow = self.bench.database.narrow
        active = await narrow.query("SELECT id FROM module_configurations WHERE status = 'active'")
        assert len(active) == 1  # invariant 1
        active_id = active[0][0]
        await self._read_on()
        row = await admission.read(narrow, "threes")
        assert self.activated == active_id == row.active_configuration_id  # invariant 6
        if active_id != self.seen_active:  # invariant 5
            self.seen_active = active_id
            content_now = (await self.core.service.get(active_id)).content
            assert not content_errors(validate(content_now, self.core.registry.current(), purpose=Purpose.STARTUP))
        pending = await narrow.query(
            "SELECT id, state FROM activations WHERE state IN ('queued', 'warming', 'draining')"
        )
        assert len(pending) <= 1
        assert row.held_by in [item[0] if item[1] == State.DRAINING else None for item in pending] or [None]

    async def _read_on(self) -> None:
        """Follow the chain of audit entries from where it ended at the step before."""
        [[last, count]] = await self.bench.database.narrow.query(
            "SELECT max(sequence), count(*) FROM configuration_change_events"
        )
        assert last == count
        if last == self.events:
            return
        async with self.core.units(write=False) as unit:
            for event in await unit.audit.read_forward(self.events, limit=last):
                assert self.chain.add(event), self.chain.result()
                if event.action == AuditAction.CONFIGURATION_ACTIVATED:
                    self.activated = event.subjects[0]
        self.events = last

    async def _check_everything(self) -> None:
        fresh = Units(self.core.units.database, self.core.units.clock)  # remembers no content
        async with fresh(write=False) as unit:
            made = await history(unit.statements, 200)
            versions = [await unit.configurations.get(item.id) for item in made]
            activations = await unit.activations.list(200)
            assert (await unit.audit.verify()).ok
        assert [item.version for item in versions] == list(range(len(versions), 0, -1))
        assert all(item.content.digest == item.digest for item in versions)
        assert all(item.why is not None for item in activations if item.state in _UNHAPPY)


_UNHAPPY = frozenset({State.REJECTED, State.CANCELLED, State.EXPIRED})


@pytest.fixture
def bench(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Durability is not what this is about; thousands of commits are."""
    quick = tuple(line.replace("synchronous=FULL", "synchronous=OFF") for line in sqlite.PRAGMAS)
    monkeypatch.setattr(sqlite, "PRAGMAS", quick)
    bench = Bench(database_url)
    yield bench
    bench.close()


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_any_sequence_keeps_the_invariants(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConfigurationLifecycle, "bench", bench, raising=False)
    run_state_machine_as_test(
        ConfigurationLifecycle,
        settings=settings(stateful_step_count=STEPS[bench.database.dialect], suppress_health_check=list(HealthCheck)),
    )
