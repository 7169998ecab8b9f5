"""The statement that claims: by itself, or in the commit that ends the run before. Source: DESIGN 4, RELIABILITY I7.

First claims take the switch lock shared, in a statement of its own before the one that reads. With the lock in hand
"commit, then look whether an activation waits" may be one transaction: a drain begins under the same lock alone, so
either it began before and is seen, or it begins after the commit and counts what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

from switchgear.core.admission import ACTIVE_CONFIGURATION
from switchgear.core.database import SWITCH_LOCK, Result, Statement
from switchgear.core.database.statements import Row
from switchgear.ingestion.run_repository.base import CLAIM_ORDER, CLAIMABLE, RepositoryPart, from_json
from switchgear.ingestion.run_repository.records import ClaimedRun, Ride

_PINNED: Final = f"COALESCE(configuration_id, pinned_configuration_id, {ACTIVE_CONFIGURATION})"
_DOCUMENT: Final = ", ".join(
    f"(SELECT {column} FROM documents WHERE documents.id = runs.document_id)"  # noqa: S608 - only constants
    for column in ("sha256", "size_bytes", "name", "media_type")
)


@cache
def _claim_sql(dialect: str, queues: int) -> str:
    """The statement that claims, for any queue or for one of so many, which are named :q0, :q1, ..."""
    lock_rows = " FOR UPDATE SKIP LOCKED" if dialect == "postgresql" else ""
    names = ", ".join(f":q{number}" for number in range(queues))
    served = f" AND queue IN ({names})" if queues else ""
    return claim_sql(f"""
    SELECT id FROM runs
    WHERE {CLAIMABLE}{served}
    ORDER BY {CLAIM_ORDER} LIMIT 1{lock_rows}""")  # noqa: S608 - only constants


def claim_sql(found: str) -> str:
    """The statement that claims the run whose id *found* selects."""
    return f"""
UPDATE runs SET status = 'running', claimed_by = :worker, fencing_token = fencing_token + 1,
    lease_expires_at = lease_us() + :lease, lease_boot_id = :boot,
    configuration_id = {_PINNED},
    configuration_version = COALESCE(configuration_version,
        (SELECT version FROM module_configurations WHERE module_configurations.id = {_PINNED})),
    started_at = COALESCE(started_at, now_us()), why = NULL, why_code = NULL
WHERE id = ({found})
RETURNING id, document_id, configuration_id, configuration_version, fencing_token, losses, running_us, decision,
    stage_id, cancel_requested, retry_of, accepted_at, {_DOCUMENT}"""  # noqa: S608 - only constants


#: First claims share the lock that a switch takes alone; a statement of its own, before the one that reads.
SHARED_LOCK: Final = Statement("SELECT pg_advisory_xact_lock_shared(:key)", {"key": SWITCH_LOCK}, is_lock=True)

#: One that is not over; whoever ends a run looks for it, so it is cheap.
_PENDING: Final = """
SELECT 1 FROM activations WHERE pipeline = :pipeline AND state IN ('queued', 'warming', 'draining') LIMIT 1"""


class Claiming(RepositoryPart):
    """Taking runs."""

    async def claim(self, worker_id: str, lease_s: float, queues: Sequence[str] = ()) -> ClaimedRun | None:
        """Take the next run that may be claimed, and pin its version when it has none; None when there is none.

        Args:
            worker_id: Who takes it.
            lease_s: How long the claim holds without a heartbeat, in seconds.
            queues: Only runs of these queues; none = of any.
        """
        rows = (await self._statements.run(*self._locked(), self._claiming(worker_id, lease_s, queues)))[-1].rows
        return claimed(rows[0], worker_id) if rows else None

    def ride(self, worker_id: str, lease_s: float, queues: Sequence[str] = ()) -> Ride:
        """The same, for the commit that ends a run; see `ClaimedRun.ride`."""
        return Ride(worker_id, (self._claiming(worker_id, lease_s, queues),))

    async def is_activation_pending(self) -> bool:
        """Whether somebody waits for running work to end."""
        return bool(await self._statements.query(_PENDING, {"pipeline": self.pipeline}))

    def _locked(self) -> tuple[Statement, ...]:
        """What comes before everything else in a group that claims; SQLite has one writer at a time anyway."""
        return (SHARED_LOCK,) if self._statements.dialect == "postgresql" else ()

    def _claiming(self, worker_id: str, lease_s: float, queues: Sequence[str]) -> Statement:
        parameters = {
            **{f"q{number}": queue for number, queue in enumerate(queues)},
            "worker": worker_id,
            "lease": int(lease_s * 1_000_000),
            "boot": self._statements.boot_id,
            "pipeline": self.pipeline,
        }
        return Statement(_claim_sql(self._statements.dialect, len(queues)), parameters, fetch=True)

    async def _run_with_claim(self, ride: Ride | None, *statements: Statement) -> list[Result]:
        """Run a group that ends a run; the next claim rides along, and the look whether an activation waits."""
        if ride is None:
            return await self._statements.run(*statements)
        locked = self._locked()
        results = await self._statements.run(
            *locked,
            *statements,
            *ride.statements,
            Statement(_PENDING, {"pipeline": self.pipeline}, fetch=True),
        )
        ended = len(locked) + len(statements)
        found = results[ended + ride.place].rows
        ride.claim = claimed(found[0], ride.worker_id) if found else None
        ride.is_activation_pending = bool(results[-1].rows)
        return results[len(locked) : ended]


def claimed(row: Row, worker_id: str) -> ClaimedRun:
    """What the claiming statement returned."""
    return ClaimedRun(
        run_id=row[0],
        document_id=row[1],
        configuration_id=row[2],
        configuration_version=row[3],
        token=row[4],
        losses=row[5],
        running_us=row[6],
        decision=from_json(row[7]),
        stage_id=row[8],
        first=row[4] == 1,
        cancel_requested=bool(row[9]),
        retry_of=row[10],
        accepted_at=row[11],
        sha256=row[12],
        size_bytes=row[13],
        file_name=row[14],
        media_type=row[15],
        worker_id=worker_id,
    )
