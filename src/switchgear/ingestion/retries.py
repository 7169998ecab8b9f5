"""A person's retries: where a repeated run begins, what it keeps, and its audit entry. Source: DESIGN 5, I26."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from switchgear.core.unit_of_work import UnitOfWork
from switchgear.domain.access import Actor
from switchgear.domain.audit import AuditAction
from switchgear.domain.configuration import Status
from switchgear.domain.errors import Code, InvalidRequest, NotFound
from switchgear.domain.run import RunEvent, RunStatus, transition
from switchgear.domain.wanted_values import check_known
from switchgear.ingestion.run_repository import DocumentRow, RetryFilter, RunRepository, RunRow

#: Configurations that a person may repeat a run with: those that were active once (invariant 5).
_ONCE_ACTIVE: Final = frozenset({Status.ACTIVE, Status.SUPERSEDED, Status.ROLLED_BACK})
#: Reasons that a run's row can carry.
_REASONS: Final = tuple(code.value for code in Code if code.value.startswith(("waiting.", "parked.", "failed.")))


@dataclass(frozen=True, slots=True)
class Repeat:
    """How runs are repeated.

    Attributes:
        configuration: `original`, `active`, or the id or `vN` of a version that was active once.
        from_: `failed` (where it stopped), `start`, or a stage; finished stages before it are kept.
        message: Why; written to the audit trail.
    """

    configuration: str = "original"
    from_: str = "failed"
    message: str = ""


@dataclass(frozen=True, slots=True)
class ManyRetried:
    """What became of many runs.

    Attributes:
        retried: Each run as it was, and the id of the run that goes on: itself, or a new one (None in a dry run).
        skipped: Each run that was left as it is, and why.
        more: Whether further runs match.
        last: The last run that was looked at; the next call goes on after it.
    """

    retried: Sequence[tuple[RunRow, str | None]]
    skipped: Sequence[tuple[RunRow, str]]
    more: bool
    last: str | None


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a repeated run begins (None = at the first stage), which outputs it keeps, and which it makes anew."""

    stage_id: str | None
    kept: Sequence[str]
    forgotten: Sequence[str]


async def repeat_run(unit: UnitOfWork, repository: RunRepository, run: RunRow, how: Repeat, by: Actor) -> RunRow:
    """Queue *run* again, or a new run of its document, and write the audit entry; the caller locks it and commits.

    Raises:
        NotFound: There is no such configuration.
        InvalidRequest: The run never came to that stage, or the configuration was never active.
        RunTransitionRefused: It is queued or running.
    """
    if run.status in (RunStatus.QUEUED, RunStatus.RUNNING):
        transition(run.status, RunEvent.RETRY)
    await _need_original(repository, run)
    pinned = await _pinned(unit, run, how.configuration)
    start = await _start(repository, run, how.from_)
    # a decision holds as long as the output of its stage is kept: what was rejected stays rejected.
    holds = run.decision is not None and run.decision.get("stage_id") in start.kept
    if how.configuration == "original" and run.status in (RunStatus.FAILED, RunStatus.PARKED):
        anew = how.from_ != "failed" and not holds
        after = await repository.retry(run, stage_id=start.stage_id, forgotten=start.forgotten, anew=anew)
    else:
        after = await repository.add_run(
            run.document_id,
            id_of(by),
            retry_of=run.id,
            pinned=pinned,
            stage_id=start.stage_id,
            copy_from=run.id,
            copied_stages=start.kept,
            decision=run.decision if holds else None,
        )
    await unit.audit.append(
        AuditAction.RUN_RETRIED,
        actor=by,
        subjects=subjects(run, after),
        message=how.message,
        before=state(run),
        after={**state(after), "configuration": how.configuration, "from": how.from_},
    )
    return after


async def check_repeat(unit: UnitOfWork, repository: RunRepository, how: Repeat, wanted: RetryFilter) -> None:
    """Refuse what can be done for no run at all; raises as `repeat_run`."""
    check_reason(wanted.code)
    if wanted.degraded and (wanted.status is not None or wanted.code is not None):
        raise InvalidRequest(
            "What a fallback served is looked for among runs that succeeded; they have neither a status to choose nor "
            "a reason code. Leave `status` and `code` out, or `degraded`."
        )
    if wanted.stage_id is not None:
        check_known(wanted.stage_id, await repository.stages(), "stage")
    if wanted.module_id is not None:
        check_known(wanted.module_id, sorted(await unit.catalogue.module_statuses()), "module")
    if how.configuration not in ("original", "active"):
        await _once_active(unit, how.configuration)
    if how.from_ not in ("failed", "start"):
        check_known(how.from_, await repository.stages(), "stage")


