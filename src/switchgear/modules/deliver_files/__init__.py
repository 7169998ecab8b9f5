"""Writes invoices as JSON and CSV files into a folder. Source: INVOICES.md (deliver), RELIABILITY I3, I31, row 51."""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from pydantic import Field, field_validator

from switchgear.invoice.types import Invoice, Receipt, Receipts, ReviewDecision, Verdict
from switchgear.modules.deliver_files.rendering import render_csv, render_json
from switchgear.sdk import Context, Module, ModuleSettings, Retryable, Unavailable, module

#: The engine names the folder for results here, as an absolute path.
OUT_VARIABLE: Final = "SWITCHGEAR_OUT"
_LEDGER: Final = ".receipts"


@module(
    stage="deliver",
    contract="invoice-deliver@1",
    version="1.0.0",
    guarantees={"every_receipt_has_key"},
    min_isolation="L1",
)
class DeliverFiles(Module):
    """Writes `YYYY/MM/<document>-<key>.json` and `.csv` by issue date; one effect per delivery key.

    File names come from the document's id and the delivery key, never from the document's content. A file is written
    beside its place, synced and renamed, so that a reader never sees half of one. The same key again gives the old
    receipt and writes nothing. A changed result of the same document is a new file whose receipt names the one that it
    supersedes. A rejected invoice is withheld: a receipt, but no file.
    """

    class Settings(ModuleSettings):
        """Where and in which formats."""

        folder: str = Field(
            "",
            max_length=200,
            description="Folder below the folder for results, relative; empty is that folder itself.",
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

    settings: Settings

    @classmethod
    def probe(cls, settings: Any) -> None:
        """The folder can be written, as far as that shows without writing."""
        if os.environ.get(OUT_VARIABLE):
            _require_writable(out_folder())

    def run(self, invoice: Invoice, verdict: Verdict, decision: ReviewDecision, ctx: Context) -> Receipts:
        """Write the files and return one receipt for each.

        Raises:
            Unavailable: The folder for results is not known or cannot be written.
            Retryable: The disk was full or gave an error; another try may succeed.
        """
        root = out_folder()
        receipts = []
        for name in dict.fromkeys(self.settings.formats):
            target = f"files:{self.settings.folder}:{name}"
            key = ctx.idempotency_key(target)
            if decision.outcome == "rejected":
                receipts.append(Receipt(target=target, key=key, location="", status="withheld"))
                continue
            content = _render(name, invoice, verdict, decision, ctx.document_id)
            place = self._place(invoice, ctx.document_id, key, name)
            receipts.append(_deliver(root, target, key, place, content, ctx.document_id))
        return Receipts(receipts=tuple(receipts))

    def _place(self, invoice: Invoice, document_id: str, key: str, name: str) -> PurePosixPath:
        issued = invoice.issue_date.value if invoice.issue_date is not None else None
        return PurePosixPath(self.settings.folder) / month_folder(issued) / f"{file_stem(document_id, key)}.{name}"


def out_folder() -> Path:
    """The folder for results that the engine named.

    Raises:
        Unavailable: It named none, or not an absolute path.
    """
    value = os.environ.get(OUT_VARIABLE, "")
    if not os.path.isabs(value):
        raise Unavailable(
            f"{OUT_VARIABLE} does not hold an absolute path, so there is no folder to deliver to.",
            fix=f"export {OUT_VARIABLE}=/path/to/out",
        )
    return Path(value)


def _require_writable(folder: Path) -> None:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        raise Unavailable(f"{existing} cannot be written by this user.", fix=f"chown -R $(id -un) {existing}")


def month_folder(issued: date | None) -> str:
    """`YYYY/MM` of the issue date, or `undated`."""
    return f"{issued.year:04d}/{issued.month:02d}" if issued is not None else "undated"


def file_stem(document_id: str, key: str) -> str:
    """A file name from the document's id (letters, digits, dashes) and a digest of the delivery key."""
    plain = re.sub(r"[^A-Za-z0-9-]", "-", document_id).strip("-")[:60] or "document"
    return f"{plain}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _render(name: str, invoice: Invoice, verdict: Verdict, decision: ReviewDecision, document_id: str) -> bytes:
    if name == "csv":
        return render_csv(invoice, document_id)
    return render_json(invoice, verdict, decision, document_id)


# --- one effect per key ---------------------------------------------------------------------------------------------


def _deliver(root: Path, target: str, key: str, place: PurePosixPath, content: bytes, document_id: str) -> Receipt:
    """Write *content* once for *key*; the ledger under `.receipts/` remembers what was done."""
    try:
        with _ledger(root) as ledger:
            known = ledger / "keys" / f"{_digest(key)}.json"
            latest = ledger / "documents" / f"{_digest(f'{document_id}|{target}')}.json"
            if known.exists():
                return Receipt.model_validate_json(known.read_bytes())
            entry = json.loads(latest.read_bytes()) if latest.exists() else {}
            # after a crash between the two writes below, the entry already names this key
            previous = entry.get("supersedes") if entry.get("key") == key else entry.get("key")
            write_atomically(root / place, content)
            receipt = Receipt(target=target, key=key, location=str(place), status="delivered", supersedes=previous)
            write_atomically(latest, json.dumps({"key": key, "supersedes": previous}).encode())
            write_atomically(known, receipt.model_dump_json().encode())
            return receipt
    except PermissionError as error:
        raise Unavailable(f"{root} cannot be written: {error.strerror}.", fix=f"chown -R $(id -un) {root}") from error
    except OSError as error:
        raise Retryable(f"Writing to {root} failed: {error.strerror}.") from error


@contextmanager
def _ledger(root: Path) -> Iterator[Path]:
    """The folder of receipts, locked against other processes."""
    ledger = root / _LEDGER
    ledger.mkdir(parents=True, exist_ok=True)
    with (ledger / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield ledger


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside *path*, sync, rename, sync the folder: after a power cut there is the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
