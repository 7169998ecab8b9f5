"""The runbook and the statuses of problems."""

from __future__ import annotations

import pytest

from switchgear.domain.errors import Code
from switchgear.interface.api.pages import problem_page, problems_page
from switchgear.interface.api.problem_catalogue import CATALOGUE
from switchgear.interface.api.problems import STATUS, problem_answer
from switchgear.interface.api.schemas.common import ProblemItem


def test_every_code_of_the_catalogue_has_a_paragraph() -> None:
    assert set(CATALOGUE) == set(Code)


@pytest.mark.parametrize("code", Code)
def test_a_paragraph_says_what_it_means_why_and_what_to_do(code: Code) -> None:
    entry = CATALOGUE[code]
    for sentence in (entry.meaning, entry.cause, entry.remedy):
        assert len(sentence) > 10 or sentence == "Nothing to do."
        assert sentence.endswith(".")
    assert not entry.title.endswith(".")
    assert entry.title in problem_page(code).replace("&#x27;", "'")
    assert f"/problems/{code}" in problems_page()


def test_every_code_that_can_end_a_request_has_an_error_status() -> None:
    assert {code for code in Code if code.startswith(("request.", "access."))} <= set(STATUS)
    assert all(400 <= status < 600 for status in STATUS.values())


def test_a_problem_never_exceeds_16_kilobytes_and_counts_what_it_leaves_out() -> None:
    errors = [ProblemItem(code="request.invalid", pointer="/x" * 100, detail="y" * 600) for _ in range(1000)]
    answer = problem_answer(Code.REQUEST_INVALID, 422, "z" * 10_000, errors=errors, facts={"a": "b" * 50_000})
    assert len(answer.body) <= 16 * 1024
    assert b'"more":9' in bytes(answer.body)
