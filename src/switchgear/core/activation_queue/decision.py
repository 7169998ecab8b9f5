"""What an activation needs next, as a pure rule over what was read. Source: DESIGN 4."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from switchgear.core.configuration_validation import Findings
from switchgear.domain.activation import Mode, OnExpiry, State, StoredActivation
from switchgear.domain.configuration import StoredConfiguration
from switchgear.domain.errors import Code, NextAction, Why

_SECOND_US: Final = 1_000_000


class Due(StrEnum):
    """What is due."""

    NOTHING = "nothing"  #: it waits
    WARM = "warm"
    DRAIN = "drain"
    SWITCH = "switch"
    REJECT = "reject"
    EXPIRE = "expire"


@dataclass(frozen=True, slots=True)
class Decision:
    """What is due, and why when it ends without a switch."""

    due: Due
    why: Why | None = None


def decide(
    activation: StoredActivation, *, now_us: int, live: Collection[str], running: int, warm_timeout_s: float
) -> Decision:
    """Say what is due.

    Args:
        activation: A pending activation with its acknowledgements.
        now_us: The time, microseconds UTC.
        live: Ids of live workers.
        running: How many runs are running; only looked at while draining.
        warm_timeout_s: Longest time of queued and warming together, in seconds.
    """
    if activation.state is State.DRAINING:
        return _draining(activation, now_us, running)
    is_late = now_us >= activation.requested_at + int(warm_timeout_s * _SECOND_US)
    if activation.state is State.QUEUED:
        return _late(activation, sorted(live), warm_timeout_s) if is_late else Decision(Due.WARM)
    return _warming(activation, live, warm_timeout_s, is_late=is_late)


def _warming(activation: StoredActivation, live: Collection[str], timeout_s: float, *, is_late: bool) -> Decision:
    for answer in activation.acknowledgements:
        if answer["answer"] == "refused":
            return Decision(Due.REJECT, _refused(activation, str(answer["worker_id"]), answer.get("why") or {}))
    ready = {str(answer["worker_id"]) for answer in activation.acknowledgements}
    missing = sorted(set(live) - ready)
    if ready and not missing:
        at_once = activation.mode is Mode.ROLLING or activation.switch_now
        return Decision(Due.SWITCH if at_once else Due.DRAIN)
    return _late(activation, missing, timeout_s) if is_late else Decision(Due.NOTHING)


def _draining(activation: StoredActivation, now_us: int, running: int) -> Decision:
    if running == 0 or activation.switch_now:
        return Decision(Due.SWITCH)
    if now_us < (activation.draining_at or 0) + int(activation.max_wait_s * _SECOND_US):
        return Decision(Due.NOTHING)
    if activation.on_expiry is OnExpiry.SWITCH:
        return Decision(Due.SWITCH)
    those = "1 run" if running == 1 else f"{running} runs"
    summary = (
        f"{those} did not end within {activation.max_wait_s:g} s, so the activation of "
        f"v{activation.configuration_version} expired; the version before stays active."
    )
    facts = {"runs_remaining": running, "max_wait_s": activation.max_wait_s}
    return Decision(Due.EXPIRE, Why(Code.ACTIVATION_EXPIRED, summary, facts))


def _refused(activation: StoredActivation, worker_id: str, why: dict[str, object]) -> Why:
    said = str(why.get("summary") or "It gave no reason.")
    summary = f"Worker {worker_id} cannot make v{activation.configuration_version} ready. {said}"
    return Why(Code.ACTIVATION_WORKER_REFUSED, summary, {"worker_id": worker_id, "why": why}, [worker_id])


def _late(activation: StoredActivation, missing: list[str], timeout_s: float) -> Decision:
    who = f"of {', '.join(missing)} " if missing else ""
    summary = (
        f"No answer {who}within {timeout_s:g} s whether v{activation.configuration_version} is ready. "
        "Look at the workers, then activate again."
    )
    facts = {"warm_timeout_s": timeout_s, "workers": missing}
    return Decision(Due.REJECT, Why(Code.ACTIVATION_WORKER_MISSING, summary, facts, missing))


#: Said where only `accept_degraded` is missing.
ASK_AGAIN: Final = "Ask again with accept_degraded to go on without it."


def no_longer_fits(configuration: StoredConfiguration, findings: Findings, *, is_covered: bool) -> Why:
    """Why the validation at the switch refuses what was accepted; *is_covered*: `accept_degraded` would let it pass."""
    first = findings.errors[0]
    more = f" ({len(findings.errors) - 1} more.)" if len(findings.errors) > 1 else ""
    again = NextAction(
        "Activate it all the same",
        cli=f"switchgear config activate {configuration.label} --accept-degraded",
        method="POST",
        path=f"/api/v1/configurations/{configuration.id}/activate",
        body={"accept_degraded": True},
    )
    return Why(
        Code.ACTIVATION_VALIDATION,
        f"{configuration.label} does not fit any more: {first.message}{more}{f' {ASK_AGAIN}' if is_covered else ''}",
        {"errors": [finding.as_json() for finding in findings.errors[:20]]},
        next_actions=[again] if is_covered else [],
    )
