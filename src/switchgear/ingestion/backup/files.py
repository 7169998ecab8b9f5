"""Copies the files that a database names, into a backup or out of it; each is compared with its digest on the way."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import dataclass, field

from switchgear.ingestion.artifact_store import Adopted, ArtifactStore
from switchgear.ingestion.backup.manifest import Bar
from switchgear.ingestion.durable_files import WholeSync, disk_errors
from switchgear.ingestion.run_repository import RunRepository
from switchgear.ingestion.run_repository.files import digests_in


@dataclass(slots=True)
class CopiedFiles:
    """Files on their way from one store into another.

    Attributes:
        files: How many were copied.
        size_bytes: Their length together.
        missing: Digests of documents and outputs that the first store does not have.
        damaged: Digests of files that it does not have as they were stored, those that modules saved among them.
    """

    origin: ArtifactStore
    store: ArtifactStore
    files: int = 0
    size_bytes: int = 0
    missing: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)

    @property
    def lacking(self) -> set[str]:
        """Digests of all files that did not come along."""
        return self.missing | self.damaged

    async def take_all(self, repository: RunRepository, bar: Bar) -> None:
        """Copy everything that the rows name; it survives a power cut when this returns.

        Raises:
            DiskFull: There was no room left.
            ReadOnly: The folder cannot be written.
        """
        with closing(WholeSync(self.store.folder)) as whole:
            self.store.syncs_each = not whole.is_possible
            await self._take_all(repository, bar)
            with disk_errors():
                await asyncio.to_thread(whole.sync)

    async def _take_all(self, repository: RunRepository, bar: Bar) -> None:
        async for sha256 in repository.document_files():
            await self._take(sha256, bar)
        async for sha256 in repository.output_files():
            if await self._take(sha256, bar):
                text = await asyncio.to_thread(self.store.text_of, sha256)
                for saved in digests_in(text):
                    await self._take_saved(saved)
        async for saved in repository.saved_files():
            await self._take_saved(saved)

    async def _take(self, sha256: str, bar: Bar) -> bool:
        adopted = await self._adopt(sha256)
        bar.advance(sha256[:12])
        if adopted is Adopted.MISSING:
            self.missing.add(sha256)
        return adopted not in (Adopted.MISSING, Adopted.DAMAGED)

    async def _take_saved(self, sha256: str) -> None:
        """What a module saved: a digest in an output that is no file of ours is none of our business."""
        await self._adopt(sha256)

    async def _adopt(self, sha256: str) -> Adopted:
        adopted = await asyncio.to_thread(self.store.adopt, sha256, self.origin)
        if adopted is Adopted.COPIED:
            self._count(sha256)
        elif adopted is Adopted.DAMAGED:
            self.damaged.add(sha256)
        return adopted

    def _count(self, sha256: str) -> None:
        self.files += 1
        self.size_bytes += self.store.path(sha256).stat().st_size
