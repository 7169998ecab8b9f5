"""Breakers of this process: counts calls here, shares through the database what opened. Source: DESIGN 5.

A call of a module whose breaker is closed costs a look into a dictionary. The database is asked when a breaker moves,
and by `follow`, which each process calls about once a second.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from switchgear.core.logging import get_logger
from switchgear.core.observability import EventName, Metrics
from switchgear.core.unit_of_work import UnitOfWork, Units
from switchgear.domain.access import SYSTEM, Actor
from switchgear.domain.audit import AuditAction
from switchgear.domain.breaker import (
    ANY_SETTINGS,
    BY_HAND,
    Breaker,
    BreakerEvent,
    BreakerState,
    Window,
    facts_of,
    failed,
    moved,
)
from switchgear.domain.errors import Code, DatabaseUnreachable
from switchgear.domain.run import Outcome
from switchgear.domain.stage import Lack

log = get_logger()

Key = tuple[str, str]  #: module id, settings digest
#: A probe's lease outlives its deadline by so much, in microseconds.
_GRACE_US: Final = 5_000_000
_LONGEST_WHY: Final = 300
_ACTIONS: Final[Mapping[BreakerState, AuditAction]] = {
    BreakerState.OPEN: AuditAction.BREAKER_OPENED,
    BreakerState.HALF_OPEN: AuditAction.BREAKER_TRIED,
    BreakerState.CLOSED: AuditAction.BREAKER_CLOSED,
}

_PROBED: Final[Mapping[bool | None, BreakerEvent]] = {
    True: BreakerEvent.PROBE_FAILED,
    False: BreakerEvent.PROBE_WORKED,
    None: BreakerEvent.PROBE_SAID_NOTHING,
}


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a call may be made: `lack` says why not, `probe` that everybody waits for its answer.

    A probe is known by the time at which it began, in microseconds UTC: one that answers after its lease is over must
    not speak for the next one.
    """

    lack: Lack | None = None
    probe: int | None = None


_FREE: Final = Admission()


