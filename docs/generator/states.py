# a paragraph of prose is one line
"""State tables and closed lists, with diagrams drawn from the tables themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from generator.markdown import code, comments_of, table
from switchgear.domain import activation, breaker, configuration, run
from switchgear.domain.fallback import TRIGGERS
from switchgear.domain.stage import ModuleStatus

_ACTIVATION_STATES: Mapping[str, str] = {
    "queued": "accepted; nothing has happened yet",
    "warming": "the candidate is made ready beside the live version",
    "draining": "first claims wait until running runs have ended",
    "applied": "the configuration is the active one",
    "rejected": "a worker or the validation at the switch refused it; the old version goes on",
    "cancelled": "a person, a later request or a rollback ended it; the old version goes on",
    "expired": "running work did not end in time and the request said `cancel`; the old version goes on",
}
_RUN_STATES: Mapping[str, str] = {
    "queued": "waits; its `why` says for what",
    "running": "a worker holds it under a lease",
    "succeeded": "the result is there; `degraded` says whether a fallback made part of it",
    "failed": "ended without a result; `why` says the reason",
    "parked": "on hold: waits for a person; document and finished stages are kept",
    "cancelled": "a person ended it",
}
_MODULE_STATES: Mapping[str, str] = {
    "available": "can be used",
    "unavailable": "something is missing; `why` has the reason and the line that repairs it",
    "deprecated": "can be used; its author names something better",
    "disabled": "a maintainer disabled it",
}
_OUTCOMES: Mapping[str, str] = {
    "succeeded": "an output that keeps the contract",
    "not_applicable": "the stage does not concern the document; no failure, no fallback",
    "skipped": "the stage's terminal action is `skip`, or the module wants a person's review",
    "error": "the module raised",
    "timeout": "no answer within the time; the process was ended",
    "crash": "the process ended: `signal:...`, `exit:...`, `memory_limit`",
    "contract_violation": "wrong shape, too large, or `guarantee:<name>`",
    "breaker_open": "not called: it failed too often of late, or a person opened its breaker",
    "unavailable": "not called: missing, disabled, or other code than the locked one",
    "low_confidence": "an output with less confidence than the next module's threshold",
    "bad_input": "the document is at fault: `encrypted`, `corrupt`, ...",
    "lost": "the worker was gone; recorded by who took the run over",
    "cancelled": "the run was cancelled or the server stopped meanwhile",
}


def _diagram(transitions: Mapping[tuple[Any, Any], Any], initial: str) -> str:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {initial}"]
    lines += [f"    {before} --> {after}: {event}" for (before, event), after in transitions.items()]
    leaving = {str(before) for before, _ in transitions}
    reached = {str(after) for after in transitions.values()}
    lines += [f"    {state} --> [*]" for state in sorted(reached - leaving)]
    return "\n".join([*lines, "```", ""])


def _meanings(members: Iterable[StrEnum], words: Mapping[str, str]) -> str:
    return table(("state", "means"), [(code(each), words[str(each)]) for each in members])


def _transitions(transitions: Mapping[tuple[Any, Any], Any]) -> str:
    rows = [(code(before), code(event), code(after)) for (before, event), after in transitions.items()]
    return table(("from", "event", "to"), rows)


def states_page() -> str:
    """The life of configurations, activations and runs; outcomes and statuses."""
    triggers = ", ".join(code(each) for each in run.Outcome if each in TRIGGERS)
    outcomes = [(code(each), _OUTCOMES[str(each)]) for each in run.Outcome]
    modes = [
        (code(f"{name}: {each}"), f"{who}{comments_of(kind)[str(each)]}")
        for name, kind, who in (("mode", activation.Mode, "new runs: "), ("on_expiry", activation.OnExpiry, ""))
        for each in kind
    ]
    return f"""# States

Each table is the one that the code uses; a pair that is absent is refused.

## Configuration

{_meanings(configuration.Status, comments_of(configuration.Status))}
{_diagram(configuration.TRANSITIONS, "draft")}
{_transitions(configuration.TRANSITIONS)}
## Activation

{_meanings(activation.State, _ACTIVATION_STATES)}
{_diagram(activation.TRANSITIONS, "queued")}
{_transitions(activation.TRANSITIONS)}
What a request can say:

{table(("value", "means"), modes)}
## Run

{_meanings(run.RunStatus, _RUN_STATES)}
{_diagram(run.TRANSITIONS, "queued")}
{_transitions(run.TRANSITIONS)}
The {run.MAX_LOSSES}rd lost worker parks the run (`parked.worker_lost`) instead of queueing it again.

## Outcome of a stage attempt

{table(("outcome", "means"), outcomes)}
A fallback policy may name these as triggers: {triggers}.

## Terminal action of a fallback policy

{table(("action", "means"), [(code(each), _TERMINALS[str(each)]) for each in configuration.Terminal])}
## Module

{_meanings(ModuleStatus, _MODULE_STATES)}
## Breaker of a module

{_meanings(breaker.BreakerState, comments_of(breaker.BreakerState))}
{_transitions(breaker.TRANSITIONS)}
It opens when at least half of the last {breaker.WINDOW_CALLS} calls of the last {_minutes(breaker.WINDOW_US)} failed, \
of {breaker.MINIMUM_CALLS} or more; first for {breaker.FIRST_PAUSE_US // 1_000_000} s, and twice as long after each \
failed probe, at most {_minutes(breaker.LONGEST_PAUSE_US)}. {breaker.PROBES} good probes in a row close it. Errors, \
timeouts, crashes and broken contracts count; a document that is at fault itself does not."""


def _minutes(microseconds: int) -> str:
    return f"{microseconds // 60_000_000} minutes"


_TERMINALS: Mapping[str, str] = {
    "fail": "the run fails",
    "park": "the run is on hold until a person retries it",
    "skip": "the stage gives nothing and the run goes on; optional stages only",
}
