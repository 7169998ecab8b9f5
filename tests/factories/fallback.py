"""Plans of a selection and its fallbacks, and what each of them answered."""

from switchgear.domain.configuration import Terminal
from switchgear.domain.fallback import TRIGGERS, Candidate, CandidateResult, FallbackPlan
from switchgear.domain.run import Outcome
from switchgear.sdk.pipeline import StageLimits

FAULTS = tuple(str(outcome) for outcome in sorted(TRIGGERS - {Outcome.LOW_CONFIDENCE, Outcome.BAD_INPUT}))


def plan(
    *chain: tuple[str, ...], then: Terminal | None = None, required: bool = True, threshold: float | None = 0.6
) -> FallbackPlan:
    """A selection `m0`, and one step `m1`, `m2`, ... for each tuple of triggers."""
    candidates = [Candidate(0, "m0", {}, StageLimits())]
    for index, on in enumerate(chain, 1):
        limit = threshold if "low_confidence" in on else None
        candidates.append(Candidate(index, f"m{index}", {}, StageLimits(), on, limit))
    return FallbackPlan("extract", tuple(candidates), then, 180.0, required)


def gave(candidate: int, outcome: Outcome, confidence: float | None = None, detail: str = "") -> CandidateResult:
    """The answer of candidate *candidate*, with words of its own."""
    return CandidateResult(candidate, outcome, detail, f"m{candidate} said {outcome}", confidence)
