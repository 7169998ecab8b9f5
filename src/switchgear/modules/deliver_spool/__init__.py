"""Keeps results for later when the target cannot be reached: the fallback of deliver. Source: INVOICES.md (deliver)."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from pydantic import Field, field_validator

from switchgear.invoice.types import Invoice, Receipt, Receipts, ReviewDecision, Verdict
from switchgear.sdk import Context, Module, ModuleSettings, Retryable, Unavailable, module

#: The engine names the folder for results here, as an absolute path; the spool lies beside it, not in it, so that a
#: folder for results that cannot be written does not take the spool with it.
OUT_VARIABLE: Final = "SWITCHGEAR_OUT"


@module(
    stage="deliver",
    contract="invoice-deliver@1",
    version="1.0.0",
    guarantees={"every_receipt_has_key"},
    min_isolation="L1",
)
class DeliverSpool(Module):
    """Keeps each result under `spool/<document>-<key>/` with a manifest that names its target and delivery key.

    The targets and keys are those of `deliver-files` with the same settings, so `runs retry --from deliver` delivers
    later under the same keys. Nothing reaches a target from here. The same key again gives the same receipt.
    """

    class Settings(ModuleSettings):
        """The targets: the same settings as those of `deliver-files`."""

        folder: str = Field("", max_length=200, description="The folder that `deliver-files` is to write to, relative.")
        formats: tuple[Literal["json", "csv"], ...] = Field(
            ("json", "csv"), min_length=1, max_length=2, description="The files that `deliver-files` is to write."
        )

        @field_validator("folder")
        @classmethod
        def _stays_below(cls, value: str) -> str:
            path = PurePosixPath(value)
            if path.is_absolute() or ".." in path.parts or "\0" in value or any(p.startswith(".") for p in path.parts):
                raise ValueError("write a relative folder without .. and without names that start with a dot")
            return str(path) if value else ""

    settings: Settings

    def run(self, invoice: Invoice, verdict: Verdict, decision: ReviewDecision, ctx: Context) -> Receipts:
        """Keep the result and return one receipt for each target.

        Raises:
            Unavailable: The spool folder is not known or cannot be written.
            Retryable: The disk was full or gave an error; another try may succeed.
        """
        spool = spool_folder()
        content = {
            "invoice": invoice.model_dump(mode="json"),
            "verdict": verdict.model_dump(mode="json"),
            "decision": decision.model_dump(mode="json"),
        }
        receipts = []
        for name in dict.fromkeys(self.settings.formats):
            target = f"files:{self.settings.folder}:{name}"
            key = ctx.idempotency_key(target)
            if decision.outcome == "rejected":
                receipts.append(Receipt(target=target, key=key, location="", status="withheld"))
                continue
            entry = entry_name(ctx.document_id, key)
            manifest = {"target": target, "key": key, "document_id": ctx.document_id, "run_id": ctx.run_id}
            _keep(spool, entry, manifest, content)
            receipts.append(Receipt(target=target, key=key, location=f"spool/{entry}", status="spooled"))
        return Receipts(receipts=tuple(receipts))


def spool_folder() -> Path:
    """The folder `spool` beside the folder for results.

    Raises:
        Unavailable: The engine named no folder for results.
    """
    value = os.environ.get(OUT_VARIABLE, "")
    if not os.path.isabs(value):
        raise Unavailable(
            f"{OUT_VARIABLE} does not hold an absolute path, so there is no folder to keep results in.",
            fix=f"export {OUT_VARIABLE}=/path/to/out",
        )
    return Path(value).parent / "spool"


def entry_name(document_id: str, key: str) -> str:
    """A folder name from the document's id (letters, digits, dashes) and a digest of the delivery key."""
    plain = re.sub(r"[^A-Za-z0-9-]", "-", document_id).strip("-")[:60] or "document"
    return f"{plain}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _keep(spool: Path, entry: str, manifest: dict[str, Any], content: dict[str, Any]) -> None:
    """Write the entry as a folder of its own, which appears at once and complete."""
    final = spool / entry
    temporary = spool / f".{entry}.{os.getpid()}.tmp"
    try:
        if final.exists():
            return
        temporary.mkdir(parents=True, exist_ok=True)
        body = json.dumps(content, ensure_ascii=False, indent=2, sort_keys=True).encode()
        _write(temporary / "result.json", body)
        described = manifest | {"files": {"result.json": hashlib.sha256(body).hexdigest()}}
        _write(temporary / "manifest.json", json.dumps(described, indent=2, sort_keys=True).encode())
        _sync_folder(temporary)
        try:
            temporary.rename(final)
        except OSError:
            if not final.exists():  # else another process kept the same entry meanwhile
                raise
        _sync_folder(spool)
    except PermissionError as error:
        raise Unavailable(f"{spool} cannot be written: {error.strerror}.", fix=f"chown -R $(id -un) {spool}") from error
    except OSError as error:
        raise Retryable(f"Writing to {spool} failed: {error.strerror}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
