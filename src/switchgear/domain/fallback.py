"""What replaces a module that gave no usable output, and what happens when nothing does. Pure.

A stage has candidates: the selection, then the chain, each at most once. After each one `next_step` says what to do.
Source: T030, T033, DESIGN 5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from switchgear.domain.configuration import Content, Terminal
from switchgear.domain.errors import Code, Why, repair
from switchgear.domain.run import NO_FREE_WORKER, SHORT_BACKOFF_S, Outcome
from switchgear.sdk.pipeline import StageLimits

#: Outcomes that a policy may name.
TRIGGERS: Final = frozenset(
    {
        Outcome.ERROR,
        Outcome.TIMEOUT,
        Outcome.CRASH,
        Outcome.CONTRACT_VIOLATION,
        Outcome.UNAVAILABLE,
        Outcome.BREAKER_OPEN,
        Outcome.LOW_CONFIDENCE,
        Outcome.BAD_INPUT,
    }
)
#: The module was not asked at all.
_NOT_TRIED: Final = frozenset({Outcome.UNAVAILABLE, Outcome.BREAKER_OPEN})
#: A stage's budget without an own one: so many times the longest timeout of its candidates.
BUDGET_FACTOR: Final = 3.0
#: Further tries after `Retryable` when the limits ask for fewer.
RETRYABLE_RETRIES: Final = 2
#: Tried again when `limits.retries` says so; what else a module does would be the same the next time.
_PASSING: Final = frozenset({Outcome.ERROR, Outcome.TIMEOUT, Outcome.CRASH})
#: After these an effect may have happened outside.
_PERHAPS_DONE: Final = frozenset({Outcome.TIMEOUT, Outcome.CRASH})
_FIRST_DELAY_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Candidate:
    """One module that may serve a stage: number 0 is the selection, then the chain.

    Attributes:
        index: Its place.
        module_id: The module.
        settings: Its settings.
        limits: Its limits; a module of the chain has the stage's defaults.
        on: Outcomes of the candidate before that lead to it; empty for the selection.
        threshold: Confidence below which `low_confidence` holds, or None.
    """

    index: int
    module_id: str
    settings: Mapping[str, Any]
    limits: StageLimits
    on: tuple[str, ...] = ()
    threshold: float | None = None

    def matches(self, result: CandidateResult) -> Outcome | None:
        """The trigger by which *result* leads to this candidate, or None."""
        if result.outcome is Outcome.SUCCEEDED:
            if (
                Outcome.LOW_CONFIDENCE in self.on
                and self.threshold is not None
                and result.confidence is not None
                and result.confidence < self.threshold
            ):
                return Outcome.LOW_CONFIDENCE
            return None
        return result.outcome if result.outcome in self.on and result.outcome in TRIGGERS else None


@dataclass(frozen=True, slots=True)
class FallbackPlan:
    """Who may serve a stage, in which order, for how long, and what happens when nobody does.

    Attributes:
        stage_id: The stage.
        candidates: At least the selection.
        then: The terminal action that the policy names, or None.
        budget_s: Longest time of all attempts of one claim together, in seconds.
        required: Whether the pipeline needs the stage; a required stage cannot be skipped.
    """

    stage_id: str
    candidates: tuple[Candidate, ...]
    then: Terminal | None
    budget_s: float
    required: bool

    @property
    def explicit_then(self) -> bool:
        """Whether the policy says what happens when nobody serves."""
        return self.then is not None

    @property
    def selection(self) -> Candidate:
        """The module that is wanted."""
        return self.candidates[0]

    def terminal(self, *, was_tried: bool) -> Terminal:
        """Without an explicit action: park when nothing could be tried, fail when something was."""
        if self.then is None:
            return Terminal.FAIL if was_tried else Terminal.PARK
        return Terminal.PARK if self.then is Terminal.SKIP and self.required else self.then


def plan_for(content: Content, stage_id: str, *, defaults: Mapping[str, Any], required: bool) -> FallbackPlan | None:
    """Read a stage's plan from a configuration's content; None when no module is selected.

    Args:
        content: Selections and policies.
        stage_id: The stage.
        defaults: The stage's limits; a selection's own ones go before them.
        required: Whether the pipeline needs the stage.
    """
    selection = content.selection(stage_id)
    if selection is None:
        return None
    policy = content.policy(stage_id)
    own = StageLimits.model_validate({**defaults, **selection.limits})
    usual = StageLimits.model_validate(dict(defaults))
    candidates = (
        Candidate(0, selection.module_id, selection.settings, own),
        *(
            Candidate(place, step.module_id, step.settings, usual, step.on, step.threshold)
            for place, step in enumerate(policy.chain, 1)
        ),
    )
    longest = max(candidate.limits.timeout_s for candidate in candidates)
    budget = policy.budget_s if policy.budget_s is not None else BUDGET_FACTOR * longest
    return FallbackPlan(stage_id, candidates, policy.then, budget, required)


@dataclass(slots=True)
class CandidateResult:
    """What a candidate gave after all its tries; *fix* is the line that repairs one that is `unavailable`."""

    candidate: int
    outcome: Outcome
    detail: str = ""
    message: str = ""
    confidence: float | None = None
    needs_review: bool = False
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A step of the chain that did not match, for the record of the attempt."""

    candidate: int
    module_id: str
    on: tuple[str, ...]
    threshold: float | None

    def as_json(self) -> dict[str, Any]:
        """Return the stored form."""
        body: dict[str, Any] = {"candidate": self.candidate, "module_id": self.module_id, "on": list(self.on)}
        if self.threshold is not None:
            body["threshold"] = self.threshold
        return body


