"""What people do to runs: retry, decide, cancel. Called in a unit of work, beside the audit event. Source: DESIGN 5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from switchgear.core.database import Refused, Statement
from switchgear.domain.run import RunEvent, RunStatus, RunTransitionRefused, before, transition
from switchgear.ingestion.run_repository.base import to_json
from switchgear.ingestion.run_repository.reading import REPEATED, RUN_COLUMNS, Reading, run_of
from switchgear.ingestion.run_repository.records import RetryFilter, RunFilter, RunRow


def _statuses(event: RunEvent) -> str:
    return ", ".join(f"'{status}'" for status in before(event))


#: A person's retry starts losses and running time anew: the reasons for both have been looked at. Whom others with its
#: identity could not see meanwhile comes after them now; see `Results.earlier`.
_RETRY: Final = f"""
UPDATE runs SET status = 'queued', stage_id = :stage, available_at = now_us(), ended_at = NULL,
    losses = 0, running_us = 0, cancel_requested = FALSE, degraded = FALSE, why = NULL,
    identity = CASE WHEN :seen THEN identity ELSE NULL END,
    why_code = NULL, decision = CASE WHEN :anew THEN NULL ELSE decision END
WHERE id = :run AND fencing_token = :token AND status IN ({_statuses(RunEvent.RETRY)})"""  # noqa: S608
_DECIDE: Final = f"""
UPDATE runs SET status = 'queued', decision = :decision, available_at = now_us(), losses = 0, running_us = 0,
    why = NULL, why_code = NULL
WHERE id = :run AND fencing_token = :token AND status IN ({_statuses(RunEvent.DECIDE)})
    AND why_code = 'parked.review'"""  # noqa: S608
#: A running one is ended by its worker, at the next heartbeat or checkpoint.
_CANCEL: Final = f"""
UPDATE runs SET cancel_requested = TRUE,
    ended_at = CASE status WHEN 'running' THEN NULL ELSE now_us() END,
    why = CASE status WHEN 'running' THEN why ELSE NULL END,
    why_code = CASE status WHEN 'running' THEN why_code ELSE NULL END,
    status = CASE status WHEN 'running' THEN 'running' ELSE 'cancelled' END
