"""One transaction with everything that may change in it: configurations, activations, audit, access. Source: STYLE 2.

    async with units() as unit:              # a writer; leaving without commit() rolls back
        configuration = await unit.configurations.get("v12")
        await unit.audit.append(...)
        await unit.commit()

Runs are reached through `unit.statements`, on the same connection, so that a change that touches runs and audit is one
transaction (DESIGN 2).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cached_property

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from switchgear.core.access_repository import AccessRepository
from switchgear.core.activation_repository import ActivationRepository
from switchgear.core.audit_trail import AuditTrail
from switchgear.core.breaker_repository import BreakerRepository
from switchgear.core.catalogue_repository import CatalogueRepository
from switchgear.core.configuration_repository import ConfigurationRepository, Unchanging
from switchgear.core.database import Database, Statements
from switchgear.core.database.statements import riders_var, wall_time_us


class UnitOfWork:
    """An open transaction and the repositories that work in it."""

    def __init__(
        self, connection: AsyncConnection, database: Database, clock: Callable[[], int], known: dict[str, Unchanging]
    ) -> None:
        self._connection = connection
        self._known = known
        self._database = database
        self._clock = clock
        self._session: AsyncSession | None = None

    @property
    def session(self) -> AsyncSession:
        """The ORM's session of this transaction, made when it is first needed: plain statements do without."""
        if self._session is None:
            self._session = AsyncSession(bind=self._connection, expire_on_commit=False, autoflush=True)
        return self._session

    async def now_us(self) -> int:
        """The time in microseconds UTC: on PostgreSQL the database's own, unless a clock was given."""
        if self._database.dialect == "sqlite":
            return (self._database.clock or wall_time_us)()
        rows = await self.statements.query("SELECT now_us()")
        return int(rows[0][0])

    @cached_property
    def statements(self) -> Statements:
        """Plain statements inside this transaction, for runs."""
        return self._database.statements(self._connection)

    @cached_property
    def configurations(self) -> ConfigurationRepository:
        """Stored configurations."""
        return ConfigurationRepository(lambda: self.session, self.statements, self._known)

    @cached_property
    def catalogue(self) -> CatalogueRepository:
        """What is kept of stages, contracts and modules."""
        return CatalogueRepository(self.session)

    @cached_property
    def breakers(self) -> BreakerRepository:
        """Breakers that are not closed."""
        return BreakerRepository(self.session)

    @cached_property
    def activations(self) -> ActivationRepository:
        """Activations, acknowledgements, workers, and the admission row."""
        return ActivationRepository(self.session)

    @cached_property
    def audit(self) -> AuditTrail:
        """The audit trail; appending takes its lock."""
        return AuditTrail(lambda: self.session, self.statements, self._clock)

    @cached_property
    def access(self) -> AccessRepository:
        """Tokens and idempotency keys."""
        return AccessRepository(self.session)

    async def lock_switch(self) -> None:
        """Take the switch lock alone; must come before anything is read (DESIGN 4)."""
        await self._database.lock_switch(self._connection)

    async def commit(self) -> None:
        """Make everything durable."""
        if self._session is not None:
            await self._session.flush()
        riders = riders_var.get()
        if riders:
            await self.statements.run(*riders)
        await self._database.commit(self._connection)

    async def close(self) -> None:
        """Let go of what the ORM holds; the transaction is ended by who opened it."""
        if self._session is not None:
            await self._session.close()


class Units:
    """Makes units of work; `bootstrap` binds it to the database."""

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self.database = database
        self.clock = clock
        self._known: dict[str, Unchanging] = {}

    @asynccontextmanager
    async def __call__(self, *, write: bool = True) -> AsyncIterator[UnitOfWork]:
        """Open a unit of work; readers pass `write=False`.

        Raises:
            DatabaseUnreachable: The database cannot be reached or used; nothing was changed.
        """
        async with self.database.transaction(write=write) as connection:
            unit = UnitOfWork(connection, self.database, self.clock, self._known)
            try:
                yield unit
            finally:
                await unit.close()
