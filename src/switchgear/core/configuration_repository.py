"""Stored configurations, and the catalogue of stages and modules, as one transaction sees them. Source: T007, DESIGN 7.

Statements are explicit and in order, because a switch must write the old row before the new one (RELIABILITY 1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Select, delete, func, insert, null, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from switchgear.core.configuration_models import (
    BlockedDigest,
    CapabilityContract,
    FallbackPolicy,
    Module,
    ModuleConfiguration,
    ModuleSelection,
    ProcessingStage,
)
from switchgear.domain import configuration as domain
from switchgear.domain.configuration import Content, FallbackStep, LockEntry, Selection, Status, StoredConfiguration
from switchgear.domain.errors import NotFound
from switchgear.domain.stage import ContractDescription, ModuleDescription, Snapshot

_VERSION: Final = re.compile(r"v([1-9][0-9]{0,8})")
_CONFIGURATION: Final = ModuleConfiguration


class ConfigurationRepository:
    """Reads and writes configurations; `session` is the unit of work's."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert

    # --- reading ---

    async def get(self, reference: str) -> StoredConfiguration:
        """Return a configuration by its id, `vN`, `active` or `previous`.

        `previous` is the version with the highest number that was active before, has another digest than the active
        one, and whose content was not left by a rollback.

        Raises:
            NotFound: There is none.
        """
        found: StoredConfiguration | None
        if reference == "active":
            found = await self.active()
        elif reference == "previous":
            found = await self.previous()
        elif match := _VERSION.fullmatch(reference):
            found = await self._one(select(_CONFIGURATION).where(_CONFIGURATION.version == int(match[1])))
        else:
            found = await self._one(select(_CONFIGURATION).where(_CONFIGURATION.id == reference))
        if found is None:
            raise NotFound(_MISSING.get(reference, "There is no such configuration. Give an id, or a version as vN."))
        return found

    async def active(self) -> StoredConfiguration | None:
        """Return the active configuration, or None before the first one."""
        return await self._one(select(_CONFIGURATION).where(_CONFIGURATION.status == Status.ACTIVE))

    async def previous(self) -> StoredConfiguration | None:
        """Return what a rollback without a target goes back to; see `get`."""
        active = await self.active()
        if active is None:
            return None
        query = select(_CONFIGURATION).where(
            _CONFIGURATION.status == Status.SUPERSEDED,
            _CONFIGURATION.digest != active.digest,
            # A relock makes a second version of the same content: when that one was left, so was its twin.
            _CONFIGURATION.digest.not_in(select(BlockedDigest.digest)),
        )
        return await self._one(query.order_by(_CONFIGURATION.version.desc()).limit(1))

    async def by_digest(self, digest: str) -> StoredConfiguration | None:
        """Return the newest version with this content that is not rejected."""
        query = select(_CONFIGURATION).where(_CONFIGURATION.digest == digest, _CONFIGURATION.status != Status.REJECTED)
        return await self._one(query.order_by(_CONFIGURATION.version.desc()).limit(1))

    async def list(self, limit: int, before_version: int | None = None) -> Sequence[StoredConfiguration]:
        """Return versions, newest first, those before *before_version*."""
        query = select(_CONFIGURATION).order_by(_CONFIGURATION.version.desc()).limit(limit)
        if before_version is not None:
            query = query.where(_CONFIGURATION.version < before_version)
        return await self._many(query)

    async def once_active(self, limit: int) -> Sequence[StoredConfiguration]:
        """Return versions that were active before, newest first: what a rollback may go back to."""
        query = select(_CONFIGURATION).where(_CONFIGURATION.status.in_((Status.SUPERSEDED, Status.ROLLED_BACK)))
        return await self._many(query.order_by(_CONFIGURATION.version.desc()).limit(limit))

    async def next_version(self) -> int:
        """Return the number of the next version; hold the switch lock, so that nobody else takes it."""
        return int(await self._session.scalar(select(func.coalesce(func.max(_CONFIGURATION.version), 0))) or 0) + 1

    async def other_pipeline(self, pipeline: str) -> str | None:
        """Return the name of another pipeline that configurations here belong to, or None."""
        query = select(_CONFIGURATION.pipeline).where(_CONFIGURATION.pipeline != pipeline).limit(1)
        return await self._session.scalar(query)

    async def _one(self, query: Select[Any]) -> StoredConfiguration | None:
        found = await self._many(query)
        return found[0] if found else None

    async def _many(self, query: Select[Any]) -> Sequence[StoredConfiguration]:
        complete = query.options(
            selectinload(_CONFIGURATION.selections), selectinload(_CONFIGURATION.policies)
        ).execution_options(populate_existing=True)
        return [_stored(row) for row in (await self._session.scalars(complete)).all()]

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
            "module_lock": {name: entry.as_json() for name, entry in configuration.lock.items()},
            "base_id": configuration.base_id,
            "message": configuration.message,
            "created_by": configuration.created_by,
            "created_at": configuration.created_at,
            "activated_at": configuration.activated_at,
            "left_at": configuration.left_at,
            "findings": [dict(finding) for finding in configuration.findings],
        }
        await self._session.execute(insert(ModuleConfiguration).values(values))
        selections = [_selection_row(configuration.id, item) for item in configuration.content.selections]
        if selections:
            await self._session.execute(insert(ModuleSelection), selections)
        policies = [row for item in configuration.content.policies for row in _policy_rows(configuration.id, item)]
        if policies:
            await self._session.execute(insert(FallbackPolicy), policies)

    async def set_status(self, configuration_id: str, before: Status, after: Status, **values: Any) -> None:
        """Change the status of a version that is still *before*; *values* are further columns.

        Raises:
            NotFound: There is no such version in that status.
        """
        statement = update(_CONFIGURATION).where(_CONFIGURATION.id == configuration_id, _CONFIGURATION.status == before)
        result = await self._session.execute(statement.values(status=str(after), **values))
        assert isinstance(result, CursorResult)
        if result.rowcount != 1:
            raise NotFound(f"There is no configuration {configuration_id} that is {before}. Read it again.")

    async def set_findings(self, configuration_id: str, findings: Iterable[Mapping[str, Any]]) -> None:
        """Keep what validation said last."""
        statement = update(_CONFIGURATION).where(_CONFIGURATION.id == configuration_id)
        await self._session.execute(statement.values(findings=[dict(finding) for finding in findings]))

    # --- blocked content ---

    async def is_blocked(self, digest: str) -> bool:
        """Whether content with this digest was left by a rollback."""
        return await self._session.get(BlockedDigest, digest, populate_existing=True) is not None

    async def block(self, digest: str, activation_id: str, now_us: int) -> bool:
        """Block content; returns whether it was not blocked yet."""
        values = {"digest": digest, "activation_id": activation_id, "blocked_at": now_us}
        statement = self._insert(BlockedDigest).values(values).on_conflict_do_nothing()
        return await self._session.scalar(statement.returning(BlockedDigest.digest)) is not None

    async def unblock(self, digest: str) -> bool:
        """Lift a block; returns whether there was one."""
        result = await self._session.execute(delete(BlockedDigest).where(BlockedDigest.digest == digest))
        assert isinstance(result, CursorResult)
        return result.rowcount == 1

    # --- catalogue ---

    async def save_catalogue(self, snapshot: Snapshot, now_us: int) -> None:
        """Keep what is installed: stages, contracts, modules. What a maintainer said about a module stays."""
        for position, stage in enumerate(snapshot.pipeline.stages):
            contract = stage.contract
            await self._upsert(CapabilityContract, _contract_row(contract), ("id",))
            await self._upsert(
                ProcessingStage,
                {
                    "id": stage.id,
                    "pipeline": snapshot.pipeline.name,
                    "position": position,
                    "required": stage.required,
                    "contract_id": f"{contract.name}@{contract.version}",
                },
                ("id",),
            )
        for module in snapshot.modules.values():
            await self._upsert(Module, _module_row(module, now_us), ("id",), keep=("enabled",))
        gone = update(Module).where(Module.id.not_in(list(snapshot.modules)), Module.installed)
        await self._session.execute(gone.values(installed=False, status="unavailable", changed_at=now_us))

    async def _upsert(
        self, table: type[Any], row: Mapping[str, Any], key: tuple[str, ...], keep: tuple[str, ...] = ()
    ) -> None:
        statement = self._insert(table).values(**row)
        changed = {name: statement.excluded[name] for name in row if name not in key and name not in keep}
        await self._session.execute(statement.on_conflict_do_update(index_elements=list(key), set_=changed))

    async def disabled_modules(self) -> frozenset[str]:
        """Return ids of modules that a maintainer disabled."""
        return frozenset((await self._session.scalars(select(Module.id).where(~Module.enabled))).all())

    async def set_enabled(self, module_id: str, enabled: bool, now_us: int) -> bool:
        """Enable or disable a module; returns whether that changed anything.

        Raises:
            NotFound: No such module was ever seen here.
        """
        was = await self._session.scalar(select(Module.enabled).where(Module.id == module_id))
        if was is None:
            raise NotFound("There is no such module. `switchgear modules list` shows the installed ones.")
        statement = update(Module).where(Module.id == module_id, Module.enabled != enabled)
        result = await self._session.execute(statement.values(enabled=enabled, changed_at=now_us))
        assert isinstance(result, CursorResult)
        return result.rowcount == 1

    async def module_statuses(self) -> Mapping[str, str]:
        """Return what was last seen of each module: its status."""
        rows = await self._session.execute(select(Module.id, Module.status))
        return {row.id: row.status for row in rows.all()}

    async def distributions(self) -> Mapping[str, str]:
        """Return, for every module seen before, the distribution that offered it: it installs a missing one."""
        rows = await self._session.execute(select(Module.id, Module.distribution))
        return {row.id: row.distribution for row in rows.all()}


