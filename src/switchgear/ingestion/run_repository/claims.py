"""Claims and everything that a worker writes about a run that it holds. One group of statements per transition.

There is one lease: the claimed row. Each write first touches that row under status and fencing token; when another
worker holds the run by now, no row changes and the whole group is undone (`Refused`). Source: DESIGN 5, RELIABILITY
I13-I15, I18.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from switchgear.core.database import Statement
from switchgear.domain.errors import Why
from switchgear.domain.run import RunEvent, RunStatus, transition
from switchgear.ingestion.run_repository.base import (
    detail_text,
    message_text,
    to_json,
    to_json_or_none,
    why_columns,
)
from switchgear.ingestion.run_repository.claiming import Claiming
from switchgear.ingestion.run_repository.losses import after_loss
from switchgear.ingestion.run_repository.records import (
    AttemptRow,
    ClaimedRun,
    DeliveryRow,
    Heartbeat,
    OutputRow,
)

#: The row of a held run; zero rows changed means that another worker holds it by now.
_HELD: Final = "id = :run AND fencing_token = :token AND status = 'running'"
_FREED: Final = "claimed_by = NULL, lease_expires_at = NULL, lease_boot_id = NULL, running_us = :running_us"
_CHECKPOINT: Final = f"""
UPDATE runs SET stage_id = :stage, running_us = :running_us WHERE {_HELD} RETURNING cancel_requested"""  # noqa: S608
#: Its place comes after those of all runs with the same identity, and stays as long as others see the run: one that
#: came to nothing gets another place when it is retried. Writers must follow each other, or two would take one place.
_WANTED: Final = "CAST(:identity AS VARCHAR)"  # PostgreSQL wants one type wherever the parameter stands
_CHECKPOINT_IDENTITY: Final = f"""
UPDATE runs SET stage_id = :stage, running_us = :running_us, identity = :identity,
    identity_place = CASE WHEN identity = {_WANTED} AND identity_place IS NOT NULL THEN identity_place ELSE
        (SELECT COALESCE(max(o.identity_place), 0) + 1 FROM runs o WHERE o.identity = {_WANTED}) END
WHERE {_HELD} RETURNING cancel_requested"""  # noqa: S608
_IDENTITY_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended(:identity, 0))"
#: A run that a person cancels ends with its claim: it is neither put on hold nor queued again.
_OPEN: Final = """status = CASE WHEN :open AND cancel_requested THEN 'cancelled' ELSE :status END,
    why = CASE WHEN :open AND cancel_requested THEN NULL ELSE :why END,
    why_code = CASE WHEN :open AND cancel_requested THEN NULL ELSE :why_code END,
    ended_at = CASE WHEN :open AND NOT cancel_requested THEN NULL ELSE now_us() END"""
_END: Final = f"""
UPDATE runs SET {_OPEN}, degraded = :degraded, stage_id = :stage,
    identity = COALESCE({_WANTED}, identity), {_FREED}
WHERE {_HELD} RETURNING status"""  # noqa: S608
_HAND_BACK: Final = f"""
UPDATE runs SET {_OPEN}, losses = :losses, stage_id = COALESCE(:stage, stage_id), available_at = now_us() + :pause,
    queue = COALESCE(:queue, queue), {_FREED}
WHERE {_HELD} RETURNING status"""  # noqa: S608
_ATTEMPT: Final = """
INSERT INTO stage_attempts (run_id, stage_id, candidate, try_number, fencing_token, module_id, module_version,
    code_digest, configuration_id, configuration_version, outcome, detail, message, limits, rules_not_matched,
    confidence, started_at, duration_us)
VALUES (:run, :stage, :candidate, :try, :token, :module, :version, :digest, :configuration, :number, :outcome,
    :detail, :message, :limits, :rules, :confidence, :started, :duration)"""
_OUTPUT: Final = """
INSERT INTO stage_outputs (run_id, stage_id, outcome, module_id, wanted_module_id, degraded, why, value,
    artifact_sha256, size_bytes, committed_at)
