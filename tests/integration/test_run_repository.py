"""The statements of runs on both databases: claims, fencing, checkpoints, losses, drains, duplicates, results."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from factories.runs import LEASE_S, STAGES, Room, attempt, output
from switchgear.core.database import Database, Refused, Statement
from switchgear.core.unit_of_work import Units
from switchgear.domain.errors import Code, NotFound, Why
from switchgear.domain.run import MAX_LOSSES, Outcome, RunStatus, RunTransitionRefused
from switchgear.ingestion.run_repository import ClaimedRun, DeliveryRow, RunFilter, WorkerRow

pytestmark = pytest.mark.anyio


@pytest.fixture
async def room(database: Database) -> Room:
    return await Room(database).prepare()


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


# --- claims ---


async def test_the_first_claim_pins_the_active_version_and_later_claims_keep_it(room: Room) -> None:
    await room.submit()
    first = await room.held()
    assert (first.first, first.configuration_id, first.configuration_version, first.token) == (True, "cfg_1", 1, 1)
    assert (first.file_name, first.media_type, first.size_bytes) == ("a.txt", "text/plain", 1)
    await room.configure(2)
    await room.activate(2)
    await room.repository.hand_back(first)
    second = await room.held()
    assert (second.first, second.configuration_id, second.configuration_version, second.token) == (False, "cfg_1", 1, 2)


async def test_the_oldest_run_is_found_by_an_index_also_when_the_table_grew_a_moment_ago(room: Room) -> None:
    await asyncio.gather(*(room.submit(f"document {number}") for number in range(4000)))
    claiming = room.repository.ride("wrk_1", LEASE_S).statements[0]
    how = "EXPLAIN" if room.database.dialect == "postgresql" else "EXPLAIN QUERY PLAN"
    [plan] = await room.database.narrow.run(Statement(f"{how} {claiming.sql}", claiming.parameters, fetch=True))
    words = str(plan.rows)
    assert "ix_runs_queue" in words
    assert "Sort" not in words
    assert "TEMP B-TREE" not in words
    assert "Seq Scan" not in words


async def test_nothing_is_claimed_without_an_active_configuration(database: Database) -> None:
    room = await Room(database).prepare(version=None)
    accepted = await room.submit()
    assert await room.claim() is None
    await room.configure(1)
    await room.activate(1)
    assert (await room.held()).run_id == accepted.run.id


async def test_a_drain_holds_first_claims_only_until_it_ends(room: Room) -> None:
    await room.submit("old")
    old = await room.held()
    await room.submit("new")
    await room.hold()
    assert await room.claim() is None
    assert await room.repository.count_held(room.database.narrow) == 1
    await room.repository.hand_back(old)
    again = await room.held()
    assert again.run_id == old.run_id  # it holds a version already
    await room.release_hold()
    assert (await room.held()).first


async def test_a_hold_ends_by_itself(room: Room) -> None:
    await room.submit()
    await room.hold(seconds=-0.001)
    assert await room.claim() is not None


async def test_forty_claimers_share_twenty_runs_without_overlap(room: Room) -> None:
    for number in range(20):
        await room.submit(str(number))
    claims = await asyncio.gather(*(room.claim(f"wrk_{number}") for number in range(40)))
    taken = [claim.run_id for claim in claims if claim is not None]
    while len(taken) < 20:  # SKIP LOCKED may pass one that another claimer looks at
        taken.append((await room.held()).run_id)
    assert len(set(taken)) == len(taken) == 20
    assert await room.claim() is None


async def test_runs_are_claimed_in_the_order_of_acceptance(room: Room) -> None:
    accepted = [(await room.submit(str(number))).run.id for number in range(5)]
    assert [(await room.held()).run_id for _ in range(5)] == accepted


async def test_a_run_that_backs_off_is_not_claimed_before_its_time(room: Room) -> None:
    await room.submit()
    claim = await room.held()
    why = Why(Code.WAITING_RETRY_BACKOFF, "The service asked for a pause.")
    await room.repository.hand_back(claim, available_in_us=3_600_000_000, why=why)
    assert await room.claim() is None
    run = await room.repository.get(claim.run_id)
    assert (run.status, run.why_code, run.losses) == (RunStatus.QUEUED, "waiting.retry_backoff", 0)
    assert await room.repository.count_running(room.database.narrow) == 0
    await room.database.narrow.run(Statement("UPDATE runs SET available_at = now_us()"))
    assert (await room.held()).run_id == claim.run_id
    assert (await room.repository.get(claim.run_id)).why is None


# --- what a worker writes ---


async def test_a_whole_run_is_recorded_with_its_one_version(room: Room) -> None:
    accepted = await room.submit()
    claim = await room.held()
    cancelled = await room.repository.checkpoint(
        claim, attempts=[attempt("read")], outputs=[output("read")], next_stage_id="extract"
    )
    assert cancelled is False
    assert (await room.repository.get(claim.run_id)).stage_id == "extract"
    fallback = attempt(
        "extract",
        candidate=1,
        confidence=0.5,
        rules_not_matched=[{"candidate": 1, "on": ["crash"]}],
        message="m\x00\ud800",
    )
    why = Why(Code.FALLBACK_ERROR, "The selected module failed.")
    degraded = output("extract", '{"total":"1.00"}', degraded=True, wanted_module_id="other", why=why.as_json())
    await room.repository.end(
        claim,
        status=RunStatus.SUCCEEDED,
        attempts=[attempt("extract", outcome=Outcome.ERROR, detail="x" * 500), fallback],
        outputs=[degraded],
        deliveries=[DeliveryRow("key", "folder", {"path": "a.json"})],
        degraded=True,
        identity="same",
    )
    run = await room.repository.get(accepted.run.id)
    assert (run.status, run.degraded, run.identity, run.claimed_by) == (RunStatus.SUCCEEDED, True, "same", None)
    assert run.ended_at is not None
    assert run.started_at is not None
    assert run.accepted_at <= run.started_at <= run.ended_at
    attempts = await room.repository.attempts(run.id)
    assert [(item.stage_id, item.candidate, item.outcome) for item in attempts] == [
        ("read", 0, Outcome.SUCCEEDED),
        ("extract", 0, Outcome.ERROR),
        ("extract", 1, Outcome.SUCCEEDED),
    ]
    assert {(item.configuration_id, item.configuration_version, item.fencing_token) for item in attempts} == {
        ("cfg_1", 1, 1)
    }
    assert attempts[0].limits == {"timeout_s": 60.0}
    assert attempts[1].detail == "x" * 128
    assert attempts[2].message == "m\ufffd?"
    assert attempts[2].rules_not_matched == [{"candidate": 1, "on": ["crash"]}]
    outputs = await room.repository.outputs(run.id)
    assert [(item.stage_id, item.value) for item in outputs] == [
        ("read", '{"text":"a"}'),
        ("extract", '{"total":"1.00"}'),
    ]
    assert outputs[1].why == why.as_json()
    delivery = await room.repository.delivery("key")
    assert delivery is not None
    assert delivery.receipt == {"path": "a.json"}


async def test_a_known_delivery_key_keeps_its_first_receipt(room: Room) -> None:
    for text, receipt in (("a", 1), ("b", 2)):
        await room.submit(text)
        deliveries = [DeliveryRow("key", "folder", receipt)]
        await room.repository.end(await room.held(), status=RunStatus.SUCCEEDED, deliveries=deliveries)
    delivery = await room.repository.delivery("key")
    assert delivery is not None
    assert delivery.receipt == 1


async def _checkpoint(room: Room, claim: ClaimedRun) -> object:
    return await room.repository.checkpoint(claim, attempts=[attempt()], outputs=[output()], next_stage_id="extract")


async def _end(room: Room, claim: ClaimedRun) -> None:
    await room.repository.end(claim, status=RunStatus.SUCCEEDED, attempts=[attempt()], outputs=[output()])


async def _hand_back(room: Room, claim: ClaimedRun) -> object:
    return await room.repository.hand_back(claim, attempts=[attempt()])


@pytest.mark.parametrize("write", [_checkpoint, _end, _hand_back])
async def test_a_worker_that_lost_its_run_can_write_nothing_more(
    room: Room, write: Callable[[Room, ClaimedRun], Awaitable[object]]
) -> None:
    await room.submit()
    zombie = await room.held("wrk_1")
    await room.lose(zombie)
    with pytest.raises(Refused):
        await write(room, zombie)
    successor = await room.held("wrk_2")
    with pytest.raises(Refused):
        await write(room, zombie)
    assert await room.repository.outputs(zombie.run_id) == []
    assert [item.outcome for item in await room.repository.attempts(zombie.run_id)] == [Outcome.LOST]
    await write(room, successor)
    assert len(await room.repository.attempts(zombie.run_id)) == 2


async def test_one_output_is_accepted_per_run_and_stage(room: Room) -> None:
    await room.submit()
    claim = await room.held()
    await room.repository.checkpoint(claim, attempts=[attempt()], outputs=[output()], next_stage_id="extract")
    with pytest.raises(Exception, match=r"(?i)unique"):
        await room.repository.checkpoint(
            claim, attempts=[attempt(try_number=2)], outputs=[output()], next_stage_id="deliver"
        )
    assert (await room.repository.get(claim.run_id)).stage_id == "extract"
    assert len(await room.repository.attempts(claim.run_id)) == 1


async def test_a_parked_run_has_not_ended(room: Room) -> None:
    await room.submit()
    claim = await room.held()
    why = Why(Code.PARKED_REVIEW, "A person has to look.", facts={"reason": "total"})
    await room.repository.end(claim, status=RunStatus.PARKED, why=why, stage_id="deliver")
    run = await room.repository.get(claim.run_id)
    assert (run.status, run.ended_at, run.stage_id, run.why) == (RunStatus.PARKED, None, "deliver", why.as_json())
    assert (await room.repository.counts()).parked_by_code == {"parked.review": 1}


async def test_a_run_on_hold_that_was_repeated_as_a_new_one_waits_for_nobody(room: Room) -> None:
    await room.submit()
    claim = await room.held()
    why = Why(Code.PARKED_NOTHING_AVAILABLE, "Nobody could do it.")
    await room.repository.end(claim, status=RunStatus.PARKED, why=why, stage_id="extract")
    await room.repository.add_run(claim.document_id, "olga", retry_of=claim.run_id)
    assert (await room.repository.counts()).parked_by_code == {}


async def test_a_checkpoint_says_that_a_person_wants_it_cancelled(room: Room) -> None:
    await room.submit()
    claim = await room.held()
    assert (await room.repository.cancel(claim.run_id)).status is RunStatus.RUNNING
    assert await room.repository.checkpoint(claim, attempts=[], outputs=[], next_stage_id="extract")


async def test_a_heartbeat_renews_what_is_held_and_says_what_is_lost_or_cancelled(room: Room) -> None:
    for text in "abc":
        await room.submit(text)
    kept, lost, cancelled = [await room.held() for _ in range(3)]
    await room.lose(lost)
    await room.repository.cancel(cancelled.run_id)
    await room.expire(kept)
    beat = await room.repository.heartbeat("wrk_1", [kept, lost, cancelled], LEASE_S)
    assert beat.lost == {(lost.run_id, lost.token)}
    assert beat.cancel_requested == {cancelled.run_id}
    assert await room.repository.take_from_lost_workers() == []


async def test_a_heartbeat_does_not_renew_runs_that_the_worker_has_forgotten(room: Room) -> None:
    await room.submit("a")
    await room.submit("b")
    known, forgotten = await room.held(), await room.held()
    await room.expire(known)
    await room.expire(forgotten)
    await room.repository.heartbeat("wrk_1", [known], LEASE_S)
    assert [run.run_id for run in await room.repository.take_from_lost_workers()] == [forgotten.run_id]


async def test_a_heartbeat_writes_at_which_stage_each_run_is(room: Room) -> None:
    for text in "abc":
        await room.submit(text)
    reading, beginning, extracting = [await room.held() for _ in range(3)]
    await room.repository.checkpoint(extracting, attempts=[], outputs=[], next_stage_id="extract")
    reading.at_stage_id = "read"

    await room.repository.heartbeat("wrk_1", [reading, beginning, extracting], LEASE_S)

    blocking = await room.repository.blocking(room.database.narrow, 10)
    assert {run.id: run.stage_id for run in blocking} == {
        reading.run_id: "read",
        beginning.run_id: None,  # no stage of it has begun
        extracting.run_id: "extract",
    }


# --- lost workers ---


async def test_a_lost_run_goes_on_at_its_checkpoint_under_its_version(room: Room) -> None:
    await room.submit()
    first = await room.held("wrk_1")
    await room.repository.checkpoint(first, attempts=[attempt()], outputs=[output()], next_stage_id="extract")
    await room.configure(2)
    await room.activate(2)
    await room.lose(first)
    second = await room.held("wrk_2")
    assert (second.stage_id, second.losses, second.configuration_version) == ("extract", 1, 1)
    assert second.running_us > 0
    records = [
        (item.stage_id, item.outcome, item.fencing_token) for item in await room.repository.attempts(first.run_id)
    ]
    assert records == [("read", Outcome.SUCCEEDED, 1), ("extract", Outcome.LOST, 1)]


async def test_a_document_that_kills_its_workers_is_parked_after_the_third(room: Room) -> None:
    poison = await room.submit("poison")
    for _ in range(MAX_LOSSES):
        await room.lose(await room.held())
    run = await room.repository.get(poison.run.id)
    assert (run.status, run.losses, run.why_code) == (RunStatus.PARKED, MAX_LOSSES, "parked.worker_lost")
    assert [item.outcome for item in await room.repository.attempts(run.id)] == [Outcome.LOST] * MAX_LOSSES
    other = await room.submit("other")
    assert (await room.held()).run_id == other.run.id


async def test_an_engine_fault_counts_as_a_loss_but_a_shutdown_does_not(room: Room) -> None:
    await room.submit()
    assert await room.repository.hand_back(await room.held()) is RunStatus.QUEUED
    for _ in range(MAX_LOSSES - 1):
        assert await room.repository.hand_back(await room.held(), loss=True) is RunStatus.QUEUED
    assert await room.repository.hand_back(await room.held(), loss=True) is RunStatus.PARKED


async def test_a_lost_run_that_was_to_be_cancelled_is_cancelled(room: Room) -> None:
    await room.submit()
    claim = await room.held()
    await room.repository.cancel(claim.run_id)
    await room.lose(claim)
    run = await room.repository.get(claim.run_id)
    assert run.status is RunStatus.CANCELLED
    assert run.ended_at is not None


async def test_many_sweepers_take_a_lost_run_once(room: Room) -> None:
    await room.submit()
    claim = await room.held()
    await room.expire(claim)
    taken = await asyncio.gather(*(room.repository.take_from_lost_workers() for _ in range(10)))
    assert sum(len(runs) for runs in taken) == 1
    assert (await room.repository.get(claim.run_id)).losses == 1
    assert len(await room.repository.attempts(claim.run_id)) == 1


async def test_a_lease_of_another_boot_has_run_out(room: Room) -> None:
    if room.database.dialect == "postgresql":
        pytest.skip("leases are measured with the server's clock there")
    await room.submit()
    claim = await room.held()
    await room.database.narrow.run(Statement("UPDATE runs SET lease_boot_id = 'before'"))
    assert await room.repository.count_running(room.database.narrow) == 0
    assert [run.run_id for run in await room.repository.take_from_lost_workers()] == [claim.run_id]


# --- running work, as drains see it ---


async def test_only_a_live_lease_holds_a_drain_back(room: Room) -> None:
    for text in "abc":
        await room.submit(text)
    running, dead = await room.held(), await room.held()
    await room.expire(dead)
    assert await room.repository.count_running(room.database.narrow) == 1
    blocking = await room.repository.blocking(room.database.narrow, 10)
    assert [(run.id, run.document_name, run.configuration_version) for run in blocking] == [
        (running.run_id, "a.txt", 1)
    ]
    assert blocking[0].age_s >= 0
    assert await room.repository.count_held(room.database.narrow) == 1


async def test_a_draining_switch_and_a_first_claim_exclude_each_other(room: Room) -> None:
    """Either the claim is counted, or it is refused: committed hold, then count, in any interleaving with a claim."""
    for number in range(30):
        await room.submit(str(number))

    async def drain() -> int:
        await room.hold()
        return await room.repository.count_running(room.database.narrow)

    for _ in range(15):
        claim, running = await asyncio.gather(room.claim(), drain())
        if claim is not None:
            await room.repository.end(claim, status=RunStatus.SUCCEEDED)
        assert await room.repository.count_running(room.database.narrow) == 0
        assert await room.claim() is None
        assert running in (0, 1)
        await room.release_hold()


async def test_it_knows_whether_an_activation_is_pending(room: Room) -> None:
    assert not await room.repository.is_activation_pending()
    await room.database.narrow.run(
        Statement(
            """INSERT INTO activations (id, pipeline, configuration_id, kind, mode, state, max_wait_s, on_expiry,
            options, actor, message, requested_at, switch_now)
            VALUES ('act_1', 'tiny', 'cfg_1', 'activate', 'drain', 'queued', 10, 'switch', '{}', 'x', '', 0, FALSE)"""
        )
    )
    assert await room.repository.is_activation_pending()


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
