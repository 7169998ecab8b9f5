"""A result is the newest accepted one, read from where it lies, pulled in order, and none that a person rejected."""

from __future__ import annotations

import json

import pytest

from factories.runs import OPERATOR, Office, output
from switchgear.domain.errors import InvalidRequest, NotFound
from switchgear.domain.run import RunStatus

pytestmark = pytest.mark.anyio


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
