"""What people do to runs, on both databases: retry and cancel, audited; and what a queued run waits for."""

from __future__ import annotations

from pathlib import Path

import pytest

from factories.runs import OPERATOR, Office, output
from switchgear.core.database import Database, Statement
from switchgear.core.unit_of_work import Units
from switchgear.domain.errors import Code, InvalidRequest, NotFound, Why
from switchgear.domain.run import RunStatus, RunTransitionRefused
from switchgear.ingestion.run_repository import RunFilter, WorkerRow

pytestmark = pytest.mark.anyio


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


@pytest.mark.parametrize("configuration", ["original", "active"])
@pytest.mark.parametrize("identity", ["same", None])
async def test_a_cancelled_run_that_others_did_not_see_is_checked_anew(
    office: Office, configuration: str, identity: str | None
) -> None:
    office.repository.result_stage = "read"  # so that `extract` is a check behind it
    await office.submit("a")
    claim = await office.held()
    await office.repository.checkpoint(
        claim, attempts=[], outputs=[output("read"), output("extract")], next_stage_id="deliver", identity=identity
    )
    await office.repository.end(claim, status=RunStatus.CANCELLED, stage_id="deliver")

    again = (await office.service.retry(claim.run_id, by=OPERATOR, configuration=configuration)).run

    assert again.stage_id == ("extract" if identity else "deliver")
    kept = {item.stage_id for item in await office.repository.outputs(again.id)}
    assert kept == ({"read"} if identity else {"read", "extract"})
