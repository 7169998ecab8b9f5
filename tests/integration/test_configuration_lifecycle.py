"""Any sequence of requests, failures and time keeps invariants 1, 5 and 6 of DESIGN 8; looked at after each step."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from factories.core import GONE, OPERATOR, Clock, Core, FakeRuns, content
from switchgear.core import admission
from switchgear.core.configuration_validation import Purpose, content_errors, validate
from switchgear.core.database import Database
from switchgear.core.database.sqlite import SqliteNarrow
from switchgear.domain.activation import ActivationRequest, Mode, OnExpiry, State
from switchgear.domain.configuration import Content, Status
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
    accept_base_moved=st.booleans(),
    unblock=st.booleans(),
)
REFERENCES = st.one_of(
    st.sampled_from(["active", "previous", "v1", "nowhere"]), st.integers(1, 8).map(lambda number: f"v{number}")
)
MODULES = st.sampled_from(["read-a", "read-b", "extract-a", "extract-b", "extract-c"])


class ConfigurationLifecycle(RuleBasedStateMachine):
    """Two processes over one database, and whatever may happen to them."""

    template: ClassVar[Path]

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lifecycle-"))
        path = self.folder / "switchgear.db"
        shutil.copy(self.template, path)
        self.runner = asyncio.Runner()
        self.clock = Clock()
        self.database = Database(f"sqlite+aiosqlite:///{path}", clock=self.clock)
        self.do(self.database.start())
        self.core = Core(self.database, self.clock)
        self.other = Core(
            self.database, self.clock, worker_id="second", registry=self.core.registry, running=self.core.runs
        )
        self.do(self.core.service.start())
        self.seen_active = self.do(self.core.service.active()).id

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            for core in (self.core, self.other):
                self.do(core.queue.stop())
            self.do(self.database.close())
            self.runner.close()
            shutil.rmtree(self.folder)

    # --- what people ask ---

    @rule(made=CONTENTS, draft=st.booleans(), base=st.sampled_from([None, "active", "v1"]))
    def create(self, made: Content, draft: bool, base: str | None) -> None:
        with suppress(DomainError):
            self.do(self.core.service.create(made, by=OPERATOR, base=base, draft=draft))

    @rule(ref=REFERENCES)
    def validate(self, ref: str) -> None:
        with suppress(DomainError):
            self.do(self.core.service.validate_stored(ref, by=OPERATOR))

    @rule(ref=REFERENCES, request=REQUESTS)
    def activate(self, ref: str, request: ActivationRequest) -> None:
        with suppress(DomainError):
            self.do(self.core.service.activate(ref, by=OPERATOR, request=request))

    @rule(ref=REFERENCES, request=REQUESTS)
    def roll_back(self, ref: str, request: ActivationRequest) -> None:
        with suppress(DomainError):
            self.do(self.other.service.rollback(ref, by=OPERATOR, request=request))

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

    @rule(number=st.integers(0, 20))
    def module_breaks_while_an_activation_waits(self, number: int) -> None:
        """What is accepted may not be activated any more: I3."""
        self.runs_run(1)
        self.core.refusal = None
        versions = self.do(self.core.service.list(200)).items
        chosen = versions[number % len(versions)]
        request = ActivationRequest(replace_pending=True, accept_base_moved=True, unblock=True)
        with suppress(DomainError):
            self.do(self.core.service.activate(chosen.id, by=OPERATOR, request=request))
        self.advance(True)
        self.do(self._check())
        before = self.core.registry.modules
        name = chosen.content.selections[0].module_id
        if name in before:
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
        if hasattr(self, "runner"):
            self.do(self._check())

    async def _check(self) -> None:
        async with self.core.units(write=False) as unit:
            versions = await unit.configurations.list(200)
            activations = await unit.activations.list(200)
            audit = await unit.audit.verify()
            events = await unit.audit.list(limit=1, action="configuration.activated")
            row = await admission.read(unit.statements, "threes")
        active = [item for item in versions if item.status is Status.ACTIVE]
        assert len(active) == 1  # invariant 1
        assert [item.version for item in versions] == list(range(len(versions), 0, -1))
        assert all(item.content.digest == item.digest for item in versions)
        assert audit.ok  # invariant 6
        assert events.items[0].subjects[0] == active[0].id == row.active_configuration_id
        if active[0].id != self.seen_active:  # invariant 5
            self.seen_active = active[0].id
            found = validate(active[0].content, self.core.registry.current(), purpose=Purpose.STARTUP)
            assert not content_errors(found)
        pending = [item for item in activations if item.is_pending]
        assert len(pending) <= 1
        held = [item.id for item in pending if item.state is State.DRAINING]
        assert row.held_by in ((held[0],) if held else (None,))
        assert all(item.why is not None for item in activations if not item.is_pending and item.state in _UNHAPPY)


_UNHAPPY = frozenset({State.REJECTED, State.CANCELLED, State.EXPIRED})


@contextmanager
def unsynced() -> Iterator[None]:
    """Durability is not what this is about; thousands of commits are."""
    with pytest.MonkeyPatch.context() as patch:
        quick = tuple(line.replace("synchronous=FULL", "synchronous=OFF") for line in SqliteNarrow.PRAGMAS)
        patch.setattr(SqliteNarrow, "PRAGMAS", quick)
        yield


@pytest.mark.timeout(900)
def test_any_sequence_keeps_the_invariants(sqlite_template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConfigurationLifecycle, "template", sqlite_template, raising=False)
    with unsynced():
        run_state_machine_as_test(
            ConfigurationLifecycle,
            settings=settings(
                max_examples=max(20, settings().max_examples // 5),
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                derandomize=True,
            ),
        )
