"""What may not become active is refused when it is asked for, with the reason and what would allow it. DESIGN 4."""

from __future__ import annotations

import pytest

from factories.core import DEFAULTS, GONE, OPERATOR, Core, admitted, content, runs
from switchgear.core.configuration_service import (
    ActivationPending,
    AlreadyActive,
    BaseMoved,
    ConfigurationInvalid,
    active_tag,
)
from switchgear.domain.activation import ActivationRequest, State
from switchgear.domain.configuration import IllegalTransition
from switchgear.domain.errors import Code, InvalidRequest, PreconditionFailed

pytestmark = pytest.mark.anyio


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
