"""What ends by age, on both databases: what is removed, what never is, and what is said about it afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factories.runs import OPERATOR, PeopleRoom, output
from switchgear.core.database import Database, Statement
from switchgear.core.unit_of_work import Units
from switchgear.domain.access import SYSTEM
from switchgear.domain.errors import InvalidRequest, NotFound
from switchgear.domain.run import RunStatus
from switchgear.ingestion.intake import Intake
from switchgear.ingestion.retention import Amount, Periods, Retention
from switchgear.ingestion.retries import Repeat, repeat_run
from switchgear.ingestion.run_repository import AcceptedDocument, ClaimedRun, RetryFilter, RunFilter

pytestmark = pytest.mark.anyio

DAY_S = 86_400
MIN_AGE_S = 3600.0
LARGE = b'{"text":"a large page"}'


class Archive(PeopleRoom):
    """A room in which documents grow old."""

    def __init__(self, database: Database, units: Units, folder: Path) -> None:
        super().__init__(database, units, folder)
        self.intake = Intake(self.artifacts, self.repository, max_bytes=1000)

    def retention(self, **periods: int) -> Retention:
        return Retention(self.units, self.repository, self.artifacts, Periods(**periods), min_age_s=MIN_AGE_S)

    async def send(self, content: bytes = b"hello", *, again: bool = False) -> AcceptedDocument:
        async def stream() -> AsyncIterator[bytes]:
            yield content

        return await self.intake.accept(stream(), file_name="a.txt", media_type="text/plain", by=SYSTEM, again=again)

    async def finished(
        self, content: bytes = b"hello", status: RunStatus = RunStatus.SUCCEEDED, *, large: bytes = LARGE
    ) -> ClaimedRun:
        """A document whose run ended so, with a large output and a small result."""
        await self.send(content)
        claim = await self.held()
        kept = await self.artifacts.put_bytes(large)
        outputs = [output("read", None, artifact_sha256=kept.sha256, size_bytes=kept.size_bytes), output("extract")]
        stage = None if status is RunStatus.SUCCEEDED else "deliver"
        await self.repository.end(claim, status=status, outputs=outputs, stage_id=stage)
        return claim

    async def grow_old(self, days: int) -> None:
        """Let everything that is there be *days* older."""
        past = days * DAY_S * 1_000_000
        await self.database.narrow.run(
            Statement("UPDATE documents SET received_at = received_at - :past", {"past": past}),
            Statement("UPDATE runs SET ended_at = ended_at - :past WHERE ended_at IS NOT NULL", {"past": past}),
        )
        self.age_files(days * DAY_S)

    def age_files(self, seconds: float) -> None:
        for path in self.folder.rglob("*"):
            if path.is_file():
                os.utime(path, (time.time() - seconds, time.time() - seconds))

    async def somebody_waits(self) -> None:
        """Return when a transaction waits for a lock that another one holds."""
        sql = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        async with asyncio.timeout(60):
            while not await self.database.narrow.query(sql):
                await asyncio.sleep(0.02)

    @property
    def folder(self) -> Path:
        return self.artifacts.path("a" * 64).parents[2]

    def files(self) -> set[bytes]:
        return {path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
async def archive(database: Database, units: Units, tmp_path: Path) -> Archive:
    return await Archive(database, units, tmp_path).prepare()


async def test_large_outputs_of_ended_runs_go_first_and_the_rest_stays(archive: Archive) -> None:
    claim = await archive.finished()
    await archive.grow_old(31)
    retention = archive.retention(outputs=30)
    assert (await retention.preview()).amounts["outputs"] == Amount(1, len(LARGE))
    pruned = await retention.prune(by=OPERATOR, message="room is needed")
    assert pruned.amounts["outputs"] == Amount(1, len(LARGE))
    assert archive.files() == {b"hello"}
    view = await archive.service.get(claim.run_id)
    assert [(one.stage_id, one.is_removed) for one in view.outputs] == [("read", True), ("extract", False)]
    assert json.loads((await archive.service.result(claim.document_id)).body) == {"text": "a"}
    with pytest.raises(NotFound, match="RETENTION_ARTIFACTS_DAYS"):
        await archive.service.value(view.outputs[0])
    (event,) = await archive.audited()
    assert (event.action, event.actor, event.message) == ("instance.pruned", "olga", "room is needed")
    assert event.after == {"kind": "outputs", "days": 30, "count": 1, "bytes": len(LARGE)}


async def test_what_is_younger_stays(archive: Archive) -> None:
    await archive.finished()
    await archive.grow_old(29)
    pruned = await archive.retention(outputs=30, originals=30, records=30).prune(by=OPERATOR)
    assert {amount.count for amount in pruned.amounts.values()} == {0}
    assert archive.files() == {b"hello", LARGE}
    assert await archive.audited() == []


async def test_nothing_is_removed_when_everything_is_kept_for_ever(archive: Archive) -> None:
    await archive.finished()
    await archive.grow_old(4000)
    await archive.retention().prune(by=OPERATOR)
    assert archive.files() == {b"hello", LARGE}


@pytest.mark.parametrize("state", ["queued", "running", "parked", "retried"])
async def test_nothing_is_taken_from_a_document_of_which_a_run_has_not_ended(archive: Archive, state: str) -> None:
    if state == "retried":
        claim = await archive.finished()
        await archive.service.retry(claim.run_id, by=OPERATOR)
    elif state == "parked":
        await archive.finished(status=RunStatus.PARKED)
    else:
        await archive.send()
        if state == "running":
            await archive.held()
    await archive.grow_old(400)
    before = archive.files() - {LARGE}
    pruned = await archive.retention(originals=1, records=1).prune(by=OPERATOR)
    assert {amount.count for amount in pruned.amounts.values()} == {0}
    assert before <= archive.files()
    assert len((await archive.service.documents()).items) == 1


async def test_an_original_that_was_removed_says_so_and_can_be_sent_again(archive: Archive) -> None:
    claim = await archive.finished(status=RunStatus.FAILED)
    await archive.grow_old(91)
    pruned = await archive.retention(originals=90).prune(by=OPERATOR)
    assert pruned.amounts["originals"] == Amount(1, 5)
    assert b"hello" not in archive.files()
    document = await archive.service.document(claim.document_id)
    with pytest.raises(NotFound, match=r"was removed on \d{4}-\d\d-\d\d"):
        await archive.service.original(document)
    with pytest.raises(NotFound, match="Send the file again"):
        await archive.service.retry(claim.run_id, by=OPERATOR)
    many = await archive.service.retry_many(RetryFilter(), Repeat(), by=OPERATOR)
    assert many.retried == []
    assert "was removed on" in many.skipped[0][1]

    again = await archive.send(again=True)

    assert (again.document.id, again.duplicate) == (claim.document_id, True)
    assert again.document.file_removed_at is None
    assert (await archive.service.original(again.document)).read_bytes() == b"hello"
    await archive.retention(originals=90).prune(by=OPERATOR)
    assert b"hello" in archive.files()


async def test_a_file_that_is_lost_is_not_said_to_be_removed(archive: Archive) -> None:
    claim = await archive.finished()
    archive.artifacts.path(claim.sha256).unlink()
    with pytest.raises(NotFound, match="missing on disk"):
        await archive.service.original(await archive.service.document(claim.document_id))


async def test_whole_records_go_with_everything_about_them(archive: Archive) -> None:
    old = await archive.finished(b"old", large=b'{"text":"old"}')
    await archive.grow_old(400)
    new = await archive.finished(b"new", large=b'{"text":"new"}')
    pruned = await archive.retention(records=365).prune(by=OPERATOR)
    assert pruned.amounts["records"].count == 1
    assert archive.files() == {b"new", b'{"text":"new"}'}
    assert [item.id for item in (await archive.service.documents()).items] == [new.document_id]
    for table in ("runs", "stage_attempts", "stage_outputs", "deliveries"):
        column = "id" if table == "runs" else "run_id"
        sql = f"SELECT count(*) FROM {table} WHERE {column} = :run"
        assert await archive.database.narrow.query(sql, {"run": old.run_id}) == [(0,)]
    async with archive.units(write=False) as unit:
        assert (await unit.audit.verify()).ok


async def test_a_file_that_others_name_too_stays(archive: Archive) -> None:
    first = await archive.finished(b"one")
    await archive.grow_old(31)
    await archive.finished(b"two")
    await archive.retention(outputs=30).prune(by=OPERATOR)
    assert LARGE in archive.files()
    assert (await archive.service.get(first.run_id)).outputs[0].is_removed


async def test_more_than_one_transaction_takes_is_removed_all_the_same(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchgear.ingestion.retention._AT_ONCE", 2)
    for number in range(5):
        await archive.finished(f"{number}".encode(), large=f'{{"text":"{number}"}}'.encode())
    await archive.grow_old(31)
    pruned = await archive.retention(records=30).prune(by=OPERATOR)
    assert pruned.amounts["records"].count == 5
    assert [event.after["count"] for event in await archive.audited() if event.after] == [1, 2, 2]
    assert archive.files() == set()


# --- retries after it ---


async def test_a_failed_run_goes_on_where_its_outputs_are_still_there(archive: Archive) -> None:
    claim = await archive.finished(status=RunStatus.FAILED)
    await archive.grow_old(31)
    await archive.retention(outputs=30).prune(by=OPERATOR)
    view = await archive.service.retry(claim.run_id, by=OPERATOR)
    assert (view.run.stage_id, view.outputs) == ("read", [])


async def test_a_stage_whose_inputs_are_gone_is_refused_with_the_reason(archive: Archive) -> None:
    claim = await archive.finished(status=RunStatus.FAILED)
    await archive.grow_old(31)
    await archive.retention(outputs=30).prune(by=OPERATOR)
    with pytest.raises(InvalidRequest, match="the output of read was removed"):
        await archive.service.retry(claim.run_id, by=OPERATOR, from_="deliver")


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)  # a writer is alone on SQLite
@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.SUCCEEDED])
async def test_a_retry_while_outputs_are_removed_sees_that_they_are_gone(archive: Archive, status: RunStatus) -> None:
    claim = await archive.finished(status=status)
    await archive.grow_old(31)
    async with archive.units() as pruning:
        old = await archive.now_us() - 30 * DAY_S * 1_000_000
        assert (await archive.repository.on(pruning.statements).remove_outputs(old, 10)).count == 1
        retry = asyncio.create_task(archive.service.retry(claim.run_id, by=OPERATOR, from_="extract"))
        await archive.somebody_waits()
        await pruning.commit()
    with pytest.raises(InvalidRequest, match="the output of read was removed"):
        await retry


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_outputs_of_a_run_that_is_being_retried_are_not_removed(archive: Archive) -> None:
    claim = await archive.finished()
    await archive.grow_old(31)
    async with archive.units() as retrying:
        repository = archive.repository.on(retrying.statements)
        run = await repository.lock(claim.run_id)
        await repeat_run(retrying, repository, run, Repeat(from_="extract"), OPERATOR)
        prune = asyncio.create_task(archive.retention(outputs=30).prune(by=OPERATOR))
        await archive.somebody_waits()
        await retrying.commit()
    await prune
    again = (await archive.service.list(RunFilter(document_id=claim.document_id))).items[0]
    assert [(one.stage_id, one.is_removed) for one in await archive.repository.outputs(again.id)] == [("read", False)]
    assert LARGE in archive.files()


# --- files that no row names ---


async def test_files_that_no_row_names_go_when_they_are_old_enough(archive: Archive) -> None:
    await archive.finished()
    stray = await archive.artifacts.put_bytes(b"nobody's")
    assert (await archive.retention().prune(by=OPERATOR)).amounts.get("files") is None
    archive.age_files(MIN_AGE_S + 1)
    assert (await archive.retention().preview()).amounts["files"] == Amount(1, stray.size_bytes)
    assert (await archive.retention().prune(by=OPERATOR)).amounts["files"] == Amount(1, stray.size_bytes)
    assert archive.files() == {b"hello", LARGE}


async def test_the_store_is_searched_at_the_first_turn_and_then_once_a_day(archive: Archive) -> None:
    retention = archive.retention()
    removed = []
    for number in range(25):
        await archive.artifacts.put_bytes(f"nobody's {number}".encode())
        archive.age_files(MIN_AGE_S + 1)
        await retention.tick()
        removed.append(archive.files() == set())
    assert removed == [True, *[False] * 23, True]


@pytest.mark.parametrize("is_large", [False, True])
async def test_what_a_module_saved_stays_as_long_as_an_output_names_it(
    archive: Archive, tmp_path: Path, is_large: bool
) -> None:
    (tmp_path / "picture").write_bytes(b"a picture")
    saved = archive.artifacts.put_file(tmp_path / "picture", "image/png")
    text = json.dumps({"picture": saved.model_dump()}, separators=(",", ":"))
    if is_large:
        await archive.finished(large=text.encode())
    else:
        await archive.send()
        await archive.repository.end(
            await archive.held(), status=RunStatus.SUCCEEDED, outputs=[output("extract", text)]
        )
    archive.age_files(MIN_AGE_S + 1)
    await archive.retention().prune(by=OPERATOR)
    assert b"a picture" in archive.files()
    await archive.grow_old(31)
    await archive.retention(records=30).prune(by=OPERATOR)
    assert archive.files() == set()


async def test_bytes_that_are_sent_again_meanwhile_stay(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    stray = await archive.artifacts.put_bytes(b"hello")
    archive.age_files(MIN_AGE_S + 1)
    rename = Path.rename

    def late(path: Path, target: Path) -> Path:
        """Between the look and the move the same bytes arrive."""
        monkeypatch.setattr(Path, "rename", rename)
        os.utime(path)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", late)
    assert archive.artifacts.drop(stray.sha256, MIN_AGE_S) == 0
    assert await archive.artifacts.verify(stray.sha256)


async def test_a_file_that_was_taken_aside_by_somebody_who_died_is_put_back(archive: Archive) -> None:
    claim = await archive.finished()
    place = archive.artifacts.path(claim.sha256)
    place.rename(archive.folder / "tmp" / claim.sha256)
    assert await archive.artifacts.sweep_temporary(3600) == 0
    assert await archive.artifacts.verify(claim.sha256)
