"""Keeps results for later when the target cannot be reached: the fallback of deliver. Source: INVOICES.md (deliver)."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

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
from switchgear.sdk import Context, Module, Requires, module


@module(
    stage="deliver",
    contract="invoice-deliver@1",
    version="1.0.0",
    guarantees={"every_receipt_has_key"},
    requires=Requires(writes=("$SWITCHGEAR_OUT/../spool",)),
    min_isolation="L1",
)
class DeliverSpool(Module):
    """Keeps each result under `spool/<document>-<key>/` with a manifest that names its target and delivery key.

    The targets and keys are those of `deliver-files` with the same settings, so `runs retry --from deliver` delivers
    later under the same keys. Nothing reaches a target from here. The same key again gives the same receipt.
    """

    Settings = DeliverySettings
    settings: DeliverySettings

    def run(self, invoice: Invoice, verdict: Verdict, decision: ReviewDecision, ctx: Context) -> Receipts:
        """Keep the result and return one receipt for each target.

        Raises:
            Unavailable: The spool folder is not known or cannot be written.
            Retryable: The disk was full or gave an error; another try may succeed.
        """
        # beside the folder for results, not in it: when that one cannot be written, the spool still can
        spool = out_folder().parent / "spool"
        content = {
            "invoice": invoice.model_dump(mode="json"),
            "verdict": verdict.model_dump(mode="json"),
            "decision": decision.model_dump(mode="json"),
        }

        def deliver(delivery: Delivery) -> Receipt:
            target, key = delivery.target, delivery.key
            entry = entry_name(ctx.document_id, key)
            manifest = {"target": target, "key": key, "document_id": ctx.document_id, "run_id": ctx.run_id}
            _keep(spool, entry, manifest, content)
            return Receipt(target=target, key=key, location=f"spool/{entry}", status="spooled")

        return receipts_for(self.settings, decision, ctx, deliver)


def _keep(spool: Path, entry: str, manifest: dict[str, Any], content: dict[str, Any]) -> None:
    """Write the entry as a folder of its own, which appears at once and complete."""
    final = spool / entry
    temporary = spool / f".{entry}.{os.getpid()}.tmp"
    try:
        with writing_to(spool):
            if not final.exists():
                _write(temporary, manifest, content)
                _appear(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(folder: Path, manifest: dict[str, Any], content: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    body = json.dumps(content, ensure_ascii=False, indent=2, sort_keys=True).encode()
    write_synced(folder / "result.json", body)
    described = manifest | {"files": {"result.json": hashlib.sha256(body).hexdigest()}}
    write_synced(folder / "manifest.json", json.dumps(described, indent=2, sort_keys=True).encode())
    sync_folder(folder)


def _appear(temporary: Path, final: Path) -> None:
    try:
        temporary.rename(final)
    except OSError:
        if not final.exists():  # else another process kept the same entry meanwhile
            raise
    sync_folder(final.parent)
