"""What replaces a module, and what happens when nothing does. T030, T033."""

from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.domain.configuration import Content, FallbackPolicy, FallbackStep, Selection, Terminal
from switchgear.domain.errors import Code
from switchgear.domain.fallback import (
    TRIGGERS,
    Candidate,
    CandidateResult,
    End,
    FallbackPlan,
    Review,
    Try,
    Use,
    fallback_why,
    may_retry,
    next_step,
    plan_for,
    retry_delay_s,
)
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
    return CandidateResult(candidate, outcome, detail, f"m{candidate} said {outcome}", confidence)


def test_the_selection_comes_first() -> None:
    step = next_step(plan(FAULTS), [])

    assert isinstance(step, Try)
    assert (step.candidate.module_id, step.trigger) == ("m0", None)


@pytest.mark.parametrize("outcome", sorted(TRIGGERS - {Outcome.LOW_CONFIDENCE}))
def test_each_trigger_leads_to_the_step_that_names_it_and_to_no_other(outcome: Outcome) -> None:
    others = tuple(str(item) for item in TRIGGERS - {outcome})

    named = next_step(plan((str(outcome),)), [gave(0, outcome)])
    unnamed = next_step(plan(others), [gave(0, outcome)])

    assert isinstance(named, Try)
    assert named.trigger is outcome
    assert isinstance(unnamed, End)
    assert [rule.module_id for rule in unnamed.not_matched] == ["m1"]


def test_steps_that_do_not_match_are_passed_over_and_named() -> None:
    step = next_step(plan(("timeout",), ("error",)), [gave(0, Outcome.ERROR)])

    assert isinstance(step, Try)
    assert step.candidate.module_id == "m2"
    assert [rule.as_json() for rule in step.not_matched] == [{"candidate": 1, "module_id": "m1", "on": ["timeout"]}]


@pytest.mark.parametrize(
    ("confidence", "threshold", "leads_on"),
    [(0.59, 0.6, True), (0.6, 0.6, False), (0.9, 0.6, False), (None, 0.6, False), (0.1, None, False)],
)
def test_low_confidence_needs_a_threshold_and_a_value_below_it(
    confidence: float | None, threshold: float | None, leads_on: bool
) -> None:
    step = next_step(plan(("low_confidence",), threshold=threshold), [gave(0, Outcome.SUCCEEDED, confidence)])

    assert isinstance(step, Try if leads_on else Use)


@pytest.mark.parametrize(("first", "second", "winner"), [(0.3, 0.5, 1), (0.5, 0.3, 0), (0.4, 0.4, 0)])
def test_the_surer_value_wins_and_the_selection_among_equals(first: float, second: float, winner: int) -> None:
    results = [gave(0, Outcome.SUCCEEDED, first), gave(1, Outcome.SUCCEEDED, second)]

    step = next_step(plan(("low_confidence",)), results)

    assert isinstance(step, Use)
    assert step.candidate == winner


def test_an_unsure_value_is_better_than_a_fallback_that_fails() -> None:
    results = [gave(0, Outcome.SUCCEEDED, 0.3), gave(1, Outcome.CRASH)]

    step = next_step(plan(("low_confidence",), then=Terminal.FAIL), results)

    assert isinstance(step, Use)
    assert step.candidate == 0


def test_a_rejected_document_does_not_burn_the_chain() -> None:
    step = next_step(plan(FAULTS, then=Terminal.PARK), [gave(0, Outcome.BAD_INPUT, detail="encrypted")])

    assert isinstance(step, End)
    assert (step.terminal, step.why.code) == (Terminal.FAIL, Code.FAILED_INPUT_REJECTED)
    assert step.why.facts["reason"] == "encrypted"


def test_a_rejected_document_goes_to_a_step_that_asks_for_it() -> None:
    step = next_step(plan(("bad_input",)), [gave(0, Outcome.BAD_INPUT)])

    assert isinstance(step, Try)
    assert step.trigger is Outcome.BAD_INPUT


