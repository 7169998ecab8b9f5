"""The queue of one: an activation is warmed, waits for running work, and switches. Source: T012, DESIGN 4, I3-I6.

Each side of the race commits its own fact and then reads the other's: `draining` commits, then runs are counted in a
new transaction; a run that ends commits, then `advance` looks. Whoever comes last sees the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from switchgear.core import admission
from switchgear.core.activation_queue.announcing import Announcer, Applied
from switchgear.core.activation_queue.decision import Decision, Due, decide, no_longer_fits
from switchgear.core.activation_queue.running_work import ActivationPage, ActivationView, RunningWork
from switchgear.core.activation_queue.switch import relocked, requester, step, switch
from switchgear.core.activation_queue.warming import Warming
from switchgear.core.configuration_validation import (
    Purpose,
    Validate,
    ValidationOptions,
    as_workers_see,
    served_by,
    validator,
)
from switchgear.core.database import Statements
from switchgear.core.logging import get_logger
from switchgear.core.module_registry import ModuleRegistry
from switchgear.core.observability import EventName, Metrics
from switchgear.core.unit_of_work import UnitOfWork, Units
from switchgear.domain.access import Actor
from switchgear.domain.activation import Event, Kind, NotPending, State, StoredActivation
from switchgear.domain.audit import AuditAction
from switchgear.domain.configuration import Content, IllegalTransition, StoredConfiguration
from switchgear.domain.errors import Code, DatabaseUnreachable, InvalidRequest, Why
from switchgear.domain.stage import Snapshot

log = get_logger()

#: Oldest snapshot that may decide about a switch. DESIGN 4
FRESH_US: Final = 10_000_000
#: Pause between looks for pending activations, in seconds.
TICK_S: Final = 0.5
_BLOCKING_SHOWN: Final = 20
#: queued, warming, draining, applied, and as many new snapshots.
_MOST_STEPS: Final = 8
_IS_PENDING: Final = "SELECT 1 FROM activations WHERE state IN ('queued', 'warming', 'draining') LIMIT 1"
_REPORTS: Final = (
    "SELECT id, CAST(unavailable AS TEXT), CAST(queues AS TEXT) FROM workers WHERE heartbeat_at >= now_us() - :alive"
)
_PURPOSES: Final = {Kind.ROLLBACK: Purpose.ROLLBACK}


class ActivationQueue:
    """Carries the pending activation to its end; every process has one, and any of them may take each step.

    Args:
        units: Makes units of work.
        registry: Looks at what is installed, before a switch.
        running: Counts running work.
        warm: Makes a configuration ready in this process; returns why it cannot.
        clock: Microseconds UTC, the one that snapshots carry.
        options: What validation depends on; it is repeated at the switch.
        warm_timeout_s: Longest time of queued and warming together, in seconds.
        worker_id: This process among the workers.
        worker_alive_s: Age of the last heartbeat up to which a worker counts as live, in seconds.
        metrics: Where ends are counted.
    """

    def __init__(
        self,
        units: Units,
        registry: ModuleRegistry,
        *,
        running: RunningWork,
        warm: Callable[[StoredConfiguration], Awaitable[Why | None]],
        clock: Callable[[], int],
        options: ValidationOptions = ValidationOptions(),
        warm_timeout_s: float = 60.0,
        worker_id: str = "server",
        worker_alive_s: float = 20.0,
        metrics: Metrics | None = None,
    ) -> None:
        self._units = units
        self._registry = registry
        self.options = options
        self._validate: Validate = validator(options)
        self._running = running
        self._clock = clock
        self._warm_timeout_s = warm_timeout_s
        self.worker_id = worker_id
        self.alive_us = int(worker_alive_s * 1_000_000)
        self._warming = Warming(units, warm, worker_id, warm_timeout_s, then=self.advance)
        self._wake = asyncio.Event()
        self._ticker: asyncio.Task[None] | None = None
        self.announcer = Announcer(units, lambda: registry.pipeline.name, metrics)
        #: Called after each switch, whichever process made it, with the applied activation.
        self.on_applied: list[Applied] = self.announcer.on_applied

    # --- life ---

    async def start(self) -> None:
        """Look for pending activations twice a second until `stop`."""
        await self.announcer.look()
        self._ticker = asyncio.create_task(self._tick_forever(), name="activation queue")

    async def stop(self) -> None:
        """Stop looking; a pending activation waits for another process or the next start."""
        tasks = [task for task in (self._ticker, *self._warming.tasks()) if task is not None]
        self._ticker = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def idle(self) -> None:
        """Wait until nothing is being warmed in this process."""
        await self._warming.idle()

    def notify(self) -> None:
        """Look at once instead of at the next tick: something was queued here, or a run ended."""
        self._wake.set()

    async def _tick_forever(self) -> None:
        while True:
            try:
                await self._tick()
            except DatabaseUnreachable:
                await asyncio.sleep(TICK_S)  # whoever watches the database says so
            except Exception:
                log.exception(EventName.TASK_FAILED, task="activation queue")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), TICK_S)
            self._wake.clear()

    async def _tick(self) -> None:
        await self.advance()
        await self.announcer.look()

    # --- answers ---

    async def pending(self) -> StoredActivation | None:
        """Return the activation that waits, or None."""
        if not await self._units.database.narrow.query(_IS_PENDING):
            return None
        async with self._units(write=False) as unit:
            return await unit.activations.pending()

    async def get(self, activation_id: str) -> ActivationView:
        """Return an activation and what it waits for; raises `NotFound`."""
        async with self._units(write=False) as unit:
            activation = await unit.activations.get(activation_id)
            if not activation.is_pending:
                return ActivationView(activation)
            return ActivationView(
                activation,
                await self._running.count_running(unit.statements),
                await self._running.count_held(unit.statements),
                tuple(await self._running.blocking(unit.statements, _BLOCKING_SHOWN)),
            )

    async def list(self, limit: int = 50, cursor: str | None = None) -> ActivationPage:
        """Return activations, newest first; *cursor* is `next_cursor` of the page before."""
        if cursor is not None and not cursor.startswith("act_"):
            raise InvalidRequest("The cursor is none that this list gave. Start again without one.")
        async with self._units(write=False) as unit:
            found = await unit.activations.list(limit + 1, cursor)
        return ActivationPage(tuple(found[:limit]), found[limit - 1].id if len(found) > limit else None)

    async def wait(self, activation_id: str, seconds: float) -> ActivationView:
        """Return the activation when it has ended, or after *seconds*; holds no connection meanwhile."""
        until = time.monotonic() + seconds
        while True:
            view = await self.get(activation_id)
            left = until - time.monotonic()
            if not view.activation.is_pending or left <= 0:
                return view
            await self.announcer.wait(min(left, TICK_S))

    # --- what people do to it ---

    async def cancel(self, activation_id: str, by: Actor, message: str = "") -> StoredActivation:
        """End a pending activation; the active version goes on.

        Raises:
            NotFound: There is no such activation.
            NotPending: It has ended; recorded.
        """
        return await self._command(activation_id, by, message, AuditAction.ACTIVATION_CANCELLED, self._cancel)

    async def switch(self, activation_id: str, by: Actor, message: str = "") -> StoredActivation:
        """Wait no longer: the switch happens now, what runs finishes on the version that it holds.

        Raises:
            NotFound: There is no such activation.
            NotPending: It has ended; recorded.
        """
        action = AuditAction.ACTIVATION_SWITCH_REQUESTED
        await self._command(activation_id, by, message, action, self._request_switch)
        await self.advance()
        return (await self.get(activation_id)).activation

    async def _command(
        self,
        activation_id: str,
        by: Actor,
        message: str,
        action: AuditAction,
        change: Callable[[UnitOfWork, StoredActivation, Actor, str], Coroutine[Any, Any, StoredActivation]],
    ) -> StoredActivation:
        async with self._units() as unit:
            await unit.lock_switch()
            activation = await unit.activations.get(activation_id)
            if not activation.is_pending:
                await unit.audit.append(action, actor=by, subjects=[activation.id], message=message, result="refused")
                await unit.commit()
                raise NotPending(
                    f"The activation is {activation.state} already; nothing was changed. Look at its outcome.",
                    activation_id=activation.id,
                    state=str(activation.state),
                )
            after = await change(unit, activation, by, message)
            await unit.commit()
        await self.announcer.announce(after)
        return after

    async def _cancel(
        self, unit: UnitOfWork, activation: StoredActivation, by: Actor, message: str
    ) -> StoredActivation:
        summary = f"{by.name} cancelled the activation; the version before stays active."
        why = Why(Code.ACTIVATION_CANCELLED, summary, {"actor": by.name})
        return await step(unit, activation, Event.CANCEL, await unit.now_us(), by=by, why=why, message=message)

    async def _request_switch(
        self, unit: UnitOfWork, activation: StoredActivation, by: Actor, message: str
    ) -> StoredActivation:
        await unit.activations.change(activation, activation.state, switch_now=True)
        subjects = [activation.id, activation.configuration_id]
        await unit.audit.append(AuditAction.ACTIVATION_SWITCH_REQUESTED, actor=by, subjects=subjects, message=message)
        return activation

    # --- advancing ---

    async def advance(self, now_us: int | None = None) -> StoredActivation | None:
        """Take every step that is due; idempotent, quick when nothing is pending, safe in any number of processes.

        Args:
            now_us: The time, microseconds UTC; the database's without it.

        Returns:
            The activation as it is now, None when none was pending.
        """
        if not await self._units.database.narrow.query(_IS_PENDING):
            return None
        last: StoredActivation | None = None
        snapshot: Snapshot | None = None
        for _ in range(_MOST_STEPS):
            seen, decision, configuration, live = await self._look(now_us)
            if seen is None:
                break
            last = seen
            if seen.state is State.WARMING:
                self._warming.begin(seen, configuration, live)
            if decision.due is Due.NOTHING:
                break
            if decision.due is Due.SWITCH and not self._is_fresh(snapshot):
                snapshot = await self._look_at_modules(configuration)
            last = await self._take_step(seen.id, snapshot, now_us) or last
            if not last.is_pending:
                break
        return last

    async def _look(
        self, now_us: int | None
    ) -> tuple[StoredActivation | None, Decision, StoredConfiguration | None, frozenset[str]]:
        """Read without a lock what is due; whoever acts on it reads again under the lock."""
        async with self._units(write=False) as unit:
            activation = await unit.activations.pending()
            if activation is None:
                return None, Decision(Due.NOTHING), None, frozenset()
            now = now_us if now_us is not None else await unit.now_us()
            live = frozenset(await unit.activations.live_workers(now - self.alive_us))
            configuration = await unit.configurations.get(activation.configuration_id)
            return activation, await self._decide(unit, activation, now, live), configuration, live

    async def _decide(
        self, unit: UnitOfWork, activation: StoredActivation, now_us: int, live: frozenset[str]
    ) -> Decision:
        is_draining = activation.state is State.DRAINING
        running = await self._running.count_running(unit.statements) if is_draining else 0
        return decide(activation, now_us=now_us, live=live, running=running, warm_timeout_s=self._warm_timeout_s)

    async def _take_step(
        self, activation_id: str, snapshot: Snapshot | None, now_us: int | None
    ) -> StoredActivation | None:
        async with self._units() as unit:
            await unit.lock_switch()
            activation = await unit.activations.pending()
            if activation is None or activation.id != activation_id:
                return await unit.activations.get(activation_id)
            now = now_us if now_us is not None else await unit.now_us()
            live = frozenset(await unit.activations.live_workers(now - self.alive_us))
            decision = await self._decide(unit, activation, now, live)
            after = await self._act(unit, activation, decision, snapshot, now)
            if after is None:
                return activation
            await unit.commit()
        await self.announcer.announce(after)
        return after

    async def _act(
        self, unit: UnitOfWork, activation: StoredActivation, decision: Decision, snapshot: Snapshot | None, now: int
    ) -> StoredActivation | None:
        """Do what is due; None when nothing is, or when the snapshot is too old."""
        if decision.due is Due.WARM:
            return await step(unit, activation, Event.WARM, now)
        if decision.due is Due.DRAIN:
            configuration = await unit.configurations.get(activation.configuration_id)
            until = now + int(activation.max_wait_s * 1_000_000)
            await admission.hold(unit.statements, configuration.pipeline, activation.id, until)
            return await step(unit, activation, Event.DRAIN, now)
        if decision.due is Due.REJECT:
            return await step(unit, activation, Event.REJECT, now, why=decision.why)
        if decision.due is Due.EXPIRE:
            return await step(unit, activation, Event.EXPIRE, now, why=decision.why)
        if decision.due is Due.SWITCH and snapshot is not None and self._is_fresh(snapshot):
            return await self._switch(unit, activation, snapshot, now)
        return None

    async def _switch(
        self, unit: UnitOfWork, activation: StoredActivation, snapshot: Snapshot, now: int
    ) -> StoredActivation:
        """Validate again, then switch or reject. DESIGN 4, I3"""
        snapshot = await self.as_workers_see(unit.statements, snapshot)
        configuration = await unit.configurations.get(activation.configuration_id)
        active = await unit.configurations.active()
        purpose = _PURPOSES.get(activation.kind, Purpose.ACTIVATE)
        accepts = bool(activation.options.get("accept_degraded"))
        findings = self._validate(configuration, snapshot, purpose, active, accepts)
        if findings.errors:
            is_covered = self._validate(configuration, snapshot, purpose, active, True).is_valid
            why = no_longer_fits(configuration, findings, is_covered=is_covered)
            return await step(unit, activation, Event.REJECT, now, why=why)
        is_relock = activation.kind is Kind.RELOCK  # its lock was made a moment ago, where that code is
        copy = (
            None if is_relock else await relocked(unit, configuration, snapshot, findings, now, requester(activation))
        )
        if copy is not None:
            await unit.activations.change(activation, activation.state, configuration_id=copy.id)
            activation = await unit.activations.get(activation.id)
        try:
            return await switch(unit, activation, copy or configuration, now)
        except IllegalTransition as error:
            why = Why(Code.CONFIGURATION_ILLEGAL_TRANSITION, error.message, error.fields)
            return await step(unit, activation, Event.REJECT, now, why=why)

    async def as_workers_see(self, statements: Statements, snapshot: Snapshot) -> Snapshot:
        """Return the union of what live workers can use; this process's own part is *snapshot*, which is newer."""
        rows = await statements.query(_REPORTS, {"alive": self.alive_us})
        reports = {worker_id: json.loads(unavailable) for worker_id, unavailable, _ in rows}
        snapshot = served_by(snapshot, [json.loads(queues) for _, _, queues in rows])
        if not reports.keys() - {self.worker_id}:
            return snapshot
        mine = {
            module.id: {"code": str(module.lack.code), "message": module.lack.message, "fix": module.lack.fix}
            for module in snapshot.modules.values()
            if module.lack is not None
        }
        return as_workers_see(
            snapshot, [mine if name == self.worker_id else report for name, report in reports.items()]
        )

    def _is_fresh(self, snapshot: Snapshot | None) -> bool:
        return snapshot is not None and self._clock() - snapshot.taken_at_us <= FRESH_US

    async def _look_at_modules(self, configuration: StoredConfiguration | None) -> Snapshot:
        """Look and probe outside of any transaction, and compare schemas once where that stops nobody."""
        if configuration is None:
            return await self._registry.snapshot()
        snapshot = await self._registry.snapshot(uses_of(configuration.content))
        await asyncio.to_thread(self._validate, configuration, snapshot, Purpose.ACTIVATE, None, False)
        return snapshot


def uses_of(content: Content) -> list[tuple[str, dict[str, Any]]]:
    """Return every module that content names, with its first settings: what a probe looks at.

    Content that names one again is refused for that; asking about each would start a process for each.
    """
    first: dict[str, dict[str, Any]] = {}
    for item in content.selections:
        first.setdefault(item.module_id, dict(item.settings))
    for policy in content.policies:
        for fallback in policy.chain:
            first.setdefault(fallback.module_id, dict(fallback.settings))
    return list(first.items())
