"""What deliveries to files have in common: targets, keys, names, durable writes. Source: INVOICES.md (deliver), I3."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from pydantic import Field, field_validator

from switchgear.invoice.types import Receipt, Receipts, ReviewDecision
from switchgear.sdk import Context, ModuleSettings, Retryable, Unavailable
from switchgear.sdk.values import OUT_VARIABLE


class DeliverySettings(ModuleSettings):
    """Where and in which formats."""

    folder: str = Field(
        "", max_length=200, description="Folder below the folder for results, relative; empty is that folder itself."
    )
    formats: tuple[Literal["json", "csv"], ...] = Field(
        ("json", "csv"), min_length=1, max_length=2, description="Which files are written for each invoice."
    )

    @field_validator("folder")
    @classmethod
    def _stays_below(cls, value: str) -> str:
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts or "\0" in value or any(p.startswith(".") for p in path.parts):
            raise ValueError("write a relative folder without .. and without names that start with a dot")
        return str(path) if value else ""


class Delivery(NamedTuple):
    """One file that is to reach its target once for its key."""

    format: str
    target: str
    key: str


def receipts_for(
    settings: DeliverySettings, decision: ReviewDecision, ctx: Context, deliver: Callable[[Delivery], Receipt]
) -> Receipts:
    """Deliver in each format and return the receipts; a rejected invoice is withheld: a receipt, but no delivery."""
    receipts = []
    for name in dict.fromkeys(settings.formats):
        target = f"files:{settings.folder}:{name}"
        delivery = Delivery(name, target, ctx.idempotency_key(target))
        if decision.outcome == "rejected":
            receipts.append(Receipt(target=target, key=delivery.key, location="", status="withheld"))
        else:
            receipts.append(deliver(delivery))
    return Receipts(receipts=tuple(receipts))


def out_folder() -> Path:
    """The folder for results that the engine named.

    Raises:
        Unavailable: It named none, or not an absolute path.
    """
    value = os.environ.get(OUT_VARIABLE, "")
    if not os.path.isabs(value):
        raise Unavailable(
            f"{OUT_VARIABLE} does not hold an absolute path, so there is no folder for results.",
            fix=f"export {OUT_VARIABLE}=/path/to/out",
        )
    return Path(value)


def entry_name(document_id: str, key: str) -> str:
    """A name from the document's id (letters, digits, dashes) and a digest of the delivery key."""
    plain = re.sub(r"[^A-Za-z0-9-]", "-", document_id).strip("-")[:60] or "document"
    return f"{plain}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turn what the disk says meanwhile into what the engine acts on.

    Raises:
        Unavailable: The folder cannot be written.
        Retryable: The disk was full or gave an error; another try may succeed.
    """
    try:
        yield
    except PermissionError as error:
        raise Unavailable(
            f"{folder} cannot be written: {error.strerror}.", fix=f"chown -R $(id -un) {folder}"
        ) from error
    except OSError as error:
        raise Retryable(f"Writing to {folder} failed: {error.strerror}.") from error


def write_synced(path: Path, content: bytes) -> None:
    """Write a file whose bytes are on the disk afterwards; its name is only after `sync_folder`."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Bring names that were made or changed in a folder to the disk."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