def test_a_stage_that_does_not_apply_is_an_answer() -> None:
    step = next_step(plan(FAULTS), [gave(0, Outcome.NOT_APPLICABLE)])

    assert isinstance(step, Use)
    assert step.candidate == 0


def test_a_question_to_a_person_is_no_failure() -> None:
    asked = CandidateResult(0, Outcome.SKIPPED, message="look", needs_review=True)

    assert isinstance(next_step(plan(tuple(str(item) for item in TRIGGERS)), [asked]), Review)


TERMINALS = [
    # then, required, outcome of the only candidate -> terminal, code
    (None, True, Outcome.ERROR, Terminal.FAIL, Code.FAILED_CHAIN_EXHAUSTED),
    (None, True, Outcome.UNAVAILABLE, Terminal.PARK, Code.PARKED_NOTHING_AVAILABLE),
    (None, False, Outcome.UNAVAILABLE, Terminal.PARK, Code.PARKED_NOTHING_AVAILABLE),
    (Terminal.FAIL, True, Outcome.ERROR, Terminal.FAIL, Code.FAILED_CHAIN_EXHAUSTED),
    (Terminal.FAIL, True, Outcome.UNAVAILABLE, Terminal.FAIL, Code.FAILED_POLICY),
    (Terminal.PARK, True, Outcome.ERROR, Terminal.PARK, Code.PARKED_NO_FALLBACK),
    (Terminal.PARK, True, Outcome.UNAVAILABLE, Terminal.PARK, Code.PARKED_NOTHING_AVAILABLE),
    (Terminal.SKIP, False, Outcome.ERROR, Terminal.SKIP, None),
    (Terminal.SKIP, False, Outcome.UNAVAILABLE, Terminal.SKIP, None),
    (Terminal.SKIP, True, Outcome.ERROR, Terminal.PARK, Code.PARKED_NO_FALLBACK),
]


@pytest.mark.parametrize(("then", "required", "outcome", "terminal", "code"), TERMINALS)
def test_the_terminal_action(
    then: Terminal | None, required: bool, outcome: Outcome, terminal: Terminal, code: Code | None
) -> None:
    step = next_step(plan(then=then, required=required), [gave(0, outcome)])

    assert isinstance(step, End)
    assert step.terminal is terminal
    assert code is None or step.why.code is code
    assert "m0" in step.why.summary


def test_an_exhausted_chain_says_so() -> None:
    results = [gave(0, Outcome.ERROR), gave(1, Outcome.TIMEOUT)]

    step = next_step(plan(FAULTS, then=Terminal.PARK), results)

    assert isinstance(step, End)
    assert step.why.code is Code.PARKED_CHAIN_EXHAUSTED
    assert "m0: error" in step.why.summary
    assert "m1: timeout" in step.why.summary


def test_changed_code_has_a_reason_of_its_own() -> None:
    step = next_step(plan(), [gave(0, Outcome.UNAVAILABLE, detail="module.version_changed")])

    assert isinstance(step, End)
    assert step.why.code is Code.PARKED_MODULE_VERSION_CHANGED


@pytest.mark.parametrize(("then", "code"), [(None, Code.FAILED_BUDGET), (Terminal.PARK, Code.PARKED_CHAIN_EXHAUSTED)])
def test_a_used_up_budget_ends_the_chain(then: Terminal | None, code: Code) -> None:
    step = next_step(plan(FAULTS, then=then), [gave(0, Outcome.TIMEOUT)], elapsed_s=180.0)

    assert isinstance(step, End)
    assert step.why.code is code


def test_a_used_up_budget_keeps_the_value_that_is_there() -> None:
    step = next_step(plan(("low_confidence",)), [gave(0, Outcome.SUCCEEDED, 0.1)], elapsed_s=180.0)

    assert step == Use(0)


