"""An activation from request to switch, on both databases (T017, DESIGN 4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from factories.core import DEFAULTS, GONE, OPERATOR, Clock, Core, admitted, runs
from switchgear.core.configuration_service import PipelineMismatch
from switchgear.core.database import Database
from switchgear.domain.activation import Kind, Mode, NotPending, OnExpiry, State
from switchgear.domain.configuration import Status
from switchgear.domain.errors import Code, NotFound

pytestmark = pytest.mark.anyio


async def test_the_first_start_makes_version_1_active(core: Core) -> None:
    active = await core.service.active()
    assert (active.version, active.status, active.created_by) == (1, Status.ACTIVE, "system")
    assert (await admitted(core)).active_configuration_id == active.id
    assert await core.service.first_start() is None
    [activated] = await core.audited("configuration.activated")
    assert activated.actor == "system"
    assert activated.after["kind"] == Kind.FIRST_START


async def test_without_auto_configure_nothing_is_active(database_url: str, clock: Clock) -> None:
    database = Database(database_url, clock=clock)
    await database.start()
    core = Core(database, clock)
    assert await core.service.start(auto_configure=False) == []
    with pytest.raises(NotFound, match="No configuration is active"):
        await core.service.active()
    await database.close()


async def test_a_database_of_another_pipeline_is_refused(core: Core) -> None:
    core.registry.pipeline = replace(core.registry.pipeline, name="other")
    with pytest.raises(PipelineMismatch, match="belongs to pipeline threes"):
        await core.service.first_start()


async def test_a_drain_without_running_work_is_applied(core: Core) -> None:
    before = await core.service.active()
    made = await core.make(read="read-b")
    activation = await core.switch_to(made.id, message="faster")
    assert activation.state is State.APPLIED
    assert await core.statuses() == {1: "superseded", 2: "active"}
    assert core.warmed == ["v2"]
    row = await admitted(core)
    assert (row.active_configuration_id, row.generation, row.held_by) == (made.id, 2, None)
    assert [item.configuration_id for item in core.applied][-1] == made.id
    [activated] = [e for e in await core.audited("configuration.activated") if e.actor == "olga"]
    assert (activated.message, activated.before) == ("faster", {"active": "v1"})
    [left] = await core.audited("configuration.superseded")
    assert left.subjects[0] == before.id


async def test_a_drain_waits_for_running_work_and_holds_first_claims(core: Core) -> None:
    runs(core).running, runs(core).held = 2, 3
    made = await core.make(read="read-b")
    activation = await core.switch_to(made.id)
    assert activation.state is State.DRAINING
    row = await admitted(core)
    assert row.held_by == activation.id
    assert row.held_until == core.clock() + 300_000_000
    view = await core.queue.get(activation.id)
    assert (view.runs_remaining, view.runs_held, len(view.blocking)) == (2, 3, 2)
    runs(core).running = 0
    applied = await core.queue.advance()
    assert applied is not None
    assert applied.state is State.APPLIED
    assert (await admitted(core)).held_by is None


async def test_rolling_switches_although_work_is_running(core: Core) -> None:
    runs(core).running = 2
    made = await core.make(read="read-b")
    activation = await core.switch_to(made.id, mode=Mode.ROLLING)
    assert activation.state is State.APPLIED
    assert activation.draining_at is None


@pytest.mark.parametrize(
    ("on_expiry", "state", "active"), [(OnExpiry.SWITCH, State.APPLIED, 2), (OnExpiry.CANCEL, State.EXPIRED, 1)]
)
async def test_a_drain_ends_at_max_wait(
    core: Core, clock: Clock, on_expiry: OnExpiry, state: State, active: int
) -> None:
    runs(core).running = 1
    made = await core.make(read="read-b")
    activation = await core.switch_to(made.id, max_wait_s=5, on_expiry=on_expiry)
    clock.advance(4.9)
    still = await core.queue.advance()
    assert still is not None
    assert still.state is State.DRAINING
    clock.advance(0.1)
    await core.queue.advance()
    ended = (await core.queue.get(activation.id)).activation
    assert ended.state is state
    assert (await core.service.active()).version == active
    assert (await admitted(core)).held_by is None
    if state is State.EXPIRED:
        assert ended.why is not None
        assert ended.why["code"] == Code.ACTIVATION_EXPIRED


async def test_switch_now_waits_no_longer(core: Core) -> None:
    runs(core).running = 1
    made = await core.make(read="read-b")
    activation = await core.switch_to(made.id)
    switched = await core.queue.switch(activation.id, OPERATOR, "now")
    assert switched.state is State.APPLIED
    assert len(await core.audited("activation.switch_requested")) == 1


async def test_cancel_ends_a_drain_and_admits_work_again(core: Core) -> None:
    runs(core).running = 1
    made = await core.make(read="read-b")
    activation = await core.switch_to(made.id)
    cancelled = await core.queue.cancel(activation.id, OPERATOR, "not today")
    assert cancelled.state is State.CANCELLED
    assert (await admitted(core)).held_by is None
    assert (await core.service.active()).version == 1
    with pytest.raises(NotPending, match="cancelled already"):
        await core.queue.cancel(activation.id, OPERATOR)
    assert [event.result for event in await core.audited("activation.cancelled")] == ["done", "refused"]


async def test_a_module_that_vanishes_between_accept_and_switch_rejects(core: Core) -> None:
    runs(core).running = 1
    made = await core.make(read="read-b")
    activation = await core.switch_to(made.id)
    core.registry.change("read-b", lack=GONE)
    runs(core).running = 0
    await core.queue.advance()
    ended = (await core.queue.get(activation.id)).activation
    assert ended.state is State.REJECTED
    assert ended.why is not None
    assert ended.why["code"] == Code.ACTIVATION_VALIDATION
    assert "Program foo is missing." in ended.why["summary"]
    assert await core.statuses() == {1: "active", 2: "validated"}
    assert (await admitted(core)).held_by is None


async def test_a_covered_lack_that_comes_during_a_drain_says_the_same(core: Core) -> None:
    runs(core).running = 1
    made = await core.make(extract="extract-b", chain=("extract-a",))
    activation = await core.switch_to(made.id)
    core.registry.change("extract-b", lack=GONE)
    runs(core).running = 0
    await core.queue.advance()
    why = (await core.queue.get(activation.id)).activation.why
    assert why is not None
    assert "accept_degraded" in why["summary"]
    assert why["next_actions"][0]["body"] == {"accept_degraded": True}


async def test_a_snapshot_older_than_ten_seconds_decides_about_nothing(core: Core, clock: Clock) -> None:
    runs(core).running = 1
    made = await core.make(read="read-b")
    activation = await core.switch_to(made.id)
    runs(core).running = 0
    slow = {"times": 1}

    async def probe_takes_long() -> None:
        if slow["times"]:
            slow["times"] = 0
            core.registry.clock = lambda: clock() - 11_000_000
        else:
            core.registry.clock = clock

    core.registry.before_snapshot = probe_takes_long
    seen = core.registry.snapshots
    await core.queue.advance()
    assert core.registry.snapshots == seen + 2
    assert (await core.queue.get(activation.id)).activation.state is State.APPLIED


async def test_the_ticker_takes_an_activation_to_its_end(core: Core) -> None:
    await core.queue.start()
    made = await core.make(read="read-b")
    queued = await core.service.activate(made.id, by=OPERATOR, request=DEFAULTS)
    view = await core.queue.wait(queued.id, 10)
    assert view.activation.state is State.APPLIED


async def test_a_stale_lock_is_relocked_at_activation(core: Core) -> None:
    made = await core.make(read="read-b")
    core.registry.change("read-b", version="1.1.0", code_digest="other code")
    activation = await core.switch_to(made.id)
    assert activation.state is State.APPLIED
    active = await core.service.active()
    assert (active.version, active.digest) == (3, made.digest)
    assert active.lock["read-b"].version == "1.1.0"
    assert await core.statuses() == {1: "superseded", 2: "validated", 3: "active"}


async def test_the_active_version_is_relocked_after_an_upgrade(core: Core) -> None:
    core.registry.change("read-a", version="1.1.0", code_digest="other code")
    await core.service.look_at_modules()
    await core.settle()
    active = await core.service.active()
    assert (active.version, active.created_by) == (2, "system")
    assert active.lock["read-a"].version == "1.1.0"
    assert (await core.service.relock_active()) is None