@dataclass(slots=True)
class Try:
    """Call this candidate; *trigger* is the outcome that led to it, None for the selection."""

    candidate: Candidate
    trigger: Outcome | None = None
    not_matched: tuple[Rule, ...] = ()


@dataclass(slots=True)
class Use:
    """The stage's answer is that of this candidate: its value, or that the stage does not apply."""

    candidate: int
    not_matched: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Review:
    """A person has to decide, says this candidate."""

    candidate: int
    not_matched: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class End:
    """No module of the stage gave an output."""

    terminal: Terminal
    why: Why
    not_matched: tuple[Rule, ...] = field(default=())


Step = Try | Use | Review | End


def next_step(plan: FallbackPlan, results: Sequence[CandidateResult], *, elapsed_s: float = 0.0) -> Step:
    """Say what to do after *results*.

    Args:
        plan: Who may serve the stage.
        results: One per candidate tried so far, in order.
        elapsed_s: Time that this stage took so far in this claim, in seconds.
    """
    if not results:
        return Try(plan.selection)
    last = results[-1]
    if last.needs_review:
        return Review(last.candidate, _later(plan, last))
    not_matched: list[Rule] = []
    for candidate in plan.candidates[last.candidate + 1 :]:
        trigger = candidate.matches(last)
        if trigger is not None and elapsed_s < plan.budget_s:
            return Try(candidate, trigger, tuple(not_matched))
        if trigger is not None:
            return _best(results, ()) or _end(plan, results, tuple(not_matched), over_budget=True)
        not_matched.append(Rule(candidate.index, candidate.module_id, candidate.on, candidate.threshold))
    return _best(results, tuple(not_matched)) or _end(plan, results, tuple(not_matched), over_budget=False)


def _later(plan: FallbackPlan, last: CandidateResult) -> tuple[Rule, ...]:
    return tuple(Rule(c.index, c.module_id, c.on, c.threshold) for c in plan.candidates[last.candidate + 1 :])


def _best(results: Sequence[CandidateResult], not_matched: tuple[Rule, ...]) -> Use | None:
    """The surest value; of equal ones the earliest. Without a value, the answer that the stage does not apply."""
    last = results[-1]
    if len(results) == 1 and last.outcome is Outcome.SUCCEEDED:
        return Use(last.candidate, not_matched)
    values = [result for result in results if result.outcome is Outcome.SUCCEEDED]
    if values:
        best = max(values, key=lambda result: (_sureness(result), -result.candidate))
        return Use(best.candidate, not_matched)
    return Use(last.candidate, not_matched) if last.outcome is Outcome.NOT_APPLICABLE else None


def _sureness(result: CandidateResult) -> float:
    return 1.0 if result.confidence is None else result.confidence


def _end(
    plan: FallbackPlan, results: Sequence[CandidateResult], not_matched: tuple[Rule, ...], *, over_budget: bool
) -> End:
    tried = [result for result in results if result.outcome not in _NOT_TRIED]
    if tried and tried[-1].outcome is Outcome.BAD_INPUT and not over_budget:
        return End(Terminal.FAIL, _input_rejected(plan, tried[-1]), not_matched)
    terminal = plan.terminal(was_tried=bool(tried))
    code = _end_code(plan, results, terminal, over_budget=over_budget, was_tried=bool(tried))
    asked = ", ".join(_told(plan, result) for result in results)
    reason = f" Its budget of {plan.budget_s:g} s was used up." if over_budget else ""
    consequence = {
        Terminal.FAIL: "The run failed",
        Terminal.PARK: "The run is on hold",
        Terminal.SKIP: "The stage was skipped",
    }[terminal]
    said = f" {results[-1].message}" if results[-1].message else ""
    summary = f"{consequence}: stage {plan.stage_id} got no output. {asked}.{reason}{said}"
    facts = {"stage_id": plan.stage_id, "terminal": str(terminal), "explicit": plan.explicit_then}
    repairs = dict.fromkeys(action for result in results for action in repair(result.fix))
    return End(terminal, Why(code, summary, facts, next_actions=tuple(repairs)), not_matched)