@given(
    st.lists(st.sets(st.sampled_from(sorted(TRIGGERS))), max_size=5),
    st.lists(st.tuples(st.sampled_from(sorted(Outcome)), st.floats(0, 1)), min_size=6, max_size=6),
    st.sampled_from([None, *Terminal]),
    st.booleans(),
)
def test_each_candidate_is_tried_at_most_once_and_in_order(
    chain: list[set[Outcome]], answers: list[tuple[Outcome, float]], then: Terminal | None, required: bool
) -> None:
    of = plan(*(tuple(str(item) for item in on) for on in chain), then=then, required=required)
    results: list[CandidateResult] = []
    tried: list[int] = []
    while isinstance(step := next_step(of, results), Try):
        tried.append(step.candidate.index)
        outcome, confidence = answers[step.candidate.index]
        results.append(gave(step.candidate.index, outcome, confidence if outcome is Outcome.SUCCEEDED else None))

    assert tried == sorted(set(tried))
    assert tried[0] == 0
    if isinstance(step, Use):
        assert results_of(results, step.candidate).outcome in (Outcome.SUCCEEDED, Outcome.NOT_APPLICABLE)
        sure = [item.confidence or 0 for item in results if item.outcome is Outcome.SUCCEEDED]
        assert not sure or results_of(results, step.candidate).confidence == max(sure)
    if isinstance(step, End):
        assert not any(item.outcome is Outcome.SUCCEEDED for item in results)
        assert step.terminal is not Terminal.SKIP or not required


def results_of(results: Sequence[CandidateResult], candidate: int) -> CandidateResult:
    return next(item for item in results if item.candidate == candidate)


@given(st.sets(st.sampled_from(FAULTS)), st.sampled_from(FAULTS))
def test_the_record_names_exactly_the_rules_that_did_not_match(on: set[str], outcome: str) -> None:
    step = next_step(plan(tuple(on)), [gave(0, Outcome(outcome))])

    assert isinstance(step, Try) == (outcome in on)
    assert isinstance(step, (Try, End))
    assert [rule.module_id for rule in step.not_matched] == ([] if outcome in on else ["m1"])


def test_a_plan_is_read_from_the_content() -> None:
    step = FallbackStep("b", ("error", "low_confidence"), {"x": 1}, 0.4)
    content = Content(
        (Selection("read", "a", {"y": 2}, {"timeout_s": 5, "retries": 3}),),
        (FallbackPolicy("read", (step,), Terminal.SKIP),),
    )

    found = plan_for(content, "read", defaults={"timeout_s": 40.0, "memory_mb": 2048}, required=False)

    assert found is not None
    assert [(item.module_id, item.limits.timeout_s, item.limits.retries) for item in found.candidates] == [
        ("a", 5, 3),
        ("b", 40, 0),
    ]
    assert found.candidates[1].limits.memory_mb == 2048
    assert (found.budget_s, found.then, found.explicit_then) == (120.0, Terminal.SKIP, True)
    assert plan_for(content, "ocr", defaults={}, required=False) is None


def test_the_reason_for_a_fallback_names_both_modules() -> None:
    of = plan(FAULTS, ("low_confidence",))
    failed = [gave(0, Outcome.CRASH, detail="signal:SEGV"), gave(1, Outcome.SUCCEEDED)]

    why = fallback_why(of, failed, 1)

    assert why is not None
    assert why.code is Code.FALLBACK_CRASH
    assert "m1 served instead of m0 (crash: signal:SEGV)" in why.summary
    assert fallback_why(of, failed, 0) is None


@pytest.mark.parametrize(
    ("outcome", "retries", "retryable", "has_effects", "allowed"),
    [
        (Outcome.ERROR, 0, False, False, 0),
        (Outcome.ERROR, 2, False, False, 2),
        (Outcome.ERROR, 0, True, False, 2),
        (Outcome.ERROR, 5, True, False, 5),
        (Outcome.TIMEOUT, 0, False, False, 0),
        (Outcome.TIMEOUT, 0, False, True, 1),
        (Outcome.CRASH, 0, False, True, 1),
        (Outcome.TIMEOUT, 4, False, True, 4),
        (Outcome.ERROR, 0, False, True, 0),
        (Outcome.CONTRACT_VIOLATION, 5, False, False, 0),
        (Outcome.BAD_INPUT, 5, False, False, 0),
        (Outcome.UNAVAILABLE, 5, False, False, 0),
        (Outcome.SUCCEEDED, 5, False, False, 0),
    ],
)
def test_how_often_the_same_module_is_tried_again(
    outcome: Outcome, retries: int, retryable: bool, has_effects: bool, allowed: int
) -> None:
    limits = StageLimits(retries=retries)
    further = [
        tries
        for tries in range(1, 9)
        if may_retry(outcome, retryable=retryable, tries=tries, limits=limits, has_effects=has_effects)
    ]

    assert further == list(range(1, allowed + 1))


