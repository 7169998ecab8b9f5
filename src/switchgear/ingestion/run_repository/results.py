"""Results: what the pipeline's result stage gave, for readers, pulling systems and modules. Source: INTERFACES 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from switchgear.core.database.statements import Row
from switchgear.domain.run import RunStatus
from switchgear.ingestion.run_repository.base import RepositoryPart
from switchgear.ingestion.run_repository.records import ResultRow

_RESULTS: Final = """
SELECT r.id, r.document_id, r.status, r.configuration_version, r.degraded, r.ended_at, o.value, o.artifact_sha256
FROM runs r JOIN stage_outputs o ON o.run_id = r.id AND o.stage_id = :result_stage AND o.outcome = 'succeeded'
    AND (r.decision IS NULL OR r.decision NOT LIKE :rejected)"""
#: How `decide` stores what a person rejected: such a run ends, but nobody accepted its result.
_REJECTED: Final = '{"action":"reject",%'
#: A newer run of the document stands for it, as soon as others see that one.
_REPEATED: Final = (
    "EXISTS (SELECT 1 FROM runs n WHERE n.document_id = r.document_id AND n.id > r.id AND n.identity IS NOT NULL)"
)
#: Most earlier results that a module is shown.
_MAX_EARLIER: Final = 20
#: Ends are stamped before they commit. Whoever pulls must not pass one that is still on its way, or it would never
#: see it; a transaction older than this is a long reader that ends no run.
_LONGEST_END_US: Final = 10_000_000
_SETTLED: Final = """
SELECT LEAST(now_us(), min((extract(epoch from xact_start) * 1000000)::bigint)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND (backend_xid IS NOT NULL OR extract(epoch from clock_timestamp() - xact_start) * 1000000 < :longest)"""


class Results(RepositoryPart):
    """Results of runs; only what is committed, and nothing that a person rejected."""

    async def result(self, document_id: str) -> ResultRow | None:
        """Return the document's newest accepted result; while it waits for review, what is to be reviewed."""
        rows = await self._statements.query(
            f"""{_RESULTS} WHERE r.document_id = :document
            AND (r.status = 'succeeded' OR (r.status = 'parked' AND r.why_code = 'parked.review'))
            ORDER BY r.id DESC LIMIT 1""",
            {"document": document_id, "result_stage": self.result_stage, "rejected": _REJECTED},
        )
        return _result_of(rows[0]) if rows else None

    async def results_after(
        self, after: tuple[int, str] | None, limit: int, *, actor: str | None = None
    ) -> Sequence[ResultRow]:
        """Return results of runs that ended after (time, run id), oldest first; None begins at the first.

        Args:
            after: `ended_at` and id of the last one that the caller has.
            limit: At most so many.
            actor: Only runs that this token asked for.
        """
        settled = None
        if self._statements.dialect == "postgresql":
            settled = (await self._statements.query(_SETTLED, {"longest": _LONGEST_END_US}))[0][0]
        time, run_id = after or (-1, "")
        parameters = {"time": time, "run": run_id, "limit": limit}
        parameters |= {"result_stage": self.result_stage, "rejected": _REJECTED}
        more = ""
        if settled is not None:
            more += " AND r.ended_at < :settled"
            parameters["settled"] = settled
        if actor is not None:
            more += " AND r.actor = :actor"
            parameters["actor"] = actor
        rows = await self._statements.query(
            f"""{_RESULTS} WHERE r.status = 'succeeded'
            AND (r.ended_at > :time OR (r.ended_at = :time AND r.id > :run)){more}
            ORDER BY r.ended_at, r.id LIMIT :limit""",
            parameters,
        )
        return [_result_of(row) for row in rows]

    async def earlier(self, identity: str, document_id: str, run_id: str) -> Sequence[ResultRow]:
        """Return results of other documents with the same identity, one per document, what is delivered first.

        Those that were accepted, and of those that may still be, whichever committed this identity before the run
        *run_id* did: under way, on hold, or failed at a stage with effects, where a retry begins behind every check.
        To be asked after `checkpoint` with the identity: of two runs at work together exactly one sees the other then.
        ADR 0019
        """
        effects = {f"effect{number}": stage for number, stage in enumerate(self.effects)}
        failed = f"r.status = 'failed' AND r.stage_id IN ({', '.join(f':{name}' for name in effects) or 'NULL'})"
        rows = await self._statements.query(
            f"""{_RESULTS} WHERE r.identity = :identity AND r.document_id <> :document
            AND (r.status = 'succeeded' OR ((r.status IN ('queued', 'running', 'parked') OR {failed})
                AND r.identity_place < (SELECT own.identity_place FROM runs own WHERE own.id = :run)))
            AND NOT (r.status IN ('parked', 'failed') AND {_REPEATED})
            ORDER BY r.status = 'succeeded' DESC, COALESCE(r.why_code, '') = 'parked.review', r.ended_at DESC, r.id DESC
            LIMIT :limit""",  # noqa: S608 - only constants and names of parameters
            {
                "identity": identity,
                "document": document_id,
                "run": run_id,
                "result_stage": self.result_stage,
                "rejected": _REJECTED,
                "limit": 10 * _MAX_EARLIER,
                **effects,
            },
        )
        newest: dict[str, ResultRow] = {}
        for row in rows:
            newest.setdefault(row[1], _result_of(row))
        return list(newest.values())[:_MAX_EARLIER]


def _result_of(row: Row) -> ResultRow:
    return ResultRow(row[0], row[1], RunStatus(row[2]), row[3], bool(row[4]), row[5], row[6], row[7])
