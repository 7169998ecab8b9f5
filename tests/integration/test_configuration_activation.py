"""An activation from request to switch, on both databases (T017, DESIGN 4)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import insert, update

from factories.core import DEFAULTS, GONE, OPERATOR, Clock, Core, FakeRuns, content
from switchgear.core import admission
from switchgear.core.configuration_models import Worker
from switchgear.core.configuration_service import (
    ActivationPending,
    AlreadyActive,
    BaseMoved,
    ConfigurationInvalid,
    PipelineMismatch,
    active_tag,
)
from switchgear.core.database import Database
from switchgear.domain.activation import ActivationRequest, Kind, Mode, NotPending, OnExpiry, State
from switchgear.domain.configuration import IllegalTransition, Status
from switchgear.domain.errors import Code, InvalidRequest, NotFound, PreconditionFailed, Why

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def core(database_url: str, clock: Clock) -> AsyncIterator[Core]:
    database = Database(database_url, clock=clock)
    await database.start()
    core = Core(database, clock)
    await core.service.start()
    yield core
    await core.queue.stop()
    await database.close()


def runs(core: Core) -> FakeRuns:
    assert isinstance(core.runs, FakeRuns)
    return core.runs


async def admitted(core: Core) -> admission.AdmissionState:
    return await admission.read(core.database.narrow, "threes")


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


async def heartbeat(core: Core, worker_id: str, **unavailable: dict[str, str]) -> None:
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


async def test_a_workers_own_look_is_newer_than_its_row(core: Core) -> None:
    await heartbeat(core, "server", read_b=REPORT)
    assert (await core.make(read="read-b")).status is Status.VALIDATED
    await heartbeat(core, "wrk_other", read_b=REPORT)
    assert (await core.make(read="read-b", deliver="deliver-a")).status is Status.VALIDATED


async def test_a_second_activation_is_refused_or_replaces(core: Core) -> None:
    runs(core).running = 1
    first = await core.make(read="read-b")
    second = await core.make(extract="extract-c")
    waiting = await core.switch_to(first.id)
    with pytest.raises(ActivationPending) as refused:
        await core.service.activate(second.id, by=OPERATOR, request=DEFAULTS)
    assert refused.value.fields["activation_id"] == waiting.id
    new = await core.switch_to(second.id, replace_pending=True)
    assert new.state is State.DRAINING
    old = (await core.queue.get(waiting.id)).activation
    assert old.state is State.CANCELLED
    assert old.why is not None
    assert old.why["code"] == Code.ACTIVATION_REPLACED
    [replaced] = await core.audited("activation.replaced")
    assert set(replaced.subjects) == {waiting.id, new.id}
    assert (await admitted(core)).held_by == new.id
    [refusal] = await core.audited("activation.refused")
    assert (refusal.result, refusal.after["code"]) == ("refused", Code.ACTIVATION_PENDING)


async def test_the_active_version_a_draft_and_a_rejected_one_cannot_be_activated(core: Core) -> None:
    with pytest.raises(AlreadyActive):
        await core.service.activate("active", by=OPERATOR, request=DEFAULTS)
    created = await core.service.create(content(read="nobody"), by=OPERATOR, draft=True)
    with pytest.raises(IllegalTransition, match="draft"):
        await core.service.activate(created.configuration.id, by=OPERATOR, request=DEFAULTS)
    await core.service.validate_stored(created.configuration.id, by=OPERATOR)
    with pytest.raises(IllegalTransition, match="Allowed now: nothing"):
        await core.service.activate(created.configuration.id, by=OPERATOR, request=DEFAULTS)


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


async def test_a_covered_lack_says_how_to_activate_all_the_same(core: Core) -> None:
    made = await core.make(extract="extract-b", chain=("extract-a",))
    core.registry.change("extract-b", lack=GONE)
    with pytest.raises(ConfigurationInvalid, match="accept_degraded") as refused:
        await core.service.activate(made.id, by=OPERATOR, request=DEFAULTS)
    (action,) = refused.value.fields["next_actions"]
    assert (action["path"], action["body"]) == (
        f"/api/v1/configurations/{made.id}/activate",
        {"accept_degraded": True},
    )
    assert (await core.switch_to(made.id, accept_degraded=True)).state is State.APPLIED


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


async def test_if_match_names_the_active_version_and_its_generation(core: Core) -> None:
    first = await core.service.active()
    made = await core.make(read="read-b")
    tag = active_tag(first, (await admitted(core)).generation)
    await core.switch_to(made.id)
    await core.go_back("v1")
    with pytest.raises(PreconditionFailed):
        await core.service.activate(made.id, by=OPERATOR, request=ActivationRequest(unblock=True), if_match=f'"{tag}"')
    now = active_tag(first, (await admitted(core)).generation)
    accepted = await core.service.activate(
        made.id, by=OPERATOR, request=ActivationRequest(unblock=True), if_match=f'W/"{now}.abc", "x"'
    )
    assert accepted.state is State.QUEUED


async def test_a_version_from_an_older_base_names_what_it_would_undo(core: Core) -> None:
    base = await core.service.active()
    mine = await core.service.create(content(deliver="deliver-a"), base=base.id, partial=False, by=OPERATOR)
    other = await core.service.create(content(read="read-b"), base=base.id, by=OPERATOR)
    await core.switch_to(other.configuration.id)
    with pytest.raises(BaseMoved) as moved:
        await core.service.activate(mine.configuration.id, by=OPERATOR, request=DEFAULTS)
    assert [change["path"] for change in moved.value.fields["changes"]] == ["/module_id"]
    assert "read-a is replaced by read-b" in moved.value.message
    accepted = await core.switch_to(mine.configuration.id, accept_base_moved=True)
    assert accepted.state is State.APPLIED


async def test_a_version_made_from_what_a_rollback_left_names_what_it_would_bring_back(core: Core) -> None:
    """Its base has a higher number than the active version, and yet it would undo the rollback without a word."""
    await core.switch_to((await core.make(read="read-b")).id)
    made = await core.service.create(content(read="read-b", deliver="deliver-a"), base="active", by=OPERATOR)
    await core.go_back()
    with pytest.raises(BaseMoved) as moved:
        await core.service.activate(made.configuration.id, by=OPERATOR, request=DEFAULTS)
    assert "v3 was made from v2, but v1 is active now" in moved.value.message
    assert "read-b is replaced by read-a" in moved.value.message
    assert (await core.switch_to("v3", accept_base_moved=True)).state is State.APPLIED


async def test_a_version_made_from_what_a_rollback_left_that_undoes_nothing_is_admitted(core: Core) -> None:
    await core.switch_to((await core.make(read="read-b")).id)
    made = await core.service.create(content(read="read-a", deliver="deliver-a"), base="active", by=OPERATOR)
    await core.go_back()
    assert (await core.switch_to(made.configuration.id)).state is State.APPLIED


async def test_an_invalid_configuration_is_refused_with_every_finding(core: Core) -> None:
    made = await core.make(read="read-b", then=None, chain=())
    core.registry.change("read-b", lack=GONE)
    core.registry.change("extract-a", lack=GONE)
    with pytest.raises(ConfigurationInvalid) as refused:
        await core.service.activate(made.id, by=OPERATOR, request=DEFAULTS)
    assert [item["pointer"] for item in refused.value.fields["errors"]] == [
        "/selections/0/module_id",
        "/selections/1/module_id",
    ]
    assert not refused.value.fields.get("next_actions")  # no word would help
    assert await core.queue.pending() is None


@pytest.mark.parametrize("seconds", [0, 0.5, 86_401])
async def test_max_wait_is_bounded(core: Core, seconds: float) -> None:
    made = await core.make(read="read-b")
    with pytest.raises(InvalidRequest, match="max_wait_s"):
        await core.service.activate(made.id, by=OPERATOR, request=ActivationRequest(max_wait_s=seconds))


async def test_another_process_finishes_what_a_dead_one_accepted(core: Core, clock: Clock) -> None:
    made = await core.make(read="read-b")
    queued = await core.service.activate(made.id, by=OPERATOR, request=DEFAULTS)
    other = Core(core.database, clock, worker_id="second", registry=core.registry)
    await other.settle()
    assert (await core.queue.get(queued.id)).activation.state is State.APPLIED
    assert other.warmed == ["v2"]
    assert core.warmed == []


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
