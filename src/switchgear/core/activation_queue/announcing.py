"""Tells everybody who waits in this process what became of an activation, after the commit. Source: DESIGN 4."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from switchgear.core import admission
from switchgear.core.logging import get_logger
from switchgear.core.observability import EventName, Metrics
from switchgear.core.unit_of_work import Units
from switchgear.domain.activation import State, StoredActivation

log = get_logger()

Applied = Callable[[StoredActivation], Awaitable[None] | None]

#: Warming is over when the drain begins; the end is logged where it is counted.
_EVENTS: Final = {State.DRAINING: EventName.ACTIVATION_WARMED}


class Announcer:
    """Knows the generation that this process has heard of.

    Args:
        units: Makes units of work.
        pipeline: Gives the pipeline's name, once the registry knows it.
        metrics: Where ends are counted.
    """

    def __init__(self, units: Units, pipeline: Callable[[], str], metrics: Metrics | None) -> None:
        self._units = units
        self._pipeline = pipeline
        self._metrics = metrics
        self._changed = asyncio.Condition()
        self._generation: int | None = None
        #: Called after each switch, whichever process made it, with the applied activation.
        self.on_applied: list[Applied] = []

    async def announce(self, activation: StoredActivation) -> None:
        """Log, count and wake whoever waits."""
        event = _EVENTS.get(activation.state)
        if event is not None:
            log.info(event, activation_id=activation.id, configuration_version=activation.configuration_version)
        elif not activation.is_pending and self._metrics is not None:
            self._metrics.record_activation_end(activation)
        if activation.state is State.APPLIED:
            await self.look()
        async with self._changed:
            self._changed.notify_all()

    async def look(self) -> None:
        """Call `on_applied` when there was a switch since the last look, in this or another process."""
        state = await admission.read(self._units.database.narrow, self._pipeline())
        if state.generation == self._generation:
            return
        is_first = self._generation is None and state.generation == 0
        self._generation = state.generation
        async with self._units(write=False) as unit:
            applied = await unit.activations.last_applied()
        if applied is None or is_first:
            return
        for call in self.on_applied:
            answer = call(applied)
            if answer is not None:
                await answer

    async def wait(self, seconds: float) -> None:
        """Wait until something was announced here, at most so long."""
        async with self._changed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), seconds)
