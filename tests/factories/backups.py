"""An instance that is worth saving, and what saves it and brings it back without a word."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from factories.instance import settings_for
from factories.runs import Room, output
from switchgear.core.database import Database
from switchgear.core.settings import Settings
from switchgear.core.unit_of_work import Units
from switchgear.domain.access import SYSTEM
from switchgear.domain.audit import AuditAction
from switchgear.domain.run import RunStatus
from switchgear.ingestion.artifact_store import ArtifactStore
from switchgear.ingestion.backup import Restored, Saved, restore, save
from switchgear.ingestion.backup.manifest import Bar
from switchgear.ingestion.intake import Intake

ON_SQLITE = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


class Counter:
    """A bar that remembers."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def advance(self, text: str) -> None:
        self.steps.append(text)


@contextlib.contextmanager
def quiet(title: str, total: int) -> Iterator[Bar]:
    """Show nothing."""
    yield Counter()


class House(Room):
    """An instance with a document, its run, an output that is a file, and an audit trail."""

    def __init__(self, database: Database, url: str, folder: Path) -> None:
        super().__init__(database)
        self.url = url
        self.folder = folder
        self.settings = settings_for(folder / "home", database_url=url)
        self.artifacts = ArtifactStore(self.settings.home / "artifacts")
        self.intake = Intake(self.artifacts, self.repository, max_bytes=1000)

    async def furnish(self) -> House:
        """Let it have them."""
        await self.artifacts.start()
        await self.prepare()
        await self.send(b"hello")
        claim = await self.held()
        saved = self.artifacts.put_file(self.write("picture", b"a picture"), "image/png")
        large = await self.artifacts.put_bytes(b'{"text":"large"}')
        outputs = [
            output("read", None, artifact_sha256=large.sha256, size_bytes=large.size_bytes),
            output("extract", json.dumps({"picture": saved.model_dump()})),
        ]
        await self.repository.end(claim, status=RunStatus.SUCCEEDED, outputs=outputs)
        self.kinds = (claim.sha256, large.sha256, saved.sha256)  # a document, an output, what a module saved
        self.files = set(self.kinds)
        await self.write_audit("first")
        return self

    def write(self, name: str, content: bytes) -> Path:
        """Write a file beside the home."""
        path = self.folder / name
        path.write_bytes(content)
        return path

    async def send(self, content: bytes) -> None:
        """Let a document come in."""

        async def stream() -> AsyncIterator[bytes]:
            yield content

        await self.intake.accept(stream(), file_name="a.txt", media_type="text/plain", by=SYSTEM)

    async def write_audit(self, message: str) -> None:
        """Add an entry to the trail."""
        async with Units(self.database, self.database.clock or (lambda: 1))() as unit:
            await unit.audit.append(AuditAction.MODULE_RESCANNED, actor=SYSTEM, message=message)
            await unit.commit()

    async def save(self, name: str = "saved") -> Saved:
        """Save it into the folder *name*."""
        return await save(self.settings, self.folder / name, quiet)

    def second(self, name: str = "second") -> Settings:
        """Settings of another instance."""
        return settings_for(self.folder / name)

    async def restore(self, name: str = "second") -> Restored:
        """Bring back what was saved, as another instance."""
        return await restore(self.folder / "saved", self.second(name), quiet)


def files_below(folder: Path) -> set[str]:
    """Names of all files in a folder and those in it."""
    return {path.name for path in folder.rglob("*") if path.is_file()}
