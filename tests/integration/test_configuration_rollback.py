"""History and rollback, on both databases (T025, DESIGN 4)."""

from __future__ import annotations

import pytest

from factories.core import DEFAULTS, GONE, OPERATOR, Clock, Core, FakeRuns, content, running_core
from switchgear.core.configuration_service import AlreadyActive, ConfigurationInvalid, DigestBlocked
from switchgear.domain.activation import ActivationRequest, Kind, State
from switchgear.domain.configuration import IllegalTransition
from switchgear.domain.errors import Code, NotFound

pytestmark = pytest.mark.anyio


async def test_rollback_restores_selections_settings_limits_and_policies(core: Core) -> None:
    before = await core.service.active()
    made = await core.make(content(read=("read-b", {"depth": 3}), extract="extract-c", chain=(), then="fail"))
    await core.switch_to(made.id)
    activation = await core.go_back(message="it read worse")
    assert (activation.kind, activation.state, activation.max_wait_s) == (Kind.ROLLBACK, State.APPLIED, 10.0)
    active = await core.service.active()
    assert (active.id, active.content, active.digest) == (before.id, before.content, before.digest)
    assert await core.statuses() == {1: "active", 2: "rolled_back"}
    [left] = await core.audited("configuration.rolled_back")
    assert (left.actor, left.message) == ("olga", "it read worse")
    assert set(left.subjects) == {made.id, before.id, activation.id}


async def test_the_content_that_was_left_is_blocked_until_somebody_says_so(core: Core) -> None:
    made = await core.make(read="read-b")
    await core.switch_to(made.id)
    await core.go_back()
    with pytest.raises(DigestBlocked, match="unblock"):
        await core.service.activate(made.id, by=OPERATOR, request=DEFAULTS)
    again = await core.switch_to(made.id, unblock=True)
    assert again.state is State.APPLIED
    assert len(await core.audited("digest.blocked")) == 1
    assert len(await core.audited("digest.unblocked")) == 1
    await core.switch_to((await core.make(read="read-a", deliver="deliver-a")).id)
    assert (await core.switch_to(made.id, accept_base_moved=True)).state is State.APPLIED  # it is not blocked any more


async def test_going_back_to_blocked_content_lifts_the_block(core: Core) -> None:
    made = await core.make(read="read-b")
    await core.switch_to(made.id)
    await core.go_back()
    assert (await core.go_back(made.id)).state is State.APPLIED
    async with core.units(write=False) as unit:
        assert not await unit.configurations.is_blocked(made.digest)
        assert await unit.configurations.is_blocked((await unit.configurations.get("v1")).digest)


async def test_previous_skips_versions_that_a_rollback_left(core: Core) -> None:
    second, third = await core.make(read="read-b"), await core.make(extract="extract-c")
    await core.switch_to(second.id)
    await core.switch_to(third.id)
    assert (await core.service.get("previous")).version == 2
    await core.go_back()
    assert (await core.service.get("previous")).version == 1  # version 3 was left by a rollback
    await core.go_back()
    with pytest.raises(NotFound, match=r"No earlier version .* `switchgear config history`") as refused:
        await core.go_back()
    assert "v1" not in str(refused.value)  # which is the active one


async def test_previous_is_what_was_active_before_not_the_highest_number(core: Core) -> None:
    second, third = await core.make(read="read-b"), await core.make(extract="extract-c")
    await core.switch_to(second.id)
    assert (await core.service.get("previous")).version == 1
    await core.go_back()
    await core.switch_to(third.id)
    assert (await core.service.get("previous")).version == 1  # version 2 was left by the rollback
    await core.switch_to("v2", unblock=True)
    assert (await core.service.get("previous")).version == 3
    assert isinstance(core.clock, Clock)
    core.clock.advance(1)
    await core.switch_to("v1")
    assert (await core.service.get("previous")).version == 2  # version 3 was left before it
    await core.go_back("v2")
    assert (await core.service.get("previous")).version == 3  # version 1 was left by the rollback


async def test_a_rollback_does_not_bring_back_what_somebody_had_left_by_hand(core: Core) -> None:
    bad, other = await core.make(read="read-b"), await core.make(extract="extract-c")
    assert isinstance(core.clock, Clock)
    for version in (bad.id, "v1", other.id):
        core.clock.advance(1)
        await core.switch_to(version, accept_base_moved=True)

    await core.go_back()

    assert (await core.service.active()).version == 1


