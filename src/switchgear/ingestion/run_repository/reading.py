"""Reading documents, runs, attempts, outputs and results. Lists are paged, newest first. Source: INTERFACES 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from switchgear.core.database.statements import Row
from switchgear.domain.errors import NotFound
from switchgear.domain.run import Outcome, RunStatus
from switchgear.ingestion.run_repository.base import RepositoryPart, from_json
from switchgear.ingestion.run_repository.records import (
    Counts,
    DeliveryRow,
    DocumentRow,
    Page,
    RunFilter,
    RunRow,
    RunsOfVersion,
    StoredAttempt,
    StoredOutput,
)

#: Whoever was repeated as a new run is done with.
REPEATED: Final = "EXISTS (SELECT 1 FROM runs n WHERE n.document_id = r.document_id AND n.retry_of = r.id)"
RUN_COLUMNS: Final = """r.id, r.document_id, d.name, r.status, r.degraded, r.configuration_id, r.configuration_version,
    r.pinned_configuration_id, r.fencing_token, r.claimed_by, r.losses, r.stage_id, r.available_at, r.accepted_at,
    r.started_at, r.ended_at, r.running_us, r.cancel_requested, r.retry_of, r.actor, r.identity, r.decision, r.why,
    r.why_code, d.actor, r.queue"""
DOCUMENT_COLUMNS: Final = """d.id, d.sha256, d.size_bytes, d.name, d.media_type, d.parent_id, d.actor, d.received_at,
    (SELECT id FROM runs WHERE document_id = d.id ORDER BY id DESC LIMIT 1),
    (SELECT status FROM runs WHERE document_id = d.id ORDER BY id DESC LIMIT 1), d.file_removed_at,
    (SELECT decision FROM runs WHERE document_id = d.id ORDER BY id DESC LIMIT 1)"""
_RUNS: Final = f"SELECT {RUN_COLUMNS} FROM runs r JOIN documents d ON d.id = r.document_id"  # noqa: S608
_DOCUMENTS: Final = f"SELECT {DOCUMENT_COLUMNS} FROM documents d"  # noqa: S608
_ATTEMPTS: Final = """
SELECT stage_id, candidate, try_number, outcome, started_at, duration_us, module_id, module_version, code_digest,
    detail, message, limits, rules_not_matched, confidence, run_id, fencing_token, configuration_id,
    configuration_version
FROM stage_attempts a WHERE run_id = :run
ORDER BY fencing_token, started_at, (SELECT position FROM processing_stages WHERE id = a.stage_id), candidate,
    try_number"""
_OUTPUTS: Final = """
SELECT stage_id, outcome, module_id, wanted_module_id, degraded, why, value, artifact_sha256, size_bytes, run_id,
    committed_at
