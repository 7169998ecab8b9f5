"""What replaces a module, and what happens when nothing does. T030, T033."""

from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factories.fallback import FAULTS, gave, plan
from switchgear.domain.configuration import Content, FallbackPolicy, FallbackStep, Selection, Terminal
from switchgear.domain.errors import Code
from switchgear.domain.fallback import TRIGGERS, CandidateResult, End, Review, Try, Use, next_step, plan_for
from switchgear.domain.run import Outcome


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


def test_all_pairs_of_outcome_and_terminal_end_somewhere() -> None:
    for outcome, then, required in product(Outcome, [None, *Terminal], [True, False]):
        step = next_step(plan(then=then, required=required), [gave(0, outcome)])
        assert isinstance(step, (Use, End))


@pytest.mark.parametrize(("first", "second", "winner"), [(None, 0.99, 0), (0.5, None, 1), (1.0, None, 0)])
def test_a_value_without_a_confidence_counts_as_sure(first: float | None, second: float | None, winner: int) -> None:
    results = [gave(0, Outcome.SUCCEEDED, first), gave(1, Outcome.SUCCEEDED, second)]

    step = next_step(plan(("low_confidence",)), results)

    assert isinstance(step, Use)
    assert step.candidate == winner


@pytest.mark.parametrize("required", [True, False])
def test_a_plan_is_of_its_stage_and_knows_whether_the_pipeline_needs_it(required: bool) -> None:
    found = plan_for(Content((Selection("read", "a"),)), "read", defaults={}, required=required)

    assert found is not None
    assert (found.stage_id, found.required) == ("read", required)