async def hindrance(repository: RunRepository, run: RunRow, how: Repeat, code: str | None) -> str | None:
    """Why *run* is left out when many are retried, or None; *code* is the reason that the filter names."""
    if run.why_code == Code.PARKED_REVIEW and code != Code.PARKED_REVIEW:
        return (
            "It waits for a person's decision, which a retry does not give. Decide with "
            f"`switchgear documents release {run.document_id}` or `... reject {run.document_id}`."
        )
    if run.status is RunStatus.SUCCEEDED and (newer := (await repository.overtaken([run.id])).get(run.id)):
        return (
            f"Run {newer} of the same document came after it and succeeded, or is on its way: what this one "
            "found would replace it. `switchgear runs retry RUN` repeats it all the same."
        )
    try:
        await _need_original(repository, run)
        await _start(repository, run, how.from_)
    except (InvalidRequest, NotFound) as refusal:
        return str(refusal)
    return None


def file_removed(document: DocumentRow) -> NotFound:
    """Why there is no original any more, and how to get it back."""
    at = datetime.fromtimestamp((document.file_removed_at or 0) / 1_000_000, UTC)
    return NotFound(
        f"The file of this document was removed on {at:%Y-%m-%d}, when its time was over (RETENTION_DOCUMENTS_DAYS); "
        "what was read from it is kept. Send the file again to have it back.",
        kind="file",
        document_id=document.id,
    )


async def _need_original(repository: RunRepository, run: RunRow) -> None:
    document = await repository.document(run.document_id)
    if document.file_removed_at is not None:
        raise file_removed(document)


async def _start(repository: RunRepository, run: RunRow, from_: str) -> _Start:
    """Where it begins: of a run that others could not see, every check behind the result is made anew. ADR 0019"""
    start = await _wanted_start(repository, run, from_)
    is_rejected = (run.decision or {}).get("action") == "reject"  # and stays so, unless its review is asked anew
    if run.identity is None or is_rejected or repository.is_seen(run):
        return start
    order = list(await repository.stages())
    behind = order[order.index(repository.result_stage) + 1 :]
    again = [stage for stage in start.kept if stage in behind]
    if not again:
        return start
    return _Start(
        behind[0],
        [stage for stage in start.kept if stage not in again],
        sorted({*start.forgotten, *again}, key=order.index),
    )


async def _wanted_start(repository: RunRepository, run: RunRow, from_: str) -> _Start:
    outputs = await repository.outputs(run.id)
    finished = [output.stage_id for output in outputs]
    gone = next((output.stage_id for output in outputs if output.is_removed), None)
    if from_ == "failed" and run.status is not RunStatus.SUCCEEDED:
        if gone is not None:  # it goes on where it still can
            kept = finished[: finished.index(gone)]
            return _Start(gone, kept, [stage for stage in finished if stage not in kept])
        return _Start(run.stage_id, finished, ())
    if from_ in ("failed", "start"):  # nothing failed in a run that succeeded
        return _Start(None, (), finished)
    order = list(await repository.stages())
    check_known(from_, order, "stage")
    place = order.index(from_)
    done = [order.index(stage) + 1 for stage in finished if stage in order]
    stopped = [order.index(run.stage_id)] if run.stage_id in order else []
    if place > max(done + stopped, default=0):
        missing = next(stage for stage in order if stage not in finished)
        raise InvalidRequest(
            f"The run cannot start at {from_}: it never finished {missing}. Start there, or at an earlier stage."
        )
    if gone in order[:place]:
        raise InvalidRequest(
            f"The run cannot start at {from_}: the output of {gone} was removed when its time was over "
            "(RETENTION_ARTIFACTS_DAYS). Start there, or at an earlier stage."
        )
    kept = [stage for stage in order[:place] if stage in finished]  # others were passed over: no module was selected
    return _Start(from_, kept, [stage for stage in finished if stage not in kept])


def check_reason(code: str | None) -> None:
    """Refuse a filter by a reason that no run can have.

    Raises:
        InvalidRequest: The catalogue does not have it.
    """
    check_known(code, _REASONS, "reason code of runs")


async def _pinned(unit: UnitOfWork, run: RunRow, configuration: str) -> str | None:
    """The version that a new run shall have; None = whichever is active at its first claim."""
    if configuration == "active":
        return None
    if configuration == "original":
        return run.configuration_id or run.pinned_configuration_id
    return await _once_active(unit, configuration)


async def _once_active(unit: UnitOfWork, configuration: str) -> str:
    stored = await unit.configurations.get(configuration)
    if stored.status not in _ONCE_ACTIVE:
        raise InvalidRequest(
            f"{stored.label} is {stored.status} and was never active, so no run may use it. Activate it first.",
            configuration_id=stored.id,
        )
    return stored.id


def id_of(by: Actor) -> str:
    """What is recorded as the asker of a run."""
    return by.token_id or by.name


def subjects(*runs: RunRow) -> Sequence[str]:
    """Runs and documents that an audit entry is about."""
    ids = [run.id for run in runs] + [run.document_id for run in runs]
    return list(dict.fromkeys(ids))


def state(run: RunRow) -> Mapping[str, Any]:
    """A run as the audit trail records it, before and after."""
    return {
        "run_id": run.id,
        "status": str(run.status),
        "stage_id": run.stage_id,
        "configuration_version": run.configuration_version,
        "why": run.why_code,
    }
