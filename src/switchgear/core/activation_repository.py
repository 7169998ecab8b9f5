"""Activations, acknowledgements and live workers as one transaction sees them. Source: T012, DESIGN 4, 7."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import Select, insert, null, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from switchgear.core.configuration_models import Activation, ModuleConfiguration, Worker, WorkerAcknowledgement
from switchgear.domain.activation import PENDING, Kind, Mode, NotPending, OnExpiry, State, StoredActivation
from switchgear.domain.errors import NotFound

_PENDING: Final = tuple(sorted(str(state) for state in PENDING))


class ActivationRepository:
    """Reads and writes activations; `session` is the unit of work's."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert

    async def get(self, activation_id: str) -> StoredActivation:
        """Return an activation with its acknowledgements; raises `NotFound`."""
        found = await self._many(_query().where(Activation.id == activation_id))
        if not found:
            raise NotFound("There is no such activation. `switchgear activations list` shows them.")
        return found[0]

    async def pending(self) -> StoredActivation | None:
        """Return the one activation that may still change something, or None."""
        found = await self._many(_query().where(Activation.state.in_(_PENDING)))
        return found[0] if found else None

    async def list(self, limit: int, before_id: str | None = None) -> Sequence[StoredActivation]:
        """Return activations, newest first, those before *before_id*."""
        query = _query().order_by(Activation.id.desc()).limit(limit)
        if before_id is not None:
            query = query.where(Activation.id < before_id)
        return await self._many(query)

    async def last_applied(self) -> StoredActivation | None:
        """Return the activation that made the active configuration active."""
        query = _query().where(Activation.state == State.APPLIED)
        found = await self._many(query.order_by(Activation.ended_at.desc(), Activation.id.desc()).limit(1))
        return found[0] if found else None

    async def add(self, activation: StoredActivation, pipeline: str) -> None:
        """Store a new activation; the database allows one that is pending."""
        values = {
            "id": activation.id,
            "pipeline": pipeline,
            "configuration_id": activation.configuration_id,
            "from_id": activation.from_id,
            "kind": str(activation.kind),
            "mode": str(activation.mode),
            "state": str(activation.state),
            "max_wait_s": activation.max_wait_s,
            "on_expiry": str(activation.on_expiry),
            "options": dict(activation.options),
            "actor": activation.actor,
            "message": activation.message,
            "requested_at": activation.requested_at,
            "switch_now": activation.switch_now,
            "why": null(),
        }
        await self._session.execute(insert(Activation).values(values))

    async def change(self, activation: StoredActivation, state: State, **values: Any) -> None:
        """Write *state* and further columns, if the activation is still in the state that was read.

        Raises:
            NotPending: It has moved on meanwhile.
        """
        statement = update(Activation).where(Activation.id == activation.id, Activation.state == activation.state)
        result = await self._session.execute(statement.values(state=str(state), **values))
        assert isinstance(result, CursorResult)
        if result.rowcount != 1:
            raise NotPending("The activation has moved on meanwhile. Read it again.", activation_id=activation.id)

    async def acknowledge(
        self, activation_id: str, worker_id: str, answer: str, why: Mapping[str, Any] | None, now_us: int
    ) -> None:
        """Keep a worker's answer, `ready` or `refused`; its first answer counts."""
        values = {
            "activation_id": activation_id,
            "worker_id": worker_id,
            "answer": answer,
            "why": dict(why) if why is not None else null(),
            "answered_at": now_us,
        }
        await self._session.execute(self._insert(WorkerAcknowledgement).values(values).on_conflict_do_nothing())

    async def live_workers(self, after_us: int) -> Sequence[str]:
        """Return ids of workers whose last heartbeat is not older than *after_us*."""
        return (await self._session.scalars(select(Worker.id).where(Worker.heartbeat_at >= after_us))).all()

    async def _many(self, query: Select[Activation, int, int | None]) -> Sequence[StoredActivation]:
        rows = (await self._session.execute(query.execution_options(populate_existing=True))).all()
        if not rows:
            return []
        ids = [row[0].id for row in rows]
        answers: dict[str, list[Mapping[str, Any]]] = {}
        known = select(WorkerAcknowledgement).where(WorkerAcknowledgement.activation_id.in_(ids))
        ordered = known.order_by(WorkerAcknowledgement.answered_at).execution_options(populate_existing=True)
        for item in (await self._session.scalars(ordered)).all():
            answers.setdefault(item.activation_id, []).append(
                {
                    "worker_id": item.worker_id,
                    "answer": item.answer,
                    "why": item.why,
                    "answered_at": item.answered_at,
                }
            )
        return [_stored(row, to, origin, tuple(answers.get(row.id, ()))) for row, to, origin in rows]


@cache
def _query() -> Select[Activation, int, int | None]:
    to, origin = aliased(ModuleConfiguration), aliased(ModuleConfiguration)
    return (
        select(Activation, to.version, origin.version)
        .join(to, to.id == Activation.configuration_id)
        .outerjoin(origin, origin.id == Activation.from_id)
    )


def _stored(
    row: Activation, version: int, from_version: int | None, answers: tuple[Mapping[str, Any], ...]
) -> StoredActivation:
    return StoredActivation(
        id=row.id,
        configuration_id=row.configuration_id,
        configuration_version=version,
        from_id=row.from_id,
        from_version=from_version,
        kind=Kind(row.kind),
        mode=Mode(row.mode),
        state=State(row.state),
        max_wait_s=row.max_wait_s,
        on_expiry=OnExpiry(row.on_expiry),
        options=row.options,
        actor=row.actor,
        message=row.message,
        requested_at=row.requested_at,
        warming_at=row.warming_at,
        draining_at=row.draining_at,
        switch_now=row.switch_now,
        ended_at=row.ended_at,
        why=row.why,
        acknowledgements=answers,
    )
