"""An activation waits for every live worker, and what workers see decides which modules are available. DESIGN 4."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import insert, update

from factories.core import DEFAULTS, GONE, OPERATOR, Clock, Core
from switchgear.core.configuration_models import Worker
from switchgear.core.configuration_service import ConfigurationInvalid
from switchgear.domain.activation import State
from switchgear.domain.configuration import Content, Selection, Status
from switchgear.domain.errors import Code, Why

pytestmark = pytest.mark.anyio


async def test_a_worker_that_refuses_rejects_the_activation(core: Core) -> None:
    core.refusal = Why(Code.ACTIVATION_WORKER_REFUSED, "The model is not there.")
    made = await core.make(read="read-b")
    activation = await core.switch_to(made.id)
    assert activation.state is State.REJECTED
    assert activation.why is not None
    assert activation.why["code"] == Code.ACTIVATION_WORKER_REFUSED
    assert "The model is not there." in activation.why["summary"]
    assert await core.statuses() == {1: "active", 2: "validated"}


async def test_a_plan_that_breaks_rejects_the_activation_with_a_reason(core: Core) -> None:
    core.refusal = RuntimeError("boom")
    made = await core.make(read="read-b")
    activation = await core.switch_to(made.id)
    assert activation.state is State.REJECTED
    assert "boom" not in str(activation.why)


async def heartbeat(core: Core, worker_id: str, queues: Sequence[str] = (), **unavailable: dict[str, str]) -> None:
    async with core.units() as unit:
        await unit.session.execute(
            insert(Worker).values(
                id=worker_id,
                host="h",
                process_id=1,
                boot_id="",
                started_at=core.clock(),
                heartbeat_at=core.clock(),
                unavailable={name.replace("_", "-"): lack for name, lack in unavailable.items()},
                isolation={},
                queues=list(queues),
            )
        )
        await unit.commit()


async def test_every_live_worker_is_waited_for_and_a_missing_one_rejects(core: Core, clock: Clock) -> None:
    await heartbeat(core, "server")
    await heartbeat(core, "wrk_other")
    made = await core.make(read="read-b")
    activation = await core.switch_to(made.id)
    assert activation.state is State.WARMING
    assert [item["worker_id"] for item in activation.acknowledgements] == ["server"]
    async with core.units() as unit:
        await unit.activations.acknowledge(activation.id, "wrk_other", "ready", None, clock())
        await unit.commit()
    await core.settle()
    assert (await core.queue.get(activation.id)).activation.state is State.APPLIED


async def test_a_live_worker_that_does_not_answer_rejects_in_time(core: Core, clock: Clock) -> None:
    made = await core.make(read="read-b")
    clock.advance(50)
    await heartbeat(core, "wrk_silent")
    queued = await core.service.activate(made.id, by=OPERATOR, request=DEFAULTS)
    await core.settle()
    assert core.warmed == []  # it is no worker, and there is one
    late = core.clock() + 61_000_000
    async with core.units() as unit:
        await unit.session.execute(update(Worker).values(heartbeat_at=late))
        await unit.commit()
    clock.advance(61)
    await core.settle()
    ended = (await core.queue.get(queued.id)).activation
    assert ended.state is State.REJECTED
    assert ended.why is not None
    assert ended.why["code"] == Code.ACTIVATION_WORKER_MISSING
    assert ended.why["blocking"] == ["wrk_silent"]


REPORT = {"code": "module.missing_binary", "message": "Program foo is missing.", "fix": "apt install foo"}


async def test_a_module_is_available_when_one_live_worker_can_use_it(core: Core) -> None:
    core.registry.change("read-b", lack=GONE)
    with pytest.raises(ConfigurationInvalid):
        await core.make(read="read-b")  # without live workers, what this process sees counts
    await heartbeat(core, "wrk_good")
    await heartbeat(core, "wrk_bad", read_b=REPORT)
    assert (await core.make(read="read-b")).status is Status.VALIDATED


async def test_a_module_is_unavailable_when_no_live_worker_can_use_it(core: Core, clock: Clock) -> None:
    made = await core.make(read="read-b")
    await heartbeat(core, "wrk_one", read_b=REPORT)
    await heartbeat(core, "wrk_two", read_b=REPORT)
    with pytest.raises(ConfigurationInvalid, match="No worker can use it") as refused:
        await core.service.activate(made.id, by=OPERATOR, request=DEFAULTS)
    assert refused.value.findings.errors[0].hint == "apt install foo"
    clock.advance(21)  # they are not heard of any more
    assert (await core.switch_to(made.id)).state is State.APPLIED


async def test_whoever_makes_a_version_is_told_of_a_queue_that_no_live_worker_serves(core: Core, clock: Clock) -> None:
    async def told(queue: str) -> list[str]:
        sent = Content((Selection("read", "read-a", limits={"queue": queue}),))
        found = await core.service.validate_content(sent, base="active")
        made = await core.service.create(sent, base="active", partial=True, by=OPERATOR)
        assert [each.message for each in made.findings.warnings] == [each.message for each in found.warnings]
        return [each.message for each in found.warnings]

    assert await told("ocr") == []  # nobody is there to say
    await heartbeat(core, "server", ["default"])
    assert await told("ocr") == ["No live worker serves the queue ocr: runs wait there."]
    await heartbeat(core, "wrk_other", ["default", "ocr"])
    assert await told("ocr") == []
    assert len(await told("other")) == 1
    await heartbeat(core, "wrk_all")
    assert await told("other") == []
    clock.advance(21)  # they are not heard of any more
    await heartbeat(core, "wrk_late", ["default"])
    assert len(await told("ocr")) == 1


async def test_a_workers_own_look_is_newer_than_its_row(core: Core) -> None:
    await heartbeat(core, "server", read_b=REPORT)
    assert (await core.make(read="read-b")).status is Status.VALIDATED
    await heartbeat(core, "wrk_other", read_b=REPORT)
    assert (await core.make(read="read-b", deliver="deliver-a")).status is Status.VALIDATED


async def test_another_process_finishes_what_a_dead_one_accepted(core: Core, clock: Clock) -> None:
    made = await core.make(read="read-b")
    queued = await core.service.activate(made.id, by=OPERATOR, request=DEFAULTS)
    other = Core(core.database, clock, worker_id="second", registry=core.registry)
    await other.settle()
    assert (await core.queue.get(queued.id)).activation.state is State.APPLIED
    assert other.warmed == ["v2"]
    assert core.warmed == []
