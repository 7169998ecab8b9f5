"""Documents come in once; what others read of runs, results and workers is whole and in order, on both databases."""

from __future__ import annotations

import asyncio

import pytest

from factories.runs import LEASE_S, STAGES, Room, output
from switchgear.core.database import Statement
from switchgear.core.unit_of_work import Units
from switchgear.domain.errors import NotFound
from switchgear.domain.run import RunStatus, RunTransitionRefused
from switchgear.ingestion.run_repository import RunFilter, WorkerRow

pytestmark = pytest.mark.anyio


# --- intake ---


async def test_an_accepted_document_has_a_queued_run(room: Room) -> None:
    accepted = await room.submit("invoice")
    assert accepted.duplicate is False
    assert accepted.run.status is RunStatus.QUEUED
    assert accepted.run.document_id == accepted.document.id
    assert accepted.run.document_name == "invoice.txt"
    assert accepted.document.last_run_id == accepted.run.id
    assert await room.repository.get(accepted.run.id) == accepted.run


async def test_sixteen_identical_documents_at_once_are_one_document_with_one_run(room: Room) -> None:
    accepted = await asyncio.gather(*(room.submit("same") for _ in range(16)))
    assert len({item.document.id for item in accepted}) == 1
    assert len({item.run.id for item in accepted}) == 1
    assert sum(not item.duplicate for item in accepted) == 1
    assert len((await room.repository.list(RunFilter())).items) == 1


async def test_again_makes_a_new_run_of_the_known_document(room: Room) -> None:
    first = await room.submit("same")
    second = await room.submit("same", again=True)
    assert second.duplicate
    assert second.document.id == first.document.id
    assert second.run.id != first.run.id
    assert (await room.submit("same")).run.id == second.run.id


# --- lists, results, workers ---


async def test_lists_are_paged_and_filtered(room: Room) -> None:
    accepted = [await room.submit(str(number), actor=f"tok_{number % 2}") for number in range(7)]
    newest_first = [item.run.id for item in reversed(accepted)]
    seen: list[str] = []
    cursor = None
    while True:
        page = await room.repository.list(RunFilter(), 3, cursor)
        seen += [run.id for run in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == newest_first
    mine = await room.repository.list(RunFilter(actor="tok_1", status=RunStatus.QUEUED, degraded=False))
    assert [run.id for run in mine.items] == [run for run in newest_first if run in {i.run.id for i in accepted[1::2]}]
    documents = await room.repository.documents(2, actor="tok_0")
    assert [item.id for item in documents.items] == [accepted[6].document.id, accepted[4].document.id]
    assert documents.next_cursor is not None
    found = await room.repository.documents(sha256=accepted[3].document.sha256)
    assert [item.id for item in found.items] == [accepted[3].document.id]


async def test_what_is_not_there_is_not_found(room: Room) -> None:
    with pytest.raises(NotFound):
        await room.repository.get("run_none")
    with pytest.raises(NotFound):
        await room.repository.document("doc_none")
    with pytest.raises(NotFound):
        await room.repository.cancel("run_none")


async def _succeed(room: Room, text: str, identity: str | None = None) -> str:
    await room.submit(text)
    claim = await room.held()
    value = f'{{"text":"{text}"}}'
    outputs = [output("extract", value)]
    await room.repository.end(claim, status=RunStatus.SUCCEEDED, outputs=outputs, identity=identity)
    return claim.document_id


async def test_pulling_results_gives_each_once_in_the_order_of_acceptance(room: Room) -> None:
    documents = [await _succeed(room, text) for text in "abcde"]
    seen: list[str] = []
    after: tuple[int, str] | None = None
    while rows := await room.repository.results_after(after, 2):
        seen += [row.document_id for row in rows]
        assert rows[-1].ended_at is not None
        after = (rows[-1].ended_at, rows[-1].run_id)
    assert seen == documents


async def test_pulling_never_passes_a_result_that_is_still_being_committed(room: Room, units: Units) -> None:
    if room.database.dialect == "sqlite":
        pytest.skip("writers follow each other there, so ends are committed in the order of their times")
    await room.submit("slow")
    slow = await room.held()
    async with units() as unit:
        repository = room.repository.on(unit.statements)
        await repository.end(slow, status=RunStatus.SUCCEEDED, outputs=[output("extract")])
        fast = await _succeed(room, "fast")
        assert await room.repository.results_after(None, 10) == []
        await unit.commit()
    rows = await room.repository.results_after(None, 10)
    assert [row.document_id for row in rows] == [slow.document_id, fast]


async def test_earlier_results_are_those_of_other_documents_with_the_same_identity(room: Room) -> None:
    first = await _succeed(room, "a", "same")
    second = await _succeed(room, "b", "same")
    await _succeed(room, "c", "other")
    await room.submit("a", again=True)
    claim = await room.held()
    await room.repository.end(
        claim, status=RunStatus.SUCCEEDED, outputs=[output("extract", '{"text":"new"}')], identity="same"
    )
    rows = await room.repository.earlier("same", "doc_new", "run_new")
    assert [(row.document_id, row.value) for row in rows] == [(first, '{"text":"new"}'), (second, '{"text":"b"}')]
    assert [row.document_id for row in await room.repository.earlier("same", first, claim.run_id)] == [second]


async def test_workers_register_live_and_leave(room: Room) -> None:
    worker = WorkerRow("wrk_1", "host", 1, "boot", unavailable={"m": {"code": "module.probe_failed"}})
    await room.repository.register_worker(worker)
    await room.repository.register_worker(worker)
    assert (await room.repository.waiting()).serving("default") == 1
    await room.database.narrow.run(Statement("UPDATE workers SET heartbeat_at = 0"))
    assert (await room.repository.waiting()).serving("default") == 0
    await room.repository.heartbeat("wrk_1", [], LEASE_S)
    assert (await room.repository.waiting()).serving("default") == 1
    await room.repository.forget_worker("wrk_1")
    assert (await room.repository.waiting()).serving("default") == 0


async def test_a_unit_of_work_that_is_not_committed_changes_no_run(room: Room, units: Units) -> None:
    accepted = await room.submit()
    async with units() as unit:
        cancelled = await room.repository.on(unit.statements).cancel(accepted.run.id)
        assert cancelled.status is RunStatus.CANCELLED
    assert (await room.repository.get(accepted.run.id)).status is RunStatus.QUEUED


async def test_what_has_ended_cannot_be_cancelled(room: Room) -> None:
    await _succeed(room, "a")
    run = (await room.repository.list(RunFilter())).items[0]
    with pytest.raises(RunTransitionRefused, match="succeeded cannot be cancelled"):
        await room.repository.cancel(run.id)


async def test_stages_are_in_order(room: Room) -> None:
    assert tuple(await room.repository.stages()) == STAGES
