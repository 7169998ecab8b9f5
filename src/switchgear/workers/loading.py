"""What this process has made ready of the active version, and whether it may take runs. Source: DESIGN 4 (warm beside).

A worker that starts late, or that cannot load what others have loaded, claims nothing: runs would be put on hold for
a lack that is this machine's alone. A worker that is the only one goes on, and says what it lacks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from switchgear.core import admission
from switchgear.core.database import Statements
from switchgear.core.logging import get_logger
from switchgear.core.observability import EventName, Metrics
from switchgear.domain.configuration import StoredConfiguration
from switchgear.domain.errors import Why

log = get_logger()


class OtherWorkers(Protocol):
    """What is asked of the run repository."""

    async def has_loaded(self, generation: int, but: str) -> bool:
        """Whether another live worker has loaded this generation."""


class Loading:
    """Follows the active version.

    Args:
        statements: The narrow path.
        pipeline: Name of the instance's pipeline.
        find: Reads a stored configuration by its id.
        warm: Makes a configuration ready here; returns why it cannot be.
        others: Knows the other workers.
        worker_id: This process among them.
        storage: Says why documents cannot be read or kept here; None when they can.
        metrics: Told what is loaded.
    """

    def __init__(
        self,
        statements: Statements,
        pipeline: str,
        *,
        find: Callable[[str], Awaitable[StoredConfiguration]],
        warm: Callable[[StoredConfiguration], Awaitable[Why | None]],
        others: OtherWorkers,
        worker_id: str,
        storage: Callable[[], Awaitable[Why | None]],
        metrics: Metrics | None = None,
    ) -> None:
        self._statements = statements
        self._pipeline = pipeline
        self._find = find
        self._warm = warm
        self._others = others
        self._worker_id = worker_id
        self._storage = storage
        self._has_storage = True
        self._metrics = metrics
        self._wanted: int | None = None
        self.generation: int | None = None  #: of the version that is ready here; None when it is not the active one
        self.refusal: Why | None = None

    async def look(self) -> None:
        """Look whether documents can be had; make the active version ready when it is another one, or was refused.

        Raises:
            DatabaseUnreachable: It is not known which one is active.
        """
        self._has_storage = await self._storage() is None
        state = await admission.read(self._statements, self._pipeline)
        if state.active_configuration_id is None or state.generation == self.generation:
            return
        is_new = state.generation != self._wanted
        self._wanted, self.generation = state.generation, None
        configuration = await self._find(state.active_configuration_id)
        self.refusal = await self._warm(configuration)
        if self.refusal is None:
            self.generation = state.generation
            if self._metrics is not None:
                self._metrics.set_generation(applied=state.generation)
        elif is_new:
            log.warning(
                EventName.VERSION_NOT_LOADED,
                configuration_version=configuration.version,
                reason=str(self.refusal.code),
                summary=self.refusal.summary,
            )

    def is_ready(self) -> bool:
        """Whether runs are taken here, as far as that is known without asking for the other workers."""
        return self._has_storage and (self._wanted is None or self.generation is not None)

    async def may_claim(self) -> bool:
        """Whether runs are taken here: the active version is ready, or nobody else has it ready either.

        None are taken while documents cannot be had: whoever is left with them would put them on hold for good.
        """
        if not self._has_storage:
            return False
        if self._wanted is None or self.generation is not None:
            return True
        return not await self._others.has_loaded(self._wanted, but=self._worker_id)