def test_a_call_that_never_started_had_no_effect() -> None:
    assert not may_retry(
        Outcome.TIMEOUT, retryable=False, tries=1, limits=StageLimits(), has_effects=True, detail="no_free_worker"
    )


@given(st.integers(1, 50), st.floats(0, 1))
def test_pauses_double_up_to_ten_seconds_with_full_jitter(tries: int, chance: float) -> None:
    most = min(10.0, 0.2 * 2 ** (tries - 1))

    assert retry_delay_s(tries, None, lambda: chance) == pytest.approx(chance * most)


def test_a_module_says_itself_how_long_to_wait() -> None:
    assert [retry_delay_s(1, after, lambda: 0.5) for after in (0.01, 60.0, -1.0)] == [0.01, 60.0, 0.0]


def test_all_pairs_of_outcome_and_terminal_end_somewhere() -> None:
    for outcome, then, required in product(Outcome, [None, *Terminal], [True, False]):
        step = next_step(plan(then=then, required=required), [gave(0, outcome)])
        assert isinstance(step, (Use, End))


def test_a_question_names_every_rule_that_would_have_come_after_it() -> None:
    of = plan(("timeout",), ("error", "low_confidence"), ("crash",))
    asked = CandidateResult(1, Outcome.SKIPPED, message="look", needs_review=True)

    step = next_step(of, [gave(0, Outcome.TIMEOUT), asked])

    assert isinstance(step, Review)
    assert [rule.as_json() for rule in step.not_matched] == [
        {"candidate": 2, "module_id": "m2", "on": ["error", "low_confidence"], "threshold": 0.6},
        {"candidate": 3, "module_id": "m3", "on": ["crash"]},
    ]


@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.NOT_APPLICABLE])
def test_an_answer_names_the_rules_that_did_not_match_with_their_thresholds(outcome: Outcome) -> None:
    step = next_step(plan(("low_confidence",)), [gave(0, outcome, 0.9)])

    assert isinstance(step, Use)
    assert [rule.as_json() for rule in step.not_matched] == [
        {"candidate": 1, "module_id": "m1", "on": ["low_confidence"], "threshold": 0.6}
    ]


@pytest.mark.parametrize(("first", "second", "winner"), [(None, 0.99, 0), (0.5, None, 1), (1.0, None, 0)])
def test_a_value_without_a_confidence_counts_as_sure(first: float | None, second: float | None, winner: int) -> None:
    results = [gave(0, Outcome.SUCCEEDED, first), gave(1, Outcome.SUCCEEDED, second)]

    step = next_step(plan(("low_confidence",)), results)

    assert isinstance(step, Use)
    assert step.candidate == winner


@pytest.mark.parametrize("then", [None, Terminal.PARK])
def test_an_end_says_of_which_stage_it_is_and_whether_the_policy_asked_for_it(then: Terminal | None) -> None:
    step = next_step(plan(then=then), [gave(0, Outcome.ERROR)])

    assert isinstance(step, End)
    assert dict(step.why.facts) == {
        "stage_id": "extract",
        "terminal": "fail" if then is None else "park",
        "explicit": then is not None,
    }


def test_only_a_used_up_budget_is_told_as_one() -> None:
    over = next_step(plan(FAULTS), [gave(0, Outcome.ERROR)], elapsed_s=180.0)
    within = next_step(plan(), [gave(0, Outcome.ERROR)], elapsed_s=179.0)

    assert isinstance(over, End)
    assert isinstance(within, End)
    assert "budget of 180 s was used up" in over.why.summary
    assert "budget" not in within.why.summary


