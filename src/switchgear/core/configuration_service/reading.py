"""What is stored, and what every part of the service stands on. Source: T012, T033, DESIGN 4."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from switchgear.core import admission
from switchgear.core.activation_queue import ActivationQueue, uses_of
from switchgear.core.configuration_repository import history
from switchgear.core.configuration_service.differences import Diff, diff
from switchgear.core.configuration_validation import Findings, Purpose, Validate, ValidationOptions, validate, validator
from switchgear.core.database import Statements
from switchgear.core.module_registry import ModuleRegistry
from switchgear.core.observability import Metrics
from switchgear.core.unit_of_work import Units
from switchgear.domain.configuration import ConfigurationSummary, Content, StoredConfiguration
from switchgear.domain.errors import InvalidRequest, NotFound
from switchgear.domain.fallback import FallbackPlan, plan_for
from switchgear.domain.stage import ModuleDescription, Snapshot


@dataclass(frozen=True, slots=True)
class Page:
    """Versions, newest first; `next_cursor` goes on where they end."""

    items: tuple[ConfigurationSummary, ...]
    next_cursor: str | None


class Reading:
    """The part of the service that answers.

    Args:
        units: Makes units of work.
        registry: What is installed and available.
        queue: Carries activations.
        clock: Microseconds UTC.
        options: What validation depends on; the queue's, which repeats the validation, when left out.
        metrics: Where validations are counted.
    """

    def __init__(
        self,
        units: Units,
        registry: ModuleRegistry,
        queue: ActivationQueue,
        clock: Callable[[], int],
        options: ValidationOptions | None = None,
        *,
        metrics: Metrics | None = None,
    ) -> None:
        self._units = units
        self._registry = registry
        self._queue = queue
        self._clock = clock
        self._options = options if options is not None else queue.options
        self._metrics = metrics
        self._validate: Validate = validator(self._options)
        self._active: StoredConfiguration | None = None
        #: The version whose modules were asked about its settings.
        self._asked_about: str | None = None
        #: Modules whose schemas were compared, as they were described then.
        self._compared_in: Mapping[str, ModuleDescription] = {}
        self._compared: frozenset[str] = frozenset()

    async def get(self, ref: str) -> StoredConfiguration:
        """Return a configuration by its id, `vN`, `active` or `previous`; raises `NotFound`."""
        async with self._units(write=False) as unit:
            return await unit.configurations.get(ref)

    async def active(self) -> StoredConfiguration:
        """Return the active configuration; raises `NotFound` before the first one."""
        return await self.get("active")

    async def list(self, limit: int = 50, cursor: str | None = None) -> Page:
        """Return versions, newest first; *cursor* is `next_cursor` of the page before."""
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10):
            raise InvalidRequest("The cursor is none that this list gave. Start again without one.")
        before = int(cursor) if cursor is not None else None
        found = await history(self._units.database.narrow, limit + 1, before)
        return Page(tuple(found[:limit]), str(found[limit - 1].version) if len(found) > limit else None)

    async def diff(self, ref: str, against: str = "active") -> Diff:
        """Return what differs in meaning, on the way from *against* to *ref*; raises `NotFound`."""
        async with self._units(write=False) as unit:
            return diff(await unit.configurations.get(against), await unit.configurations.get(ref))

    def fallback_plan(self, configuration: StoredConfiguration, stage_id: str) -> FallbackPlan | None:
        """Return who may serve a stage, in which order, and what happens when nobody does; T033.

        Returns:
            None when the configuration leaves an optional stage out.

        Raises:
            NotFound: The pipeline has no such stage.
        """
        stage = self._registry.pipeline.stage(stage_id)
        if stage is None:
            raise NotFound("The pipeline has no such stage. `switchgear stages list` shows them.")
        return plan_for(configuration.content, stage_id, defaults=stage.limits, required=stage.required)

    async def _active_now(self, statements: Statements) -> StoredConfiguration | None:
        """The active configuration as *statements* see it; read whole only when it is another one than last time."""
        state = await admission.read(statements, self._registry.pipeline.name)
        if state.active_configuration_id is None:
            return None
        if self._active is None or self._active.id != state.active_configuration_id:
            self._active = await self.get(state.active_configuration_id)
        return self._active

    async def _distributions(self, content: Content, snapshot: Snapshot) -> Mapping[str, str]:
        """Who offered modules that are named and gone; nothing is asked while all are there."""
        if content.module_ids() <= snapshot.modules.keys():
            return {}
        async with self._units(write=False) as unit:
            return await unit.catalogue.distributions()

    async def _looked_at(self, content: Content, *, probe: bool) -> Snapshot:
        """Look outside of any transaction, and compare schemas once where that stops nobody: answers are kept."""
        snapshot = await self._registry.snapshot(uses_of(content), probe=probe)
        modules = content.module_ids()
        if snapshot.modules is not self._compared_in or not modules <= self._compared:
            await asyncio.to_thread(validate, content, snapshot, purpose=Purpose.CREATE, settings=self._options)
            kept = self._compared if snapshot.modules is self._compared_in else frozenset()
            self._compared_in, self._compared = snapshot.modules, kept | modules
        return snapshot

    def _count(self, findings: Findings) -> None:
        if self._metrics is not None:
            self._metrics.record_validation(errors=len(findings.errors), warnings=len(findings.warnings))
