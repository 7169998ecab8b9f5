"""Writing, reading and checking the audit trail, inside the transaction of the change. Source: DESIGN 7, I26, I27."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, exists, func, select, text, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from switchgear.core.configuration_models import ConfigurationChangeEvent
from switchgear.core.database import Statement, Statements
from switchgear.core.logging import request_id_var
from switchgear.domain.access import Actor
from switchgear.domain.audit import (
    GENESIS,
    AuditAction,
    AuditEvent,
    AuditPage,
    AuditResult,
    Verifier,
    VerifyResult,
    seal,
)
from switchgear.domain.errors import InvalidRequest
from switchgear.domain.ids import new_id

#: Key of PostgreSQL's transaction advisory lock for the end of the chain; taken after the switch lock, never before.
AUDIT_LOCK: Final = 0x5357_4155
_VERIFY_AT_ONCE: Final = 1000
_LOCK: Final = text("SELECT pg_advisory_xact_lock(:key)")
_ANY: Final = text("SELECT 1")
_INSERT: Final = f"""
INSERT INTO configuration_change_events ({", ".join(AuditEvent.__slots__)})
VALUES ({", ".join(f":{name}" for name in AuditEvent.__slots__)})"""  # noqa: S608 - only names of columns
_LAST: Final = "SELECT sequence, hash FROM configuration_change_events ORDER BY sequence DESC LIMIT 1"
_COLUMNS: Final = tuple(getattr(ConfigurationChangeEvent, name) for name in AuditEvent.__slots__)


class AuditTrail:
    """The trail as one transaction sees it.

    Args:
        session: Gives the transaction's session.
        statements: Plain statements of the same transaction.
        clock: Microseconds UTC.
    """

    def __init__(self, session: Callable[[], AsyncSession], statements: Statements, clock: Callable[[], int]) -> None:
        self._session = session
        self._statements = statements
        self._clock = clock

    async def lock(self) -> None:
        """Wait until no other transaction writes to the trail, and keep others from it until this one ends.

        `append` does it itself; a change that has to look first takes it before it looks. On SQLite writers are alone
        from their first statement on, so any statement will do.
        """
        if self._statements.dialect == "postgresql":
            await self._session().execute(_LOCK, {"key": AUDIT_LOCK})
        else:
            await self._session().execute(_ANY)

    async def append(
        self,
        action: AuditAction,
        *,
        actor: Actor,
        subjects: Sequence[str] = (),
        message: str = "",
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
        result: AuditResult = "done",
    ) -> AuditEvent:
        """Write one entry at the end of the chain; other writers of the trail wait until this transaction ends.

        Args:
            action, actor: What the verified caller did; *result* says when it did not happen.
            subjects: Ids of what it happened to.
            message: What the caller gave as a reason.
            before, after: What it was and what it became, plain JSON values without secrets.
            result: `done`, `refused` or `failed`.
        """
        if self._statements.dialect == "postgresql":
            await self.lock()
        sequence, previous_hash = await self._end()
        unsealed = AuditEvent(
            sequence=sequence + 1,
            id=new_id("evt"),
            at=self._clock(),
            actor=actor.name,
            actor_role=str(actor.role),
            action=str(action),
            result=result,
            subjects=tuple(subjects),
            message=message,
            before=None if before is None else dict(before),
            after=None if after is None else dict(after),
            request_id=request_id_var.get(),
            previous_hash=previous_hash,
            hash="",
        )
        return await self._store(seal(unsealed))

    async def list(
        self,
        *,
        limit: int = 50,
        cursor: str | None = None,
        action: str | None = None,
        actor: str | None = None,
        subject: str | None = None,
        after_sequence: int | None = None,
    ) -> AuditPage:
        """Return entries, newest first.

        Args:
            limit: At most so many.
            cursor: `next_cursor` of the page before.
            action: An action, or its noun alone for all of them: `activation`.
            actor: The caller's name.
            subject: An id among the subjects.
            after_sequence: Only entries after this one.

        Raises:
            InvalidRequest: The cursor is none of ours.
        """
        query = select(*_COLUMNS).order_by(ConfigurationChangeEvent.sequence.desc()).limit(limit + 1)
        for condition in self._conditions(cursor, action, actor, subject, after_sequence):
            query = query.where(condition)
        events = await self._events(query)
        more = len(events) > limit
        return AuditPage(tuple(events[:limit]), str(events[limit - 1].sequence) if more else None)

    async def read_forward(self, after: int = 0, limit: int = 200) -> Sequence[AuditEvent]:
        """Return entries after sequence *after*, oldest first: for exports and event streams."""
        query = select(*_COLUMNS).where(ConfigurationChangeEvent.sequence > after)
        return await self._events(query.order_by(ConfigurationChangeEvent.sequence).limit(limit))

    async def verify(self, expected_head: str | None = None) -> VerifyResult:
        """Check the whole chain, and that it still contains *expected_head* when one is given."""
        verifier = Verifier(expected_head)
        after = 0
        query = select(*_COLUMNS).order_by(ConfigurationChangeEvent.sequence).limit(_VERIFY_AT_ONCE)
        # A row that someone moved before the first one must be seen as well, hence no lower bound at the start.
        events = await self._events(query)
        while events:
            if not all(verifier.add(event) for event in events) or len(events) < _VERIFY_AT_ONCE:
                break
            after = events[-1].sequence
            events = await self._events(query.where(ConfigurationChangeEvent.sequence > after))
        return verifier.result()

    async def _store(self, event: AuditEvent) -> AuditEvent:
        row = {name: getattr(event, name) for name in AuditEvent.__slots__} | {"subjects": json.dumps(event.subjects)}
        row |= {name: json.dumps(row[name]) for name in ("before", "after") if row[name] is not None}
        await self._statements.run(Statement(_INSERT, row))
        return event

    async def _end(self) -> tuple[int, str]:
        """Sequence and hash of the last entry."""
        rows = await self._statements.query(_LAST)
        return rows[0] if rows else (0, GENESIS)

    async def _events(self, query: Select[Any]) -> Sequence[AuditEvent]:
        rows = (await self._session().execute(query)).all()
        return [AuditEvent(**{**row._mapping, "subjects": tuple(row.subjects)}) for row in rows]

    def _conditions(
        self,
        cursor: str | None,
        action: str | None,
        actor: str | None,
        subject: str | None,
        after_sequence: int | None,
    ) -> Iterator[ColumnElement[bool]]:
        row = ConfigurationChangeEvent
        if cursor is not None:
            yield row.sequence < _sequence_of(cursor)
        if action is not None:
            yield row.action == action if "." in action else row.action.startswith(action + ".", autoescape=True)
        if actor is not None:
            yield row.actor == actor
        if subject is not None:
            yield self._is_subject(subject)
        if after_sequence is not None:
            yield row.sequence > after_sequence

    def _is_subject(self, subject: str) -> ColumnElement[bool]:
        column = ConfigurationChangeEvent.subjects
        if self._statements.dialect == "postgresql":
            return type_coerce(column, JSONB).contains([subject])
        each = func.json_each(column).table_valued("value")
        return exists(select(text("1")).select_from(each).where(each.c.value == subject))


def _sequence_of(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise InvalidRequest(
            "The cursor is none that this list gave. Start again without one.",
            errors=[
                {
                    "code": "request.invalid",
                    "pointer": "/cursor",
                    "detail": "not a cursor of this list",
                    "hint": "start again without a cursor",
                }
            ],
        )
    return int(cursor)
