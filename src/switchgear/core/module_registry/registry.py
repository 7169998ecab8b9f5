"""The registry: which modules are installed, what each is, and whether it can work here now. Source: T010, DESIGN 3.

Module code is never imported here: child processes describe and probe.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from switchgear.core.module_registry.build import duplicate_lack
from switchgear.core.module_registry.descriptions import Descriptions
from switchgear.core.module_registry.discovery import MODULES, PIPELINES, offers
from switchgear.core.module_registry.probes import FRESH_US, Key, Probes
from switchgear.core.module_registry.requirements import first_lack
from switchgear.core.module_registry.state import (
    FIRST_LOOK_US,
    FORGOTTEN_AFTER_US,
    Known,
    ModuleChange,
    RunTimeTrouble,
    State,
    Trouble,
    changes_between,
    known_of,
)
from switchgear.domain.configuration import sha256_of
from switchgear.domain.errors import Code
from switchgear.domain.stage import (
    IsolationReport,
    Lack,
    ModuleDescription,
    ModuleStatus,
    PipelineDescription,
    ProbeAnswer,
    Snapshot,
)

#: Describing is work for the processor: not more children at once than this.
_MOST_CHILDREN: Final = 4


class ModuleRegistry:
    """Finds, describes and watches the modules of one pipeline.

    Args:
        pipeline: Name in the entry point group `switchgear.pipelines`.
        cache: Folder for descriptions, so that the next start imports nothing.
        clock: Microseconds UTC.
        environment: Variables of the server; children get PATH, locale and what a module asked for.
        isolation: What holds module processes here; see `probe_isolation`.
        import_timeout_s: Longest import of one module, in seconds.
        probe_timeout_s: Longest probe, in seconds.
        disabled: Ids that a maintainer disabled.
    """

    def __init__(
        self,
        *,
        pipeline: str,
        cache: Path,
        clock: Callable[[], int],
        isolation: IsolationReport,
        environment: Mapping[str, str] = os.environ,
        import_timeout_s: float = 20.0,
        probe_timeout_s: float = 5.0,
        disabled: Collection[str] = (),
    ) -> None:
        self._pipeline_name = pipeline
        self._clock = clock
        self._environment = environment
        self.isolation = isolation
        self._disabled = set(disabled)
        parallel = min(_MOST_CHILDREN, os.cpu_count() or 1)
        self._found = Descriptions(cache, clock, environment, import_timeout_s, parallel)
        self._turn = 0  #: number of the last look that was begun
        self._scanned = 0  #: that of the last scan whose findings count
        self._pipeline: PipelineDescription | None = None
        self._known: dict[str, Known] = {}
        self._probes = Probes(environment, clock, probe_timeout_s, parallel)
        self._reported: dict[Key, RunTimeTrouble] = {}
        self._shown: dict[str, ModuleDescription] | None = None
        self._current: Snapshot | None = None
        self._announced: dict[str, State] = {}
        self._looking = asyncio.Lock()

    # --- finding ---

    async def start(self) -> None:
        """Describe the pipeline and every installed module; a module that cannot be described is unavailable.

        Raises:
            PipelineUnavailable: Without the pipeline nothing can run.
        """
        await self._found.load()
        describing = asyncio.create_task(self._found.modules(offers(MODULES)), name="describe modules")
        try:
            self._pipeline = await self._found.pipeline(self._pipeline_name, offers(PIPELINES))
            answers = await describing
        finally:  # no child is left behind
            describing.cancel()
            await asyncio.wait([describing])
        await self._found.save()
        known = [known_of(offer, answer, self.pipeline, turn=0) for offer, answer in answers]
        await self._check(known)
        self._known = {one.offer.name: one for one in known}
        self._announced = self._states()

    @property
    def importing(self) -> Collection[str]:
        """Names of the modules that are imported now; whoever waits for long waits for these."""
        return self._found.importing

    async def rescan(self, *, anew: bool = True) -> list[ModuleChange]:
        """Find newly installed, removed and changed modules; what came back is available at once.

        Args:
            anew: Import again what could not be imported, although its files are as they were.
        """
        turn = self._next_turn()
        await self._found.load()
        answers = await self._found.modules(offers(MODULES), anew=anew)
        await self._found.save()
        again = [known_of(offer, answer, self.pipeline, turn) for offer, answer in answers]
        await self._check(again)
        changed = self._take_over(again, turn) if turn > self._scanned else set()  # else a later scan has seen more
        for item in self._reported.values():
            item.trouble.repaired(self._clock())
        return [*self._announce(changed), *await self._ask_due(self._clock())]

    def _next_turn(self) -> int:
        self._turn += 1
        return self._turn

    def _take_over(self, found: Iterable[Known], turn: int) -> set[str]:
        """Know what a scan found, and what looks that began after it found since; returns whose code is another one."""
        before, self._scanned = self._known, turn
        later = {name: known for name, known in before.items() if known.turn > turn}
        self._known = {one.offer.name: later.get(one.offer.name, one) for one in found}
        self._shown = self._current = None
        digests = {name: known.base.code_digest for name, known in before.items()}
        changed = {name for name, known in self._known.items() if known.base.code_digest != digests.get(name)}
        for name in changed:
            self._forget(name)
        return changed

    def _forget(self, module_id: str) -> None:
        self._probes.forget(module_id)
        self._reported = {key: item for key, item in self._reported.items() if key[0] != module_id}
        self._current = None

    # --- looking ---

    async def _check(self, some: list[Known]) -> None:
        """Look at facts (duplicate, import, code, requirements) in a thread; what is found counts at once."""
        lacks = await asyncio.to_thread(lambda: [self._fact(known) for known in some])
        now = self._clock()
        for known, lack in zip(some, lacks, strict=True):
            known.checked_us = now
            if lack is None:
                known.trouble = None
            elif known.trouble is None:
                known.trouble = Trouble(lack, now + FIRST_LOOK_US)
                if known.is_uncertain:  # it may be repaired by now
                    known.trouble.repaired(now)
            else:
                known.trouble.lack = lack
        self._shown = self._current = None

    def _fact(self, known: Known) -> Lack | None:
        if known.offer.rivals:
            return duplicate_lack(known.offer)
        if known.base.lack is not None:
            return known.base.lack
        return known.changed_code() or first_lack(known.base, self._environment, self.isolation)

    async def look_again(self, now_us: int) -> list[ModuleChange]:
        """Look at unavailable modules whose pause is over, and whether available ones still are.

        Two good answers in a row bring a module back. Call it from a loop, a few times a minute.

        Returns:
            Every change since the last announcement, those that a snapshot found included.
        """
        await self._check([known for known in self._known.values() if known.trouble is None])
        due = [known for known in self._known.values() if known.trouble is not None and known.trouble.next_us <= now_us]
        await self._import_again([known for known in due if known.base.lack is not None and not known.offer.rivals])
        await asyncio.gather(*(self._look_at(known.offer.name, known.trouble, now_us) for known in due))
        self._reported = {key: item for key, item in self._reported.items() if not item.is_over(now_us)}
        back = await self._ask_due(now_us)
        self._shown = self._current = None
        return [*self._announce(), *back]

    async def _ask_due(self, now_us: int) -> list[ModuleChange]:
        due = [(key, item) for key, item in self._reported.items() if item.trouble.next_us <= now_us]
        back = await asyncio.gather(*(self._ask_again(key, item, now_us) for key, item in due))
        return [change for change in back if change is not None]

    async def _import_again(self, failed: list[Known]) -> None:
        """Describe anew, all together, what could not be imported; whom a scan described meanwhile stays as it is."""
        if not failed:
            return
        turn = self._next_turn()
        answers = await self._found.modules({known.offer.name: known.offer for known in failed}, anew=True)
        await self._found.save()
        for known, (offer, answer) in zip(failed, answers, strict=True):
            if self._known.get(offer.name) is known:
                self._known[offer.name] = made = known_of(offer, answer, self.pipeline, turn)
                made.trouble = known.trouble

    async def _look_at(self, module_id: str, trouble: Trouble | None, now_us: int) -> None:
        known = self._known.get(module_id)
        if known is None or trouble is None or known.trouble is not trouble:
            return  # a scan found another answer meanwhile
        lack = await asyncio.to_thread(self._fact, known)
        if lack is not None:
            if known.is_uncertain:  # its files are at work: the pause is the shortest again
                trouble.wait_us = FIRST_LOOK_US // 2
            trouble.bad_again(lack, now_us)
        elif trouble.good_answer(now_us):
            known.trouble = None

    async def _ask_again(self, key: Key, reported: RunTimeTrouble, now_us: int) -> ModuleChange | None:
        known = self._known.get(key[0])
        if known is None or known.trouble is not None:
            return None
        lack: Lack | None = None
        if known.has_probe and reported.settings is not None:
            self._probes.answers.pop(key, None)
            lack = (await self._probes.ask(key, reported.settings, known.variables)).lack
        if lack is not None:
            reported.trouble.bad_again(lack, now_us)
        elif reported.trouble.good_answer(now_us):
            self._reported.pop(key, None)
            self._probes.answers.pop(key, None)
            self._current = None
            if reported.expires_us is None:  # a worker's report was announced, so its end is
                return ModuleChange(key[0], ModuleStatus.UNAVAILABLE, self._descriptions()[key[0]].status, None)
        return None

    def report_unavailable(
        self, module_id: str, settings_digest: str, lack: Lack, settings: Mapping[str, Any] | None = None
    ) -> list[ModuleChange]:
        """A worker saw at run time that a module with these settings cannot work.

        Args:
            module_id: The module.
            settings_digest: SHA-256 of the settings.
            lack: What the worker saw.
            settings: With them it is probed later; without, its requirements alone bring it back.

        Returns:
            The change, unless it was known.
        """
        self._current = None
        known = self._reported.get(key := (module_id, settings_digest))
        if known is not None and known.expires_us is None:
            known.trouble.lack = lack
            known.trouble.good = 0
            return []
        self._reported[key] = RunTimeTrouble(Trouble(lack, self._clock() + FIRST_LOOK_US), settings)
        module = self._descriptions().get(module_id)
        if module is None or not module.is_usable:
            return []
        return [ModuleChange(module_id, module.status, ModuleStatus.UNAVAILABLE, lack)]

    # --- answers ---

    @property
    def pipeline(self) -> PipelineDescription:
        """The pipeline; there is none before `start`."""
        assert self._pipeline is not None, "ModuleRegistry.start() was not called"
        return self._pipeline

    def current(self) -> Snapshot:
        """What is known now; does no work, and is the same object as long as nothing has changed."""
        self._current = self._current or self._snapshot({})
        return self._current

    async def snapshot(self, uses: Iterable[tuple[str, Mapping[str, Any]]] = (), *, probe: bool = True) -> Snapshot:
        """Look now: requirements of all modules, and settings and a probe of each of *uses*; none older than 10 s.

        Args:
            uses: Module ids with settings.
            probe: Without it, modules only say whether they take their settings: asked once, then known.
        """
        async with self._looking:  # whoever asks meanwhile waits for the same look
            stale = [known for known in self._known.values() if self._clock() - known.checked_us >= FRESH_US]
            if stale:
                await self._check(stale)
        uses = list(uses)
        await self.check_settings(uses)
        asked = {(name, sha256_of(settings)): settings for name, settings in uses if probe and self._is_probed(name)}
        answers = await asyncio.gather(
            *(self._probes.ask(key, settings, self._known[key[0]].variables) for key, settings in asked.items())
        )
        now = self._clock()
        for (key, settings), answer in zip(asked.items(), answers, strict=True):
            known_trouble = self._reported.get(key)
            if known_trouble is not None and known_trouble.expires_us is None:
                continue  # what a worker saw is not over with one good answer
            if known_trouble is not None or answer.lack is not None:
                self._current = None
            if answer.lack is None:
                self._reported.pop(key, None)
            else:
                trouble = known_trouble.trouble if known_trouble else Trouble(answer.lack, now + FIRST_LOOK_US)
                self._reported[key] = RunTimeTrouble(trouble, settings, now + FORGOTTEN_AFTER_US)
        return self._snapshot(dict(zip(asked, answers, strict=True)))

    def _is_probed(self, module_id: str) -> bool:
        known = self._known.get(module_id)
        return known is not None and known.has_probe and known.trouble is None and module_id not in self._disabled

    async def check_settings(self, uses: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Let modules say of *uses* what no schema shows: once, so that nobody waits for it later.

        Disabled modules are asked too; one that cannot be imported has nothing to say.
        """
        await asyncio.gather(
            *(
                self._probes.check((module_id, sha256_of(settings)), settings, known.variables)
                for module_id, settings in uses
                if (known := self._known.get(module_id)) and known.base.stage_id and not known.schema_decides
            )
        )

    def _snapshot(self, fresh: Mapping[Key, ProbeAnswer]) -> Snapshot:
        reported = {key: ProbeAnswer(*key, item.trouble.lack) for key, item in self._reported.items()}
        mistakes = {key: found for key, found in self._probes.checked.items() if found}
        return Snapshot(self._clock(), self.pipeline, self._descriptions(), {**reported, **fresh}, mistakes)

    def _descriptions(self) -> dict[str, ModuleDescription]:
        if self._shown is None:
            self._shown = {
                name: replace(
                    known.base,
                    enabled=name not in self._disabled,
                    lack=known.trouble.lack if known.trouble else None,
                    outdated=known.trouble is not None and known.trouble.lack.code is Code.MODULE_VERSION_CHANGED,
                )
                for name, known in self._known.items()
            }
        return self._shown

    def set_enabled(self, module_id: str, enabled: bool) -> None:
        """Enable or disable a module; a disabled one is used by nobody.

        Raises:
            NotFound: No such module is installed.
        """
        self.current().module(module_id)
        (self._disabled.discard if enabled else self._disabled.add)(module_id)
        self._shown = self._current = None
        self._announced[module_id] = self._states()[module_id]  # the caller knows

    def _states(self) -> dict[str, State]:
        return {name: (item.status, item.lack) for name, item in self._descriptions().items()}

    def _announce(self, also: Collection[str] = ()) -> list[ModuleChange]:
        """Return what changed since the last time, and the modules in *also* whether they did or not."""
        before, after = self._announced, self._states()
        self._announced = after
        return changes_between(before, after, also)

    async def close(self) -> None:
        """End probes that still run."""
        await self._probes.close()
