"""Saves a whole instance while it works.

The database comes first, as it is at one moment; then the files that this copy names. Files are never changed, so
nothing that is named is missing, whatever is sent meanwhile. Source: INTERFACES 3, RELIABILITY I12.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from switchgear.core import migrations
from switchgear.core.database import Database
from switchgear.core.database.copying import copy_sqlite, postgres_commands, settle, sqlite_file
from switchgear.core.database.statements import wall_time_us
from switchgear.core.settings import Settings
from switchgear.core.unit_of_work import Units
from switchgear.domain.audit import VerifyResult
from switchgear.ingestion.artifact_folder import ArtifactFolder
from switchgear.ingestion.artifact_store import ArtifactStore
from switchgear.ingestion.backup.files import CopiedFiles
from switchgear.ingestion.backup.manifest import (
    ARTIFACTS,
    DATABASE,
    DUMP,
    MANIFEST,
    UNFINISHED,
    BackupRefused,
    Bar,
    Manifest,
    ShowProgress,
    digest_of_file,
)
from switchgear.ingestion.durable_files import sync_folder
from switchgear.ingestion.run_repository import RunRepository

#: How often a copy is taken anew because something that it names was removed meanwhile.
_TRIES: Final = 3
_WORDS: Final = "This backup is not finished. Unless `switchgear backup` is still at work here, delete the folder.\n"


@dataclass(frozen=True, slots=True)
class Saved:
    """A finished backup; `dump_command` is what saves the database when it is PostgreSQL."""

    folder: Path
    manifest: Manifest
    dump_command: str | None = None


async def save(settings: Settings, folder: Path, show: ShowProgress) -> Saved:
    """Save the instance of *settings* into *folder*, which must be empty or absent.

    On PostgreSQL the folder may hold the dump that was made before; files and manifest are added to it.

    Raises:
        BackupRefused: The folder is not empty, or the database has an older schema than this version.
        ArtifactsElsewhere: ARTIFACTS_DIR is not the folder that the instance keeps its files in.
        SchemaNewer: The database was written by a newer Switchgear.
        DatabaseUnreachable: The database does not answer, or cannot be copied; also when a disk is full.
    """
    source = sqlite_file(settings.database_url)
    if source is not None and not source.exists():
        raise BackupRefused(f"There is nothing to save: the database {source} is not there.")
    await asyncio.to_thread(_refuse_older, settings.database_url)
    await _refuse_other_files(settings)
    _begin(folder, allowed=set() if source else {DUMP})
    copied = CopiedFiles(ArtifactStore(settings.artifacts_dir), ArtifactStore(folder / ARTIFACTS))
    await copied.store.start()
    for _ in range(_TRIES):
        url = settings.database_url if source is None else await _copy(source, folder, show)
        copied.missing.clear()
        manifest = await _save_rest(settings, url, folder, copied, show)
        if not copied.missing or await _still_named(settings, copied.missing) == copied.missing:
            break  # else something was removed meanwhile that the copy of the database names
    _finish(folder, manifest)
    command = None if source is not None else postgres_commands(settings.database_url, folder / DUMP)[0]
    return Saved(folder, manifest, command)


async def _copy(source: Path, folder: Path, show: ShowProgress) -> str:
    (folder / DATABASE).unlink(missing_ok=True)
    with show("database", 100) as bar:
        await asyncio.to_thread(copy_sqlite, source, folder / DATABASE, _percent(bar))
    return f"sqlite:///{folder / DATABASE}"


def _refuse_older(url: str) -> None:
    if not migrations.check(url):
        raise BackupRefused(
            "The database has an older schema than this version. Save it with the version that wrote it, or start "
            "`switchgear migrate` first."
        )


async def _refuse_other_files(settings: Settings) -> None:
    """Nothing that the database names would be found in another folder, or what another instance has."""
    database = Database(settings.database_url)
    await database.start()
    try:
        units = Units(database, database.clock or wall_time_us)
        await ArtifactFolder(units, settings.artifacts_dir.absolute()).check()
    finally:
        await database.close()


async def _still_named(settings: Settings, digests: Collection[str]) -> set[str]:
    """Which of these files the instance itself names now."""
    database = Database(settings.database_url)
    await database.start()
    try:
        return await RunRepository(database.narrow, settings.pipeline).named(digests)
    finally:
        await database.close()


async def _save_rest(settings: Settings, url: str, folder: Path, copied: CopiedFiles, show: ShowProgress) -> Manifest:
    """Everything besides the copy of the database, and what is to be said about it."""
    database = Database(url, deadline_s=60.0)
    await database.start()
    try:
        repository = RunRepository(database.narrow, settings.pipeline)
        trail = await verify_trail(database)
        counts = await repository.totals()
        with show("files", await repository.count_files()) as bar:
            await copied.take_all(repository, bar)
    finally:
        await database.close()
    file = folder / (DATABASE if database.dialect == "sqlite" else DUMP)
    if database.dialect == "sqlite":
        await asyncio.to_thread(settle, file)
    return Manifest(
        created_at=datetime.now(UTC),
        switchgear=version("switchgear"),
        pipeline=settings.pipeline,
        schema_revision=migrations.head(),
        database="sqlite" if database.dialect == "sqlite" else "postgresql",
        database_sha256=await asyncio.to_thread(digest_of_file, file) if file.exists() else None,
        audit_head=trail.head,
        audit_fault=trail.reason,
        counts={**counts, "files": copied.files, "bytes": copied.size_bytes},
        lacking=tuple(sorted(copied.lacking)),
    )


async def verify_trail(database: Database, head: str | None = None) -> VerifyResult:
    """Check the audit trail of *database*, against an exported head when one is given."""
    async with Units(database, database.clock or wall_time_us)(write=False) as unit:
        return await unit.audit.verify(head)


def _percent(bar: Bar) -> Callable[[int, int], None]:
    shown = 0

    def tell(done: int, total: int) -> None:
        nonlocal shown
        while shown < 100 * done // max(1, total):
            shown += 1
            bar.advance(f"{done} of {total} pages")

    return tell


def _begin(folder: Path, *, allowed: set[str]) -> None:
    """Make the folder, for the owner only, and mark it as unfinished."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = sorted({path.name for path in folder.iterdir()} - allowed)
    if found:
        raise BackupRefused(f"{folder} is not empty: it holds {found[0]}. Nothing was changed. Name another folder.")
    write_durably(folder / UNFINISHED, _WORDS)


def _finish(folder: Path, manifest: Manifest) -> None:
    """The manifest comes last, then the mark goes."""
    write_durably(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    (folder / UNFINISHED).unlink()
    sync_folder(folder)


def write_durably(path: Path, text: str) -> None:
    """Write a new file, for the owner only; it survives a power cut when this returns."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(number, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(number)
    sync_folder(path.parent)