VALUES (:run, :stage, :outcome, :module, :wanted, :degraded, :why, :value, :artifact, :size, now_us())"""
_DELIVERY: Final = """
INSERT INTO deliveries (key, run_id, document_id, target, receipt, delivered_at)
VALUES (:key, :run, :document, :target, :receipt, now_us()) ON CONFLICT (key) DO NOTHING"""


class Claims(Claiming):
    """Claim, heartbeat, checkpoint, end, hand back."""

    async def heartbeat(self, worker_id: str, claims: Sequence[ClaimedRun], lease_s: float) -> Heartbeat:
        """Renew the leases of *claims*, and say that the worker lives; also tells what must stop.

        Also shows at which stage each run is, which is not in the database before its first checkpoint. That is for
        people only: a run that goes on elsewhere begins at the first stage without a committed output.
        Leases of runs that are not named run out: a worker that forgot a run must not keep it for ever.
        """
        alive = Statement("UPDATE workers SET heartbeat_at = now_us() WHERE id = :worker", {"worker": worker_id})
        if not claims:
            await self._statements.run(alive)
            return Heartbeat(frozenset(), frozenset())
        pairs = " OR ".join(f"(id = :r{n} AND fencing_token = :t{n})" for n in range(len(claims)))
        parameters: dict[str, Any] = {"lease": int(lease_s * 1_000_000)}
        for number, claim in enumerate(claims):
            parameters |= {f"r{number}": claim.run_id, f"t{number}": claim.token, f"s{number}": claim.at_stage_id}
        places = " ".join(f"WHEN :r{n} THEN :s{n}" for n in range(len(claims)))
        renew = f"""UPDATE runs SET lease_expires_at = lease_us() + :lease,
                stage_id = COALESCE(CASE id {places} END, stage_id)
            WHERE status = 'running' AND ({pairs})
            RETURNING id, fencing_token, cancel_requested"""  # noqa: S608 - only names of parameters
        results = await self._statements.run(alive, Statement(renew, parameters, fetch=True))
        rows = results[1].rows
        lost = {(claim.run_id, claim.token) for claim in claims} - {(str(row[0]), int(row[1])) for row in rows}
        return Heartbeat(frozenset(lost), frozenset(str(row[0]) for row in rows if row[2]))

    async def checkpoint(
        self,
        claim: ClaimedRun,
        *,
        attempts: Sequence[AttemptRow],
        outputs: Sequence[OutputRow],
        next_stage_id: str,
        identity: str | None = None,
    ) -> bool:
        """Make finished stages durable; the run goes on at *next_stage_id*. Returns whether a cancel was requested.

        With *identity*, the digest of the result's identity fields, others with the same one see this run from now on.

        Raises:
            Refused: Another worker holds the run; nothing was written.
        """
        parameters = {**_key(claim), "stage": next_stage_id}
        first: list[Statement] = []
        sql = _CHECKPOINT
        if identity is not None:
            sql = _CHECKPOINT_IDENTITY
            parameters["identity"] = identity
            if self._statements.dialect == "postgresql":  # SQLite has one writer at a time
                first = [Statement(_IDENTITY_LOCK, {"identity": identity}, is_lock=True)]
        held = Statement(sql, parameters, expect=1, fetch=True)
        results = await self._statements.run(*first, held, *_records(claim, attempts, outputs))
        return bool(results[len(first)].rows[0][0])

    async def end(
        self,
        claim: ClaimedRun,
        *,
        status: RunStatus,
        attempts: Sequence[AttemptRow] = (),
        outputs: Sequence[OutputRow] = (),
        deliveries: Sequence[DeliveryRow] = (),
        degraded: bool = False,
        why: Why | None = None,
        identity: str | None = None,
        stage_id: str | None = None,
    ) -> RunStatus:
        """End the run, or park it, with everything that is not yet durable; returns what it is then.

        What a person wants cancelled is cancelled instead of parked. The worker's next claim rides along when it wants
        one; see `ClaimedRun.ride`.

        Args:
            claim: The run.
            status: succeeded, failed, parked or cancelled.
            attempts: Attempts since the last checkpoint.
            outputs: Outputs since the last checkpoint.
            deliveries: Effects that happened outside; a key that is known keeps its first receipt.
            degraded: Whether a fallback's output was used.
            why: The reason, for anything but success.
            identity: Digest of the result's identity fields; None leaves what the last checkpoint said.
            stage_id: Where it stopped; a retry goes on there.

        Raises:
            Refused: Another worker holds the run; nothing was written.
        """
        transition(RunStatus.RUNNING, _ENDS[status])
        parameters = {
            **_key(claim),
            "status": str(status),
            "open": status is RunStatus.PARKED,
            "degraded": degraded,
            "stage": stage_id,
            "identity": identity,
            **why_columns(why),
        }
        effects = [
            {
                "key": delivery.key,
                "run": claim.run_id,
                "document": claim.document_id,
                "target": delivery.target,
                "receipt": to_json(delivery.receipt),
            }
            for delivery in deliveries
        ]
        delivered = [Statement(_DELIVERY, effects)] if effects else []
        held = Statement(_END, parameters, expect=1, fetch=True)
        ride = claim.ride() if claim.ride is not None else None
        results = await self._run_with_claim(ride, held, *_records(claim, attempts, outputs), *delivered)
        return RunStatus(results[0].rows[0][0])

    async def hand_back(
        self,
        claim: ClaimedRun,
        *,
        attempts: Sequence[AttemptRow] = (),
        outputs: Sequence[OutputRow] = (),
        next_stage_id: str | None = None,
        available_in_us: int = 0,
        why: Why | None = None,
        loss: bool = False,
        queue: str | None = None,
    ) -> RunStatus:
        """Give the run back with its version; returns what it is then.

        It is queued, or parked after the third loss, or cancelled when a person wants that.

        Args:
            claim: The run.
            attempts: Attempts since the last checkpoint.
            outputs: Outputs since the last checkpoint.
            next_stage_id: Where it goes on; None leaves it where the last checkpoint put it.
            available_in_us: Pause before it may be claimed again, in microseconds.
            why: What it waits for.
            loss: Whether this counts as a lost worker: the engine itself broke on this run.
            queue: Whose workers carry it from here on; None leaves it where it is.

        Raises:
            Refused: Another worker holds the run; nothing was written.
        """
        losses = claim.losses + (1 if loss else 0)
        status, lost_why = after_loss(claim.run_id, losses) if loss else (RunStatus.QUEUED, None)
        parameters = {
            **_key(claim),
            "status": str(status),
            "open": True,
            "losses": losses,
            "stage": next_stage_id,
            "pause": available_in_us,
            "queue": queue,
            **why_columns(lost_why or why),
        }
        held = Statement(_HAND_BACK, parameters, expect=1, fetch=True)
        results = await self._statements.run(held, *_records(claim, attempts, outputs))
        return RunStatus(results[0].rows[0][0])


_ENDS: Final = {
    RunStatus.SUCCEEDED: RunEvent.SUCCEED,
    RunStatus.FAILED: RunEvent.FAIL,
    RunStatus.PARKED: RunEvent.PARK,
    RunStatus.CANCELLED: RunEvent.CANCEL,
}


def _key(claim: ClaimedRun) -> dict[str, Any]:
    return {"run": claim.run_id, "token": claim.token, "running_us": claim.total_running_us()}


def _records(claim: ClaimedRun, attempts: Sequence[AttemptRow], outputs: Sequence[OutputRow]) -> list[Statement]:
    statements = []
    if attempts:
        statements.append(Statement(_ATTEMPT, [_attempt(claim, attempt) for attempt in attempts]))
    if outputs:
        statements.append(Statement(_OUTPUT, [_output(claim, output) for output in outputs]))
    return statements


def _attempt(claim: ClaimedRun, attempt: AttemptRow) -> dict[str, Any]:
    return {
        "run": claim.run_id,
        "token": claim.token,
        "configuration": claim.configuration_id,
        "number": claim.configuration_version,
        "stage": attempt.stage_id,
        "candidate": attempt.candidate,
        "try": attempt.try_number,
        "module": attempt.module_id,
        "version": attempt.module_version,
        "digest": attempt.code_digest,
        "outcome": str(attempt.outcome),
        "detail": detail_text(attempt.detail),
        "message": message_text(attempt.message),
        "limits": to_json(attempt.limits),
        "rules": to_json(list(attempt.rules_not_matched)) if attempt.rules_not_matched else "[]",
        "confidence": attempt.confidence,
        "started": attempt.started_at,
        "duration": attempt.duration_us,
    }


def _output(claim: ClaimedRun, output: OutputRow) -> dict[str, Any]:
    return {
        "run": claim.run_id,
        "stage": output.stage_id,
        "outcome": str(output.outcome),
        "module": output.module_id,
        "wanted": output.wanted_module_id,
        "degraded": output.degraded,
        "why": to_json_or_none(output.why),
        "value": output.value,
        "artifact": output.artifact_sha256,
        "size": output.size_bytes,
    }
