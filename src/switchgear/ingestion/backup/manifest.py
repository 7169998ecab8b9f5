"""What a backup says about itself: a folder with a manifest is complete, one without is not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from switchgear.domain.errors import Code, DomainError

MANIFEST: Final = "manifest.json"
#: Stands in the folder until everything else does.
UNFINISHED: Final = "UNFINISHED"
DATABASE: Final = "switchgear.db"
#: Where `pg_dump` is told to put a PostgreSQL database.
DUMP: Final = "switchgear.pgdump"
ARTIFACTS: Final = "artifacts"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class BackupRefused(DomainError):
    """The backup cannot be made or used as it was asked for; nothing was changed."""

    code = Code.REQUEST_INVALID


class Bar(Protocol):
    """Shows how far it is."""

    def advance(self, text: str) -> None:
        """One more is done; *text* says what."""


#: Opens a bar: title, and how many there are.
ShowProgress = Callable[[str, int], AbstractContextManager[Bar]]


class Manifest(BaseModel):
    """What is in a backup.

    Attributes:
        database: `sqlite` stands in the folder; of `postgresql` only what `pg_dump` has put there before.
        database_sha256: Digest of the database's file; None when there is none.
        audit_head: End of the audit trail, `SEQUENCE:HASH`, as `audit verify` takes it.
        audit_fault: What was wrong with the trail of the instance already; None when it was whole.
        counts: Documents, runs, configurations, audit entries, files, and the files' bytes.
        lacking: Digests of files that the instance itself had lost, or that were damaged there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    created_at: datetime
    switchgear: str
    pipeline: str
    schema_revision: str
    database: Literal["sqlite", "postgresql"]
    database_sha256: Digest | None
    audit_head: str
    audit_fault: str | None
    counts: dict[str, int]
    lacking: tuple[Digest, ...] = ()


def read_manifest(folder: Path) -> Manifest:
    """Return what the backup in *folder* says about itself.

    Raises:
        BackupRefused: There is no complete backup, or one that this version cannot read.
    """
    if (folder / UNFINISHED).exists():
        raise BackupRefused(f"The backup in {folder} was never finished, so it is not used. Take another one.")
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise BackupRefused(f"There is no backup in {folder}: it has no {MANIFEST}.") from None
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"]) or "the whole"
        raise BackupRefused(
            f"{folder / MANIFEST} cannot be read ({place} does not fit). Was it made by a later version?"
        ) from None


def digest_of_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
