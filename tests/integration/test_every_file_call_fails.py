"""Every file call of an upload fails once, in every way: written, synced, renamed. RELIABILITY I12, 5, 30, 34."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from factories.faults import Deed
from factories.runs import Room
from switchgear.core.database import Database
from switchgear.domain.access import SYSTEM
from switchgear.ingestion.artifact_store import ArtifactStore
from switchgear.ingestion.intake import Intake

pytestmark = [pytest.mark.anyio, pytest.mark.exhaustive]

#: open, write, flush, chmod, sync, close, folders, rename, and the sync of three folders.
_LEAST_CALLS = 10


class Killed(BaseException):
    """The process is no more: nothing of it reaches the disk any longer."""


class FileFaults:
    """Counts the calls that put a file into its place, and does the deed at one of them."""

    def __init__(self, at: int, deed: Deed) -> None:
        self.at = at
        self.deed = deed
        self.calls = 0
        self.ended = False

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, which may be the chosen one."""

        def made(*arguments: Any, **options: Any) -> Any:
            if self.ended:
                raise Killed
            self.calls += 1
            if self.calls != self.at:
                return call(*arguments, **options)
            if self.deed is not Deed.BEFORE:
                call(*arguments, **options)
            if self.deed is Deed.KILL:
                self.ended = True
                raise Killed
            raise OSError(errno.EIO, "this is a test")

        return made

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Put it around what the store calls."""
        for name in ("fsync", "fchmod"):
            patch.setattr(os, name, self.around(getattr(os, name)))
        for name in ("replace", "mkdir", "unlink"):
            patch.setattr(Path, name, self.around(getattr(Path, name)))
        opened = self.around(Path.open)
        patch.setattr(Path, "open", lambda path, *words: FaultyFile(opened(path, *words), self))


class FaultyFile:
    """An open file each call of which may be the chosen one."""

    def __init__(self, file: Any, faults: FileFaults) -> None:
        self.fileno = file.fileno
        self.write = faults.around(file.write)
        self.flush = faults.around(file.flush)
        self.close = faults.around(file.close)


async def bytes_of(number: int) -> AsyncIterator[bytes]:
    """A document of its own for each number."""
    yield f"document {number}".encode() * 1000


class Upload:
    """An intake on one folder and one database, as a process that was just started has it."""

    def __init__(self, room: Room, folder: Path) -> None:
        self.store = ArtifactStore(folder)
        self._intake = Intake(self.store, room.repository, max_bytes=1 << 20)

    async def send(self, number: int) -> str:
        """Send a document; returns its digest."""
        accepted = await self._intake.accept(bytes_of(number), file_name="a.txt", media_type="text/plain", by=SYSTEM)
        return accepted.document.sha256


async def _documents(room: Room) -> list[str]:
    return [str(row[0]) for row in await room.database.narrow.query("SELECT sha256 FROM documents")]


@pytest.mark.parametrize("deed", Deed, ids=[deed.name.lower() for deed in Deed])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
async def test_whichever_file_call_fails_what_is_accepted_is_whole(
    database: Database, tmp_path: Path, deed: Deed
) -> None:
    room = await Room(database).prepare()
    folder = tmp_path / "artifacts"
    await ArtifactStore(folder).start()
    number, happened = 0, True
    while happened:
        number += 1
        faults = FileFaults(number, deed)
        first = Upload(room, folder)
        with pytest.MonkeyPatch.context() as patch:
            faults.install(patch)
            try:
                answered = [await first.send(number)]
            except (OSError, Killed):
                answered = []
        happened = faults.calls >= number

        after = Upload(room, folder)  # another process finds what is left
        known = await _documents(room)
        assert set(answered) <= set(known), f"{number}. call: what was accepted is lost"
        assert all([await after.store.verify(sha256) for sha256 in known]), f"{number}. call: accepted, but not whole"
        again = await after.send(number)
        assert (await _documents(room)).count(again) == 1
        assert await after.store.verify(again)

    assert number > _LEAST_CALLS
    await ArtifactStore(folder).sweep_temporary(max_age_s=0)
    places = [path for path in folder.rglob("*") if path.is_file()]
    assert len(places) == number  # one file for each document, and nothing beside them
    assert all([await ArtifactStore(folder).verify(path.name) for path in places])
