"""What a queued run waits for, in words: computed when somebody looks, because it changes by itself. Source: I13."""

from __future__ import annotations

from dataclasses import replace

from switchgear.domain.errors import Code, NextAction, Why
from switchgear.domain.run import RunStatus
from switchgear.ingestion.run_repository import RunRow, Waiting


def with_reason(run: RunRow, waiting: Waiting) -> RunRow:
    """Return *run*; a queued one with the reason why it is not running."""
    if run.status is not RunStatus.QUEUED:
        return run
    why = waiting_for(run, waiting)
    return run if why is None else replace(run, why=why.as_json(), why_code=str(why.code))


def waiting_for(run: RunRow, waiting: Waiting) -> Why | None:
    """Say what a queued run waits for; None when the stored reason, a back-off, still holds."""
    if run.available_at > waiting.now_us:
        seconds = (run.available_at - waiting.now_us) / 1_000_000
        if run.why is not None:
            return None
        return Why(
            Code.WAITING_RETRY_BACKOFF,
            f"It is tried again in {seconds:.0f} s.",
            facts={"seconds": round(seconds, 1), "stage_id": run.stage_id},
        )
    if run.configuration_id is None:
        if waiting.held_by is not None:
            return _drain(waiting, waiting.held_by)
        if not waiting.has_active and run.pinned_configuration_id is None:
            return Why(
                Code.WAITING_CONFIGURATION,
                "No configuration is active. The document is safe and starts when one is activated.",
                next_actions=(NextAction("See the configurations", cli="switchgear config list"),),
            )
    if waiting.live_workers == 0:
        return Why(
            Code.WAITING_WORKER,
            "No worker is running. The document is safe and starts when one does.",
            next_actions=(NextAction("Start one", role="admin", cli="switchgear serve"),),
        )
    return Why(
        Code.WAITING_QUEUE,
        "All workers are busy; it starts when one is free.",
        facts={"queued": waiting.claimable, "workers": waiting.live_workers},
    )


def _drain(waiting: Waiting, activation_id: str) -> Why:
    seconds = max(0.0, ((waiting.held_until or waiting.now_us) - waiting.now_us) / 1_000_000)
    switch = NextAction(
        "Switch now",
        cli=f"switchgear activations switch {activation_id}",
        method="POST",
        path=f"/api/v1/activations/{activation_id}/switch",
    )
    return Why(
        Code.WAITING_DRAIN,
        f"Another configuration is about to become active; this run starts on it in at most {seconds:.0f} s.",
        facts={"activation_id": activation_id, "at_most_s": round(seconds, 1)},
        blocking=(activation_id,),
        next_actions=(switch,),
    )
