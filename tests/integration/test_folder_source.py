"""Documents from a folder: taken when complete, moved when accepted. INTERFACES 3."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from factories.runs import Room
from switchgear.core.database import Database
from switchgear.domain.access import SYSTEM
from switchgear.domain.errors import DatabaseUnreachable
from switchgear.ingestion.artifact_store import ArtifactStore
from switchgear.ingestion.backpressure import Backpressure
from switchgear.ingestion.intake import Intake
from switchgear.ingestion.run_repository.records import AcceptedDocument
from switchgear.ingestion.sources.folder import FolderSource

pytestmark = pytest.mark.anyio


class Recorder:
    """Records documents in a room, as many as *left* says; then the database is away. None = it stays."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.left: int | None = None

    async def accept(self, **values: Any) -> AcceptedDocument:
        if self.left == 0:
            raise DatabaseUnreachable("no answer")
        if self.left is not None:
            self.left -= 1
        return await self._room.repository.accept(**values)


class Watched:
    """A watched folder with a clock that a test moves."""

    def __init__(self, room: Room, artifacts: ArtifactStore, folder: Path) -> None:
        self.room = room
        self.folder = folder
        self.now_s = 100.0
        self.artifacts = artifacts
        self.recorder = Recorder(room)
        self.intake = Intake(artifacts, self.recorder, max_bytes=1000)
        self.source = FolderSource(self.intake, by=SYSTEM, path=folder, monotonic=lambda: self.now_s)

    async def look_twice(self) -> list[str]:
        """Look, wait until everything is still, look again; returns the names that were taken."""
        await self.source.look()
        self.now_s += 2.0
        return [taken.path.name for taken in await self.source.look()]

    def names(self, below: str = ".") -> list[str]:
        folder = self.folder / below
        return sorted(entry.name for entry in folder.iterdir() if entry.is_file()) if folder.exists() else []


@pytest.fixture
async def watched(database: Database, tmp_path: Path) -> Watched:
    artifacts = ArtifactStore(tmp_path / "artifacts")
    await artifacts.start()
    folder = tmp_path / "inbox"
    folder.mkdir()
    return Watched(await Room(database).prepare(), artifacts, folder)


async def test_a_complete_file_is_accepted_and_moved(watched: Watched) -> None:
    (watched.folder / "a.pdf").write_bytes(b"hello")

    assert await watched.look_twice() == ["a.pdf"]

    assert (watched.names(), watched.names("done")) == ([], ["a.pdf"])
    assert (watched.folder / "done" / "a.pdf").read_bytes() == b"hello"
    documents = (await watched.room.repository.documents(limit=10)).items
    assert [(item.name, item.media_type, item.actor) for item in documents] == [("a.pdf", "application/pdf", "system")]


async def test_a_file_that_still_grows_is_left_alone(watched: Watched) -> None:
    path = watched.folder / "a.pdf"
    path.write_bytes(b"he")
    await watched.source.look()
    watched.now_s += 1.9
    path.write_bytes(b"hello")
    assert await watched.source.look() == []
    watched.now_s += 1.9
    assert await watched.source.look() == []
    watched.now_s += 0.1

    assert [taken.path.name for taken in await watched.source.look()] == ["a.pdf"]


@pytest.mark.parametrize("name", [".hidden", "a.pdf.part", "b.TMP", "c.crdownload"])
async def test_unfinished_and_hidden_files_are_left_alone(watched: Watched, name: str) -> None:
    (watched.folder / name).write_bytes(b"x")

    assert await watched.look_twice() == []
    assert watched.names() == [name]


async def test_links_and_pipes_stay_and_are_named_once(watched: Watched, tmp_path: Path) -> None:
    outside = tmp_path / "secret.txt"
    outside.write_bytes(b"secret")
    (watched.folder / "link.pdf").symlink_to(outside)
    (watched.folder / "round").symlink_to("round")
    os.mkfifo(watched.folder / "pipe")

    assert sorted(await watched.look_twice()) == ["link.pdf", "pipe", "round"]
    assert await watched.look_twice() == []
    assert outside.exists()
    said = " ".join(watched.source.left())
    assert "link.pdf is a link, and links are not followed" in said
    assert "pipe is no file" in said
    assert not (await watched.room.repository.documents(limit=10)).items
    assert await watched.source.is_empty()

    (watched.folder / "link.pdf").unlink()
    (watched.folder / "link.pdf").write_bytes(b"now a file")
    assert await watched.look_twice() == ["link.pdf"]
    assert watched.names("done") == ["link.pdf"]


