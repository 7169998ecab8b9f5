"""Whose the folder of documents is: the marker in it names the instance, and the database names the folder.

Machines share the folder by a mount. One that lacks the mount would take runs whose documents it does not have, and
keep documents that nobody else finds; two instances on one folder would remove each other's files. Source: DESIGN 5.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from switchgear.core.database import Statement, Statements
from switchgear.core.logging import get_logger
from switchgear.core.observability import EventName
from switchgear.core.unit_of_work import Units
from switchgear.domain.errors import Code, DomainError, Why
from switchgear.domain.ids import new_id
from switchgear.ingestion.durable_files import disk_errors, replace_durably

log = get_logger()

#: The file in the folder that says whose it is: the instance's id, and the folder's own.
MARKER: Final = "instance.id"


class ArtifactsElsewhere(DomainError):
    """The folder of documents is not the one that this instance keeps its files in; nothing was changed."""

    code = Code.SYSTEM_ARTIFACTS_ELSEWHERE


class ArtifactFolder:
    """Watches that the folder is this instance's.

    Args:
        units: On the instance's database.
        folder: As this machine sees it.
    """

    def __init__(self, units: Units, folder: Path) -> None:
        self._units = units
        self._folder = folder
        self._wanted: str | None = None  #: what the marker must say; None until the database has said it
        self._is_lost = False

    async def claim(self) -> None:
        """Make sure that the folder is this instance's; the first process of an instance makes it so.

        Raises:
            ArtifactsElsewhere: It is another one; the sentence says what to do.
            DatabaseUnreachable: The database does not say which it is, or the marker cannot be written.
        """
        async with self._units(write=False) as unit:
            instance, name = await _row(unit.statements)
        if name is None:
            instance, name = await self._begin()
        await self._require(instance, name)

    async def check(self) -> None:
        """Like `claim`, for whoever only reads: an instance that has no folder yet is given none.

        Raises:
            ArtifactsElsewhere: It is another one; the sentence says what to do.
            DatabaseUnreachable: The database does not say which it is.
        """
        async with self._units(write=False) as unit:
            instance, name = await _row(unit.statements)
        if name is not None:
            await self._require(instance, name)

    async def _require(self, instance: str, name: str | None) -> None:
        self._wanted = f"{instance} {name}\n"
        if (sentence := await asyncio.to_thread(self._compare)) is not None:
            raise ArtifactsElsewhere(sentence)

    async def look(self) -> Why | None:
        """Why files cannot be had now, though they could at the start: a mount that went away, for example."""
        sentence = None if self._wanted is None else await asyncio.to_thread(self._compare)
        if (sentence is not None) != self._is_lost:
            self._is_lost = sentence is not None
            if self._is_lost:
                log.warning(EventName.ARTIFACTS_LOST, summary=sentence)
            else:
                log.info(EventName.ARTIFACTS_REGAINED)
        return None if sentence is None else Why(Code.SYSTEM_ARTIFACTS_ELSEWHERE, sentence)

    async def _begin(self) -> tuple[str, str | None]:
        """Give the folder its marker, then let the database know; whoever is killed in between goes on with it."""
        async with self._units() as unit:
            instance, name = await _row(unit.statements, lock=True)
            if name is None:
                marker = await asyncio.to_thread(self._read) or f"{instance} {new_id('art')}\n"
                owner, _, name = marker.strip().partition(" ")
                if owner != instance:
                    raise ArtifactsElsewhere(self._sentence(f"it belongs to another instance: its {MARKER} says so"))
                await asyncio.to_thread(write_marker, self._folder, instance, name)
                await unit.statements.run(Statement("UPDATE instance SET artifacts_id = :name", {"name": name}))
                await unit.commit()
        return instance, name

    def _compare(self) -> str | None:
        """A sentence when the marker is not the one that is wanted; blocks."""
        found = self._read()
        if found == self._wanted:
            return None
        if found:
            return self._sentence(f"it belongs to another instance: its {MARKER} says so")
        text, place = (self._wanted or "").strip(), self._folder / MARKER
        remedy = f"If it is the one and the file was lost, write it anew: echo '{text}' > '{place}'"
        return f"{self._sentence(f'its {MARKER} is missing')} {remedy}"

    def _sentence(self, why: str) -> str:
        return (
            f"{self._folder} is not the folder that this instance keeps its documents in: {why}. "
            "Mount the shared folder there, or let ARTIFACTS_DIR name it."
        )

    def _read(self) -> str:
        try:
            return (self._folder / MARKER).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return ""


async def _row(statements: Statements, *, lock: bool = False) -> tuple[str, str | None]:
    """The instance's id, and that of its folder; with *lock* nobody else changes them until the transaction ends."""
    locked = " FOR UPDATE" if lock and statements.dialect == "postgresql" else ""
    (row,) = await statements.query(f"SELECT id, artifacts_id FROM instance{locked}")  # noqa: S608 - only constants
    return row[0], row[1]


def write_marker(folder: Path, instance: str, name: str) -> None:
    """Say in *folder* whose it is; blocks.

    Raises:
        ReadOnly: It cannot be written.
        DiskFull: There is no room.
    """
    with disk_errors():
        replace_durably(folder / MARKER, f"{instance} {name}\n")


async def renew(statements: Statements, folder: Path) -> None:
    """Make a copy of an instance one of its own, with *folder* as its folder: the original's must not be touched."""
    instance, name = new_id("ins"), new_id("art")
    await asyncio.to_thread(write_marker, folder, instance, name)
    await statements.run(
        Statement("UPDATE instance SET id = :id, artifacts_id = :name", {"id": instance, "name": name})
    )
