"""Removes what has been kept long enough, and files that nobody names. Source: INTERFACES 3 (`prune`), DESIGN 7.

Three periods, each counted from the end of a document's last run: large outputs, then originals, then the document
with its runs and results. The audit trail and configurations are never touched. Rows go first, with an entry in the
audit trail; then files that no row names. What is killed in between is met again by the next round.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from switchgear.core.logging import get_logger
from switchgear.core.observability import EventName
from switchgear.core.unit_of_work import Units
from switchgear.domain.access import SYSTEM, Actor
from switchgear.domain.audit import AuditAction
from switchgear.domain.errors import NotFound
from switchgear.ingestion.artifact_store import ArtifactStore
from switchgear.ingestion.run_repository import Removed, RunRepository
from switchgear.ingestion.run_repository.files import digests_in

log = get_logger()

#: Rows that one transaction removes: others write in between.
_AT_ONCE: Final = 200
_DAY_US: Final = 86_400 * 1_000_000


@dataclass(frozen=True, slots=True)
class Periods:
    """Days that things are kept after the last run of their document has ended; 0 = for ever."""

    outputs: int = 0
    originals: int = 0
    records: int = 0

    def items(self) -> Iterable[tuple[str, int]]:
        """Each kind with its days."""
        return (("outputs", self.outputs), ("originals", self.originals), ("records", self.records))


@dataclass(frozen=True, slots=True)
class Amount:
    """How many, and the bytes of their files."""

    count: int = 0
    size_bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.count + other.count, self.size_bytes + other.size_bytes)


@dataclass(slots=True)
class Pruned:
    """What was removed, or would be: `outputs`, `originals`, `records`, and `files` that no row names."""

    amounts: dict[str, Amount] = field(default_factory=dict)

    def add(self, kind: str, amount: Amount) -> None:
        """Count something."""
        self.amounts[kind] = self.amounts.get(kind, Amount()) + amount

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {kind: {"count": one.count, "bytes": one.size_bytes} for kind, one in self.amounts.items()}


class Retention:
    """What ends by age.

    Args:
        units: Makes units of work.
        repository: On the narrow path.
        artifacts: Where the files stand.
        periods: How long things are kept.
        min_age_s: Files that were kept less long ago are not looked at: their row may be on its way. In seconds.
    """

    def __init__(
        self, units: Units, repository: RunRepository, artifacts: ArtifactStore, periods: Periods, *, min_age_s: float
    ) -> None:
        self._units = units
        self._repository = repository
        self._artifacts = artifacts
        self.periods = periods
        self._min_age_s = min_age_s
        self._ticks = 0

    async def preview(self) -> Pruned:
        """Say what `prune` would remove now; what two kinds name is counted in both."""
        pruned = Pruned()
        async with self._units(write=False) as unit:
            repository = self._repository.on(unit.statements)
            counted = {
                "outputs": repository.old_outputs,
                "originals": repository.old_originals,
                "records": repository.old_records,
            }
            now = await unit.now_us()
            for kind, days in self.periods.items():
                pruned.add(kind, Amount(*await counted[kind](now - days * _DAY_US)) if days else Amount())
        sizes = [await asyncio.to_thread(self._artifacts.size_of, sha256) for sha256 in await self._unnamed()]
        pruned.add("files", Amount(len(sizes), sum(sizes)))
        return pruned

    async def prune(self, *, by: Actor, message: str = "", stray_files: bool = True) -> Pruned:
        """Remove what has been kept long enough; every transaction has its audit entry with what it removed.

        Args:
            by: The verified caller.
            message: Why; written to the audit trail.
            stray_files: Whether the store is searched for files that no row names.
        """
        pruned = Pruned()
        for kind, days in self.periods.items():
            pruned.add(kind, Amount())
            while days:
                removed = await self._remove(kind, days, by, message)
                pruned.add(kind, Amount(removed.count, removed.size_bytes))
                for sha256 in set(removed.files) - await self._repository.named(removed.files):
                    await asyncio.to_thread(self._artifacts.drop, sha256, self._min_age_s)
                if removed.count < _AT_ONCE:
                    break
        for sha256 in await self._unnamed() if stray_files else ():
            pruned.add("files", Amount(1, await asyncio.to_thread(self._artifacts.drop, sha256, self._min_age_s)))
        if any(amount.count for amount in pruned.amounts.values()):
            log.info(EventName.INSTANCE_PRUNED, actor=by.name, **pruned.as_json())
        return pruned

    async def tick(self) -> None:
        """The sweep's turn; it searches the store once a day, because that takes long where much is kept."""
        self._ticks += 1
        await self.prune(by=SYSTEM, message="kept as long as the settings say", stray_files=self._ticks % 24 == 1)

    async def _remove(self, kind: str, days: int, by: Actor, message: str) -> Removed:
        async with self._units() as unit:
            repository = self._repository.on(unit.statements)
            steps: Mapping[str, Callable[[int, int], Awaitable[Removed]]] = {
                "outputs": repository.remove_outputs,
                "originals": repository.remove_originals,
                "records": repository.remove_records,
            }
            removed = await steps[kind](await unit.now_us() - days * _DAY_US, _AT_ONCE)
            if removed.count:
                after = {"kind": kind, "days": days, "count": removed.count, "bytes": removed.size_bytes}
                await unit.audit.append(AuditAction.INSTANCE_PRUNED, actor=by, message=message, after=after)
                await unit.commit()
        return removed

    async def _unnamed(self) -> list[str]:
        """Files of the store that no row names: left by whoever was killed between a file and its row."""
        unnamed: set[str] = set()
        folders = self._artifacts.older_than(self._min_age_s)
        while (digests := await asyncio.to_thread(next, folders, None)) is not None:
            unnamed |= set(digests) - await self._repository.named(digests)
        if unnamed:  # seldom: only then it is worth to read what outputs say about files that modules saved
            async for sha256 in self._saved():
                unnamed.discard(sha256)
        return sorted(unnamed)

    async def _saved(self) -> AsyncIterator[str]:
        async for sha256 in self._repository.saved_files():
            yield sha256
        async for output in self._repository.output_files():
            with suppress(NotFound):
                for sha256 in digests_in(await asyncio.to_thread(self._artifacts.text_of, output)):
                    yield sha256
