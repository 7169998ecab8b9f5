"""Rows of breakers that are not closed, as one transaction sees them. Source: DESIGN 5, 7."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any, Final

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from switchgear.core import configuration_models
from switchgear.core.configuration_models import table_of
from switchgear.domain.breaker import Breaker, BreakerState

_TABLE: Final = table_of(configuration_models.Breaker)
_COLUMNS: Final = [_TABLE.c[field.name] for field in fields(Breaker)]
_ALL: Final = select(*_COLUMNS)
_ONE: Final = _ALL.where(_TABLE.c.module_id == bindparam("module"), _TABLE.c.settings_digest == bindparam("settings"))


class BreakerRepository:
    """Reads and writes breakers; whoever changes one holds the lock of the audit trail."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def all(self) -> Sequence[Breaker]:
        """Return every breaker that is not closed."""
        return [_breaker(row) for row in await self._session.execute(_ALL)]

    async def get(self, module_id: str, settings_digest: str) -> Breaker:
        """Return a breaker; one that is not stored is closed."""
        found = await self._session.execute(_ONE, {"module": module_id, "settings": settings_digest})
        row = found.one_or_none()
        return Breaker(module_id, settings_digest) if row is None else _breaker(row)

    async def save(self, breaker: Breaker) -> None:
        """Store a breaker as it stands now; a closed one is forgotten."""
        place = (_TABLE.c.module_id == breaker.module_id, _TABLE.c.settings_digest == breaker.settings_digest)
        await self._session.execute(delete(_TABLE).where(*place))
        if breaker.state is not BreakerState.CLOSED:
            await self._session.execute(insert(_TABLE), asdict(breaker) | {"state": str(breaker.state)})

    async def forget(self, module_id: str) -> None:
        """Close every breaker of a module, whatever its settings."""
        await self._session.execute(delete(_TABLE).where(_TABLE.c.module_id == module_id))


def _breaker(row: Any) -> Breaker:
    values = dict(row._mapping)
    return Breaker(**values | {"state": BreakerState(values["state"])})
