"""Every fallback and every end says why: who was wanted, who served, what was said, which rules did not match."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factories.fallback import FAULTS, gave, plan
from switchgear.domain.configuration import Terminal
from switchgear.domain.errors import Code
from switchgear.domain.fallback import TRIGGERS, CandidateResult, End, Review, Try, Use, fallback_why, next_step
from switchgear.domain.run import Outcome


@given(st.sets(st.sampled_from(FAULTS)), st.sampled_from(FAULTS))
def test_the_record_names_exactly_the_rules_that_did_not_match(on: set[str], outcome: str) -> None:
    step = next_step(plan(tuple(on)), [gave(0, Outcome(outcome))])

    assert isinstance(step, Try) == (outcome in on)
    assert isinstance(step, (Try, End))
    assert [rule.module_id for rule in step.not_matched] == ([] if outcome in on else ["m1"])


def test_the_reason_for_a_fallback_names_both_modules() -> None:
    of = plan(FAULTS, ("low_confidence",))
    failed = [gave(0, Outcome.CRASH, detail="signal:SEGV"), gave(1, Outcome.SUCCEEDED)]

    why = fallback_why(of, failed, 1)

    assert why is not None
    assert why.code is Code.FALLBACK_CRASH
    assert "m1 served instead of m0 (crash: signal:SEGV)" in why.summary
    assert fallback_why(of, failed, 0) is None


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
