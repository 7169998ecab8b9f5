"""Taking runs from workers that are gone. Whoever takes one records the lost attempt. Source: DESIGN 5, I13, I18."""

from __future__ import annotations

from typing import Final

from switchgear.core.database import Refused, Statement
from switchgear.core.database.statements import Row
from switchgear.domain.errors import Code, NextAction, Why
from switchgear.domain.run import MAX_LOSSES, RunEvent, RunStatus, transition
from switchgear.ingestion.run_repository.base import RepositoryPart, why_columns
from switchgear.ingestion.run_repository.records import LostRun

_EXPIRED: Final = "status = 'running' AND (lease_expires_at <= lease_us() OR lease_boot_id <> :boot)"
#: Recorded at the stage that was not committed; which module was at work there nobody knows.
_LOST_ATTEMPT: Final = """
INSERT INTO stage_attempts (run_id, stage_id, candidate, try_number, fencing_token, configuration_id,
    configuration_version, outcome, detail, message, limits, rules_not_matched, started_at, duration_us)
SELECT id, :stage, 0, 0, fencing_token, configuration_id, configuration_version, 'lost', '', :message, '{}', '[]',
    now_us(), 0
FROM runs WHERE id = :run"""
#: Where the run begins again: the first selected stage after the last one whose output is committed.
_BEGINS_AT: Final = """
SELECT stage.id FROM processing_stages stage
JOIN module_selections selected ON selected.stage_id = stage.id AND selected.configuration_id = :configuration
WHERE stage.pipeline = :pipeline AND stage.position > COALESCE((
    SELECT max(done.position) FROM processing_stages done JOIN stage_outputs output ON output.stage_id = done.id
    WHERE output.run_id = :run AND done.pipeline = :pipeline), -1)
ORDER BY stage.position LIMIT 1"""
_TAKE: Final = f"""
UPDATE runs SET status = :status, losses = :losses, available_at = now_us(), why = :why, why_code = :why_code,
    claimed_by = NULL, lease_expires_at = NULL, lease_boot_id = NULL,
    ended_at = CASE WHEN :cancelled THEN now_us() ELSE NULL END
WHERE id = :run AND fencing_token = :token AND {_EXPIRED}"""  # noqa: S608 - only constants


class Losses(RepositoryPart):
    """Runs whose lease ran out."""

    async def take_from_lost_workers(self, limit: int = 100) -> list[LostRun]:
        """Take runs whose lease ran out: queued again, parked after the third loss, cancelled when that was asked.

        The taker records the attempt that was lost. Safe beside any number of others that do the same.
        """
        rows = await self._statements.query(
            f"""SELECT id, fencing_token, configuration_id, stage_id, claimed_by, losses, cancel_requested FROM runs
            WHERE {_EXPIRED} LIMIT :limit""",  # noqa: S608 - only constants
            {"boot": self._statements.boot_id, "limit": limit},
        )
        taken = [await self._take(row) for row in rows]
        return [run for run in taken if run is not None]

    async def _take(self, row: Row) -> LostRun | None:
        run_id, token, configuration_id, seen_at, worker_id, losses, cancelled = row
        status, why = after_loss(run_id, losses + 1)
        if cancelled:
            status, why = transition(RunStatus.RUNNING, RunEvent.CANCEL), None
        place = {"run": run_id, "configuration": configuration_id, "pipeline": self.pipeline}
        begins_at = await self._statements.query(_BEGINS_AT, place)
        stage_id = str(begins_at[0][0]) if begins_at else seen_at or "?"
        lost = LostRun(run_id, stage_id, worker_id, losses + 1, status)
        parameters = {
            "run": run_id,
            "token": token,
            "boot": self._statements.boot_id,
            "status": str(status),
            "cancelled": bool(cancelled),
            "losses": lost.losses,
            **why_columns(why),
        }
        message = f"Worker {worker_id} did not renew its lease."
        record = {"run": run_id, "stage": lost.stage_id, "message": message}
        try:
            await self._statements.run(Statement(_TAKE, parameters, expect=1), Statement(_LOST_ATTEMPT, record))
        except Refused:
            return None  # it ended, or somebody else took it
        return lost


def after_loss(run_id: str, losses: int) -> tuple[RunStatus, Why | None]:
    """What a run becomes with so many losses, and why."""
    if losses < MAX_LOSSES:
        return transition(RunStatus.RUNNING, RunEvent.LOSE), None
    retry = NextAction(
        "Retry it", cli=f"switchgear runs retry {run_id}", method="POST", path=f"/api/v1/runs/{run_id}/retry"
    )
    cancel = NextAction(
        "Cancel it", cli=f"switchgear runs cancel {run_id}", method="POST", path=f"/api/v1/runs/{run_id}/cancel"
    )
    why = Why(
        Code.PARKED_WORKER_LOST,
        f"The worker was lost {losses} times while it carried this document; it is on hold so that others go on.",
        facts={"losses": losses},
        next_actions=(retry, cancel),
    )
    return transition(RunStatus.RUNNING, RunEvent.PARK), why
