"""A person decides what waits for review: once, with who and why, and only while no newer run made it needless."""

from __future__ import annotations

import pytest

from factories.runs import OPERATOR, Office, output
from switchgear.domain.errors import Code, NotFound, Why
from switchgear.domain.run import RunStatus, RunTransitionRefused
from switchgear.ingestion.run_repository import ClaimedRun, RunFilter
from switchgear.interface.api.views.runs import run_summary

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("action", ["release", "reject"])
async def test_a_decision_sends_the_run_back_to_its_stage_with_who_and_why(office: Office, action: str) -> None:
    parked = await office.in_review(other_documents=["doc_1"])
    decide = office.service.release if action == "release" else office.service.reject
    view = await decide(parked.document_id, message="checked by phone", by=OPERATOR)
    assert (view.run.id, view.run.status) == (parked.run_id, RunStatus.QUEUED)
    claim = await office.held()
    assert claim.stage_id == "deliver"
    assert claim.decision is not None
    assert {name: claim.decision[name] for name in ("action", "actor", "message")} == {
        "action": action,
        "actor": "olga",
        "message": "checked by phone",
    }
    assert claim.decision["facts"] == {"other_documents": ["doc_1"]}  # what the person was told
    shown = run_summary(view.run).decision
    assert shown is not None
    assert "facts" not in shown
    event = (await office.audited())[0]
    assert event.action == f"document.{action}{'d' if action == 'release' else 'ed'}"
    assert event.message == "checked by phone"


async def test_of_two_people_who_look_at_the_same_run_the_slower_one_is_told(office: Office) -> None:
    parked, failed = await office.in_review(), await office.finished("b")
    seen_by_both = await office.repository.get(parked.run_id)
    await office.service.release(parked.document_id, message="mine", by=OPERATOR)
    with pytest.raises(RunTransitionRefused, match="in between"):
        await office.repository.decide(seen_by_both, {"action": "reject"})
    seen_by_both = await office.repository.get(failed.run_id)
    await office.service.retry(failed.run_id, by=OPERATOR)
    with pytest.raises(RunTransitionRefused, match="in between"):
        await office.repository.retry(seen_by_both, stage_id=None)


async def test_only_what_waits_for_review_can_be_decided(office: Office) -> None:
    failed = await office.finished("a")
    parked = await office.finished("b", RunStatus.PARKED, why=Why(Code.PARKED_NOTHING_AVAILABLE, "Nothing there."))
    for claim in (failed, parked):
        with pytest.raises(RunTransitionRefused, match="does not wait for review"):
            await office.service.release(claim.document_id, message="m", by=OPERATOR)
    with pytest.raises(NotFound):
        await office.service.release("doc_none", message="m", by=OPERATOR)
    assert {event.result for event in await office.audited()} == {"refused"}


async def retried_elsewhere(office: Office, status: RunStatus, code: Code | None = None) -> tuple[ClaimedRun, str]:
    """A run in review and the newer run of its document, which was asked for under the active version."""
    parked = await office.in_review()
    newer = (await office.service.retry(parked.run_id, by=OPERATOR, configuration="active", from_="start")).run
    held = await office.held()
    why = Why(code, "Somebody has to look.") if code else None
    stage = None if status is RunStatus.SUCCEEDED else "deliver"
    await office.repository.end(
        held, status=status, outputs=[output("extract", '{"total":"1.00"}')], why=why, stage_id=stage
    )
    return parked, newer.id


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.CANCELLED])
async def test_a_review_is_decided_when_what_was_tried_instead_came_to_nothing(
    office: Office, status: RunStatus
) -> None:
    parked, _ = await retried_elsewhere(office, status)

    view = await office.service.release(parked.document_id, message="checked", by=OPERATOR)

    assert (view.run.id, view.run.status) == (parked.run_id, RunStatus.QUEUED)


async def test_of_two_runs_in_review_the_newer_one_is_decided_and_the_older_says_so(office: Office) -> None:
    parked, newer = await retried_elsewhere(office, RunStatus.PARKED, Code.PARKED_REVIEW)
    shown = (await office.service.get(parked.run_id)).run.why
    listed = (await office.service.list(RunFilter(document_id=parked.document_id))).items[-1].why
    view = await office.service.release(parked.document_id, message="checked", by=OPERATOR)

    assert view.run.id == newer
    assert shown is not None
    assert shown == listed
    assert newer in shown["summary"]
    assert [action["cli"] for action in shown["next_actions"]] == [
        f"switchgear runs show {newer}",
        f"switchgear runs cancel {parked.run_id}",
    ]


async def test_a_review_that_a_newer_run_made_needless_is_refused_and_can_be_ended(office: Office) -> None:
    parked, _ = await retried_elsewhere(office, RunStatus.SUCCEEDED)
    with pytest.raises(RunTransitionRefused, match=f"switchgear runs cancel {parked.run_id}"):
        await office.service.release(parked.document_id, message="checked", by=OPERATOR)

    ended = await office.service.cancel(parked.run_id, by=OPERATOR)

    assert ended.run.status is RunStatus.CANCELLED