def _end_code(
    plan: FallbackPlan, results: Sequence[CandidateResult], terminal: Terminal, *, over_budget: bool, was_tried: bool
) -> Code:
    if terminal is Terminal.FAIL:
        if over_budget:
            return Code.FAILED_BUDGET
        return Code.FAILED_CHAIN_EXHAUSTED if was_tried else Code.FAILED_POLICY
    if not was_tried:
        changed = any(result.detail == Code.MODULE_VERSION_CHANGED for result in results)
        return Code.PARKED_MODULE_VERSION_CHANGED if changed else Code.PARKED_NOTHING_AVAILABLE
    return Code.PARKED_NO_FALLBACK if len(plan.candidates) == 1 else Code.PARKED_CHAIN_EXHAUSTED


def _input_rejected(plan: FallbackPlan, result: CandidateResult) -> Why:
    facts = {"stage_id": plan.stage_id, "reason": result.detail, "module": plan.candidates[result.candidate].module_id}
    return Why(Code.FAILED_INPUT_REJECTED, result.message or f"The document was rejected: {result.detail}.", facts)


def _told(plan: FallbackPlan, result: CandidateResult) -> str:
    detail = f" ({result.detail})" if result.detail else ""
    return f"{plan.candidates[result.candidate].module_id}: {result.outcome}{detail}"


_FALLBACK_CODES: Final[Mapping[Outcome, Code]] = {
    Outcome.ERROR: Code.FALLBACK_ERROR,
    Outcome.TIMEOUT: Code.FALLBACK_TIMEOUT,
    Outcome.CRASH: Code.FALLBACK_CRASH,
    Outcome.CONTRACT_VIOLATION: Code.FALLBACK_CONTRACT_VIOLATION,
    Outcome.UNAVAILABLE: Code.FALLBACK_UNAVAILABLE,
    Outcome.BREAKER_OPEN: Code.FALLBACK_BREAKER_OPEN,
    Outcome.LOW_CONFIDENCE: Code.FALLBACK_LOW_CONFIDENCE,
    Outcome.SUCCEEDED: Code.FALLBACK_LOW_CONFIDENCE,
    Outcome.BAD_INPUT: Code.FALLBACK_BAD_INPUT,
}


def fallback_why(plan: FallbackPlan, results: Sequence[CandidateResult], served: int) -> Why | None:
    """Why the selection was not used, when candidate *served* gave the stage's answer; None when it was used."""
    if served == 0:
        return None
    first = results[0]
    wanted, server = plan.selection.module_id, plan.candidates[served].module_id
    said = f" {first.message}" if first.message else ""
    reason = "low_confidence" if first.outcome is Outcome.SUCCEEDED else _outcome_words(first)
    facts: dict[str, Any] = {
        "stage_id": plan.stage_id,
        "wanted": wanted,
        "served": server,
        "outcome": "low_confidence" if first.outcome is Outcome.SUCCEEDED else str(first.outcome),
        "detail": first.detail,
    }
    if first.confidence is not None:
        facts["confidence"] = first.confidence
    summary = f"Stage {plan.stage_id}: {server} served instead of {wanted} ({reason}).{said}"
    code = _FALLBACK_CODES.get(first.outcome, Code.FALLBACK_ERROR)
    return Why(code, summary, facts, next_actions=repair(first.fix))


def _outcome_words(result: CandidateResult) -> str:
    return f"{result.outcome}: {result.detail}" if result.detail else str(result.outcome)


def may_retry(
    outcome: Outcome, *, retryable: bool, tries: int, limits: StageLimits, has_effects: bool, detail: str = ""
) -> bool:
    """Whether the same module gets another try.

    Args:
        outcome: Of the last try.
        retryable: Whether the module asked for another try.
        tries: How many there were, the last included.
        limits: The candidate's limits.
        has_effects: Whether the stage does something outside: then a timeout counts as perhaps done, and the same
            module, with the same delivery key, gets one more try before anybody else does it a second time.
        detail: Of the last try.
    """
    if outcome not in _PASSING:
        return False
    retries = limits.retries
    if retryable:
        retries = max(retries, RETRYABLE_RETRIES)
    if has_effects and outcome in _PERHAPS_DONE and detail != NO_FREE_WORKER:
        retries = max(retries, 1)
    return tries <= retries


def retry_delay_s(tries: int, after_s: float | None, random: Callable[[], float]) -> float:
    """Seconds to wait after so many *tries*: as the module asked, else 0.2 s doubling, at most 10, with full jitter."""
    if after_s is not None:
        return max(0.0, after_s)
    return random() * min(SHORT_BACKOFF_S, _FIRST_DELAY_S * 2.0 ** (tries - 1))
