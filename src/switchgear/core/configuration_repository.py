"""Stored configurations as one transaction sees them. Source: T007, DESIGN 7.

Statements are explicit and in order, because a switch must write the old row before the new one (RELIABILITY 1).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Select, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from switchgear.core.configuration_models import (
    BlockedDigest,
    FallbackPolicy,
    ModuleConfiguration,
    table_of,
)
from switchgear.core.database import Statement, Statements
from switchgear.domain import configuration as domain
from switchgear.domain.configuration import (
    ConfigurationSummary,
    Content,
    FallbackStep,
    Lock,
    LockEntry,
    Selection,
    Status,
    StoredConfiguration,
)
from switchgear.domain.errors import NotFound

_VERSION: Final = re.compile(r"v([1-9][0-9]{0,8})")
_CONFIGURATION: Final = ModuleConfiguration


_TABLE: Final = table_of(_CONFIGURATION)
#: A line of the history, and with it what validation said last.
_SUMMARY: Final = [_TABLE.c[field.name] for field in fields(ConfigurationSummary)]
_VERSION_ROW: Final = [*_SUMMARY, _TABLE.c.findings]
_NAMES: Final = [column.name for column in _VERSION_ROW]
# Built once: putting a statement together costs more than running it.
_VERSIONS: Final = select(*_VERSION_ROW).order_by(_TABLE.c.version.desc())
_BY_NUMBER: Final = select(*_VERSION_ROW).where(_TABLE.c.version == bindparam("number"))
_BY_ID: Final = select(*_VERSION_ROW).where(_TABLE.c.id == bindparam("id"))
_ACTIVE: Final = select(*_VERSION_ROW).where(_TABLE.c.status == Status.ACTIVE)
_BY_DIGEST: Final = """
SELECT id FROM module_configurations WHERE digest = :digest AND status <> 'rejected' ORDER BY version DESC LIMIT 1"""
_LEFT: Final = _VERSIONS.where(_TABLE.c.status.in_((Status.SUPERSEDED, Status.ROLLED_BACK)))
_PREVIOUS: Final = (
    select(*_VERSION_ROW)
    .where(
        _TABLE.c.status == Status.SUPERSEDED,
        _TABLE.c.digest != bindparam("digest"),
        # A relock makes a second version of the same content: when that one was left, so was its twin.
        _TABLE.c.digest.not_in(select(BlockedDigest.digest)),
    )
    .order_by(_TABLE.c.left_at.desc(), _TABLE.c.version.desc())
    .limit(1)
)
_HISTORY: Final = f"""
SELECT {", ".join(column.name for column in _SUMMARY)} FROM module_configurations
WHERE version < :before ORDER BY version DESC LIMIT :limit"""  # noqa: S608 - only names of columns
_LAST_VERSION: Final = "SELECT COALESCE(max(version), 0) FROM module_configurations"
# A version has some thirty rows: written as plain statements they cost a third of what the ORM's tables do.
_ADD: Final = """
INSERT INTO module_configurations (id, version, pipeline, status, digest, lock_digest, module_lock, base_id, message,
    created_by, created_at, activated_at, left_at, findings)
VALUES (:id, :version, :pipeline, :status, :digest, :lock_digest, :module_lock, :base_id, :message,
    :created_by, :created_at, :activated_at, :left_at, :findings)"""
_ADD_SELECTION: Final = """
INSERT INTO module_selections (configuration_id, stage_id, module_id, settings, limits)
VALUES (:configuration_id, :stage_id, :module_id, :settings, :limits)"""
_ADD_POLICY: Final = """
INSERT INTO fallback_policies (configuration_id, stage_id, position, module_id, settings, trigger_conditions, threshold,
    terminal_action, budget_s)
