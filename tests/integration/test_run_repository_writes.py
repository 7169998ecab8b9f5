"""What a worker writes of its run is recorded once under its version, and nothing of a worker that lost it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from factories.runs import Room, attempt, output
from switchgear.core.database import Refused
from switchgear.domain.errors import Code, Why
from switchgear.domain.run import Outcome, RunStatus
from switchgear.ingestion.run_repository import ClaimedRun, DeliveryRow

pytestmark = pytest.mark.anyio


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