WHERE id = :run AND status IN ({_statuses(RunEvent.CANCEL)})"""  # noqa: S608
#: Conditions of `RetryFilter`, each for the parameter of its name.
_WANTED: Final = {
    "status": "r.status = :status",
    "code": "r.why_code = :code",
    "stage_id": "r.stage_id = :stage_id",
    "module_id": """EXISTS (SELECT 1 FROM stage_attempts a
        WHERE a.run_id = r.id AND a.stage_id = r.stage_id AND a.module_id = :module_id)""",
    "configuration_id": "r.configuration_id = :configuration_id",
    "since": "r.accepted_at >= :since",
    "until": "r.accepted_at < :until",
    "after": "r.id > :after",
}
#: The same where a fallback served; both may be asked for together.
_SERVED: Final = {"stage_id": "o.stage_id = :stage_id", "module_id": "o.module_id = :module_id"}
_REPEATABLE: Final = f"""
SELECT {RUN_COLUMNS} FROM runs r JOIN documents d ON d.id = r.document_id
WHERE NOT {REPEATED}"""  # noqa: S608 - only constants
_RETRYABLE: Final = f"r.status IN ({_statuses(RunEvent.RETRY)})"
_DEGRADED: Final = "r.status = 'succeeded' AND r.degraded"
_FORGET_OUTPUT: Final = "DELETE FROM stage_outputs WHERE run_id = :run AND stage_id = :stage"


class People(Reading):
    """A person's changes; each refuses when the run has moved on meanwhile."""

    async def stages(self) -> Sequence[str]:
        """Ids of the pipeline's stages in their order."""
        rows = await self._statements.query(
            "SELECT id FROM processing_stages WHERE pipeline = :pipeline ORDER BY position",
            {"pipeline": self.pipeline},
        )
        return [str(row[0]) for row in rows]

    async def lock(self, run_id: str) -> RunRow:
        """Return the run; nothing of it, of its outputs and of its document is removed until this transaction ends.

        Retention locks in the same order: the document, then its runs. On SQLite a writer is alone.

        Raises:
            NotFound: There is none.
        """
        if self._statements.dialect == "postgresql":
            document = "(SELECT document_id FROM runs WHERE id = :run)"
            await self._statements.query(
                f"SELECT id FROM documents WHERE id = {document} FOR KEY SHARE",  # noqa: S608 - only constants
                {"run": run_id},
            )
            await self._statements.query("SELECT id FROM runs WHERE id = :run FOR UPDATE", {"run": run_id})
        return await self.get(run_id)

    async def retryable(self, wanted: RetryFilter, limit: int) -> Sequence[RunRow]:
        """Return failed and parked runs, or degraded ones, that no newer run repeats, oldest first."""
        values = {name: value for name in _WANTED if (value := getattr(wanted, name)) is not None}
        conditions = [_DEGRADED if wanted.degraded else _RETRYABLE]
        conditions += [_WANTED[name] for name in values if not (wanted.degraded and name in _SERVED)]
        served = [_SERVED[name] for name in values if wanted.degraded and name in _SERVED]
        if served:
            there = " AND ".join(served)
            conditions.append(
                f"EXISTS (SELECT 1 FROM stage_outputs o WHERE o.run_id = r.id AND o.degraded AND {there})"  # noqa: S608
            )
        if wanted.status is not None:
            values["status"] = str(wanted.status)
        rows = await self._statements.scan(
            " AND ".join((_REPEATABLE, *conditions)) + " ORDER BY r.id LIMIT :limit", {**values, "limit": limit}
        )
        return [run_of(row) for row in rows]

    async def retry(
        self, run: RunRow, *, stage_id: str | None, forgotten: Sequence[str] = (), anew: bool = False
    ) -> RunRow:
        """Queue a failed or parked run again under the version it holds.

        Args:
            run: As it was read in this unit of work.
            stage_id: Where it goes on; None = at the first stage.
            forgotten: Stages whose outputs are dropped, because they run again.
            anew: Whether a decision of a person is forgotten as well.

        Raises:
            RunTransitionRefused: It is neither failed nor parked, or somebody else was faster.
        """
        transition(run.status, RunEvent.RETRY)
        seen = self.is_seen(run) and self.result_stage not in forgotten
        parameters = {"run": run.id, "token": run.fencing_token, "stage": stage_id, "anew": anew, "seen": seen}
        outputs = [{"run": run.id, "stage": stage} for stage in forgotten]
        return await self._changed(
            run, Statement(_RETRY, parameters, expect=1), *([Statement(_FORGET_OUTPUT, outputs)] if outputs else [])
        )

    async def decide(self, run: RunRow, decision: Mapping[str, Any]) -> RunRow:
        """Queue a run that waits for review again, with what a person decided.

        Raises:
            RunTransitionRefused: It does not wait for review, or somebody else was faster.
        """
        transition(run.status, RunEvent.DECIDE)
        parameters = {"run": run.id, "token": run.fencing_token, "decision": to_json(decision)}
        return await self._changed(run, Statement(_DECIDE, parameters, expect=1))

    async def _changed(self, run: RunRow, *statements: Statement) -> RunRow:
        try:
            await self._statements.run(*statements)
        except Refused as error:
            raise RunTransitionRefused(
                "The run was changed in between; nothing was done. Look at it and decide anew.", run_id=run.id
            ) from error
        return await self.get(run.id)

    async def cancel(self, run_id: str) -> RunRow:
        """Cancel a run; one that is running is ended by its worker soon.

        Raises:
            NotFound: There is none.
            RunTransitionRefused: It has ended.
        """
        try:
            await self._statements.run(Statement(_CANCEL, {"run": run_id}, expect=1))
        except Refused:
            transition((await self.get(run_id)).status, RunEvent.CANCEL)
            raise
        return await self.get(run_id)

    async def awaiting_review(self, document_id: str) -> RunRow | None:
        """Return the document's newest run that waits for a person's decision, else None."""
        wanted = RunFilter(RunStatus.PARKED, document_id, why_code="parked.review")
        return next(iter((await self.list(wanted, 1)).items), None)
