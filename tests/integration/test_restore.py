"""A backup comes back whole into an empty home, or is refused and the home stays as it was."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from factories.backups import ON_SQLITE, House, files_below, quiet
from factories.instance import settings_for
from switchgear.core import migrations
from switchgear.core.database import Database
from switchgear.core.unit_of_work import Units
from switchgear.ingestion.artifact_folder import MARKER, ArtifactFolder, ArtifactsElsewhere
from switchgear.ingestion.backup import BackupRefused, restore, save
from switchgear.ingestion.backup.manifest import digest_of_file

pytestmark = pytest.mark.anyio


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
    older = {"schema_revision": "0004", "database_sha256": digest_of_file(copy)}
    change_manifest(saved.folder, older)
    assert (await house.restore()).schema_before == "0004"
    assert await asyncio.to_thread(migrations.check, f"sqlite:///{house.folder / 'second' / 'switchgear.db'}")
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    change_manifest(saved.folder, {"schema_revision": "9999", "database_sha256": digest_of_file(copy)})
    with pytest.raises(migrations.SchemaNewer, match="newer than this Switchgear"):
        await house.restore("third")


def change_manifest(folder: Path, values: dict[str, str]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **values}))
