"""Brings a backup back into an empty home: everything is checked aside first, then moved to its place.

Killed at any point, it leaves a home that is still empty but for a folder that the next try removes. Source:
INTERFACES 3, RELIABILITY I27, I33.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from switchgear.core import migrations
from switchgear.core.access_service import AccessService
from switchgear.core.database import Database
from switchgear.core.database.copying import postgres_commands, settle, sqlite_file
from switchgear.core.database.statements import wall_time_us
from switchgear.core.settings import Settings
from switchgear.core.unit_of_work import Units
from switchgear.domain.access import SYSTEM
from switchgear.domain.audit import AuditAction, VerifyResult
from switchgear.ingestion.artifact_folder import renew
from switchgear.ingestion.artifact_store import ArtifactStore
from switchgear.ingestion.backup.files import CopiedFiles
from switchgear.ingestion.backup.manifest import (
    ARTIFACTS,
    DATABASE,
    DUMP,
    BackupRefused,
    Manifest,
    ShowProgress,
    digest_of_file,
    read_manifest,
)
from switchgear.ingestion.backup.saving import verify_trail
from switchgear.ingestion.durable_files import sync_folder
from switchgear.ingestion.run_repository import RunRepository

#: Where a restore works until everything is checked.
STAGING: Final = ".restoring"
#: What an empty home may hold: secrets are no part of a backup.
_ALLOWED: Final = frozenset({STAGING, "secrets"})


@dataclass(frozen=True, slots=True)
class Restored:
    """What was brought back.

    Attributes:
        schema_before: The schema of the backup; the database is at the newest one now.
        audit_note: What is to be said about the audit trail; None when it is whole and ends where the backup says.
        files: How many files were copied.
        lacking: Files that the backup does not have because the instance itself had lost them.
    """

    manifest: Manifest
    home: Path
    token_file: Path
    schema_before: str
    audit_note: str | None
    files: int
    lacking: tuple[str, ...]


async def restore(folder: Path, settings: Settings, show: ShowProgress) -> Restored:
    """Bring the backup in *folder* back as the instance of *settings*, whose home must be empty or absent.

    Tokens are those of the backup; the token of HOME/admin.token is made anew.

    Raises:
        BackupRefused: The backup is not complete, damaged, or of another kind; or the home is not empty.
        SchemaNewer: A newer Switchgear made it.
        DatabaseUnreachable: The database does not answer, or a disk is full.
    """
    manifest = read_manifest(folder)
    target = _refuse_unfit(manifest, settings)
    staging = _stage(settings)
    if target is not None:
        await asyncio.to_thread(_copy_database, folder, manifest, staging / DATABASE)
        url = f"sqlite:///{staging / DATABASE}"
    else:
        url = settings.database_url
        await asyncio.to_thread(_refuse_empty, url, folder)
    before = await asyncio.to_thread(migrations.upgrade, url)
    database = Database(url, deadline_s=60.0)
    await database.start()
    try:
        note = _judged(await verify_trail(database, manifest.audit_head), manifest)
        copied = CopiedFiles(ArtifactStore(folder / ARTIFACTS), ArtifactStore(_staged_files(settings)))
        repository = RunRepository(database.narrow, settings.pipeline)
        with show("files", await repository.count_files()) as bar:
            await copied.take_all(repository, bar)
        _refuse_loss(copied.lacking, manifest)
        token_file = await _record(database, manifest, staging, _staged_files(settings))
    finally:
        await database.close()
    await asyncio.to_thread(_move, settings, target)
    return Restored(
        manifest,
        settings.home,
        settings.home / token_file.name,
        before or "",
        note,
        copied.files,
        tuple(sorted(manifest.lacking)),
    )


def _refuse_unfit(manifest: Manifest, settings: Settings) -> Path | None:
    """Refuse what cannot go together; returns where the SQLite database is to stand."""
    target = sqlite_file(settings.database_url)
    kind = "postgresql" if target is None else "sqlite"
    if manifest.database != kind:
        raise BackupRefused(
            f"The backup is of an instance on {manifest.database}, DATABASE_URL names {kind}. Set it to the same kind."
        )
    if manifest.pipeline != settings.pipeline:
        raise BackupRefused(
            f"The backup is of the pipeline {manifest.pipeline}, the settings name {settings.pipeline}. Set PIPELINE."
        )
    home, files = settings.home, settings.artifacts_dir
    found = _found_in(home, _ALLOWED)
    if target is not None and target.exists() and target.name not in found:
        found.append(str(target))
    if found:
        raise BackupRefused(
            f"The home {home} is not empty: it holds {found[0]}. Nothing was changed. Name another with "
            "SWITCHGEAR_HOME, or move that one away first."
        )
    if found := _found_in(files, frozenset({STAGING, "lost+found"})):
        raise BackupRefused(
            f"The folder of documents {files} is not empty: it holds {found[0]}. Nothing was changed. Name another "
            "with ARTIFACTS_DIR, or move its files away first."
        )
    return target


def _found_in(folder: Path, allowed: frozenset[str]) -> list[str]:
    return sorted({path.name for path in folder.iterdir()} - allowed) if folder.exists() else []


def _staged_files(settings: Settings) -> Path:
    """Where files wait: on the file system that they will stand on."""
    home, files = settings.home.absolute(), settings.artifacts_dir.absolute()
    return home / STAGING / ARTIFACTS if files == home / ARTIFACTS else files / STAGING


def _stage(settings: Settings) -> Path:
    staging, files = settings.home.absolute() / STAGING, _staged_files(settings)
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in (staging, files):
        shutil.rmtree(folder, ignore_errors=True)
    staging.mkdir(mode=0o700)
    (files / "tmp").mkdir(parents=True, mode=0o700)
    return staging


def _copy_database(folder: Path, manifest: Manifest, copy: Path) -> None:
    try:
        shutil.copyfile(folder / DATABASE, copy)
    except FileNotFoundError:
        raise BackupRefused(f"The backup in {folder} lacks its database {DATABASE}. Take another one.") from None
    if digest_of_file(copy) != manifest.database_sha256:
        raise BackupRefused(
            f"The database in {folder} is not the one that was saved: its digest differs. Nothing was restored. "
            "Take another backup."
        )


def _refuse_empty(url: str, folder: Path) -> None:
    if migrations.current(url) is None:
        load = postgres_commands(url, folder.absolute() / DUMP)[1]
        raise BackupRefused(f"The database is empty. Load the dump first, then restore: {load}")


def _judged(trail: VerifyResult, manifest: Manifest) -> str | None:
    """What is to be said about the trail. A dump and its manifest are not of one moment, a copy and its are."""
    if trail.ok:
        return None
    if manifest.audit_fault is not None:
        return f"The audit trail was not whole when it was saved: {manifest.audit_fault}"
    if manifest.database == "postgresql" and trail.checked < int(manifest.audit_head.partition(":")[0]):
        return f"The dump is older than the rest of the backup: its audit trail ends at entry {trail.checked}."
    raise BackupRefused(
        f"The audit trail of the backup is not the one that was saved: {trail.reason} Nothing was restored."
    )


def _refuse_loss(lacking: set[str], manifest: Manifest) -> None:
    """Files that the instance itself had lost are known; a dump may name such that were sent after the files."""
    lost = sorted(lacking - set(manifest.lacking))
    if lost and manifest.database == "sqlite":
        raise BackupRefused(
            f"The file {lost[0]} of the backup is missing or damaged. Nothing was restored. Take another backup."
        )


async def _record(database: Database, manifest: Manifest, staging: Path, files: Path) -> Path:
    """Write the audit entry, make an instance of its own of the copy, and the admin's token anew."""
    units = Units(database, wall_time_us)
    async with units() as unit:
        await renew(unit.statements, files)
        await unit.audit.append(
            AuditAction.INSTANCE_RESTORED,
            actor=SYSTEM,
            message=f"from the backup of {manifest.created_at.isoformat(timespec='seconds')}",
            after={"audit_head": manifest.audit_head, "counts": manifest.counts, "made_by": manifest.switchgear},
        )
        await unit.commit()
    return await AccessService(units, wall_time_us).ensure_admin_token(staging)


def _move(settings: Settings, target: Path | None) -> None:
    """Move everything to its place; the database, without which there is no instance, comes last."""
    home, files = settings.home.absolute(), _staged_files(settings)
    staging = home / STAGING
    if not files.is_relative_to(staging):
        for path in sorted(files.iterdir()):
            path.rename(settings.artifacts_dir / path.name)
        files.rmdir()
        sync_folder(settings.artifacts_dir)
    for path in sorted(staging.iterdir()):
        if path.name != DATABASE and path.suffix not in ("-wal", "-shm"):
            path.rename(home / path.name)
    sync_folder(home)
    if target is not None:
        settle(staging / DATABASE)
        shutil.move(staging / DATABASE, target)
        sync_folder(target.parent)
    staging.rmdir()
