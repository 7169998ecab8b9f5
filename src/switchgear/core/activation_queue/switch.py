"""The switch: old row first, then the new one, in the transaction that holds the lock. Source: DESIGN 4, I1, I8."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from switchgear.core import admission
from switchgear.core.configuration_validation import Findings, lock_of, stale_modules
from switchgear.core.unit_of_work import UnitOfWork
from switchgear.domain.access import SYSTEM, Actor, Role
from switchgear.domain.activation import Event, Kind, State, StoredActivation, transition
from switchgear.domain.audit import AuditAction
from switchgear.domain.configuration import Action, Status, StoredConfiguration
from switchgear.domain.configuration import transition as configuration_transition
from switchgear.domain.errors import Why
from switchgear.domain.ids import new_id
from switchgear.domain.stage import Snapshot

#: How an activation's end stands in the audit trail.
_AUDITED: Final[Mapping[State, AuditAction]] = {
    State.WARMING: AuditAction.ACTIVATION_WARMING,
    State.DRAINING: AuditAction.ACTIVATION_DRAINING,
    State.APPLIED: AuditAction.ACTIVATION_APPLIED,
    State.REJECTED: AuditAction.ACTIVATION_REJECTED,
    State.CANCELLED: AuditAction.ACTIVATION_CANCELLED,
    State.EXPIRED: AuditAction.ACTIVATION_EXPIRED,
}


def requester(activation: StoredActivation) -> Actor:
    """Return who asked for it, as the credential said at that time."""
    return Actor(activation.actor, Role(activation.options.get("actor_role", SYSTEM.role)))


async def step(
    unit: UnitOfWork,
    activation: StoredActivation,
    event: Event,
    now_us: int,
    *,
    by: Actor = SYSTEM,
    why: Why | None = None,
    message: str = "",
) -> StoredActivation:
    """Take an activation to its next state, with its audit entry; an end lifts its hold on first claims.

    Raises:
        NotPending: Its state does not allow the event, or it has moved on.
    """
    state = transition(activation.state, event)
    values: dict[str, Any] = {}
    if state is State.WARMING:
        values["warming_at"] = now_us
    elif state is State.DRAINING:
        values["draining_at"] = now_us
    else:
        values["ended_at"] = now_us
        pipeline = (await unit.configurations.get(activation.configuration_id)).pipeline
        await admission.release(unit.statements, pipeline, activation.id)
    stored = {**values, "why": why.as_json()} if why is not None else values
    await unit.activations.change(activation, state, **stored)
    after = replace(activation, state=state, **stored)
    await unit.audit.append(
        _AUDITED[state],
        actor=by,
        subjects=[activation.id, activation.configuration_id],
        message=message or (why.summary if why is not None else ""),
        before={"state": str(activation.state)},
        after={"state": str(state), **({"why": str(why.code)} if why is not None else {})},
    )
    return after


async def switch(
    unit: UnitOfWork, activation: StoredActivation, configuration: StoredConfiguration, now_us: int
) -> StoredActivation:
    """Make *configuration* the active one; the switch lock must be held.

    Raises:
        IllegalTransition: Its status does not allow it.
        NotPending: The activation's state does not allow it.
    """
    active = await unit.configurations.active()
    by = requester(activation)
    after = configuration_transition(configuration.status, Action.ACTIVATE)
    if active is not None:
        await _leave(unit, activation, active, configuration, now_us, by)
    await unit.configurations.set_status(
        configuration.id, configuration.status, after, activated_at=now_us, left_at=None
    )
    await admission.admit(unit.statements, configuration.pipeline, configuration.id)
    if await unit.configurations.unblock(configuration.digest):
        await unit.audit.append(AuditAction.DIGEST_UNBLOCKED, actor=by, subjects=[configuration.id])
    await unit.audit.append(
        AuditAction.CONFIGURATION_ACTIVATED,
        actor=by,
        subjects=[configuration.id, activation.id],
        message=activation.message,
        before={"active": active.label if active is not None else None},
        after={"active": configuration.label, "digest": configuration.digest, "kind": str(activation.kind)},
    )
    return await step(unit, activation, Event.APPLY, now_us, by=by, message=activation.message)


async def _leave(
    unit: UnitOfWork,
    activation: StoredActivation,
    active: StoredConfiguration,
    configuration: StoredConfiguration,
    now_us: int,
    by: Actor,
) -> None:
    is_rollback = activation.kind is Kind.ROLLBACK
    left = configuration_transition(active.status, Action.ROLL_BACK if is_rollback else Action.SUPERSEDE)
    await unit.configurations.set_status(active.id, Status.ACTIVE, left, left_at=now_us)
    await unit.audit.append(
        AuditAction.CONFIGURATION_ROLLED_BACK if is_rollback else AuditAction.CONFIGURATION_SUPERSEDED,
        actor=by,
        subjects=[active.id, configuration.id, activation.id],
        message=activation.message,
        before={"status": str(active.status)},
        after={"status": str(left)},
    )
    if (
        is_rollback
        and active.digest != configuration.digest
        and await unit.configurations.block(active.digest, activation.id, now_us)
    ):
        await unit.audit.append(
            AuditAction.DIGEST_BLOCKED,
            actor=by,
            subjects=[active.id, activation.id],
            message=activation.message,
            after={"digest": active.digest},
        )


async def relocked(
    unit: UnitOfWork,
    configuration: StoredConfiguration,
    snapshot: Snapshot,
    findings: Findings,
    now_us: int,
    by: Actor = SYSTEM,
) -> StoredConfiguration | None:
    """Store a copy with a lock on the code that is installed now; None when the lock is not stale.

    The switch lock must be held, for the version number.
    """
    stale = stale_modules(configuration.lock, snapshot)
    if not stale:
        return None
    lock = lock_of(configuration.content.module_ids(), snapshot)
    copy = replace(
        configuration,
        id=new_id("cfg"),
        version=await unit.configurations.next_version(),
        status=Status.VALIDATED,
        lock=lock,
        lock_digest=lock.digest,
        base_id=configuration.id,
        message=f"As {configuration.label}, with the code that is installed now: {', '.join(stale)}",
        created_by=by.name,
        created_at=now_us,
        activated_at=None,
        left_at=None,
        findings=findings.stored(),
    )
    await unit.configurations.add(copy)
    await unit.audit.append(
        AuditAction.CONFIGURATION_CREATED,
        actor=by,
        subjects=[copy.id, configuration.id],
        message=copy.message,
        before={"lock_digest": configuration.lock_digest},
        after={"version": copy.version, "digest": copy.digest, "lock_digest": copy.lock_digest, "relocked": stale},
    )
    return copy
