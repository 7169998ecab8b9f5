"""People read of a run who served, who was wanted, which rule did not match, and what a person decided."""

from __future__ import annotations

from switchgear.interface.cli.runs import decision_lines, status_words


def test_the_decision_says_who_served_who_was_wanted_and_which_rule_did_not_match() -> None:
    attempt = {"stage_id": "read", "module_id": "read-a", "outcome": "timeout", "detail": "", "message": ""}
    served = {**attempt, "module_id": "read-b", "outcome": "succeeded"}
    stage = {
        "stage_id": "read",
        "outcome": "succeeded",
        "module_id": "read-b",
        "wanted_module_id": "read-a",
        "degraded": True,
        "why": {
            "code": "fallback.timeout",
            "summary": "Stage read: read-b served instead of read-a (timeout).",
            "facts": {"outcome": "timeout", "detail": ""},
        },
    }
    rules = [{"candidate": 1, "module_id": "read-c", "on": ["error", "low_confidence"], "threshold": 0.5}]
    run = {
        "status": "succeeded",
        "stages": [stage],
        "attempts": [
            {**attempt, "message": "No answer within 1 ms.", "duration_us": 1500, "rules_not_matched": rules},
            {**served, "duration_us": 9000, "rules_not_matched": rules},
        ],
    }
    assert list(decision_lines(run)) == [
        "  read: read-b served; wanted read-a, which did not answer in time",
        "    read-a did not answer in time after 1.5 ms: No answer within 1 ms.",
        "    rule not matched: read-c serves on error, low_confidence below 0.5, and not on timeout",
    ]


def test_a_module_that_was_not_called_has_no_duration_and_a_stage_that_is_not_explained_has_its_summary() -> None:
    attempt = {
        "stage_id": "ocr",
        "module_id": "ocr-a",
        "outcome": "unavailable",
        "detail": "module.missing_package",
        "message": "It needs package rapid.",
        "duration_us": 0,
    }
    stage = {"stage_id": "ocr", "outcome": "succeeded", "module_id": "ocr-b", "wanted_module_id": "ocr-a"}
    why = {"code": "fallback.unavailable", "summary": "It is away."}
    run = {"status": "succeeded", "stages": [{**stage, "degraded": True, "why": why}], "attempts": [attempt]}
    assert list(decision_lines(run)) == [
        "  ocr: ocr-b served; wanted ocr-a. It is away.",
        "    ocr-a was not available (module.missing_package): It needs package rapid.",
    ]


def test_the_decision_says_why_a_stage_was_left_out_and_where_the_run_failed_without_a_call() -> None:
    left_out = {"stage_id": "ocr", "module_id": None, "outcome": "not_applicable", "duration_us": 0}
    run = {
        "status": "failed",
        "stage_id": "reconcile",
        "stages": [{"stage_id": "ocr", "outcome": "not_applicable", "module_id": None, "degraded": False}],
        "attempts": [{**left_out, "message": "no page is a scan"}],
    }
    assert list(decision_lines(run)) == [
        "  ocr: not applicable to this document: no page is a scan",
        "  reconcile: nobody has served it; no module was called",
    ]


def test_what_a_module_noted_stands_below_it() -> None:
    stage = {"stage_id": "review", "outcome": "succeeded", "module_id": "review-rules", "degraded": False}
    attempt = {"stage_id": "review", "module_id": "review-rules", "outcome": "succeeded", "duration_us": 1}
    noted = {**attempt, "message": "document doc_1 states the same\nnot checked: page"}
    run = {"status": "succeeded", "stages": [stage], "attempts": [noted]}
    assert list(decision_lines(run)) == [
        "  review: review-rules served, as selected",
        "    document doc_1 states the same",
        "    not checked: page",
    ]


def test_a_run_that_a_person_rejected_says_so_with_who_and_why() -> None:
    stage = {"stage_id": "review", "outcome": "succeeded", "module_id": "review-rules", "degraded": False}
    decision = {"action": "reject", "actor": "olga", "message": "not our invoice", "stage_id": "review"}
    run = {"status": "succeeded", "decision": decision, "stages": [stage], "attempts": []}
    assert status_words(run) == "rejected"
    assert status_words({**run, "status": "failed"}) == "failed, rejected"
    assert list(decision_lines(run)) == [
        "  review: review-rules served, as selected",
        "    olga rejected it: not our invoice",
    ]
