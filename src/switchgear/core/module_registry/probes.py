"""Probes of modules, and their own checks of settings, each in a child process with a time limit. Source: DESIGN 3."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from switchgear.core.module_registry.children import ask, child_environment
from switchgear.core.module_registry.lacks import lack_of_failure
from switchgear.domain.configuration import canonical_json
from switchgear.domain.errors import Code
from switchgear.domain.stage import Lack, ProbeAnswer, SettingMistake
from switchgear.domain.wanted_values import wanted_of

#: An answer serves this long, in microseconds. DESIGN 4: a snapshot is at most 10 s old.
FRESH_US: Final = 10_000_000
#: So many checked settings are remembered; the oldest are forgotten first.
_MOST_CHECKED: Final = 2000

Key = tuple[str, str]


@dataclass(slots=True)
class Probes:
    """Asks, remembers for a short time, and lets requests for the same thing share one child."""

    environment: Mapping[str, str]
    clock: Callable[[], int]
    limit_s: float
    parallel: int
    answers: dict[Key, tuple[ProbeAnswer, int]] = field(default_factory=dict)
    checked: dict[Key, tuple[SettingMistake, ...]] = field(default_factory=dict)  #: until a module's code changes
    _running: dict[Key, asyncio.Task[ProbeAnswer]] = field(default_factory=dict)
    _checking: dict[Key, asyncio.Task[None]] = field(default_factory=dict)
    _slots: asyncio.Semaphore | None = None

    async def ask(self, key: Key, settings: Mapping[str, Any], variables: tuple[str, ...]) -> ProbeAnswer:
        """Return an answer that is fresh enough, or ask for one.

        Args:
            key: Module id and digest of the settings.
            settings: The settings.
            variables: Names of environment variables that the module asked for.
        """
        known = self.answers.get(key)
        if known is not None and self.clock() - known[1] < FRESH_US:
            return known[0]
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._probe(key, settings, variables), name=f"probe {key[0]}")
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
        return await asyncio.shield(task)

    async def check(self, key: Key, settings: Mapping[str, Any], variables: tuple[str, ...]) -> None:
        """Let the module's code say whether it takes the settings; one that gives no answer is asked again next time.

        Arguments as `ask`.
        """
        if key in self.checked:
            return
        task = self._checking.get(key)  # whoever asks meanwhile waits for the same child
        if task is None:
            task = self._checking[key] = asyncio.create_task(self._checked(key, settings, variables))
            task.add_done_callback(lambda _: self._checking.pop(key, None))
        await asyncio.shield(task)

    async def _checked(self, key: Key, settings: Mapping[str, Any], variables: tuple[str, ...]) -> None:
        found, _ = await self._child("settings", key, settings, variables)
        lack = found.get(key[0], {}).get("lack", {})
        if lack is None or lack.get("while") == "settings":
            for old in list(self.checked)[: max(0, len(self.checked) - _MOST_CHECKED)]:
                del self.checked[old]
            self.checked[key] = _mistakes(lack) if lack else ()

    async def _child(
        self, command: str, key: Key, settings: Mapping[str, Any], variables: tuple[str, ...]
    ) -> tuple[dict[str, dict[str, Any]], str]:
        if self._slots is None:
            self._slots = asyncio.Semaphore(self.parallel)
        environment = child_environment(self.environment, variables)
        async with self._slots:
            return await ask(command, [key[0]], environment, limit_s=self.limit_s, text=canonical_json(dict(settings)))

    async def _probe(self, key: Key, settings: Mapping[str, Any], variables: tuple[str, ...]) -> ProbeAnswer:
        module_id = key[0]
        found, reason = await self._child("probe", key, settings, variables)
        answer = ProbeAnswer(module_id, key[1], self._lack(module_id, found.get(module_id), reason))
        now = self.clock()
        for old in [old for old, (_, at) in self.answers.items() if now - at >= FRESH_US]:
            del self.answers[old]
        self.answers[key] = (answer, now)
        return answer

    def _lack(self, module_id: str, found: Mapping[str, Any] | None, reason: str) -> Lack | None:
        if found is None and reason == "timeout":
            message = f"Module {module_id}: its probe did not answer within {self.limit_s:g} s."
            return Lack(Code.MODULE_PROBE_FAILED, message)
        if found is None:
            return Lack(Code.MODULE_PROBE_FAILED, f"Module {module_id}: its probe ended with {reason}.")
        failure = found.get("lack") or found.get("failure")
        return lack_of_failure(module_id, failure, str(failure.get("while", "probe"))) if failure else None

    def forget(self, module_id: str) -> None:
        """Drop the answers of a module whose code changed."""
        for known in (self.answers, self.checked):
            for key in [key for key in known if key[0] == module_id]:
                del known[key]

    async def close(self) -> None:
        """Stop asking."""
        tasks = [*self._running.values(), *self._checking.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _mistakes(lack: Mapping[str, Any]) -> tuple[SettingMistake, ...]:
    """What the module's code said of its settings; a check that fails in another way names its error."""
    found = lack.get("mistakes") or [{"loc": (), "kind": "", "message": f"{lack.get('error')}: {lack.get('message')}"}]
    return tuple(
        SettingMistake(
            tuple(item["loc"]),
            wanted_of(item["kind"], item.get("bounds")) or f"does not fit: {str(item['message']).rstrip('.')}",
        )
        for item in found
    )
