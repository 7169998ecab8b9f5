"""Accepting documents and asking for runs. Source: DESIGN 5, RELIABILITY I16."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from switchgear.core.database import Statement
from switchgear.core.database.statements import riders_var
from switchgear.domain.ids import new_id
from switchgear.ingestion.run_repository.base import to_json_or_none
from switchgear.ingestion.run_repository.reading import DOCUMENT_COLUMNS, RUN_COLUMNS, Reading, document_of, run_of
from switchgear.ingestion.run_repository.records import AcceptedDocument, RunRow

_DOCUMENT: Final = """
INSERT INTO documents (id, sha256, size_bytes, name, media_type, parent_id, actor, received_at)
VALUES (:document, :sha256, :size, :name, :media_type, :parent, :actor, now_us())
ON CONFLICT (sha256) DO UPDATE SET file_removed_at = NULL"""
_RUN: Final = """
INSERT INTO runs (id, document_id, status, degraded, pinned_configuration_id, fencing_token, losses, stage_id,
    available_at, accepted_at, running_us, cancel_requested, retry_of, actor, decision)
SELECT :run, id, 'queued', FALSE, :pinned, 0, 0, :stage, now_us(), now_us(), 0, FALSE, :retry_of, :actor, :decision
FROM documents"""
#: Known bytes make no run, unless one is asked for. The newest row is the one that was just made, or the last one.
_FIRST_RUN: Final = f"{_RUN} WHERE sha256 = :sha256 AND (id = :document OR :again)"
_KNOWN: Final = f"SELECT {DOCUMENT_COLUMNS} FROM documents d WHERE d.sha256 = :sha256"  # noqa: S608 - only constants
_LAST_RUN: Final = f"""
SELECT {RUN_COLUMNS} FROM runs r JOIN documents d ON d.id = r.document_id
WHERE d.sha256 = :sha256 ORDER BY r.id DESC LIMIT 1"""  # noqa: S608 - only constants
_COPY: Final = """
INSERT INTO stage_outputs (run_id, stage_id, outcome, module_id, wanted_module_id, degraded, why, value,
    artifact_sha256, size_bytes, committed_at)
SELECT :run, stage_id, outcome, module_id, wanted_module_id, degraded, why, value, artifact_sha256, size_bytes,
    committed_at
FROM stage_outputs WHERE run_id = :source AND stage_id = :stage"""


class Intake(Reading):
    """Rows for what was accepted. The bytes must be durable before (I12)."""

    async def accept(
        self,
        *,
        sha256: str,
        size_bytes: int,
        name: str,
        media_type: str,
        actor: str,
        parent_id: str | None = None,
        again: bool = False,
    ) -> AcceptedDocument:
        """Record a document and queue its run, in one transaction.

        The same bytes are one document, however many arrive at once: the answer then names the known document and its
        newest run; with *again*, a new run of it.

        Args:
            sha256: Digest of the bytes, which must stand in the artifact store by now.
            size_bytes: Length.
            name: As the sender gave it; shown, never a path.
            media_type: As the sender gave it; never trusted.
            actor: Token id or name of the sender.
            parent_id: The document it was taken from.
            again: Whether known bytes get a new run.
        """
        document_id = new_id("doc")
        document = {
            "document": document_id,
            "sha256": sha256,
            "size": size_bytes,
            "name": name,
            "media_type": media_type,
            "parent": parent_id,
            "actor": actor,
        }
        run: dict[str, Any] = {"run": new_id("run"), "pinned": None, "stage": None, "retry_of": None, "actor": actor}
        run |= {"decision": None, "sha256": sha256, "document": document_id, "again": again}
        results = await self._statements.run(
            Statement(_DOCUMENT, document),
            Statement(_FIRST_RUN, run),
            Statement(_KNOWN, {"sha256": sha256}, fetch=True),
            Statement(_LAST_RUN, {"sha256": sha256}, fetch=True),
            *riders_var.get(),
        )
        known = document_of(results[2].rows[0])
        return AcceptedDocument(known, run_of(results[3].rows[0]), duplicate=known.id != document_id)

    async def add_run(
        self,
        document_id: str,
        actor: str,
        *,
        retry_of: str | None = None,
        pinned: str | None = None,
        stage_id: str | None = None,
        copy_from: str | None = None,
        copied_stages: Sequence[str] = (),
        decision: Mapping[str, Any] | None = None,
    ) -> RunRow:
        """Queue a further run of a document.

        Args:
            document_id: The document.
            actor: Token id or name of who asks for it.
            retry_of: The run that it repeats.
            pinned: Configuration that its first claim takes; None = the active one.
            stage_id: Where it begins; None = the first stage.
            copy_from: Run whose outputs are taken over.
            copied_stages: Stages whose outputs are taken over.
            decision: What a person decided at one of these stages.
        """
        run_id = new_id("run")
        run = {"run": run_id, "pinned": pinned, "stage": stage_id, "retry_of": retry_of, "actor": actor}
        run["decision"] = to_json_or_none(decision)
        copies = [{"run": run_id, "source": copy_from, "stage": stage} for stage in copied_stages]
        await self._statements.run(
            Statement(f"{_RUN} WHERE id = :document", {**run, "document": document_id}, expect=1),
            *([Statement(_COPY, copies)] if copies else []),
        )
        return await self.get(run_id)
