"""Runs that procrastinate delivers: a job is taken, its run claimed and the job ended, all in one transaction.

Jobs are made by the database (`core/job_schema.py`): there is one exactly while a run is queued. Nobody can die between
taking the job and claiming the run, and no job is ever seen at work. Source: DESIGN 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from switchgear.core.database import Refused, Statement
from switchgear.core.job_schema import TASK, JobsMissing
from switchgear.ingestion.run_repository.base import CLAIM_ORDER, CLAIMABLE, RepositoryPart
from switchgear.ingestion.run_repository.claiming import SHARED_LOCK, claim_sql, claimed
from switchgear.ingestion.run_repository.records import ClaimedRun, Ride

#: Job and run are remembered until the next one is taken, or the transaction ends; both are empty when there is none.
_TAKE: Final = f"""
SELECT set_config('switchgear.job', COALESCE(CAST(id AS TEXT), ''), TRUE),
    set_config('switchgear.run', COALESCE(args->>'run_id', ''), TRUE)
FROM (SELECT 1) AS always
    LEFT JOIN procrastinate_fetch_job_v2(CAST(:queues AS VARCHAR[]), NULL) ON task_name = '{TASK}'"""  # noqa: S608
_JOB: Final = "CAST(NULLIF(current_setting('switchgear.job', TRUE), '') AS BIGINT)"
_RUN: Final = "current_setting('switchgear.run', TRUE)"
#: Nobody waits for somebody who holds the row.
_CLAIM: Final = claim_sql(f"SELECT id FROM runs WHERE id = {_RUN} AND {CLAIMABLE} FOR UPDATE SKIP LOCKED")  # noqa: S608
#: The job of a run that nobody may claim now, because a drain holds it, stays in the queue, together with all else.
_FINISH: Final = f"""
SELECT procrastinate_finish_job_v1({_JOB}, 'succeeded', TRUE)
WHERE {_JOB} IS NOT NULL AND NOT EXISTS (SELECT 1 FROM runs WHERE id = {_RUN} AND status = 'queued')"""  # noqa: S608
#: The same beside the end of another run, which must not be undone: here the job is put back.
_FINISH_OR_PUT_BACK: Final = f"""
SELECT CASE WHEN EXISTS (SELECT 1 FROM runs WHERE id = {_RUN} AND status = 'queued')
    THEN procrastinate_retry_job_v2({_JOB}, NULL, NULL, NULL, NULL)
    ELSE procrastinate_finish_job_v1({_JOB}, 'succeeded', TRUE) END
WHERE {_JOB} IS NOT NULL"""  # noqa: S608
#: No such function, no such table.
_UNDEFINED: Final = ("42883", "42P01")
_WITHOUT_JOB: Final = f"""
SELECT id FROM runs WHERE status = 'queued' AND NOT EXISTS (
    SELECT 1 FROM procrastinate_jobs job WHERE job.queueing_lock = runs.id AND job.status = 'todo')
ORDER BY {CLAIM_ORDER} LIMIT :limit"""  # noqa: S608
#: Writing the row as it is makes the database send it.
_SEND: Final = "UPDATE runs SET queue = queue WHERE id = :run AND status = 'queued'"
#: What a tool of procrastinate's own took, cancelled or let fail: a job of ours only ever waits.
_FORGET: Final = f"DELETE FROM procrastinate_jobs WHERE task_name = '{TASK}' AND status <> 'todo'"  # noqa: S608


class Jobs(RepositoryPart):
    """Claims what procrastinate delivers. PostgreSQL only, with the schema that `core/job_schema.py` makes."""

    async def claim_job(self, worker_id: str, lease_s: float, queues: Sequence[str] = ()) -> ClaimedRun | None:
        """Take the next job and claim its run; None when there is none, or its run may not be claimed now.

        Args:
            worker_id: Who takes it.
            lease_s: How long the claim holds without a heartbeat, in seconds.
            queues: Only jobs of these queues; none = of any.

        Raises:
            JobsMissing: The database has no jobs.
        """
        take, claim = self._taking(worker_id, lease_s, queues)
        finish = Statement(_FINISH, expect=1)
        while True:
            try:
                results = await self._statements.run(SHARED_LOCK, take, claim, finish)
            except Refused:
                return None
            except Exception as error:
                if getattr(error, "sqlstate", None) not in _UNDEFINED:
                    raise
                raise JobsMissing.at_work() from error
            if results[2].rows:
                return claimed(results[2].rows[0], worker_id)
            # Its run does not wait any more: the next one, then.

    def ride_job(self, worker_id: str, lease_s: float, queues: Sequence[str] = ()) -> Ride:
        """The same, for the commit that ends a run; see `ClaimedRun.ride`."""
        return Ride(worker_id, (*self._taking(worker_id, lease_s, queues), Statement(_FINISH_OR_PUT_BACK)), place=1)

    def _taking(self, worker_id: str, lease_s: float, queues: Sequence[str]) -> tuple[Statement, Statement]:
        """What takes the next job, and what claims its run."""
        parameters = {"worker": worker_id, "lease": int(lease_s * 1_000_000), "boot": self._statements.boot_id}
        return (
            Statement(_TAKE, {"queues": list(queues) or None}),
            Statement(_CLAIM, {**parameters, "pipeline": self.pipeline}, fetch=True),
        )

    async def send_again(self, limit: int = 500) -> int:
        """Make a job for each queued run that has none, in the order in which they wait; returns for how many."""
        rows = await self._statements.scan(_WITHOUT_JOB, {"limit": limit})
        if rows:
            await self._statements.run(Statement(_SEND, [{"run": row[0]} for row in rows]))
        return len(rows)

    async def forget_jobs(self) -> int:
        """Remove jobs that nobody needs any more; returns how many."""
        return (await self._statements.run(Statement(_FORGET)))[0].changed
