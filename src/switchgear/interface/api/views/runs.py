"""Documents and runs as answers. Source: INTERFACES 2."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from switchgear.domain.run import RunStatus
from switchgear.domain.stage import PipelineDescription
from switchgear.ingestion.retries import ManyRetried
from switchgear.ingestion.run_repository import DocumentRow, RunRow, StoredAttempt, StoredOutput
from switchgear.interface.api.schemas.common import WhyView, time_of
from switchgear.interface.api.schemas.documents import (
    AttemptView,
    DocumentView,
    RetriedRun,
    RetriedView,
    RuleView,
    RunSummary,
    RunView,
    SkippedRun,
    StageOutputView,
)

ENDED: Final = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.PARKED, RunStatus.CANCELLED})
_LONGEST_NAME: Final = 255


def shown_name(name: str) -> str:
    """A file name that is safe to show: no control characters, no marks that turn the reading direction."""
    clean = "".join(character if character.isprintable() else "\ufffd" for character in name)
    return clean[:_LONGEST_NAME]


def document_view(row: DocumentRow) -> DocumentView:
    """An accepted document."""
    return DocumentView(
        id=row.id,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        name=shown_name(row.name),
        media_type=row.media_type,
        received_at=time_of(row.received_at),
        last_run_id=row.last_run_id,
        last_run_status=row.last_run_status,
        last_run_decision=_decision(row.last_run_decision),
        file_removed_at=None if row.file_removed_at is None else time_of(row.file_removed_at),
    )


def _named(row: RunRow, own: str | None = None) -> dict[str, Any]:
    is_hidden = own is not None and row.document_actor != own  # somebody else sent these bytes first
    return {
        "id": row.id,
        "document_id": row.document_id,
        "document_name": "" if is_hidden else shown_name(row.document_name),
        "status": row.status,
    }


def _summary(row: RunRow, own: str | None) -> dict[str, Any]:
    return {
        **_named(row, own),
        "degraded": row.degraded,
        "configuration_id": row.configuration_id,
        "configuration_version": row.configuration_version,
        "stage_id": row.stage_id,
        "queue": row.queue,
        "losses": row.losses,
        "retry_of": row.retry_of,
        "accepted_at": time_of(row.accepted_at),
        "started_at": time_of(row.started_at),
        "ended_at": time_of(row.ended_at),
        "why": WhyView.of(row.why),
        "decision": _decision(row.decision),
    }


def _decision(stored: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What a person decided, without the facts of the hold, which may be many."""
    return None if stored is None else {name: value for name, value in stored.items() if name != "facts"}


def run_summary(row: RunRow, own: str | None = None) -> RunSummary:
    """One line of the list of runs; *own* is the token of a caller that reads only what it sent."""
    return RunSummary(**_summary(row, own))


def run_view(
    row: RunRow,
    attempts: Sequence[StoredAttempt],
    outputs: Sequence[StoredOutput],
    pipeline: PipelineDescription,
    own: str | None = None,
) -> RunView:
    """A run with its stages, its attempts and its result; *own* as for `run_summary`."""
    stages = [_output(item) for item in outputs]
    result_stage = next(stage.id for stage in pipeline.stages if stage.contract.output_name == pipeline.result)
    return RunView(
        **_summary(row, own),
        result=next((item.value for item in stages if item.stage_id == result_stage), None),
        stages=stages,
        attempts=[_attempt(item) for item in attempts],
        cancel_requested=row.cancel_requested,
    )


def retried_view(done: ManyRetried, *, dry_run: bool) -> RetriedView:
    """What became of many runs."""
    return RetriedView(
        dry_run=dry_run,
        retried=[RetriedRun(**_was(run), retried_as=after) for run, after in done.retried],
        skipped=[SkippedRun(**_was(run), reason=reason) for run, reason in done.skipped],
        more=done.more,
        last=done.last,
    )


def _was(run: RunRow) -> dict[str, Any]:
    return {**_named(run), "stage_id": run.stage_id, "code": run.why_code}


def _attempt(item: StoredAttempt) -> AttemptView:
    return AttemptView(
        stage_id=item.stage_id,
        candidate=item.candidate,
        try_number=item.try_number,
        module_id=item.module_id,
        module_version=item.module_version,
        code_digest=item.code_digest,
        configuration_id=item.configuration_id,
        configuration_version=item.configuration_version,
        outcome=item.outcome,
        detail=item.detail,
        message=item.message,
        limits=dict(item.limits),
        rules_not_matched=[RuleView.model_validate(dict(rule)) for rule in item.rules_not_matched],
        confidence=item.confidence,
        started_at=time_of(item.started_at),
        duration_us=item.duration_us,
    )


def _output(item: StoredOutput) -> StageOutputView:
    return StageOutputView(
        stage_id=item.stage_id,
        outcome=item.outcome,
        module_id=item.module_id,
        wanted_module_id=item.wanted_module_id,
        degraded=item.degraded,
        why=WhyView.of(item.why),
        value=None if item.value is None else json.loads(item.value),
        artifact_sha256=item.artifact_sha256,
        size_bytes=item.size_bytes,
        committed_at=time_of(item.committed_at),
    )