class Breakers:
    """The breakers as this process knows them.

    Args:
        units: Makes units of work.
        clock: Microseconds UTC.
        metrics: Counts what moves.
    """

    def __init__(self, units: Units, clock: Callable[[], int], metrics: Metrics | None = None) -> None:
        self._units = units
        self._clock = clock
        self._metrics = metrics
        self._shared: dict[Key, Breaker] = {}
        self._windows: defaultdict[Key, Window] = defaultdict(Window)
        self.changes = 0  #: grows whenever what `standing` answers may have changed

    # --- calls ---

    async def admit(self, module_id: str, settings_digest: str, *, timeout_s: float) -> Admission:
        """Say whether a module may be called now; the first caller after a pause gets the probe.

        Args:
            module_id: The module.
            settings_digest: Digest of its settings.
            timeout_s: How long the call may take, in seconds: so long nobody else probes.
        """
        if not self._shared:
            return _FREE
        breaker = self.standing(module_id, settings_digest)
        if breaker is None or not breaker.is_open():
            return _FREE
        now = self._clock()
        if breaker.may_probe(now):
            lease_us = int(timeout_s * 1_000_000) + _GRACE_US
            try:
                begun = await self._move(breaker, BreakerEvent.PROBE_BEGAN, lease_us=lease_us)
                if begun is not None:
                    return Admission(probe=begun.changed_at)
            except DatabaseUnreachable as error:
                log.warning(EventName.DATABASE_LOST, task="breaker", summary=str(error))
            breaker = self.standing(module_id, settings_digest)
            if breaker is None or not breaker.is_open():  # whoever was faster has closed it meanwhile
                return _FREE
        return Admission(lack_of(breaker, now))

    async def record(
        self, module_id: str, settings_digest: str, admission: Admission, outcome: Outcome, detail: str, message: str
    ) -> None:
        """Count how a call ended; when too many failed, the breaker opens for everybody.

        A database that does not answer is no failure of the run: the next failed call tries again.
        """
        bad = failed(outcome, detail)
        window = self._windows[module_id, settings_digest]
        event = None
        if admission.probe is not None:
            event = _PROBED[bad]
        elif bad is not None and window.add(self._clock(), has_failed=bad):
            event = BreakerEvent.TOO_MANY_FAILED
        if event is None:
            return
        standing = self.standing(module_id, settings_digest)
        if standing is not None and standing.state is BreakerState.DISABLED:
            return
        said = f"{window.failures} of its last {len(window)} calls failed. " if window.failures else ""
        why = f"{said}{message or detail or outcome}"[:_LONGEST_WHY]
        breaker = self._shared.get((module_id, settings_digest)) or Breaker(module_id, settings_digest)
        try:
            await self._move(breaker, event, why=why, probe=admission.probe)
            window.clear()
        except DatabaseUnreachable as error:
            log.warning(EventName.DATABASE_LOST, task="breaker", summary=str(error))

    # --- what is known ---

    def standing(self, module_id: str, settings_digest: str) -> Breaker | None:
        """The breaker that decides now: what a person said, else the module's own; None = closed."""
        return self._shared.get((module_id, ANY_SETTINGS)) or self._shared.get((module_id, settings_digest))

    def all(self) -> tuple[Breaker, ...]:
        """Every breaker that is not closed and decides, by module: what a person said counts for the whole module."""
        deciding = (key for key in self._shared if key[1] == ANY_SETTINGS or (key[0], ANY_SETTINGS) not in self._shared)
        return tuple(self._shared[key] for key in sorted(deciding))

    async def follow(self) -> None:
        """Take over what other processes did; raises `DatabaseUnreachable`."""
        async with self._units(write=False) as unit:
            found = await unit.breakers.all()
        fresh = {(each.module_id, each.settings_digest): each for each in found}
        for key in self._shared.keys() - fresh.keys():
            self._windows.pop(key, None)  # closed: what failed before says nothing any more
        if fresh != self._shared:
            self._shared = fresh
            self.changes += 1

    # --- changes ---

    async def set(self, module_id: str, state: BreakerState, *, by: Actor, message: str = "") -> None:
        """Open, disable or close a module's breaker by hand, whatever its settings.

        Args:
            module_id: The module; whether it is installed is the caller's to check.
            state: `forced_open`, `disabled`, or `closed`, which also closes what opened by itself.
            by: The verified caller.
            message: Why; stands in the audit trail.

        Raises:
            DatabaseUnreachable: Nothing was changed.
        """
        async with self._units() as unit:
            await unit.audit.lock()
            before = await unit.breakers.get(module_id, ANY_SETTINGS)
            after = moved(before, BY_HAND[state], self._clock())
            assert after is not None, "a person may always say"
            after = replace(after, why=message, actor=by.name, changed_at=await unit.now_us())
            if state is BreakerState.CLOSED:
                await unit.breakers.forget(module_id)
            else:
                await unit.breakers.save(after)
            await unit.audit.append(
                AuditAction.BREAKER_SET,
                actor=by,
                subjects=(module_id,),
                message=message,
                before=facts_of(before),
                after=facts_of(after),
            )
            await unit.commit()
        self._tell(before, after)
        await self.follow()

    async def _move(
        self, seen: Breaker, event: BreakerEvent, *, why: str | None = None, lease_us: int = 0, probe: int | None = None
    ) -> Breaker | None:
        """Move a breaker for everybody; None when another process was faster, whose move is taken over."""
        async with self._units() as unit:
            await unit.audit.lock()
            before = await unit.breakers.get(seen.module_id, seen.settings_digest)
            now = await unit.now_us()
            is_late = probe is not None and before.changed_at != probe
            after = None if is_late else moved(before, event, now, lease_us=lease_us)
            if after is not None:
                opened = why if why is not None and event in _OPENING else before.why
                after = replace(after, why=opened, actor=SYSTEM.name, changed_at=now)
                await self._write(unit, before, after, why)
        await self.follow()
        if after is not None:
            self._tell(before, after)
        return after

    async def _write(self, unit: UnitOfWork, before: Breaker, after: Breaker, why: str | None) -> None:
        await unit.breakers.save(after)
        if after.state is not before.state:
            await unit.audit.append(
                _ACTIONS[after.state],
                actor=SYSTEM,
                subjects=(after.module_id,),
                message=why or "",
                before=facts_of(before),
                after=facts_of(after),
            )
        await unit.commit()

    def _tell(self, before: Breaker, after: Breaker) -> None:
        if before.state is not after.state and self._metrics is not None:
            self._metrics.record_breaker(
                module=after.module_id, before=str(before.state), after=str(after.state), why=after.why
            )


_OPENING: Final = frozenset({BreakerEvent.TOO_MANY_FAILED, BreakerEvent.PROBE_FAILED})


def lack_of(breaker: Breaker, now_us: int | None = None) -> Lack:
    """Why a module is not called while its breaker lets nobody through; with the time left when *now_us* is given."""
    name = breaker.module_id
    if breaker.state is BreakerState.FORCED_OPEN:
        said = f": {breaker.why}" if breaker.why else ""
        sentence = f"{breaker.actor} opened the breaker of {name}{said}"
    elif breaker.state is BreakerState.HALF_OPEN:
        sentence = f"The breaker of {name} is open while one call tries whether it works again. {breaker.why}"
    elif now_us is not None and breaker.until is not None:
        left_s = max(0, breaker.until - now_us) / 1_000_000
        sentence = f"The breaker of {name} is open for another {left_s:.0f} s. {breaker.why}"
    else:
        sentence = f"The breaker of {name} is open. {breaker.why}"
    return Lack(
        Code.MODULE_BREAKER_OPEN, sentence.rstrip(". ") + ".", f"switchgear modules breaker {name} closed -m WHY"
    )
