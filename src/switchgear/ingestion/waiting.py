"""What a run waits for, in words: computed when somebody looks, because it changes by itself. Source: I13."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from switchgear.domain.errors import Code, NextAction, Why
from switchgear.domain.run import RunStatus
from switchgear.ingestion.run_repository import RunRepository, RunRow, Waiting


async def with_reasons(repository: RunRepository, runs: Sequence[RunRow]) -> tuple[RunRow, ...]:
    """Return *runs*; queued ones with what they wait for, those in review with who may decide what about them now."""
    queued = [run.id for run in runs if run.status is RunStatus.QUEUED]
    waiting = await repository.waiting(queued) if queued else None
    newer = await repository.overtaken([run.id for run in runs if _in_review(run)])
    told = (overtaken(run, newer[run.id]) if run.id in newer else run for run in runs)
    return tuple(with_reason(run, waiting) if waiting is not None else run for run in told)


def _in_review(run: RunRow) -> bool:
    return run.status is RunStatus.PARKED and run.why_code == Code.PARKED_REVIEW


def overtaken(run: RunRow, newer: str) -> RunRow:
    """Return a run in review of whose document a newer run took the place: that one is looked at, this one is ended."""
    look = NextAction(
        "Look at the newer run", "viewer", f"switchgear runs show {newer}", "GET", f"/api/v1/runs/{newer}"
    )
    end = NextAction(
        "End this one", cli=f"switchgear runs cancel {run.id}", method="POST", path=f"/api/v1/runs/{run.id}/cancel"
    )
    why = run.why or {"code": str(Code.PARKED_REVIEW), "summary": "", "facts": {}, "blocking": []}
    summary = f"{why['summary']} The document has a newer run, {newer}, which took the place of this one.".lstrip()
    return replace(run, why={**why, "summary": summary, "next_actions": [look.as_json(), end.as_json()]})


def with_reason(run: RunRow, waiting: Waiting) -> RunRow:
    """Return *run*; a queued one with the reason why it is not running."""
    if run.status is not RunStatus.QUEUED:
        return run
    why = waiting_for(run, waiting)
    return replace(run, why=why.as_json(), why_code=str(why.code))


def waiting_for(run: RunRow, waiting: Waiting) -> Why:
    """Say what a queued run waits for: the first of what must happen before it starts."""
    if run.available_at > waiting.now_us:
        return _back_off(run, waiting)
    serving = waiting.serving(run.queue)
    facts: dict[str, Any] = {"since": _written(run.available_at), "workers": serving, "queue": run.queue}
    needs_version = run.configuration_id is None
    if needs_version and not waiting.has_active and run.pinned_configuration_id is None:
        return Why(
            Code.WAITING_CONFIGURATION,
            "No configuration is active. The document is safe and starts when one is activated.",
            facts,
            next_actions=(NextAction("See the configurations", cli="switchgear config list"),),
        )
    if not serving:
        return _no_worker(waiting, run.queue, facts)
    if needs_version and waiting.held_by is not None:
        return _drain(waiting, waiting.held_by, facts)
    return _queue(waiting, waiting.ahead.get(run.id, 0), facts)


def _back_off(run: RunRow, waiting: Waiting) -> Why:
    """The stored reason says who asked for the pause; how long it still is changes by itself."""
    seconds = _seconds(run.available_at - waiting.now_us)
    stored = run.why or {"summary": "", "facts": {"stage_id": run.stage_id}}
    return Why(
        Code.WAITING_RETRY_BACKOFF,
        f"{stored['summary']} It is tried again in {seconds:.0f} s.".lstrip(),
        {**stored["facts"], "seconds": seconds, "until": _written(run.available_at)},
    )


def _no_worker(waiting: Waiting, queue: str, facts: dict[str, Any]) -> Why:
    if waiting.live_workers:
        return Why(
            Code.WAITING_WORKER,
            f"No live worker serves the queue {queue}. The document is safe and goes on when one does.",
            facts,
            next_actions=(NextAction("Start one", role="admin", cli=f"switchgear worker --queues {queue}"),),
        )
    heard = ""
    if waiting.heard_at is not None:
        facts = {**facts, "silent_s": _seconds(waiting.now_us - waiting.heard_at)}
        heard = f" A worker was last heard of {facts['silent_s']:.0f} s ago."
    return Why(
        Code.WAITING_WORKER,
        f"No worker is alive. The document is safe and starts when one is.{heard}",
        facts,
        next_actions=(NextAction("Start one", role="admin", cli="switchgear serve"),),
    )


def _drain(waiting: Waiting, activation_id: str, facts: dict[str, Any]) -> Why:
    seconds = max(0.0, _seconds((waiting.held_until or waiting.now_us) - waiting.now_us))
    watch = NextAction(
        "See what it waits for",
        role="viewer",
        cli=f"switchgear activations watch {activation_id}",
        method="GET",
        path=f"/api/v1/activations/{activation_id}",
    )
    switch = NextAction(
        "Switch now",
        cli=f"switchgear activations switch {activation_id}",
        method="POST",
        path=f"/api/v1/activations/{activation_id}/switch",
    )
    return Why(
        Code.WAITING_DRAIN,
        f"A change of the configuration holds new runs until running ones have ended, at most {seconds:.0f} s more.",
        {**facts, "activation_id": activation_id, "at_most_s": seconds},
        blocking=(activation_id,),
        next_actions=(watch, switch),
    )


def _queue(waiting: Waiting, ahead: int, facts: dict[str, Any]) -> Why:
    place = {0: "It is next in the queue", 1: "1 run is before it in the queue"}.get(
        ahead, f"{ahead} runs are before it in the queue"
    )
    live = facts["workers"]
    workers = f"{live} {'worker is' if live == 1 else 'workers are'} alive"
    running = f"{waiting.running} {'run is' if waiting.running == 1 else 'runs are'} at work"
    return Why(
        Code.WAITING_QUEUE,
        f"{place} and starts when a worker has a free place: {workers}, {running}.",
        {**facts, "ahead": ahead, "running": waiting.running},
    )


def _seconds(microseconds: int) -> float:
    return round(microseconds / 1_000_000, 1)


def _written(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC).isoformat()