async def test_previous_is_not_another_version_with_the_content_that_a_rollback_left(core: Core) -> None:
    await core.switch_to((await core.make(read="read-b")).id)
    core.registry.change("read-b", version="2.0.0", code_digest="other")
    await core.service.look_at_modules()
    await core.settle()
    assert await core.statuses() == {1: "superseded", 2: "superseded", 3: "active"}  # 3 is the relocked 2
    await core.go_back()
    assert (await core.service.active()).version == 1
    with pytest.raises(NotFound, match="No earlier version"):
        await core.go_back()


async def test_previous_has_another_digest_than_the_active_version(core: Core) -> None:
    second = await core.make(read="read-b")
    await core.switch_to(second.id)
    core.registry.change("read-b", version="2.0.0", code_digest="other")
    await core.service.look_at_modules()
    await core.settle()
    assert (await core.service.active()).version == 3
    assert (await core.service.active()).digest == second.digest
    assert (await core.service.get("previous")).version == 1


async def test_what_was_never_active_cannot_be_gone_back_to(core: Core) -> None:
    made = await core.make(read="read-b")
    with pytest.raises(IllegalTransition, match="never active"):
        await core.go_back(made.id)


async def test_going_back_to_the_active_version_says_that_another_waits_to_replace_it(core: Core) -> None:
    assert isinstance(core.runs, FakeRuns)
    second = await core.make(read="read-b")
    core.runs.running = 1
    await core.switch_to(second.id)
    with pytest.raises(AlreadyActive, match="v2 waits to replace it"):
        await core.go_back("active")


async def test_a_rollback_replaces_a_pending_activation(core: Core) -> None:
    assert isinstance(core.runs, FakeRuns)
    second, third = await core.make(read="read-b"), await core.make(extract="extract-c")
    await core.switch_to(second.id)
    core.runs.running = 1
    waiting = await core.switch_to(third.id)
    back = await core.service.rollback(by=OPERATOR, request=DEFAULTS)
    old = (await core.queue.get(waiting.id)).activation
    assert old.state is State.CANCELLED
    assert old.why is not None
    assert old.why["facts"]["replaced_by"] == back.id
    core.runs.running = 0
    await core.settle()
    assert await core.statuses() == {1: "active", 2: "rolled_back", 3: "validated"}


async def test_a_rollback_to_a_covered_unavailable_module_is_a_warning(core: Core) -> None:
    made = await core.make(extract="extract-c")
    await core.switch_to(made.id)
    core.registry.change("extract-a", lack=GONE)
    assert (await core.go_back()).state is State.APPLIED


async def test_a_refused_rollback_names_the_install_line_and_the_version_that_would_be_accepted(core: Core) -> None:
    second, third = await core.make(read="read-b"), await core.make(extract="extract-c")
    await core.switch_to(second.id)
    await core.switch_to(third.id)
    core.registry.change("read-b", lack=GONE)
    with pytest.raises(ConfigurationInvalid) as refused:
        await core.service.rollback(second.id, by=OPERATOR, request=DEFAULTS)
    assert "v1 would be accepted" in refused.value.message
    assert refused.value.findings.errors[0].hint == "apt install foo Or go back to v1."
    core.registry.change("read-a", lack=GONE)
    with pytest.raises(ConfigurationInvalid, match="No earlier version would be accepted either"):
        await core.service.rollback(second.id, by=OPERATOR, request=DEFAULTS)
    assert [event.after["code"] for event in await core.audited("activation.refused")] == [
        Code.CONFIGURATION_INVALID,
        Code.CONFIGURATION_INVALID,
    ]


async def test_everything_survives_a_restart(database_url: str) -> None:
    clock = Clock()
    async with running_core(database_url, clock) as core:
        made = await core.make(content(read=("read-b", {"depth": 3})))
        await core.switch_to(made.id)
        await core.go_back()
        expected = await core.service.list(10), await core.queue.list(10)
    async with running_core(database_url, clock) as core:
        assert (await core.service.list(10), await core.queue.list(10)) == expected
        with pytest.raises(DigestBlocked):
            await core.service.activate(made.id, by=OPERATOR, request=ActivationRequest())
        async with core.units(write=False) as unit:
            assert (await unit.audit.verify()).ok
