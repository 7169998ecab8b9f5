"""What has been kept long enough: outputs, originals, whole records; found, counted and removed. Source: DESIGN 7.

To be called in a unit of work, beside the audit event. Nothing is taken from a document of which a run waits, runs or
is on hold. Files are not touched here: those that no row names any more are for `ingestion/retention.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from switchgear.core.database import Statement
from switchgear.core.database.statements import Row
from switchgear.ingestion.run_repository.base import RepositoryPart

_ENDED: Final = "('succeeded', 'failed', 'cancelled')"
#: Every run of the document has ended, the last one before then.
_AT_REST: Final = f"""EXISTS (SELECT 1 FROM runs r WHERE r.document_id = d.id)
    AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.document_id = d.id
        AND (r.status NOT IN {_ENDED} OR r.ended_at IS NULL OR r.ended_at >= :before))"""  # noqa: S608 - only constants
#: The result lives as long as its run: it is what the run was for, however large it is.
_OUTPUTS: Final = f"""FROM stage_outputs o JOIN runs r ON r.id = o.run_id
WHERE o.artifact_sha256 IS NOT NULL AND o.stage_id <> :result_stage
    AND r.status IN {_ENDED} AND r.ended_at < :before"""
_ORIGINALS: Final = f"""FROM documents d
WHERE d.file_removed_at IS NULL AND d.received_at < :before AND {_AT_REST}"""
_RECORDS: Final = f"""FROM documents d WHERE d.received_at < :before AND {_AT_REST}"""
_OF_RUNS: Final = "run_id IN (SELECT id FROM runs WHERE document_id = :document)"
_DELETE: Final = (
    f"DELETE FROM stage_outputs WHERE {_OF_RUNS}",  # noqa: S608 - only constants
    f"DELETE FROM stage_attempts WHERE {_OF_RUNS}",  # noqa: S608
    "DELETE FROM deliveries WHERE document_id = :document",
    "DELETE FROM runs WHERE document_id = :document",
    "DELETE FROM documents WHERE id = :document",
)


@dataclass(frozen=True, slots=True)
class Removed:
    """How many rows, and the files that they named: digest and length in bytes, each file once."""

    count: int
    files: dict[str, int]

    @property
    def size_bytes(self) -> int:
        """Length of the files together."""
        return sum(self.files.values())


class Retention(RepositoryPart):
    """Everything that ends by age."""

    async def old_outputs(self, before: int) -> tuple[int, int]:
        """Return how many outputs are files of runs that ended before *before* (microseconds UTC), and their bytes."""
        return await self._count(
            f"""count(*), sum(size) FROM (SELECT o.artifact_sha256, max(o.size_bytes) AS size {_OUTPUTS}
            GROUP BY o.artifact_sha256) files""",
            before,
        )

    async def old_originals(self, before: int) -> tuple[int, int]:
        """As `old_outputs`: documents whose runs have all ended before, and that still have their file."""
        return await self._count(f"count(*), sum(d.size_bytes) {_ORIGINALS}", before)

    async def old_records(self, before: int) -> tuple[int, int]:
        """As `old_outputs`: documents whose runs have all ended before; the bytes are those of files still kept."""
        size = "CASE WHEN d.file_removed_at IS NULL THEN d.size_bytes ELSE 0 END"
        return await self._count(f"count(*), sum({size}) {_RECORDS}", before)

    async def _count(self, sql: str, before: int) -> tuple[int, int]:
        (row,) = await self._statements.scan(f"SELECT {sql}", self._parameters(before))
        return int(row[0]), int(row[1] or 0)

    async def remove_outputs(self, before: int, limit: int) -> Removed:
        """Let up to *limit* outputs forget their file; outcome and size stay."""
        lock = " FOR UPDATE OF o, r" if self._statements.dialect == "postgresql" else ""
        rows = await self._statements.query(
            f"SELECT o.run_id, o.stage_id, o.artifact_sha256, o.size_bytes {_OUTPUTS} LIMIT :limit{lock}",
            {**self._parameters(before), "limit": limit},
        )
        if rows:
            forget = "UPDATE stage_outputs SET artifact_sha256 = NULL WHERE run_id = :run AND stage_id = :stage"
            await self._statements.run(Statement(forget, [{"run": row[0], "stage": row[1]} for row in rows]))
        return Removed(len(rows), {row[2]: row[3] for row in rows})

    async def remove_originals(self, before: int, limit: int) -> Removed:
        """Let up to *limit* documents forget their file; the document says when that was."""
        rows = await self._at_rest(_ORIGINALS, before, limit)
        if rows:
            forget = "UPDATE documents SET file_removed_at = now_us() WHERE id = :document"
            await self._statements.run(Statement(forget, [{"document": row[0]} for row in rows]))
        return Removed(len(rows), {row[1]: row[2] for row in rows})

    async def remove_records(self, before: int, limit: int) -> Removed:
        """Delete up to *limit* documents with everything about them: runs, attempts, outputs, results, deliveries."""
        rows = await self._at_rest(_RECORDS, before, limit)
        if not rows:
            return Removed(0, {})
        documents = [{"document": row[0]} for row in rows]
        files: dict[str, int] = {row[1]: row[2] for row in rows if row[3] is None}
        for document in documents:
            kept = await self._statements.query(
                f"SELECT artifact_sha256, size_bytes FROM stage_outputs WHERE {_OF_RUNS} "  # noqa: S608
                "AND artifact_sha256 IS NOT NULL",
                document,
            )
            files |= {row[0]: row[1] for row in kept}
        await self._statements.run(*(Statement(sql, documents) for sql in _DELETE))
        return Removed(len(rows), files)

    async def _at_rest(self, what: str, before: int, limit: int) -> Sequence[Row]:
        """Documents of which nothing can move until this transaction ends: id, digest, length, when the file went."""
        columns = "SELECT d.id, d.sha256, d.size_bytes, d.file_removed_at"
        parameters = self._parameters(before) | {"limit": limit}
        postgres = self._statements.dialect == "postgresql"
        lock = " FOR UPDATE OF d" if postgres else ""
        rows = await self._statements.query(f"{columns} {what} ORDER BY d.received_at LIMIT :limit{lock}", parameters)
        if not postgres or not rows:
            return rows  # a writer is alone on SQLite
        # A new run needs the row that is locked now. One that is retried is locked next, then all are looked at anew.
        names = {f"d{number}": row[0] for number, row in enumerate(rows)}
        wanted = ", ".join(f":{name}" for name in names)
        await self._statements.query(f"SELECT id FROM runs WHERE document_id IN ({wanted}) FOR UPDATE", names)  # noqa: S608
        return await self._statements.query(
            f"{columns} {what} AND d.id IN ({wanted})", self._parameters(before) | names
        )

    def _parameters(self, before: int) -> dict[str, Any]:
        return {"before": before, "result_stage": self.result_stage}