def test_a_rejected_document_is_told_in_the_words_of_the_module_that_rejected_it() -> None:
    in_words = next_step(plan(), [gave(0, Outcome.BAD_INPUT, detail="corrupt")])
    without = next_step(plan(), [CandidateResult(0, Outcome.BAD_INPUT, "corrupt")])

    assert isinstance(in_words, End)
    assert isinstance(without, End)
    assert in_words.why.summary == "m0 said bad_input"
    assert dict(in_words.why.facts) == {"stage_id": "extract", "reason": "corrupt", "module": "m0"}
    assert "corrupt" in without.why.summary


@pytest.mark.parametrize(
    ("first", "facts"),
    [
        (gave(0, Outcome.CRASH, detail="signal:SEGV"), {"outcome": "crash", "detail": "signal:SEGV"}),
        (gave(0, Outcome.SUCCEEDED, 0.25), {"outcome": "low_confidence", "detail": "", "confidence": 0.25}),
    ],
)
def test_a_fallback_carries_who_was_wanted_who_served_and_why(first: CandidateResult, facts: dict[str, object]) -> None:
    why = fallback_why(plan((*FAULTS, "low_confidence")), [first, gave(1, Outcome.SUCCEEDED)], 1)

    assert why is not None
    assert dict(why.facts) == {"stage_id": "extract", "wanted": "m0", "served": "m1", **facts}
    assert str(facts["outcome"]) in why.summary
    assert first.message in why.summary


@pytest.mark.parametrize(
    ("then", "summary"),
    [
        (Terminal.FAIL, "The run failed: stage extract got no output. m0: crash (signal:SEGV), m1: error."),
        (Terminal.PARK, "The run is on hold: stage extract got no output. m0: crash (signal:SEGV), m1: error."),
        (Terminal.SKIP, "The stage was skipped: stage extract got no output. m0: crash (signal:SEGV), m1: error."),
    ],
)
def test_an_end_tells_what_follows_and_what_each_module_said(then: Terminal, summary: str) -> None:
    results = [CandidateResult(0, Outcome.CRASH, "signal:SEGV"), CandidateResult(1, Outcome.ERROR)]

    step = next_step(plan(FAULTS, then=then, required=then is not Terminal.SKIP), results)

    assert isinstance(step, End)
    assert step.why.summary == summary


def test_an_end_repeats_in_words_what_was_wrong_with_the_last_answer() -> None:
    results = [gave(0, Outcome.CRASH), CandidateResult(1, Outcome.ERROR, message="No field was found.")]

    step = next_step(plan(FAULTS), results)

    assert isinstance(step, End)
    assert step.why.summary.endswith(", m1: error. No field was found.")


@pytest.mark.parametrize(
    ("first", "summary"),
    [
        (CandidateResult(0, Outcome.CRASH), "Stage extract: m1 served instead of m0 (crash)."),
        (
            gave(0, Outcome.SUCCEEDED, 0.25),
            "Stage extract: m1 served instead of m0 (low_confidence). m0 said succeeded",
        ),
    ],
)
def test_a_fallback_says_no_more_than_there_is_to_say(first: CandidateResult, summary: str) -> None:
    why = fallback_why(plan((*FAULTS, "low_confidence")), [first, gave(1, Outcome.SUCCEEDED)], 1)

    assert why is not None
    assert why.summary == summary


@pytest.mark.parametrize("outcome", sorted(TRIGGERS))
def test_each_trigger_has_a_reason_code_of_its_own(outcome: Outcome) -> None:
    why = fallback_why(plan(FAULTS), [gave(0, outcome), gave(1, Outcome.SUCCEEDED)], 1)

    assert why is not None
    assert why.code == f"fallback.{outcome}"


@pytest.mark.parametrize("required", [True, False])
def test_a_plan_is_of_its_stage_and_knows_whether_the_pipeline_needs_it(required: bool) -> None:
    found = plan_for(Content((Selection("read", "a"),)), "read", defaults={}, required=required)

    assert found is not None
    assert (found.stage_id, found.required) == ("read", required)
