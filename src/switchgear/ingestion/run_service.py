"""Runs, documents and results as people and integrators see them, and what people do to runs. Source: DESIGN 5.

A person's retry, cancel, release and reject are audited in the transaction of the change (I26).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from switchgear.core.database import Refused
from switchgear.core.logging import get_logger
from switchgear.core.observability import EventName
from switchgear.core.unit_of_work import Units
from switchgear.domain.access import Actor
from switchgear.domain.audit import AuditAction
from switchgear.domain.errors import InvalidRequest, NotFound
from switchgear.domain.run import RunStatus, RunTransitionRefused
from switchgear.ingestion.artifact_store import ArtifactStore
from switchgear.ingestion.retries import (
    ManyRetried,
    Repeat,
    check_reason,
    check_repeat,
    file_removed,
    hindrance,
    repeat_run,
    state,
    subjects,
)
from switchgear.ingestion.run_queue import RunQueue
from switchgear.ingestion.run_repository import (
    Counts,
    DeliveryRow,
    DocumentRow,
    Page,
    ResultRow,
    RetryFilter,
    RunFilter,
    RunRepository,
    RunRow,
    RunsOfVersion,
    StoredAttempt,
    StoredOutput,
    WorkerRow,
)
from switchgear.ingestion.waiting import with_reasons

log = get_logger()

#: Most runs that one request retries.
MOST_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True)
class RunView:
    """A run with everything that explains it; `run.why` says what a queued one waits for."""

    run: RunRow
    attempts: Sequence[StoredAttempt]
    outputs: Sequence[StoredOutput]


@dataclass(frozen=True, slots=True)
class Result:
    """A result as JSON text in UTF-8; `status` is `parked` while a person has yet to release it."""

    run_id: str
    document_id: str
    status: RunStatus
    configuration_version: int | None
    degraded: bool
    ended_at: int | None
    body: bytes

    def value(self) -> Any:
        """The result as a plain value."""
        return json.loads(self.body)


class RunService:
    """What REST, CLI and console offer about documents and runs.

    Args:
        units: Makes units of work.
        repository: On the narrow path.
        artifacts: Where documents and large outputs stand.
        queue: Told when a run was queued.
    """

    def __init__(self, units: Units, repository: RunRepository, artifacts: ArtifactStore, queue: RunQueue) -> None:
        self._units = units
        self._repository = repository
        self._artifacts = artifacts
        self._queue = queue

    # --- looking ---

    async def get(self, run_id: str) -> RunView:
        """Return the run with its attempts, its committed outputs, and what it waits for.

        Raises:
            NotFound: There is none.
        """
        (run,) = await with_reasons(self._repository, [await self._repository.get(run_id)])
        return RunView(run, await self._repository.attempts(run_id), await self._repository.outputs(run_id))

    async def list(self, wanted: RunFilter | None = None, limit: int = 50, cursor: str | None = None) -> Page[RunRow]:
        """Return runs, newest first; queued ones say what they wait for.

        Raises:
            InvalidRequest: There is no such reason code.
        """
        check_reason(wanted.why_code if wanted else None)
        page = await self._repository.list(wanted or RunFilter(), limit, cursor)
        return Page(await with_reasons(self._repository, page.items), page.next_cursor)

    async def document(self, document_id: str) -> DocumentRow:
        """Return the document. Raises `NotFound`."""
        return await self._repository.document(document_id)

    async def original(self, document: DocumentRow) -> Path:
        """Return where the document's file stands.

        Raises:
            NotFound: Retention took it, or it is lost; the message says which, and what to do.
        """
        if document.file_removed_at is not None:
            raise file_removed(document)
        path = self._artifacts.path(document.sha256)
        if not await asyncio.to_thread(path.exists):
            raise NotFound("The file of this document is missing on disk. Restore it from a backup, or send it again.")
        return path

    async def documents(
        self, limit: int = 50, cursor: str | None = None, *, actor: str | None = None, sha256: str | None = None
    ) -> Page[DocumentRow]:
        """Return documents, newest first; *actor* is who sent them, *sha256* the digest of the bytes."""
        return await self._repository.documents(limit, cursor, actor=actor, sha256=sha256)

    async def deliveries(self, document_id: str) -> Sequence[DeliveryRow]:
        """Return what was delivered of a document, oldest first."""
        return await self._repository.deliveries(document_id)

    async def counts(self) -> Counts:
        """Return how many runs stand where."""
        return await self._repository.counts()

    async def live_workers(self) -> Sequence[WorkerRow]:
        """Return workers that were heard of lately."""
        return await self._repository.live_workers()

    async def counts_of(self, configuration_id: str) -> RunsOfVersion:
        """Return how the runs that hold a configuration stand."""
        return await self._repository.counts_of(configuration_id)

    async def value(self, output: StoredOutput) -> Any:
        """Return an output as a plain value, wherever it stands. Raises `NotFound` and `CorruptArtifact`."""
        if output.value is not None:
            return json.loads(output.value)
        if output.artifact_sha256 is None:
            if output.is_removed:
                raise NotFound("This output was removed when its time was over (RETENTION_ARTIFACTS_DAYS).")
            return None
        return json.loads(await self._artifacts.read(output.artifact_sha256))

    async def result(self, document_id: str) -> Result:
        """Return the document's newest result: the accepted one, or the one that waits for review.

        Raises:
            NotFound: There is no such document, or it has no result; the message says why.
        """
        row = await self._repository.result(document_id)
        if row is None:
            document = await self._repository.document(document_id)
            status = document.last_run_status
            raise NotFound(
                f"This document has no result: {_last_end(document)}. Look at that run.",
                kind="result",
                run_id=document.last_run_id,
                status=str(status),
            )
        return await self._with_body(row)

    async def results_after(
        self, cursor: str | None = None, limit: int = 50, *, actor: str | None = None
    ) -> Page[Result]:
        """Return every accepted result in the order of acceptance, for systems that pull.

        `next_cursor` is given with every page that is not empty: what is accepted later comes after it.

        Raises:
            InvalidRequest: The cursor is none that this list gave.
        """
        rows = await self._repository.results_after(_cursor(cursor), limit, actor=actor)
        items = [await self._with_body(row) for row in rows]
        last = f"{rows[-1].ended_at}.{rows[-1].run_id}" if rows else cursor
        return Page(tuple(items), last)

    async def _with_body(self, row: ResultRow) -> Result:
        if row.value is not None:
            body = row.value.encode()
        elif row.artifact_sha256 is not None:
            body = await self._artifacts.read(row.artifact_sha256)
        else:
            body = b"null"
        return Result(
            row.run_id, row.document_id, row.status, row.configuration_version, row.degraded, row.ended_at, body
        )

    # --- doing ---

    async def retry(
        self, run_id: str, *, by: Actor, configuration: str = "original", from_: str = "failed", message: str = ""
    ) -> RunView:
        """Run a document again.

        Under `original`, a failed or parked run goes on itself; everything else is a new run with `retry_of`.

        Args:
            run_id: The run.
            by: The verified caller.
            configuration: `original`, `active`, or the id or `vN` of a version that was active once.
            from_: `failed` (where it stopped), `start`, or a stage; finished stages before it are kept.
            message: Why; written to the audit trail.

        Raises:
            NotFound: There is no such run or configuration.
            InvalidRequest: The run never came to that stage, or the configuration was never active.
            RunTransitionRefused: It is queued or running.
        """
        how = Repeat(configuration, from_, message)
        async with self._recording(AuditAction.RUN_RETRIED, run_id, by, message):
            after = await self._repeat(run_id, how, by)
        self._queue.notify()
        log.info(EventName.RUN_RETRIED, run_id=after.id, retry_of=after.retry_of, document_id=after.document_id)
        return await self.get(after.id)

    async def _repeat(self, run_id: str, how: Repeat, by: Actor) -> RunRow:
        async with self._units() as unit:
            repository = self._repository.on(unit.statements)
            after = await repeat_run(unit, repository, await repository.lock(run_id), how, by)
            await unit.commit()
        return after

    async def retry_many(
        self, wanted: RetryFilter, how: Repeat, *, by: Actor, limit: int = MOST_AT_ONCE, dry_run: bool = False
    ) -> ManyRetried:
        """Retry failed and parked runs, the oldest first; each is a transaction and an audit entry of its own.

        Runs that were repeated as a new run already are left out, so that nothing happens twice.

        Args:
            wanted: Which runs.
            how: How they are repeated.
            by: The verified caller.
            limit: Most runs that are looked at, 1 to 1,000.
            dry_run: Only say what would happen.

        Raises:
            NotFound: There is no such configuration.
            InvalidRequest: There is no such stage, module or reason code, or the configuration was never active.
        """
        async with self._units(write=False) as unit:
            await check_repeat(unit, self._repository.on(unit.statements), how, wanted)
        found = await self._repository.retryable(wanted, limit + 1)
        retried: list[tuple[RunRow, str | None]] = []
        skipped: list[tuple[RunRow, str]] = []
        for run in found[:limit]:
            reason = await hindrance(self._repository, run, how, wanted.code)
            after = None
            if reason is None and not dry_run:
                try:
                    after = await self._repeat(run.id, how, by)
                except (RunTransitionRefused, Refused):
                    reason = "It moved on in the meantime."
            if reason is not None:
                skipped.append((run, reason))
                continue
            retried.append((run, after.id if after else None))
            if after is not None:
                log.info(EventName.RUN_RETRIED, run_id=after.id, retry_of=after.retry_of, document_id=after.document_id)
        if retried and not dry_run:
            self._queue.notify()
        last = found[:limit][-1].id if found else wanted.after
        return ManyRetried(retried, skipped, len(found) > limit, last)

    async def cancel(self, run_id: str, *, by: Actor, message: str = "") -> RunView:
        """Cancel a run; one that is running is ended by its worker within a heartbeat.

        Raises:
            NotFound: There is none.
            RunTransitionRefused: It has ended.
        """
        async with self._recording(AuditAction.RUN_CANCELLED, run_id, by, message), self._units() as unit:
            repository = self._repository.on(unit.statements)
            before = await repository.get(run_id)
            after = await repository.cancel(run_id)
            await unit.audit.append(
                AuditAction.RUN_CANCELLED,
                actor=by,
                subjects=subjects(after),
                message=message,
                before=state(before),
                after={**state(after), "cancel_requested": True},
            )
            await unit.commit()
        log.info(EventName.RUN_CANCELLED, run_id=run_id, document_id=after.document_id, status=str(after.status))
        return await self.get(run_id)

    @asynccontextmanager
    async def _recording(self, action: AuditAction, subject: str, by: Actor, message: str) -> AsyncIterator[None]:
        """Record what the run's status refuses; the change itself is undone by then. I26"""
        try:
            yield
        except RunTransitionRefused as refusal:
            after = {"code": str(refusal.code)}
            async with self._units() as unit:
                await unit.audit.append(
                    action, actor=by, subjects=(subject,), message=message, after=after, result="refused"
                )
                await unit.commit()
            raise

    async def release(self, document_id: str, *, message: str, by: Actor) -> RunView:
        """Let a document that waits for review go on as it is.

        Raises:
            NotFound: There is no such document.
            RunTransitionRefused: It does not wait for review, or a newer run goes on or has succeeded.
        """
        return await self._decide(document_id, "release", AuditAction.DOCUMENT_RELEASED, message, by)

    async def reject(self, document_id: str, *, message: str, by: Actor) -> RunView:
        """End the review of a document by rejecting it; raises as `release`."""
        return await self._decide(document_id, "reject", AuditAction.DOCUMENT_REJECTED, message, by)

    async def _decide(
        self, document_id: str, action: Literal["release", "reject"], audited: AuditAction, message: str, by: Actor
    ) -> RunView:
        async with self._recording(audited, document_id, by, message), self._units() as unit:
            repository = self._repository.on(unit.statements)
            run = await repository.awaiting_review(document_id)
            newer = (await repository.overtaken([run.id])).get(run.id) if run is not None else None
            if run is None or newer is not None:
                document = await repository.document(document_id)
                of_old = f"; the review of {run.id} ends with `switchgear runs cancel {run.id}`" if run else ""
                raise RunTransitionRefused(
                    "This document does not wait for review, so there is nothing to decide. "
                    f"Look at its last run{of_old}.",
                    document_id=document_id,
                    run_id=document.last_run_id,
                    status=str(document.last_run_status),
                )
            at = datetime.fromtimestamp(await unit.now_us() / 1_000_000, UTC).isoformat()
            said = {"action": action, "actor": by.name, "message": message, "at": at, "stage_id": run.stage_id}
            after = await repository.decide(run, {**said, "facts": (run.why or {}).get("facts") or {}})
            await unit.audit.append(
                audited,
                actor=by,
                subjects=subjects(after),
                message=message,
                before=state(run),
                after={**state(after), "decision": action},
            )
            await unit.commit()
        self._queue.notify()
        log.info(EventName.DOCUMENT_DECIDED, run_id=run.id, document_id=document_id, decision=action)
        return await self.get(run.id)


def _last_end(document: DocumentRow) -> str:
    """How the document's last run stands, in words."""
    decision = document.last_run_decision or {}
    if document.last_run_status is RunStatus.SUCCEEDED and decision.get("action") == "reject":
        return f"{decision['actor']} rejected it in its last run {document.last_run_id}"
    return f"its last run {document.last_run_id} is {document.last_run_status}"


def _cursor(text: str | None) -> tuple[int, str] | None:
    if not text:
        return None
    time, _, run_id = text.partition(".")
    if not (time.isascii() and time.isdigit() and len(time) <= 18 and run_id):
        raise InvalidRequest("The cursor is none that this list gave. Start again without one.")
    return int(time), run_id