VALUES (:configuration_id, :stage_id, :position, :module_id, :settings, :trigger_conditions, :threshold,
    :terminal_action, :budget_s)"""
#: No version has a higher number.
_MOST_VERSIONS: Final = 2**31 - 1
#: Versions whose content a process keeps at hand.
_MOST_KNOWN: Final = 64


@dataclass(frozen=True, slots=True)
class Unchanging:
    """What never changes of a version."""

    content: Content
    lock: Lock


async def history(
    statements: Statements, limit: int, before_version: int | None = None
) -> Sequence[ConfigurationSummary]:
    """Return versions, newest first, those before *before_version*; one statement, which needs no transaction."""
    before = _MOST_VERSIONS if before_version is None else before_version
    rows = await statements.query(_HISTORY, {"limit": limit, "before": before})
    return [ConfigurationSummary(**_values(row)) for row in rows]


class ConfigurationRepository:
    """Reads and writes configurations.

    Args:
        session: Gives the unit of work's.
        statements: The unit of work's.
        known: Content and lock by configuration id, kept by the process because they never change.
    """

    def __init__(
        self, session: Callable[[], AsyncSession], statements: Statements, known: dict[str, Unchanging]
    ) -> None:
        self._session = session
        self._statements = statements
        self._known = known

    # --- reading ---

    async def get(self, reference: str) -> StoredConfiguration:
        """Return a configuration by its id, `vN`, `active` or `previous`.

        `previous` is the version that was active last before the active one, of those that have another digest and
        whose content was not left by a rollback. docs/adr/0001

        Raises:
            NotFound: There is none.
        """
        found: StoredConfiguration | None
        if reference == "active":
            found = await self.active()
        elif reference == "previous":
            found = await self.previous()
        elif match := _VERSION.fullmatch(reference):
            found = await self._one(_BY_NUMBER, number=int(match[1]))
        else:
            found = await self._one(_BY_ID, id=reference)
        if found is None:
            raise NotFound(_MISSING.get(reference, "There is no such configuration. Give an id, or a version as vN."))
        return found

    async def active(self) -> StoredConfiguration | None:
        """Return the active configuration, or None before the first one."""
        return await self._one(_ACTIVE)

    async def previous(self) -> StoredConfiguration | None:
        """Return what a rollback without a target goes back to; see `get`."""
        active = await self.active()
        if active is None:
            return None
        return await self._one(_PREVIOUS, digest=active.digest)

    async def by_digest(self, digest: str) -> StoredConfiguration | None:
        """Return the newest version with this content that is not rejected."""
        found = await self._statements.query(_BY_DIGEST, {"digest": digest})
        return await self.get(found[0][0]) if found else None

    async def once_active(self, limit: int) -> Sequence[StoredConfiguration]:
        """Return versions that were active before, newest first: what a rollback may go back to."""
        return await self._many(_LEFT.limit(limit))

    async def next_version(self) -> int:
        """Return the number of the next version; hold the switch lock, so that nobody else takes it."""
        return int((await self._statements.query(_LAST_VERSION))[0][0]) + 1

    async def other_pipeline(self, pipeline: str) -> str | None:
        """Return the name of another pipeline that configurations here belong to, or None."""
        query = select(_CONFIGURATION.pipeline).where(_CONFIGURATION.pipeline != pipeline).limit(1)
        return await self._session().scalar(query)

    async def _one(self, query: Select[Any], **parameters: Any) -> StoredConfiguration | None:
        found = await self._many(query, **parameters)
        return found[0] if found else None

    async def _many(self, query: Select[Any], **parameters: Any) -> Sequence[StoredConfiguration]:
        rows = (await self._session().execute(query, parameters)).all()
        contents = await self._contents([row.id for row in rows])
        return [
            StoredConfiguration(
                **_values(row),
                content=contents[row.id].content,
                lock=contents[row.id].lock,
            )
            for row in rows
        ]

    async def _contents(self, ids: Sequence[str]) -> Mapping[str, Unchanging]:
        """Return content and lock of each version, from the database where this process does not know them."""
        found = {name: self._known[name] for name in ids if name in self._known}
        missing = [name for name in ids if name not in found]
        if missing:
            query = select(_CONFIGURATION).where(_CONFIGURATION.id.in_(missing))
            whole = query.options(selectinload(_CONFIGURATION.selections), selectinload(_CONFIGURATION.policies))
            fresh = {row.id: _unchanging(row) for row in (await self._session().scalars(whole)).all()}
            self._known.update(fresh)
            for oldest in list(self._known)[: max(0, len(self._known) - _MOST_KNOWN)]:
                del self._known[oldest]
            found |= fresh
        return found

    # --- writing ---

    async def add(self, configuration: StoredConfiguration) -> None:
        """Store a new version with its selections and policies."""
        values = {
            "id": configuration.id,
            "version": configuration.version,
            "pipeline": configuration.pipeline,
            "status": str(configuration.status),
            "digest": configuration.digest,
            "lock_digest": configuration.lock_digest,
            "module_lock": configuration.lock.canonical,
            "base_id": configuration.base_id,
            "message": configuration.message,
            "created_by": configuration.created_by,
            "created_at": configuration.created_at,
            "activated_at": configuration.activated_at,
            "left_at": configuration.left_at,
            "findings": json.dumps([dict(finding) for finding in configuration.findings]),
        }
        selections = [_selection_row(configuration.id, item) for item in configuration.content.selections]
        policies = [row for item in configuration.content.policies for row in _policy_rows(configuration.id, item)]
        await self._statements.run(
            Statement(_ADD, values),
            *([Statement(_ADD_SELECTION, selections)] if selections else []),
            *([Statement(_ADD_POLICY, policies)] if policies else []),
        )

    async def set_status(self, configuration_id: str, before: Status, after: Status, **values: Any) -> None:
        """Change the status of a version that is still *before*; *values* are further columns.

        Raises:
            NotFound: There is no such version in that status.
        """
        statement = update(_CONFIGURATION).where(_CONFIGURATION.id == configuration_id, _CONFIGURATION.status == before)
        result = await self._session().execute(statement.values(status=str(after), **values))
        assert isinstance(result, CursorResult)
        if result.rowcount != 1:
            raise NotFound(f"There is no configuration {configuration_id} that is {before}. Read it again.")

    async def set_findings(self, configuration_id: str, findings: Iterable[Mapping[str, Any]]) -> None:
        """Keep what validation said last."""
        statement = update(_CONFIGURATION).where(_CONFIGURATION.id == configuration_id)
        await self._session().execute(statement.values(findings=[dict(finding) for finding in findings]))

    # --- blocked content ---

    async def is_blocked(self, digest: str) -> bool:
        """Whether content with this digest was left by a rollback."""
        return await self._session().get(BlockedDigest, digest, populate_existing=True) is not None

    async def block(self, digest: str, activation_id: str, now_us: int) -> bool:
        """Block content; returns whether it was not blocked yet."""
        values = {"digest": digest, "activation_id": activation_id, "blocked_at": now_us}
        insert = postgresql.insert if self._statements.dialect == "postgresql" else sqlite.insert
        statement = insert(BlockedDigest).values(values).on_conflict_do_nothing()
        return await self._session().scalar(statement.returning(BlockedDigest.digest)) is not None

    async def unblock(self, digest: str) -> bool:
        """Lift a block; returns whether there was one."""
        result = await self._session().execute(delete(BlockedDigest).where(BlockedDigest.digest == digest))
        assert isinstance(result, CursorResult)
        return result.rowcount == 1


_MISSING: Final = {
    "active": "No configuration is active. Create one and activate it.",
    "previous": "No earlier version is there to go back to. Name one that `switchgear config history` shows.",
}


# Rows as they are stored, with objects and lists as JSON text.


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value)) if value else "{}"


def _selection_row(configuration_id: str, item: Selection) -> dict[str, Any]:
    return {
        "configuration_id": configuration_id,
        "stage_id": item.stage_id,
        "module_id": item.module_id,
        "settings": _text(item.settings),
        "limits": _text(item.limits),
    }


def _policy_rows(configuration_id: str, policy: domain.FallbackPolicy) -> list[dict[str, Any]]:
    """A row for each step, and a last one for what holds for the whole policy."""
    last = {
        "configuration_id": configuration_id,
        "stage_id": policy.stage_id,
        "position": len(policy.chain),
        "module_id": None,
        "settings": "{}",
        "trigger_conditions": "[]",
        "threshold": None,
        "terminal_action": str(policy.then) if policy.then is not None else None,
        "budget_s": policy.budget_s,
    }
    steps = [
        {
            "configuration_id": configuration_id,
            "stage_id": policy.stage_id,
            "position": position,
            "module_id": step.module_id,
            "settings": _text(step.settings),
            "trigger_conditions": _triggers_text(step.on),
            "threshold": step.threshold,
            "terminal_action": None,
            "budget_s": None,
        }
        for position, step in enumerate(policy.chain)
    ]
    return [*steps, last]


@lru_cache(maxsize=256)  # a handful of combinations stands in every version
def _triggers_text(triggers: tuple[str, ...]) -> str:
    return json.dumps(triggers)


def _values(row: Sequence[Any]) -> dict[str, Any]:
    """The columns of a row as fields of a version."""
    values = dict(zip(_NAMES, row, strict=False))  # a line of the history has no findings
    values["status"] = Status(values["status"])
    if "findings" in values:
        values["findings"] = tuple(values["findings"])
    return values


def _unchanging(row: ModuleConfiguration) -> Unchanging:
    selections = (Selection(item.stage_id, item.module_id, item.settings, item.limits) for item in row.selections)
    return Unchanging(
        Content(tuple(selections), _policies(row.policies)),
        Lock((name, LockEntry(**entry)) for name, entry in row.module_lock.items()),
    )


def _policies(rows: Sequence[FallbackPolicy]) -> tuple[domain.FallbackPolicy, ...]:
    by_stage: dict[str, list[FallbackPolicy]] = {}
    for row in rows:
        by_stage.setdefault(row.stage_id, []).append(row)
    found = []
    for stage_id, steps in by_stage.items():
        chain = tuple(
            FallbackStep(step.module_id, tuple(step.trigger_conditions), step.settings, step.threshold)
            for step in steps
            if step.module_id is not None
        )
        last = steps[-1]
        then = domain.Terminal(last.terminal_action) if last.terminal_action else None
        found.append(domain.FallbackPolicy(stage_id, chain, then, last.budget_s))
    return tuple(found)