_MISSING: Final = {
    "active": "No configuration is active. Create one and activate it.",
    "previous": "No earlier version is there to go back to. Name one, such as v1.",
}


def _selection_row(configuration_id: str, item: Selection) -> dict[str, Any]:
    return {"configuration_id": configuration_id, **item.as_json()}


def _policy_rows(configuration_id: str, policy: domain.FallbackPolicy) -> list[dict[str, Any]]:
    def row(position: int, **values: Any) -> dict[str, Any]:
        empty: dict[str, Any] = {
            "configuration_id": configuration_id,
            "stage_id": policy.stage_id,
            "position": position,
            "module_id": None,
            "settings": {},
            "trigger_conditions": [],
            "threshold": None,
            "terminal_action": None,
            "budget_s": None,
        }
        return empty | values

    steps = [
        row(
            position,
            module_id=step.module_id,
            settings=dict(step.settings),
            trigger_conditions=list(step.on),
            threshold=step.threshold,
        )
        for position, step in enumerate(policy.chain)
    ]
    then = str(policy.then) if policy.then is not None else None
    return [*steps, row(len(policy.chain), terminal_action=then, budget_s=policy.budget_s)]


def _stored(row: ModuleConfiguration) -> StoredConfiguration:
    return StoredConfiguration(
        id=row.id,
        version=row.version,
        pipeline=row.pipeline,
        status=Status(row.status),
        content=Content(
            tuple(Selection(item.stage_id, item.module_id, item.settings, item.limits) for item in row.selections),
            _policies(row.policies),
        ),
        lock={name: LockEntry(**entry) for name, entry in row.module_lock.items()},
        digest=row.digest,
        lock_digest=row.lock_digest,
        base_id=row.base_id,
        message=row.message,
        created_by=row.created_by,
        created_at=row.created_at,
        activated_at=row.activated_at,
        left_at=row.left_at,
        findings=tuple(row.findings),
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


def _contract_row(contract: ContractDescription) -> dict[str, Any]:
    body = {
        "inputs": {name: {"schema": item.schema, "optional": item.optional} for name, item in contract.inputs.items()},
        "any_of": [list(group) for group in contract.any_of],
        "output_name": contract.output_name,
        "output_schema": contract.output_schema,
        "output_sent_schema": contract.output_sent_schema,
        "guarantees": list(contract.guarantees),
        "confidence": contract.confidence,
        "effects": contract.effects,
    }
    return {
        "id": f"{contract.name}@{contract.version}",
        "name": contract.name,
        "version": contract.version,
        "digest": contract.digest,
        "body": body,
    }


def _module_row(module: ModuleDescription, now_us: int) -> dict[str, Any]:
    lack = module.lack
    why = {"code": str(lack.code), "message": lack.message, "fix": lack.fix} if lack is not None else null()
    return {
        "id": module.id,
        "version": module.version,
        "stage_id": module.stage_id,
        "contract": module.contract,
        "distribution": module.distribution,
        "distribution_version": module.distribution_version,
        "code_digest": module.code_digest,
        "enabled": module.enabled,
        "installed": True,
        "status": str(module.status),
        "why": why,
        "changed_at": now_us,
    }
