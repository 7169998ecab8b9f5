"""Writes invoices as JSON and CSV files into a folder. Source: INVOICES.md (deliver), RELIABILITY I3, I31, row 51."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any, Final

from switchgear.invoice.deliveries import (
    Delivery,
    DeliverySettings,
    entry_name,
    out_folder,
    receipts_for,
    sync_folder,
    write_synced,
    writing_to,
)
from switchgear.invoice.types import Invoice, Receipt, Receipts, ReviewDecision, Verdict
from switchgear.modules.deliver_files.rendering import render_csv, render_json
from switchgear.sdk import Context, Module, Requires, Unavailable, module
from switchgear.sdk.values import OUT_VARIABLE

_LEDGER: Final = ".receipts"


@module(
    stage="deliver",
    contract="invoice-deliver@1",
    version="1.0.0",
    guarantees={"every_receipt_has_key"},
    requires=Requires(writes=("$SWITCHGEAR_OUT",)),
    min_isolation="L1",
)
class DeliverFiles(Module):
    """Writes `YYYY/MM/<document>-<key>.json` and `.csv` by issue date; one effect per delivery key.

    File names come from the document's id and the delivery key, never from the document's content. A file is written
    beside its place, synced and renamed, so that a reader never sees half of one. The same key again gives the old
    receipt and writes nothing. A changed result of the same document is a new file whose receipt names the one that it
    supersedes, also when the document was forgotten meanwhile and sent again. A rejected invoice is withheld: a
    receipt, but no file.
    """

    Settings = DeliverySettings
    settings: DeliverySettings

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

        def deliver(delivery: Delivery) -> Receipt:
            content = _render(delivery.format, invoice, verdict, decision, ctx.document_id)
            place = self._place(invoice, delivery, ctx)
            return _deliver(root, delivery, place, content, ctx.delivery_series(delivery.target))

        return receipts_for(self.settings, decision, ctx, deliver)

    def _place(self, invoice: Invoice, delivery: Delivery, ctx: Context) -> PurePosixPath:
        issued = invoice.issue_date.value if invoice.issue_date is not None else None
        name = f"{entry_name(ctx.document_id, delivery.key)}.{delivery.format}"
        return PurePosixPath(self.settings.folder) / month_folder(issued) / name


def _require_writable(folder: Path) -> None:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        raise Unavailable(f"{existing} cannot be written by this user.", fix=f"chown -R $(id -un) {existing}")


def month_folder(issued: date | None) -> str:
    """`YYYY/MM` of the issue date, or `undated`."""
    return f"{issued.year:04d}/{issued.month:02d}" if issued is not None else "undated"


def _render(name: str, invoice: Invoice, verdict: Verdict, decision: ReviewDecision, document_id: str) -> bytes:
    if name == "csv":
        return render_csv(invoice, document_id)
    return render_json(invoice, verdict, decision, document_id)


# --- one effect per key ---------------------------------------------------------------------------------------------


def _deliver(root: Path, delivery: Delivery, place: PurePosixPath, content: bytes, series: str) -> Receipt:
    """Write *content* once for its key; the ledger under `.receipts/` remembers what was done."""
    target, key = delivery.target, delivery.key
    with writing_to(root), _ledger(root) as ledger:
        known = ledger / "keys" / f"{_digest(key)}.json"
        latest = ledger / "series" / f"{_digest(series)}.json"
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
        write_synced(temporary, content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