async def test_folders_are_left_alone_also_when_they_are_links(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (watched.folder / "folder").mkdir()
    (watched.folder / "done").symlink_to(tmp_path / "elsewhere")

    assert await watched.look_twice() == []
    assert watched.source.left() == []


@pytest.mark.parametrize(("data", "code"), [(b"", "request.invalid"), (b"x" * 1001, "request.too_large")])
async def test_a_file_that_is_refused_for_good_moves_aside_with_the_reason(
    watched: Watched, data: bytes, code: str
) -> None:
    (watched.folder / "bad.pdf").write_bytes(data)
    (watched.folder / "good.pdf").write_bytes(b"good")

    assert sorted(await watched.look_twice()) == ["bad.pdf", "good.pdf"]

    assert watched.names("failed") == ["bad.pdf", "bad.pdf.why.txt"]
    assert (watched.folder / "failed" / "bad.pdf.why.txt").read_text().startswith(code)
    assert watched.names("done") == ["good.pdf"]


async def test_no_file_is_ever_overwritten(watched: Watched) -> None:
    for text in (b"one", b"two", b"three"):
        (watched.folder / "a.pdf").write_bytes(text)
        assert await watched.look_twice() == ["a.pdf"]

    assert watched.names("done") == ["a-1.pdf", "a-2.pdf", "a.pdf"]


async def test_known_bytes_are_moved_too(watched: Watched) -> None:
    (watched.folder / "a.pdf").write_bytes(b"same")
    (watched.folder / "b.pdf").write_bytes(b"same")

    await watched.look_twice()

    assert watched.names("done") == ["a.pdf", "b.pdf"]
    assert len((await watched.room.repository.documents(limit=10)).items) == 1


async def test_without_a_database_files_stay_and_are_taken_later(watched: Watched) -> None:
    watched.recorder.left = 0
    (watched.folder / "a.pdf").write_bytes(b"hello")
    with pytest.raises(DatabaseUnreachable):
        await watched.look_twice()
    assert watched.names() == ["a.pdf"]

    watched.recorder.left = None
    assert [taken.path.name for taken in await watched.source.look()] == ["a.pdf"]


async def test_what_was_taken_before_the_database_went_away_is_told(watched: Watched) -> None:
    (watched.folder / "a.pdf").write_bytes(b"first")
    (watched.folder / "b.pdf").write_bytes(b"second")
    watched.recorder.left = 1

    assert await watched.look_twice() == ["a.pdf"]
    assert watched.names() == ["b.pdf"]


async def test_a_low_disk_pauses_the_folder(database: Database, tmp_path: Path) -> None:
    artifacts = ArtifactStore(tmp_path / "artifacts", min_free_bytes=10, free_bytes=lambda path: 5)
    await artifacts.start()
    folder = tmp_path / "inbox"
    folder.mkdir()
    watched = Watched(await Room(database).prepare(), artifacts, folder)
    (folder / "a.pdf").write_bytes(b"hello")

    assert await watched.look_twice() == []
    assert watched.names() == ["a.pdf"]


async def test_done_and_failed_can_be_elsewhere(watched: Watched, tmp_path: Path) -> None:
    done = tmp_path / "elsewhere" / "done"
    watched.source = FolderSource(
        watched.intake, by=SYSTEM, path=watched.folder, done=done, monotonic=lambda: watched.now_s
    )
    (watched.folder / "a.pdf").write_bytes(b"hello")

    await watched.look_twice()

    assert (done / "a.pdf").read_bytes() == b"hello"


async def test_a_file_that_cannot_be_read_is_named_once_and_the_others_go_on(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    shut, opened = watched.folder / "a.pdf", os.open

    def refusing(path: Any, *arguments: Any, **options: Any) -> int:  # a superuser may read what nobody may
        if path == shut and not shut.stat().st_mode & 0o400:
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refusing)
    shut.write_bytes(b"shut")
    shut.chmod(0)
    (watched.folder / "b.pdf").write_bytes(b"b")

    assert await watched.look_twice() == ["a.pdf", "b.pdf"]
    assert await watched.look_twice() == []
    assert (watched.names(), watched.names("done")) == (["a.pdf"], ["b.pdf"])
    assert "a.pdf cannot be read: Permission denied" in " ".join(watched.source.left())
    assert await watched.source.is_empty()

    shut.chmod(0o600)
    assert await watched.look_twice() == ["a.pdf"]
    assert watched.source.left() == []


async def test_a_file_that_cannot_be_moved_is_accepted_once_and_the_others_go_on(watched: Watched) -> None:
    (watched.folder / "done").write_bytes(b"no folder")
    (watched.folder / "b.pdf").write_bytes(b"b")

    await watched.look_twice()
    await watched.look_twice()

    assert len((await watched.room.repository.documents(limit=10)).items) == 2
    assert watched.names() == ["b.pdf", "done"]
    assert len(watched.source.left()) == 2


async def test_a_folder_that_is_not_there_is_a_reason_until_it_is(watched: Watched) -> None:
    watched.folder.rmdir()
    await watched.source.follow()
    trouble = watched.source.trouble
    watched.folder.mkdir()
    await watched.source.follow()

    assert trouble is not None
    assert str(watched.folder) in trouble.summary
    assert watched.source.trouble is None


async def test_while_the_queue_is_full_files_stay_where_they_are(watched: Watched) -> None:
    pressure = Backpressure(watched.room.repository, 1, lambda: watched.now_s)
    intake = Intake(watched.artifacts, watched.recorder, max_bytes=1000, admit=pressure.check)
    source = FolderSource(intake, by=SYSTEM, path=watched.folder, monotonic=lambda: watched.now_s)
    for name in ("a.pdf", "b.pdf"):
        (watched.folder / name).write_bytes(name.encode())
    await source.look()

    taken = []
    for _ in range(3):
        watched.now_s += 2.0
        taken += [item.path.name for item in await source.look()]
    assert (len(taken), len(watched.names())) == (1, 1)
    await watched.room.held()
    watched.now_s += 2.0
    taken += [item.path.name for item in await source.look()]

    assert sorted(taken) == ["a.pdf", "b.pdf"]
    assert watched.names("failed") == []
