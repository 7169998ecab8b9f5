"""Turns what a module did, or what became of its process, into an attempt's result. Source: DESIGN 5, RELIABILITY 3."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import Any, Final

from switchgear.domain.errors import Code
from switchgear.domain.run import UNSUPPORTED, AttemptResult, Outcome
from switchgear.domain.stage import Lack
from switchgear.sdk.errors import (
    InputRejected,
    ModuleError,
    NeedsReview,
    NotApplicable,
    Retryable,
    Unavailable,
    Unsupported,
    from_record,
)

_LONGEST_MESSAGE: Final = 2000


def _retryable(error: Any) -> AttemptResult:
    return AttemptResult(Outcome.ERROR, "Retryable", error.message, retryable=True, after_s=error.after_s)


def _unavailable(error: Any) -> AttemptResult:
    fix = str(error.fix)[:_LONGEST_MESSAGE] if error.fix else None
    return of_lack(Lack(Code.MODULE_PROBE_FAILED, error.message, fix))


def _rejected(error: Any) -> AttemptResult:
    return AttemptResult(Outcome.BAD_INPUT, error.reason_code, error.message)


def _unsupported(error: Any) -> AttemptResult:
    return AttemptResult(Outcome.ERROR, UNSUPPORTED, error.message)


def _not_applicable(error: Any) -> AttemptResult:
    return AttemptResult(Outcome.NOT_APPLICABLE, message=error.message)


def _review(error: Any) -> AttemptResult:
    return AttemptResult(Outcome.SKIPPED, message=error.message, needs_review=True, facts=error.facts)


#: What the engine does about each error that a module raises on purpose; everything else is a bug of the module.
_MEANING: Final[Mapping[type[ModuleError], Callable[[Any], AttemptResult]]] = {
    Retryable: _retryable,
    Unavailable: _unavailable,
    InputRejected: _rejected,
    Unsupported: _unsupported,
    NotApplicable: _not_applicable,
    NeedsReview: _review,
}


def of_error(error: BaseException) -> AttemptResult:
    """The result of a module that raised *error* in this process."""
    if isinstance(error, MemoryError):
        return AttemptResult(Outcome.CRASH, "memory_limit", "It asked for more than its memory.")
    for kind, meaning in _MEANING.items():
        if isinstance(error, kind):
            return meaning(error)
    return AttemptResult(Outcome.ERROR, type(error).__name__, str(error)[:_LONGEST_MESSAGE])


def of_answer(header: Mapping[str, Any], body: bytes) -> AttemptResult:
    """The result that a worker process answered."""
    raised = header.get("raised")
    if isinstance(raised, Mapping):
        if "record" in raised:
            return of_error(from_record(raised["record"]))
        return AttemptResult(Outcome.ERROR, str(raised.get("error")), str(raised.get("message"))[:_LONGEST_MESSAGE])
    outcome = Outcome(str(header.get("outcome")))
    output = body if outcome is Outcome.SUCCEEDED else None
    return AttemptResult(outcome, str(header.get("detail", "")), str(header.get("message", "")), output)


def of_death(killed_for: str | None, code: int | None, timeout_s: float, memory_mb: int) -> AttemptResult:
    """The result of an attempt whose process is gone.

    Args:
        killed_for: Why the engine killed it, or None.
        code: Exit code, negative for a signal, None when nobody could say.
        timeout_s: The attempt's limit, in seconds.
        memory_mb: The process's limit, in MiB.
    """
    if killed_for == "timeout":
        return AttemptResult(Outcome.TIMEOUT, message=f"It did not answer within {timeout_s:g} s and was ended.")
    if killed_for == "memory_limit":
        return AttemptResult(Outcome.CRASH, "memory_limit", f"It used more than its {memory_mb} MiB and was ended.")
    if killed_for == "cancelled":
        return AttemptResult(Outcome.CANCELLED, message="The run was stopped.")
    detail = death_detail(code)
    return AttemptResult(Outcome.CRASH, detail, f"Its process ended during the call ({detail}).")


def death_detail(code: int | None) -> str:
    """`exit:0`, `signal:SEGV`, ..."""
    if code is None:
        return "signal:KILL"
    if code >= 0:
        return f"exit:{code}"
    try:
        return f"signal:{signal.Signals(-code).name.removeprefix('SIG')}"
    except ValueError:
        return f"signal:{-code}"


def of_lack(lack: Lack) -> AttemptResult:
    """The result of a call for which no process could be made ready."""
    return AttemptResult(Outcome.UNAVAILABLE, str(lack.code), lack.message, facts={"fix": lack.fix} if lack.fix else {})
