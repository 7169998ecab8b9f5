"""Accepting documents: durable, once per content, safely named. RELIABILITY I12, I16, I31, rows 30, 41-43, 50."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factories.runs import Room
from switchgear.core.database import Database, DiskFull, ReadOnly
from switchgear.domain.access import Actor, Role
from switchgear.domain.errors import NotFound
from switchgear.ingestion.artifact_store import ArtifactStore, CorruptArtifact, DiskLow, TooLarge
from switchgear.ingestion.backpressure import Backpressure, TooManyWaiting
from switchgear.ingestion.intake import LONGEST_NAME, EmptyDocument, Intake, plain_media_type, shown_name
from switchgear.ingestion.run_repository import AcceptedDocument

SENDER = Actor("ada", Role.OPERATOR, "tok_1")
MIB = 1 << 20


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


class Door:
    """An intake on a real database and folder; counts how often workers were woken."""

    def __init__(self, room: Room, artifacts: ArtifactStore, max_bytes: int = 4 * MIB) -> None:
        self.room = room
        self.artifacts = artifacts
        self.woken = 0
        self.intake = Intake(artifacts, room.repository, max_bytes=max_bytes, wake=self._wake)

    def _wake(self) -> None:
        self.woken += 1

    async def accept(self, *chunks: bytes, name: str = "a.pdf", again: bool = False) -> AcceptedDocument:
        return await self.intake.accept(
            stream(*chunks), file_name=name, media_type="application/pdf; x=y", by=SENDER, again=again
        )

    async def rows(self) -> list[tuple[int, int]]:
        sql = "SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM runs)"
        return await self.room.database.narrow.query(sql)


@pytest.fixture
async def door(database: Database, tmp_path: Path) -> Door:
    artifacts = ArtifactStore(tmp_path / "artifacts")
    await artifacts.start()
    return Door(await Room(database).prepare(), artifacts)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.anyio
async def test_a_document_is_kept_and_its_run_is_queued(door: Door) -> None:
    accepted = await door.accept(b"hello ", b"world", name="../../etc/Rechnung.pdf")

    document, run = accepted.document, accepted.run
    assert not accepted.duplicate
    assert document.sha256 == hashlib.sha256(b"hello world").hexdigest()
    assert (document.name, document.media_type, document.size_bytes) == ("Rechnung.pdf", "application/pdf", 11)
    assert (run.document_id, str(run.status), run.actor) == (document.id, "queued", "tok_1")
    assert door.artifacts.path(document.sha256).read_bytes() == b"hello world"
    assert door.artifacts.path(document.sha256).stat().st_mode & 0o777 == 0o400
    assert door.woken == 1


@pytest.mark.anyio
async def test_known_bytes_are_the_same_document_and_again_makes_a_new_run(door: Door) -> None:
    first = await door.accept(b"same")
    known = await door.accept(b"sa", b"me", name="other.pdf")
    again = await door.accept(b"same", again=True)

    assert (known.duplicate, known.document.id, known.run.id) == (True, first.document.id, first.run.id)
    assert again.document.id == first.document.id
    assert again.run.id != first.run.id
    assert await door.rows() == [(1, 2)]


@pytest.mark.anyio
async def test_sixteen_identical_uploads_at_once_are_one_document(door: Door) -> None:
    accepted = await asyncio.gather(*(door.accept(b"x" * 3 * MIB, name=f"{n}.pdf") for n in range(16)))

    assert len({item.document.id for item in accepted}) == 1
    assert len({item.run.id for item in accepted}) == 1
    assert [item.duplicate for item in accepted].count(False) == 1
    assert await door.rows() == [(1, 1)]
    assert len(files(door.artifacts.path("0" * 64).parents[2])) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("chunks", [(), (b"",), (b"", b"")])
async def test_an_empty_document_is_refused(door: Door, chunks: tuple[bytes, ...]) -> None:
    with pytest.raises(EmptyDocument, match="0 bytes"):
        await door.accept(*chunks)

    assert await door.rows() == [(0, 0)]


@pytest.mark.anyio
async def test_too_many_bytes_are_refused_at_the_limit_and_nothing_is_kept(door: Door, tmp_path: Path) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += MIB
            yield b"x" * MIB

    with pytest.raises(TooLarge):
        await door.intake.accept(endless(), file_name="big", media_type="", by=SENDER)

    assert read <= 6 * MIB
    assert files(tmp_path / "artifacts") == []
    assert await door.rows() == [(0, 0)]


@pytest.mark.anyio
async def test_a_sender_that_goes_away_leaves_nothing(door: Door, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 2 * MIB
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        await door.intake.accept(broken(), file_name="a", media_type="", by=SENDER)

    assert files(tmp_path / "artifacts") == []


@pytest.mark.anyio
async def test_a_sender_that_is_cut_off_leaves_nothing(door: Door, tmp_path: Path) -> None:
    waiting = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield b"x" * 2 * MIB
        waiting.set()
        await asyncio.sleep(3600)

    task = asyncio.create_task(door.intake.accept(stuck(), file_name="a", media_type="", by=SENDER))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert files(tmp_path / "artifacts") == []


@pytest.mark.anyio
async def test_a_low_disk_refuses_before_anything_is_read(database: Database, tmp_path: Path) -> None:
    free = 10
    artifacts = ArtifactStore(tmp_path / "artifacts", min_free_bytes=11, free_bytes=lambda path: free)
    await artifacts.start()
    door = Door(await Room(database).prepare(), artifacts)

    with pytest.raises(DiskLow, match="MIN_FREE_BYTES"):
        await door.accept(b"x")
    assert door.intake.is_paused
    kept = await artifacts.put_bytes(b"running work goes on")
    free = 11
    assert not (await door.accept(b"x")).duplicate
    assert await artifacts.read(kept.sha256) == b"running work goes on"


@pytest.mark.anyio
@pytest.mark.parametrize(("number", "expected"), [(errno.ENOSPC, DiskFull), (errno.EROFS, ReadOnly)])
async def test_a_disk_that_fails_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[Exception]
) -> None:
    store = ArtifactStore(tmp_path)
    await store.start()

    def fails(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(expected):
        await store.put(stream(b"x"), max_bytes=10)

    monkeypatch.undo()
    assert files(tmp_path) == []


@pytest.mark.anyio
async def test_a_full_disk_is_named_although_closing_the_file_fails_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ArtifactStore(tmp_path)
    await store.start()
    full = Path("/dev/full").open  # takes no byte, and says so again when what was buffered is flushed by closing
    monkeypatch.setattr(Path, "open", lambda _self, _mode: full("wb"))

    with pytest.raises(DiskFull, match="Free some space"):
        await store.put(stream(b"x"), max_bytes=10)


@pytest.mark.anyio
async def test_bytes_and_names_are_on_disk_before_the_document_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ArtifactStore(tmp_path)
    await store.start()
    steps: list[str] = []
    real_sync, real_replace = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        target = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        steps.append("sync file" if target.parent.name == "tmp" else f"sync {target.name or '/'}")
        real_sync(descriptor)

    def replace(self: Path, target: Any) -> Path:
        steps.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    stored = await store.put(stream(b"x"), max_bytes=10)

    first, second = stored.sha256[:2], stored.sha256[2:4]
    assert steps == ["sync file", "rename", f"sync {second}", f"sync {first}", f"sync {tmp_path.name}"]


@pytest.mark.anyio
@pytest.mark.parametrize("size_bytes", [None, 4], ids=["in a thread", "at once"])
async def test_what_is_damaged_or_missing_is_noticed(tmp_path: Path, size_bytes: int | None) -> None:
    store = ArtifactStore(tmp_path)
    await store.start()
    stored = await store.put(stream(b"good"), max_bytes=10)
    assert await store.verify(stored.sha256, size_bytes)

    stored.path.chmod(0o600)
    stored.path.write_bytes(b"evil")
    assert not await store.verify(stored.sha256, size_bytes)
    with pytest.raises(CorruptArtifact):
        await store.read(stored.sha256)
    await store.put(stream(b"good"), max_bytes=10)
    assert await store.verify(stored.sha256, size_bytes), "the same bytes again did not repair it"

    stored.path.chmod(0o600)
    stored.path.write_bytes(b"good and more")
    assert not await store.verify(stored.sha256, size_bytes)
    stored.path.unlink()
    assert not await store.verify(stored.sha256, size_bytes)
    with pytest.raises(NotFound):
        await store.read(stored.sha256)


@pytest.mark.anyio
async def test_what_interrupted_uploads_left_behind_is_swept(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    await store.start()
    old, new = tmp_path / "tmp" / "old", tmp_path / "tmp" / "new"
    old.write_bytes(b"x")
    new.write_bytes(b"x")
    os.utime(old, (0, 0))

    assert await store.sweep_temporary() == 1
    assert (old.exists(), new.exists()) == (False, True)


@pytest.mark.parametrize("wrong", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n"])
def test_only_a_digest_is_a_place(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(NotFound):
        ArtifactStore(tmp_path).path(wrong)


def test_a_modules_file_becomes_an_artifact(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "store")
    asyncio.run(store.start())
    page = tmp_path / "page.png"
    page.write_bytes(b"png")

    blob = store.put_file(page, "image/png")

    assert (blob.size_bytes, blob.media_type, blob.file_name) == (3, "image/png", "page.png")
    assert store.path(blob.sha256).read_bytes() == b"png"


@pytest.mark.parametrize(
    ("given_name", "shown"),
    [
        ("Rechnung 12.pdf", "Rechnung 12.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ada\\a.pdf", "a.pdf"),
        ("a\x00b\r\nc.pdf", "a b c.pdf"),
        ("invoice\u202efdp.exe", "invoice fdp.exe"),
        ("Mu\u0308ller.pdf", "M\u00fcller.pdf"),
        ("..", "document"),
        ("", "document"),
        ("\u200b\u200f", "document"),
        ("x" * 300 + ".pdf", "x" * 251 + ".pdf"),
        ("\ud800.pdf", ".pdf"),
        ("\x1b[31mred.pdf", "[31mred.pdf"),
    ],
)
def test_names_are_shown_safely(given_name: str, shown: str) -> None:
    assert shown_name(given_name) == shown


@given(st.text(st.characters(codec=None), max_size=400))
def test_no_name_is_a_path_or_longer_than_its_limit(name: str) -> None:
    shown = shown_name(name)

    assert shown
    assert len(shown.encode()) <= LONGEST_NAME
    assert not set("/\\\x00\n\r\x1b\u202e") & set(shown)
    assert shown not in (".", "..")


@pytest.mark.parametrize(
    ("declared", "kept"),
    [
        ("application/pdf", "application/pdf"),
        ("Text/XML; charset=utf-8", "text/xml"),
        ("", "application/octet-stream"),
        ("pdf", "application/octet-stream"),
        ("a/b/c", "application/octet-stream"),
        ("text/html\r\nSet-Cookie: x", "application/octet-stream"),
        ("x" * 200 + "/y", "application/octet-stream"),
    ],
)
def test_a_declared_type_is_kept_only_when_it_is_one(declared: str, kept: str) -> None:
    assert plain_media_type(declared) == kept


@pytest.mark.anyio
async def test_nothing_is_stored_while_too_many_documents_wait(door: Door, tmp_path: Path) -> None:
    def intake() -> Intake:
        pressure = Backpressure(door.room.repository, 1)
        return Intake(door.artifacts, door.room.repository, max_bytes=MIB, admit=pressure.check)

    async def send(to: Intake, text: bytes) -> AcceptedDocument:
        return await to.accept(stream(text), file_name="b.txt", media_type="text/plain", by=SENDER)

    await send(intake(), b"one")
    before = files(tmp_path)
    with pytest.raises(TooManyWaiting):
        await send(intake(), b"two")
    assert files(tmp_path) == before
    assert await door.rows() == [(1, 1)]

    await door.room.held()  # a worker has taken it
    await send(intake(), b"two")
    assert await door.rows() == [(2, 2)]
