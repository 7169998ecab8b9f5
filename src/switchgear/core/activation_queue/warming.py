"""Makes a candidate ready in this process, beside what serves documents, and acknowledges. Source: DESIGN 4."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from switchgear.core.logging import get_logger
from switchgear.core.observability import EventName
from switchgear.core.unit_of_work import Units
from switchgear.domain.activation import State, StoredActivation
from switchgear.domain.configuration import StoredConfiguration
from switchgear.domain.errors import Code, Why

log = get_logger()


class Warming:
    """At most one task per activation; it runs outside of any transaction.

    Args:
        units: Makes units of work.
        warm: Makes a configuration ready in this process; returns why it cannot.
        worker_id: This process among the workers.
        timeout_s: Longest time, in seconds.
        then: Called after the answer is stored.
    """

    def __init__(
        self,
        units: Units,
        warm: Callable[[StoredConfiguration], Awaitable[Why | None]],
        worker_id: str,
        timeout_s: float,
        then: Callable[[], Awaitable[Any]],
    ) -> None:
        self._units = units
        self._warm = warm
        self._worker_id = worker_id
        self._timeout_s = timeout_s
        self._then = then
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def begin(
        self, activation: StoredActivation, configuration: StoredConfiguration | None, live: Collection[str]
    ) -> None:
        """Start warming, if this process is a live worker, or there is none; a task that runs already goes on."""
        is_asked = self._worker_id in live or not live
        has_answered = any(item["worker_id"] == self._worker_id for item in activation.acknowledgements)
        if configuration is None or not is_asked or has_answered or activation.id in self._tasks:
            return
        task = asyncio.create_task(self._answer(activation.id, configuration), name=f"warm {configuration.label}")
        self._tasks[activation.id] = task
        task.add_done_callback(lambda done: self._end(activation.id, done))

    def tasks(self) -> list[asyncio.Task[None]]:
        """Return what runs now."""
        return list(self._tasks.values())

    async def idle(self) -> None:
        """Wait until nothing runs."""
        while self._tasks:
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _end(self, activation_id: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(activation_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error(EventName.TASK_FAILED, task="warm", error=type(error).__name__, message=str(error))

    async def _answer(self, activation_id: str, configuration: StoredConfiguration) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                why = await self._warm(configuration)
        except TimeoutError:
            return  # the queue rejects it as late
        except Exception as error:  # an activation must end with a reason, whatever a plan meets
            log.exception(EventName.TASK_FAILED, task="warm", configuration_version=configuration.version)
            summary = f"{configuration.label} could not be made ready here: {type(error).__name__}."
            why = Why(Code.ACTIVATION_WORKER_REFUSED, summary)
        async with self._units() as unit:
            activation = await unit.activations.get(activation_id)
            if activation.state is not State.WARMING:
                return
            answer = "ready" if why is None else "refused"
            await unit.activations.acknowledge(
                activation_id, self._worker_id, answer, why.as_json() if why else None, await unit.now_us()
            )
            await unit.commit()
        await self._then()
