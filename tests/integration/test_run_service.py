"""What people do to runs, on both databases: retry, cancel, release, reject; audited, and explained to everybody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from factories.runs import OPERATOR, PeopleRoom, attempt, output
from switchgear.core.database import Database, Statement
from switchgear.core.unit_of_work import Units
from switchgear.domain.errors import Code, InvalidRequest, NotFound, Why
from switchgear.domain.run import RunStatus, RunTransitionRefused
from switchgear.ingestion.run_repository import ClaimedRun, RunFilter, WorkerRow

pytestmark = pytest.mark.anyio


class Office(PeopleRoom):
    """A room with runs that stand where a person has to act."""

    async def finished(
        self, text: str = "a", status: RunStatus = RunStatus.FAILED, *, why: Why | None = None
    ) -> ClaimedRun:
        """A run that finished `read` and `extract` and ended so at `deliver`."""
        await self.submit(text)
        claim = await self.held()
        outputs = [output("read"), output("extract", '{"total":"1.00"}')]
        await self.repository.end(
            claim,
            status=status,
            attempts=[attempt("read"), attempt("extract")],
            outputs=outputs,
            why=why,
            stage_id=None if status is RunStatus.SUCCEEDED else "deliver",
        )
        return claim

    async def in_review(self, text: str = "a") -> ClaimedRun:
        """A run that waits for a person."""
        return await self.finished(text, RunStatus.PARKED, why=Why(Code.PARKED_REVIEW, "Somebody has to look."))

    async def rejected(self, text: str = "a", status: RunStatus = RunStatus.SUCCEEDED) -> ClaimedRun:
        """A run that a person rejected at `extract`, and that ended so after it."""
        await self.submit(text)
        why = Why(Code.PARKED_REVIEW, "Somebody has to look.")
        held = await self.held()
        await self.repository.end(held, status=RunStatus.PARKED, outputs=[output("read")], why=why, stage_id="extract")
        await self.service.reject(held.document_id, message="not ours", by=OPERATOR)
        claim = await self.held()
        stage = None if status is RunStatus.SUCCEEDED else "deliver"
        outputs = [output("extract", '{"total":"1.00"}')]
        await self.repository.end(claim, status=status, outputs=outputs, stage_id=stage)
        return claim


@pytest.fixture
async def office(database: Database, units: Units, tmp_path: Path) -> Office:
    return await Office(database, units, tmp_path).prepare()


# --- retry ---


async def test_a_failed_run_goes_on_itself_where_it_stopped_under_its_version(office: Office) -> None:
    failed = await office.finished()
    await office.configure(2)
    await office.activate(2)
    view = await office.service.retry(failed.run_id, by=OPERATOR, message="the target is back")
    assert (view.run.id, view.run.status, view.run.stage_id) == (failed.run_id, RunStatus.QUEUED, "deliver")
    assert [item.stage_id for item in view.outputs] == ["read", "extract"]
    again = await office.held()
    assert (again.run_id, again.configuration_version, again.stage_id) == (failed.run_id, 1, "deliver")
    assert (again.running_us, again.losses) == (0, 0)
    event = (await office.audited())[0]
    assert (event.action, event.actor, event.message) == ("run.retried", "olga", "the target is back")
    assert event.subjects == (failed.run_id, failed.document_id)
    assert event.before is not None
    assert event.before["status"] == "failed"


async def test_from_a_stage_keeps_what_was_finished_before_it(office: Office) -> None:
    failed = await office.finished()
    view = await office.service.retry(failed.run_id, by=OPERATOR, from_="extract")
    assert view.run.stage_id == "extract"
    assert [item.stage_id for item in view.outputs] == ["read"]
    assert [item.stage_id for item in view.attempts] == ["read", "extract"]  # the record stays


async def test_from_the_start_keeps_nothing(office: Office) -> None:
    failed = await office.finished()
    view = await office.service.retry(failed.run_id, by=OPERATOR, from_="start")
    assert (view.run.id, view.run.stage_id, view.outputs) == (failed.run_id, None, [])


async def test_under_the_active_version_it_is_a_new_run(office: Office) -> None:
    failed = await office.finished()
    await office.configure(2)
    await office.activate(2)
    view = await office.service.retry(failed.run_id, by=OPERATOR, configuration="active")
    assert view.run.id != failed.run_id
    assert (view.run.retry_of, view.run.stage_id, view.run.actor) == (failed.run_id, "deliver", "tok_olga")
    assert [item.stage_id for item in view.outputs] == ["read", "extract"]
    claim = await office.held()
    assert (claim.run_id, claim.first, claim.configuration_version) == (view.run.id, True, 2)
    assert (await office.repository.get(failed.run_id)).status is RunStatus.FAILED


async def test_under_a_named_version_the_new_run_pins_it(office: Office) -> None:
    await office.configure(2)
    failed = await office.finished()
    await office.service.retry(failed.run_id, by=OPERATOR, configuration="v2", from_="start")
    claim = await office.held()
    assert (claim.configuration_version, claim.stage_id) == (2, None)


async def test_a_version_that_was_never_active_is_refused(office: Office) -> None:
    await office.configure(2)
    await office.database.narrow.run(
        Statement("UPDATE module_configurations SET status = 'validated' WHERE id = 'cfg_2'")
    )
    failed = await office.finished()
    with pytest.raises(InvalidRequest, match="never active"):
        await office.service.retry(failed.run_id, by=OPERATOR, configuration="cfg_2")
    with pytest.raises(NotFound):
        await office.service.retry(failed.run_id, by=OPERATOR, configuration="cfg_none")
    assert (await office.repository.get(failed.run_id)).status is RunStatus.FAILED
    assert await office.audited() == []


async def test_a_run_that_succeeded_is_repeated_as_a_new_run_of_its_version(office: Office) -> None:
    done = await office.finished(status=RunStatus.SUCCEEDED)
    await office.configure(2)
    await office.activate(2)
    view = await office.service.retry(done.run_id, by=OPERATOR)
    assert (view.run.retry_of, view.run.stage_id, view.outputs) == (done.run_id, None, [])
    assert (await office.held()).configuration_version == 1


async def test_a_stage_that_was_never_reached_or_does_not_exist_is_refused(office: Office) -> None:
    await office.submit()
    claim = await office.held()
    await office.repository.end(claim, status=RunStatus.FAILED, stage_id="read")
    with pytest.raises(InvalidRequest, match="never finished read"):
        await office.service.retry(claim.run_id, by=OPERATOR, from_="extract")
    with pytest.raises(InvalidRequest, match="There are: read, extract, deliver"):
        await office.service.retry(claim.run_id, by=OPERATOR, from_="nowhere")


async def test_what_is_queued_or_running_cannot_be_retried(office: Office) -> None:
    accepted = await office.submit()
    for _ in range(2):
        with pytest.raises(RunTransitionRefused):
            await office.service.retry(accepted.run.id, by=OPERATOR, configuration="active")
        await office.claim()


# --- cancel ---


async def test_a_queued_run_is_cancelled_at_once_and_never_claimed(office: Office) -> None:
    accepted = await office.submit()
    view = await office.service.cancel(accepted.run.id, by=OPERATOR, message="sent by mistake")
    assert view.run.status is RunStatus.CANCELLED
    assert await office.claim() is None
    event = (await office.audited())[0]
    assert (event.action, event.message) == ("run.cancelled", "sent by mistake")
    with pytest.raises(RunTransitionRefused):
        await office.service.cancel(accepted.run.id, by=OPERATOR)


async def test_a_running_run_is_asked_to_stop(office: Office) -> None:
    await office.submit()
    claim = await office.held()
    view = await office.service.cancel(claim.run_id, by=OPERATOR)
    assert (view.run.status, view.run.cancel_requested) == (RunStatus.RUNNING, True)
    await office.repository.end(claim, status=RunStatus.CANCELLED)
    assert (await office.service.get(claim.run_id)).run.status is RunStatus.CANCELLED


# --- review ---


@pytest.mark.parametrize("action", ["release", "reject"])
async def test_a_decision_sends_the_run_back_to_its_stage_with_who_and_why(office: Office, action: str) -> None:
    parked = await office.in_review()
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


# --- results ---


async def test_the_result_is_the_newest_accepted_one(office: Office) -> None:
    done = await office.finished(status=RunStatus.SUCCEEDED)
    result = await office.service.result(done.document_id)
    assert (result.run_id, result.status, result.value()) == (done.run_id, RunStatus.SUCCEEDED, {"total": "1.00"})


async def test_a_large_result_is_read_from_its_artifact(office: Office) -> None:
    body = json.dumps({"total": "x" * 100_000}).encode()
    stored = await office.artifacts.put_bytes(body)
    await office.submit()
    claim = await office.held()
    large = output("extract", None, artifact_sha256=stored.sha256, size_bytes=len(body))
    await office.repository.end(claim, status=RunStatus.SUCCEEDED, outputs=[large])
    assert (await office.service.result(claim.document_id)).body == body
    assert await office.service.value((await office.service.get(claim.run_id)).outputs[0]) == json.loads(body)
    assert [item.body for item in (await office.service.results_after()).items] == [body]


async def test_what_waits_for_review_can_be_seen_but_is_not_pulled(office: Office) -> None:
    parked = await office.in_review()
    assert (await office.service.result(parked.document_id)).status is RunStatus.PARKED
    assert (await office.service.results_after()).items == ()


async def test_what_a_person_rejected_is_no_result(office: Office) -> None:
    accepted = await office.finished("a", RunStatus.SUCCEEDED)
    rejected = await office.rejected("b")
    with pytest.raises(NotFound, match="olga rejected it"):
        await office.service.result(rejected.document_id)
    documents = (await office.repository.documents()).items
    decisions = {row.id: (row.last_run_decision or {}).get("action") for row in documents}
    assert decisions == {accepted.document_id: None, rejected.document_id: "reject"}
    assert [item.run_id for item in (await office.service.results_after()).items] == [accepted.run_id]


@pytest.mark.parametrize("configuration", ["original", "active"])
async def test_a_retry_after_the_decision_leaves_a_rejected_document_rejected(
    office: Office, configuration: str
) -> None:
    rejected = await office.rejected("a", RunStatus.FAILED)
    again = await office.service.retry(rejected.run_id, from_="deliver", configuration=configuration, by=OPERATOR)
    claim = await office.held()
    assert claim.run_id == again.run.id
    await office.repository.end(claim, status=RunStatus.SUCCEEDED, outputs=[output("deliver")])
    assert (await office.service.results_after()).items == ()


async def test_a_retry_from_before_the_decision_asks_anew(office: Office) -> None:
    rejected = await office.rejected()
    again = await office.service.retry(rejected.run_id, from_="extract", by=OPERATOR)
    assert again.run.decision is None
    await office.repository.end(await office.held(), status=RunStatus.SUCCEEDED, outputs=[output("extract")])
    assert [item.run_id for item in (await office.service.results_after()).items] == [again.run.id]


async def test_no_result_says_why(office: Office) -> None:
    accepted = await office.submit()
    with pytest.raises(NotFound, match="is queued"):
        await office.service.result(accepted.document.id)


async def test_pulling_goes_on_where_it_stopped(office: Office) -> None:
    first = await office.finished("a", RunStatus.SUCCEEDED)
    page = await office.service.results_after()
    assert [item.document_id for item in page.items] == [first.document_id]
    nothing = await office.service.results_after(page.next_cursor)
    assert (nothing.items, nothing.next_cursor) == ((), page.next_cursor)
    second = await office.finished("b", RunStatus.SUCCEEDED)
    assert [item.document_id for item in (await office.service.results_after(nothing.next_cursor)).items] == [
        second.document_id
    ]
    for bad in ("x", "1", "-1.run", "9" * 40 + ".run_1"):
        with pytest.raises(InvalidRequest):
            await office.service.results_after(bad)


# --- why a queued run waits ---


async def _reason(office: Office, run_id: str) -> str | None:
    listed = (await office.service.list()).items[0]
    seen = (await office.service.get(run_id)).run
    assert listed.why_code == seen.why_code
    return seen.why_code


async def test_a_queued_run_always_says_what_it_waits_for(database: Database, units: Units, tmp_path: Path) -> None:
    office = Office(database, units, tmp_path)
    await office.prepare(version=None)
    run_id = (await office.submit()).run.id
    assert await _reason(office, run_id) == "waiting.configuration"
    await office.configure(1)
    await office.activate(1)
    assert await _reason(office, run_id) == "waiting.worker"
    await office.repository.register_worker(WorkerRow("wrk_1", "host", 1, "boot"))
    assert await _reason(office, run_id) == "waiting.queue"
    await office.hold("act_7")
    assert await _reason(office, run_id) == "waiting.drain"
    why = (await office.service.get(run_id)).run.why
    assert why is not None
    assert why["blocking"] == ["act_7"]
    await office.release_hold("act_7")
    claim = await office.held()
    assert (await office.service.get(run_id)).run.why is None
    stored = Why(Code.WAITING_RETRY_BACKOFF, "The service asked for a pause.")
    await office.repository.hand_back(claim, available_in_us=60_000_000, why=stored)
    backing_off = (await office.service.get(run_id)).run.why
    assert backing_off is not None
    assert backing_off["summary"].startswith(stored.summary)
    await office.database.narrow.run(Statement("UPDATE runs SET why = NULL, why_code = NULL"))
    assert await _reason(office, run_id) == "waiting.retry_backoff"


async def test_a_refused_retry_cancel_or_decision_stands_in_the_trail_with_who_and_why(office: Office) -> None:
    claim = await office.finished(status=RunStatus.SUCCEEDED)
    await office.submit("b")
    waiting = (await office.repository.list(RunFilter(status=RunStatus.QUEUED))).items[0]

    with pytest.raises(RunTransitionRefused):
        await office.service.cancel(claim.run_id, by=OPERATOR, message="one")
    with pytest.raises(RunTransitionRefused):
        await office.service.retry(waiting.id, by=OPERATOR, message="two")
    with pytest.raises(RunTransitionRefused):
        await office.service.release(claim.document_id, by=OPERATOR, message="three")
    with pytest.raises(RunTransitionRefused):
        await office.service.reject(claim.document_id, by=OPERATOR, message="four")

    events = list(reversed(await office.audited()))
    assert [(event.action, event.result, event.actor, event.subjects, event.message) for event in events] == [
        ("run.cancelled", "refused", "olga", (claim.run_id,), "one"),
        ("run.retried", "refused", "olga", (waiting.id,), "two"),
        ("document.released", "refused", "olga", (claim.document_id,), "three"),
        ("document.rejected", "refused", "olga", (claim.document_id,), "four"),
    ]
    assert {(event.after or {}).get("code") for event in events} == {"run.illegal_transition"}
