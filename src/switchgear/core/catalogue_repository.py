"""The catalogue of stages, contracts and modules, as one transaction sees it. Source: T007, T010, DESIGN 7.

What a maintainer said about a module lives here, and what was known of modules that are gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import null, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession

from switchgear.core.configuration_models import CapabilityContract, Module, ProcessingStage
from switchgear.domain.stage import ContractDescription, ModuleDescription, Snapshot, not_installed

#: What a process that knows only earlier code must not say of a module.
_CODE: Final = ("version", "distribution_version", "code_digest")


class CatalogueRepository:
    """Reads and writes the catalogue; `session` is the unit of work's."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert

    async def save(self, snapshot: Snapshot, now_us: int) -> None:
        """Keep what is installed: stages, contracts, modules. What a maintainer said about a module stays."""
        pipeline, modules = snapshot.pipeline, snapshot.modules.values()
        await self._upsert(CapabilityContract, [_contract_row(stage.contract) for stage in pipeline.stages])
        await self._upsert(
            ProcessingStage,
            [
                {
                    "id": stage.id,
                    "pipeline": pipeline.name,
                    "position": position,
                    "required": stage.required,
                    "contract_id": f"{stage.contract.name}@{stage.contract.version}",
                }
                for position, stage in enumerate(pipeline.stages)
            ],
        )
        for outdated, keep in ((False, ("enabled",)), (True, ("enabled", *_CODE))):
            rows = [_module_row(module, now_us) for module in modules if module.outdated is outdated]
            await self._upsert(Module, rows, keep)
        gone = update(Module).where(Module.id.not_in(list(snapshot.modules)), Module.installed)
        await self._session.execute(gone.values(installed=False, status="unavailable", changed_at=now_us))

    async def _upsert(self, table: type[Any], rows: Sequence[Mapping[str, Any]], keep: tuple[str, ...] = ()) -> None:
        if rows:
            insert = self._insert(table)
            changed = {name: insert.excluded[name] for name in rows[0] if name != "id" and name not in keep}
            await self._session.execute(insert.on_conflict_do_update(index_elements=["id"], set_=changed), list(rows))

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
            raise not_installed()
        statement = update(Module).where(Module.id == module_id, Module.enabled != enabled)
        result = await self._session.execute(statement.values(enabled=enabled, changed_at=now_us))
        assert isinstance(result, CursorResult)
        return result.rowcount == 1

    async def code_digests(self) -> Mapping[str, str]:
        """Return the digest of each installed module's code, as whoever looked last saw it."""
        rows = await self._session.execute(select(Module.id, Module.code_digest).where(Module.installed))
        return {row.id: row.code_digest for row in rows.all()}

    async def module_statuses(self) -> Mapping[str, str]:
        """Return what was last seen of each module: its status."""
        rows = await self._session.execute(select(Module.id, Module.status))
        return {row.id: row.status for row in rows.all()}

    async def distributions(self) -> Mapping[str, str]:
        """Return, for every module seen before, the distribution that offered it: it installs a missing one."""
        rows = await self._session.execute(select(Module.id, Module.distribution))
        return {row.id: row.distribution for row in rows.all()}


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