FROM stage_outputs o WHERE run_id = :run
ORDER BY (SELECT position FROM processing_stages WHERE id = o.stage_id), stage_id"""


class Reading(RepositoryPart):
    """Everything that shows runs and documents."""

    async def get(self, run_id: str) -> RunRow:
        """Return the run.

        Raises:
            NotFound: There is none.
        """
        rows = await self._statements.query(f"{_RUNS} WHERE r.id = :run", {"run": run_id})
        if not rows:
            raise NotFound("There is no such run.", kind="run")
        return run_of(rows[0])

    async def list(self, wanted: RunFilter, limit: int = 50, cursor: str | None = None) -> Page[RunRow]:
        """Return runs, newest first; *cursor* is the `next_cursor` of the page before."""
        conditions: dict[str, Any] = {
            "r.status": str(wanted.status) if wanted.status else None,
            "r.document_id": wanted.document_id,
            "r.configuration_id": wanted.configuration_id,
            "r.why_code": wanted.why_code,
            "r.degraded": wanted.degraded,
            "r.actor": wanted.actor,
        }
        rows = await self._page(_RUNS, "r.id", conditions, limit, cursor)
        return _page([run_of(row) for row in rows], limit)

    async def overtaken(self, run_ids: Sequence[str]) -> Mapping[str, str]:
        """Return those of *run_ids* whose document has a newer run that goes on or has succeeded, with that run."""
        if not run_ids:
            return {}
        wanted = ", ".join(f":r{number}" for number in range(len(run_ids)))
        rows = await self._statements.scan(
            f"""SELECT o.id, max(n.id) FROM runs o JOIN runs n ON n.document_id = o.document_id AND n.id > o.id
            WHERE o.id IN ({wanted}) AND (n.status IN ('queued', 'running', 'succeeded')
                OR n.status = 'parked' AND n.why_code = 'parked.review')
            GROUP BY o.id""",  # noqa: S608 - only names of parameters
            {f"r{number}": run_id for number, run_id in enumerate(run_ids)},
        )
        return {str(old): str(new) for old, new in rows}

    async def document(self, document_id: str) -> DocumentRow:
        """Return the document.

        Raises:
            NotFound: There is none.
        """
        rows = await self._statements.query(f"{_DOCUMENTS} WHERE d.id = :document", {"document": document_id})
        if not rows:
            raise NotFound("There is no such document.", kind="document")
        return document_of(rows[0])

    async def documents(
        self, limit: int = 50, cursor: str | None = None, *, actor: str | None = None, sha256: str | None = None
    ) -> Page[DocumentRow]:
        """Return documents, newest first; *actor* is the sender, *sha256* the digest of the bytes."""
        rows = await self._page(_DOCUMENTS, "d.id", {"d.actor": actor, "d.sha256": sha256}, limit, cursor)
        return _page([document_of(row) for row in rows], limit)

    async def attempts(self, run_id: str) -> Sequence[StoredAttempt]:
        """Return the run's attempts in the order in which they happened."""
        rows = await self._statements.query(_ATTEMPTS, {"run": run_id})
        return [_attempt_of(row) for row in rows]

    async def outputs(self, run_id: str) -> Sequence[StoredOutput]:
        """Return the run's committed outputs in the order of the stages."""
        rows = await self._statements.query(_OUTPUTS, {"run": run_id})
        return [_output_of(row) for row in rows]

    async def delivery(self, key: str) -> DeliveryRow | None:
        """Return what was delivered under *key*, or None."""
        rows = await self._statements.query(
            "SELECT key, target, receipt, delivered_at FROM deliveries WHERE key = :key", {"key": key}
        )
        return _delivery_of(rows[0]) if rows else None

    async def deliveries(self, document_id: str) -> Sequence[DeliveryRow]:
        """Return what was delivered of a document, oldest first."""
        rows = await self._statements.query(
            """SELECT key, target, receipt, delivered_at FROM deliveries WHERE document_id = :document
            ORDER BY delivered_at, key""",
            {"document": document_id},
        )
        return [_delivery_of(row) for row in rows]

    async def counts(self) -> Counts:
        """Return how many runs stand where, and how long the oldest queued one has waited."""
        statuses = await self._statements.scan("SELECT status, count(*) FROM runs GROUP BY status")
        parked = await self._statements.scan(
            f"SELECT why_code, count(*) FROM runs r WHERE status = 'parked' AND NOT {REPEATED} GROUP BY why_code"  # noqa: S608
        )
        oldest = await self._statements.scan(
            "SELECT queue, now_us() - min(available_at) FROM runs "
            "WHERE status = 'queued' AND available_at <= now_us() GROUP BY queue"
        )
        return Counts(
            {str(row[0]): row[1] for row in statuses},
            {str(row[0] or ""): row[1] for row in parked},
            {str(row[0]): max(0.0, row[1] / 1_000_000) for row in oldest},
        )

    async def queued(self) -> tuple[int, float]:
        """Return how many runs may be claimed, and how long the oldest of them has waited, in seconds."""
        rows = await self._statements.scan(
            "SELECT count(*), now_us() - min(available_at) FROM runs "
            "WHERE status = 'queued' AND available_at <= now_us()"
        )
        return int(rows[0][0]), max(0.0, (rows[0][1] or 0) / 1_000_000)

    async def counts_of(self, configuration_id: str) -> RunsOfVersion:
        """Return how the runs that hold a configuration stand."""
        rows = await self._statements.scan(
            "SELECT status, degraded, count(*) FROM runs WHERE configuration_id = :configuration "
            "GROUP BY status, degraded",
            {"configuration": configuration_id},
        )
        by_status: dict[str, int] = {}
        degraded = 0
        for status, is_degraded, count in rows:
            by_status[str(status)] = by_status.get(str(status), 0) + int(count)
            if is_degraded and status == RunStatus.SUCCEEDED:
                degraded += int(count)
        return RunsOfVersion(by_status, degraded)

    async def _page(
        self, select: str, key: str, conditions: dict[str, Any], limit: int, cursor: str | None
    ) -> Sequence[Row]:
        """One row more than *limit*, so that the caller knows whether there are more."""
        wanted = {name: value for name, value in conditions.items() if value is not None}
        clauses = [f"{name} = :c{number}" for number, name in enumerate(wanted)]
        parameters: dict[str, Any] = {f"c{number}": value for number, value in enumerate(wanted.values())}
        if cursor is not None:
            clauses.append(f"{key} < :cursor")
            parameters["cursor"] = cursor
        where = f" WHERE {' AND '.join(clauses)}" if clauses else ""
        return await self._statements.scan(
            f"{select}{where} ORDER BY {key} DESC LIMIT :limit", {**parameters, "limit": limit + 1}
        )


def _page(items: list[Any], limit: int) -> Page[Any]:
    return Page(tuple(items[:limit]), items[limit - 1].id if len(items) > limit else None)


def run_of(row: Row) -> RunRow:
    """Read a row of `RUN_COLUMNS`."""
    values = list(row)
    values[3] = RunStatus(values[3])
    values[4], values[17] = bool(values[4]), bool(values[17])
    values[21], values[22] = from_json(values[21]), from_json(values[22])
    return RunRow(*values)


def document_of(row: Row) -> DocumentRow:
    """Read a row of `DOCUMENT_COLUMNS`."""
    values = list(row)
    values[9] = RunStatus(values[9]) if values[9] else None
    values[11] = from_json(values[11])
    return DocumentRow(*values)


def _attempt_of(row: Row) -> StoredAttempt:
    return StoredAttempt(
        stage_id=row[0],
        candidate=row[1],
        try_number=row[2],
        outcome=Outcome(row[3]),
        started_at=row[4],
        duration_us=row[5],
        module_id=row[6],
        module_version=row[7],
        code_digest=row[8],
        detail=row[9],
        message=row[10],
        limits=from_json(row[11]),
        rules_not_matched=from_json(row[12]),
        confidence=row[13],
        run_id=row[14],
        fencing_token=row[15],
        configuration_id=row[16],
        configuration_version=row[17],
    )


def _output_of(row: Row) -> StoredOutput:
    return StoredOutput(
        stage_id=row[0],
        outcome=Outcome(row[1]),
        module_id=row[2],
        wanted_module_id=row[3],
        degraded=bool(row[4]),
        why=from_json(row[5]),
        value=row[6],
        artifact_sha256=row[7],
        size_bytes=row[8],
        run_id=row[9],
        committed_at=row[10],
    )


def _delivery_of(row: Row) -> DeliveryRow:
    return DeliveryRow(row[0], row[1], from_json(row[2]), row[3])
