"""What happens at start and when modules change: version 1, relock, who serves each stage. Source: T036, DESIGN 4."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from switchgear.core.activation_queue import relocked, step, switch, uses_of
from switchgear.core.configuration_service.content import ordered, portable
from switchgear.core.configuration_service.errors import PipelineMismatch
from switchgear.core.configuration_service.reading import Reading
from switchgear.core.configuration_validation import (
    Finding,
    Findings,
    Purpose,
    lock_of,
    stale_modules,
    validate,
    without_stale,
)
from switchgear.core.logging import get_logger
from switchgear.core.module_registry import ModuleChange, StageAvailability, startup_report
from switchgear.core.observability import EventName
from switchgear.core.unit_of_work import UnitOfWork
from switchgear.domain.access import SYSTEM, Actor
from switchgear.domain.activation import Event, Kind, Mode, OnExpiry, State, StoredActivation
from switchgear.domain.audit import AuditAction
from switchgear.domain.configuration import Content, Status, StoredConfiguration, content_from_json
from switchgear.domain.errors import Code, Why
from switchgear.domain.ids import new_id
from switchgear.domain.stage import ModuleStatus, Snapshot

log = get_logger()

_SYSTEM_WAIT_S: Final = 300.0
#: When a relock is asked for again that a worker refused which is still there, in microseconds.
_ASK_AGAIN_US: Final = 300_000_000
#: Among so many activations a relock that was refused is looked for.
_LOOK_BACK: Final = 20
#: Findings that the line of a stage tells already when its selection does not serve.
_TOLD: Final = frozenset(
    {
        Code.SELECTION_UNAVAILABLE,
        Code.SELECTION_UNKNOWN_MODULE,
        Code.SELECTION_MISSING_STAGE,
        Code.CONFIGURATION_LOCK_STALE,
    }
)
_USABLE: Final = frozenset({ModuleStatus.AVAILABLE, ModuleStatus.DEPRECATED})


class Starting(Reading):
    """The part of the service that acts by itself."""

    async def start(self, *, auto_configure: bool = True) -> list[StageAvailability]:
        """Bring configurations up: keep the catalogue, make version 1 where there is none, relock, report.

        Nothing that a module lacks stops the start.

        Raises:
            PipelineMismatch: The database belongs to another pipeline.
        """
        await self.record_module_changes((), catalogue=True)
        if auto_configure:
            await self.first_start()
        await self.relock_active()
        return await self.startup_check()

    async def first_start(self) -> StoredConfiguration | None:
        """Make version 1 from the pipeline's defaults and activate it; None when there are versions already.

        Raises:
            PipelineMismatch: The database belongs to another pipeline.
        """
        pipeline = self._registry.pipeline
        async with self._units(write=False) as unit:
            other = await unit.configurations.other_pipeline(pipeline.name)
            if other is not None:
                raise PipelineMismatch(
                    f"This database belongs to pipeline {other}, not to {pipeline.name}. Use another DATABASE_URL or "
                    f"HOME, or set PIPELINE to {other}."
                )
            if await unit.configurations.next_version() > 1:
                return None
        content = portable(content_from_json(pipeline.default_configuration))
        snapshot = await self._registry.snapshot()
        findings = await asyncio.to_thread(self._check_defaults, content, snapshot)
        async with self._units() as unit:
            await unit.lock_switch()
            if await unit.configurations.next_version() > 1:
                return None  # another process was first
            if findings.errors:
                await self._refuse_defaults(unit, findings)
                return None
            message = str(pipeline.default_configuration.get("message") or "Defaults of the pipeline")
            stored = await self._add_first(unit, content, snapshot, findings, message)
            applied = await self._activate_first(unit, stored)
            await unit.commit()
        log.info(EventName.CONFIGURATION_CREATED, configuration_version=1, status="active", is_new=True)
        await self._queue.announcer.announce(applied)
        return await self.get(stored.id)

    def _check_defaults(self, content: Content, snapshot: Snapshot) -> Findings:
        return validate(content, snapshot, purpose=Purpose.ACTIVATE, settings=self._options, accept_degraded=True)

    async def _refuse_defaults(self, unit: UnitOfWork, findings: Findings) -> None:
        codes = [str(finding.code) for finding in findings.errors[:20]]
        await unit.audit.append(
            AuditAction.CONFIGURATION_CREATE_REFUSED, actor=SYSTEM, after={"findings": codes}, result="refused"
        )
        await unit.commit()
        log.error(EventName.CONFIGURATION_REFUSED, findings=[finding.message for finding in findings.errors[:20]])

    async def _add_first(
        self, unit: UnitOfWork, content: Content, snapshot: Snapshot, findings: Findings, message: str
    ) -> StoredConfiguration:
        lock = lock_of(content.module_ids(), snapshot)
        stored = StoredConfiguration(
            id=new_id("cfg"),
            version=1,
            pipeline=snapshot.pipeline.name,
            status=Status.VALIDATED,
            content=ordered(content),
            lock=lock,
            digest=content.digest,
            lock_digest=lock.digest,
            base_id=None,
            message=message,
            created_by=SYSTEM.name,
            created_at=await unit.now_us(),
            findings=findings.stored(),
        )
        await unit.configurations.add(stored)
        await unit.audit.append(
            AuditAction.CONFIGURATION_CREATED,
            actor=SYSTEM,
            subjects=[stored.id],
            message=message,
            after={"version": 1, "status": str(stored.status), "digest": stored.digest},
        )
        return stored

    async def _activate_first(self, unit: UnitOfWork, stored: StoredConfiguration) -> StoredActivation:
        """Apply it in the same transaction: nothing serves yet that could be disturbed."""
        now = await unit.now_us()
        queued = _by_system(stored, None, Kind.FIRST_START, now)
        await unit.activations.add(queued, stored.pipeline)
        await unit.audit.append(
            AuditAction.ACTIVATION_QUEUED, actor=SYSTEM, subjects=[queued.id, stored.id], after={"version": 1}
        )
        warming = await step(unit, queued, Event.WARM, now)
        return await switch(unit, warming, stored, now)

    async def relock_active(self) -> StoredActivation | None:
        """Queue a version with a new lock when the active one's is stale and everything still validates.

        Returns:
            The activation, or None when there is nothing to do or `ON_MODULE_CHANGE=hold` leaves it to a person.
        """
        snapshot = self._registry.current()
        async with self._units(write=False) as unit:
            active = await unit.configurations.active()
        if active is None or self._options.on_module_change == "hold" or not stale_modules(active.lock, snapshot):
            return None
        findings = await asyncio.to_thread(self._check_defaults, active.content, snapshot)
        if findings.errors:
            log.warning(EventName.ACTIVATION_REFUSED, kind=str(Kind.RELOCK), summary=findings.errors[0].message)
            return None
        async with self._units() as unit:
            await unit.lock_switch()
            still = await unit.configurations.active()
            if still is None or still.id != active.id or await unit.activations.pending() is not None:
                return None  # what is pending relocks at its switch
            now = await unit.now_us()
            if await self._goes_back(unit, active, snapshot, now):
                return None
            before = await self._asked_before(unit, active, snapshot)
            if before is not None and await self._is_still_refused(unit, before, now):
                return None
            known = before and await unit.configurations.get(before.configuration_id)
            copy = known or await relocked(unit, active, snapshot, findings, now)
            if copy is None:
                return None
            queued = await _queue_relock(unit, copy, active, now)
            await unit.commit()
        self._queue.notify()
        return queued

    async def _goes_back(self, unit: UnitOfWork, active: StoredConfiguration, snapshot: Snapshot, now: int) -> bool:
        """Whether another live process relocked away from the code that is installed here.

        Two machines would otherwise relock each other for ever while one of them is not yet upgraded.
        """
        others = set(await unit.activations.live_workers(now - self._queue.alive_us)) - {self._queue.worker_id}
        if not others or active.base_id is None:
            return False
        base = await unit.configurations.get(active.base_id)
        return base.digest == active.digest and not stale_modules(base.lock, snapshot)

    async def _asked_before(
        self, unit: UnitOfWork, active: StoredConfiguration, snapshot: Snapshot
    ) -> StoredActivation | None:
        """The newest relock from the active version to the code that is installed here; it was rejected."""
        wanted = lock_of(active.content.module_ids(), snapshot).digest
        for activation in await unit.activations.list(_LOOK_BACK):
            if activation.kind is Kind.RELOCK and activation.from_id == active.id:
                asked = await unit.configurations.get(activation.configuration_id)
                if asked.lock_digest == wanted:
                    return activation
        return None

    async def _is_still_refused(self, unit: UnitOfWork, before: StoredActivation, now: int) -> bool:
        """Whether who refused it lives on: a worker that is not yet upgraded refuses it again until it is started anew.

        What stood in its way may end by itself, so it is asked again now and then.
        """
        live = await unit.activations.live_workers(now - self._queue.alive_us)
        refusers = (before.why or {}).get("blocking") or ()
        return now < (before.ended_at or now) + _ASK_AGAIN_US and not set(live).isdisjoint(refusers)

    async def startup_check(self) -> list[StageAvailability]:
        """Say for every stage who serves it; in the log only where it is not its selection, and what else is found.

        Returns:
            One line per stage, in order; none before the first configuration.
        """
        async with self._units(write=False) as unit:
            active = await unit.configurations.active()
        if active is None:
            log.warning(EventName.STARTUP_CHECKED, summary="No configuration is active; documents wait.")
            return []
        snapshot = self._seen_by(active)
        report = startup_report(active.content, snapshot)
        for line in report:
            if line.is_degraded:
                log.warning(
                    EventName.STARTUP_CHECKED,
                    stage=line.stage_id,
                    module=line.selected,
                    serves=str(line.serves),
                    summary=line.message,
                    fix=line.lack.fix if line.lack is not None else None,
                )
        for finding in await self._found_beside(report, active, snapshot):
            log.warning(
                EventName.STARTUP_CHECKED,
                stage=finding.stage_id,
                reason=str(finding.code),
                summary=finding.message,
                fix=finding.hint,
            )
        return report

    async def shortcomings(self) -> Sequence[Finding]:
        """Return what validation finds in the active version now, beside what each stage's line says already.

        It was valid once; but modules change, and secrets and machines do.
        """
        active = await self._active_now(self._units.database.narrow)
        if active is None:
            return ()
        snapshot = self._seen_by(active)
        return await self._found_beside(startup_report(active.content, snapshot), active, snapshot)

    def _seen_by(self, active: StoredConfiguration) -> Snapshot:
        """What is here for the active version; with `hold` without the modules whose code is not the locked one."""
        snapshot = self._registry.current()
        return without_stale(active, snapshot) if self._options.on_module_change == "hold" else snapshot

    async def _found_beside(
        self, report: Sequence[StageAvailability], active: StoredConfiguration, snapshot: Snapshot
    ) -> Sequence[Finding]:
        degraded = {line.stage_id for line in report if line.is_degraded}
        found = await asyncio.to_thread(
            validate,
            active.content,
            snapshot,
            purpose=Purpose.STARTUP,
            lock=active.lock,
            active=active,
            settings=self._options,
        )
        return [
            finding
            for finding in (*found.errors, *found.warnings)
            if finding.stage_id not in degraded or finding.code not in _TOLD
        ]

    # --- modules ---

    async def look_at_modules(self) -> Sequence[ModuleChange]:
        """Look at unavailable modules again, record what changed, and relock when code was changed; call it often.

        What the active version's modules say of its settings is known afterwards: most new versions keep them.
        """
        changes = await self._registry.look_again(self._clock())
        await self.record_module_changes(changes)
        await self.relock_active()
        await self._ask_about_active_settings()
        return changes

    async def _ask_about_active_settings(self) -> None:
        """Once for each version that becomes active; changed code makes another one."""
        active = await self._active_now(self._units.database.narrow)
        if active is not None and active.id != self._asked_about:
            self._asked_about = active.id
            await self._registry.check_settings(uses_of(active.content))

    async def record_module_changes(
        self, changes: Sequence[ModuleChange], *, by: Actor = SYSTEM, catalogue: bool = False
    ) -> None:
        """Keep the catalogue and record availability that changed, once for all processes.

        Args:
            changes: What the registry saw.
            by: Who made it look.
            catalogue: Keep the catalogue although nothing changed.
        """
        if not changes and not catalogue:
            return
        snapshot = self._registry.current()
        async with self._units() as unit:
            await unit.lock_switch()
            before = await unit.catalogue.module_statuses()
            await unit.catalogue.save(snapshot, await unit.now_us())
            for change in changes:
                after = change.after in _USABLE
                if (before.get(change.module_id) in _USABLE) is not after:
                    await self._record_change(unit, change, by, is_usable=after)
            await unit.commit()
        for change in changes:
            self._measure(change, snapshot)

    async def _record_change(self, unit: UnitOfWork, change: ModuleChange, by: Actor, *, is_usable: bool) -> None:
        lack = change.lack
        await unit.audit.append(
            AuditAction.MODULE_BECAME_AVAILABLE if is_usable else AuditAction.MODULE_BECAME_UNAVAILABLE,
            actor=by,
            subjects=[change.module_id],
            message=lack.message if lack is not None else "",
            before={"status": str(change.before) if change.before else None},
            after={"status": str(change.after) if change.after else None, "why": str(lack.code) if lack else None},
        )

    def _measure(self, change: ModuleChange, snapshot: Snapshot) -> None:
        module = snapshot.modules.get(change.module_id)
        if self._metrics is None or module is None:
            return
        lack = change.lack
        why = Why(lack.code, lack.message, {"fix": lack.fix}) if lack is not None else None
        self._metrics.record_availability(
            stage=module.stage_id, module=module.id, available=change.after in _USABLE, why=why
        )


async def _queue_relock(
    unit: UnitOfWork, copy: StoredConfiguration, active: StoredConfiguration, now_us: int
) -> StoredActivation:
    queued = _by_system(copy, active, Kind.RELOCK, now_us)
    await unit.activations.add(queued, copy.pipeline)
    await unit.audit.append(
        AuditAction.ACTIVATION_QUEUED,
        actor=SYSTEM,
        subjects=[queued.id, copy.id],
        message=copy.message,
        before={"active": active.label},
        after={"version": copy.version, "kind": str(Kind.RELOCK), "mode": str(queued.mode)},
    )
    return queued


def _by_system(
    configuration: StoredConfiguration, active: StoredConfiguration | None, kind: Kind, now_us: int
) -> StoredActivation:
    """Rolling: what is active cannot be waited for, since there is none or its modules are another code by now."""
    return StoredActivation(
        id=new_id("act"),
        configuration_id=configuration.id,
        configuration_version=configuration.version,
        from_id=active.id if active is not None else None,
        from_version=active.version if active is not None else None,
        kind=kind,
        mode=Mode.ROLLING,
        state=State.QUEUED,
        max_wait_s=_SYSTEM_WAIT_S,
        on_expiry=OnExpiry.SWITCH,
        options={"accept_degraded": True, "actor_role": str(SYSTEM.role)},
        actor=SYSTEM.name,
        message=configuration.message,
        requested_at=now_us,
    )
