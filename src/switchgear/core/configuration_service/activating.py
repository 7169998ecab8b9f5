"""Requests to activate a version, or to go back to one. Source: T012, T022, T028, DESIGN 4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from switchgear.core import admission
from switchgear.core.activation_queue import step
from switchgear.core.configuration_service.admitting import Admitting, check_match
from switchgear.core.configuration_service.reading import Reading
from switchgear.core.logging import get_logger
from switchgear.core.observability import EventName
from switchgear.core.unit_of_work import UnitOfWork
from switchgear.domain.access import Actor
from switchgear.domain.activation import ActivationRequest, Event, Kind, State, StoredActivation
from switchgear.domain.audit import AuditAction
from switchgear.domain.configuration import StoredConfiguration
from switchgear.domain.errors import Code, DomainError, InvalidRequest, Why
from switchgear.domain.ids import new_id

log = get_logger()

#: Longest wait for running work, in seconds, where the request does not say. DESIGN 4
MAX_WAIT_S: Final[Mapping[Kind, float]] = {Kind.ROLLBACK: 10.0}
_USUAL_WAIT_S: Final = 300.0
_SHORTEST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 86_400.0


class Activating(Reading):
    """The part of the service that changes what is active."""

    async def activate(
        self, ref: str, *, by: Actor, request: ActivationRequest, if_match: str | None = None
    ) -> StoredActivation:
        """Queue a version to become the active one.

        Args:
            ref: Id, `vN`, or an alias such as `previous`.
            by: The verified caller; written to the audit trail.
            request: Mode, waiting and what is accepted.
            if_match: ETag of the active configuration that the caller saw.

        Raises:
            NotFound: There is no such version.
            PreconditionFailed: Another version is active than the caller saw.
            AlreadyActive, ActivationPending, DigestBlocked, BaseMoved, IllegalTransition: As they say; recorded.
            ConfigurationInvalid: It does not fit now; carries every finding; recorded.
        """
        return await self.request(ref, Kind.ACTIVATE, by=by, request=request, if_match=if_match)

    async def rollback(
        self, ref: str = "previous", *, by: Actor, request: ActivationRequest, if_match: str | None = None
    ) -> StoredActivation:
        """Queue a version that was active before to become active again; replaces a pending activation.

        The content that is left is blocked for `activate`. Arguments and errors as `activate`.
        """
        return await self.request(ref, Kind.ROLLBACK, by=by, request=request, if_match=if_match)

    async def request(
        self, ref: str, kind: Kind, *, by: Actor, request: ActivationRequest, if_match: str | None = None
    ) -> StoredActivation:
        """Queue an activation of any kind; see `activate` and `rollback`."""
        max_wait_s = _wait_of(request, kind)
        seen = await self.get(ref)
        snapshot = await self._looked_at(seen.content, probe=True)
        async with self._units() as unit:
            await unit.lock_switch()
            # An alias may mean another version by now than the one whose modules were probed; the switch probes again.
            configuration = await unit.configurations.get(ref)
            active, pending = await unit.configurations.active(), await unit.activations.pending()
            snapshot = await self._queue.as_workers_see(unit.statements, snapshot)
            admitting = Admitting(unit, self._validate, snapshot, kind, request, by)
            try:
                state = await admission.read(unit.statements, configuration.pipeline)
                check_match(if_match, active, state.generation)
                findings = await admitting.check(configuration, active, pending)
            except DomainError as error:
                await self._refuse(unit, kind, configuration, request, by, error)
                raise
            now = await unit.now_us()
            configuration = await admitting.relocked(configuration, findings, now)
            stored = _activation(configuration, active, kind, request, by, max_wait_s, now)
            if pending is not None:
                await _replace(unit, pending, stored, by, now)
            await self._unblock(unit, configuration, request, by)
            await self._enqueue(unit, stored, configuration, by)
            await unit.commit()
        log.info(
            EventName.ACTIVATION_QUEUED,
            activation_id=stored.id,
            configuration_version=stored.configuration_version,
            kind=str(kind),
            mode=str(stored.mode),
            max_wait_s=max_wait_s,
        )
        self._queue.notify()
        return stored

    async def _enqueue(
        self, unit: UnitOfWork, stored: StoredActivation, configuration: StoredConfiguration, by: Actor
    ) -> None:
        await unit.activations.add(stored, configuration.pipeline)
        await unit.audit.append(
            AuditAction.ACTIVATION_QUEUED,
            actor=by,
            subjects=[stored.id, configuration.id],
            message=stored.message,
            before={"active": f"v{stored.from_version}" if stored.from_version else None},
            after={"version": configuration.version, "kind": str(stored.kind), "mode": str(stored.mode)},
        )

    async def _unblock(
        self, unit: UnitOfWork, configuration: StoredConfiguration, request: ActivationRequest, by: Actor
    ) -> None:
        if request.unblock and await unit.configurations.unblock(configuration.digest):
            await unit.audit.append(
                AuditAction.DIGEST_UNBLOCKED, actor=by, subjects=[configuration.id], message=request.message
            )

    async def _refuse(
        self,
        unit: UnitOfWork,
        kind: Kind,
        configuration: StoredConfiguration,
        request: ActivationRequest,
        by: Actor,
        error: DomainError,
    ) -> None:
        await unit.audit.append(
            AuditAction.ACTIVATION_REFUSED,
            actor=by,
            subjects=[configuration.id],
            message=request.message,
            after={"kind": str(kind), "code": str(error.code)},
            result="refused",
        )
        await unit.commit()
        log.info(EventName.ACTIVATION_REFUSED, configuration_version=configuration.version, reason=str(error.code))


def _wait_of(request: ActivationRequest, kind: Kind) -> float:
    wait = request.max_wait_s if request.max_wait_s is not None else MAX_WAIT_S.get(kind, _USUAL_WAIT_S)
    if not _SHORTEST_WAIT_S <= wait <= _LONGEST_WAIT_S:
        detail = f"max_wait_s is between {_SHORTEST_WAIT_S:g} and {_LONGEST_WAIT_S:g} seconds."
        raise InvalidRequest(
            detail,
            errors=[{"code": str(Code.REQUEST_INVALID), "pointer": "/max_wait_s", "detail": detail, "hint": None}],
        )
    return float(wait)


def _activation(
    configuration: StoredConfiguration,
    active: StoredConfiguration | None,
    kind: Kind,
    request: ActivationRequest,
    by: Actor,
    max_wait_s: float,
    now_us: int,
) -> StoredActivation:
    options: dict[str, Any] = {
        "accept_degraded": request.accept_degraded,
        "accept_base_moved": request.accept_base_moved,
        "unblock": request.unblock,
        "actor_role": str(by.role),
    }
    return StoredActivation(
        id=new_id("act"),
        configuration_id=configuration.id,
        configuration_version=configuration.version,
        from_id=active.id if active is not None else None,
        from_version=active.version if active is not None else None,
        kind=kind,
        mode=request.mode,
        state=State.QUEUED,
        max_wait_s=max_wait_s,
        on_expiry=request.on_expiry,
        options=options,
        actor=by.name,
        message=request.message,
        requested_at=now_us,
    )


async def _replace(unit: UnitOfWork, pending: StoredActivation, new: StoredActivation, by: Actor, now_us: int) -> None:
    """End the pending activation in favour of the new one; the audit names both. I6"""
    summary = f"{by.name} replaced it by an activation of v{new.configuration_version}."
    why = Why(Code.ACTIVATION_REPLACED, summary, {"replaced_by": new.id, "actor": by.name})
    await step(unit, pending, Event.CANCEL, now_us, by=by, why=why)
    await unit.audit.append(
        AuditAction.ACTIVATION_REPLACED, actor=by, subjects=[pending.id, new.id], message=new.message
    )
