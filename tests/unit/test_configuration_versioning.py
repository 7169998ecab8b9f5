"""Versions: numbered without gaps, never changed, equal content once, drafts, bases, differences (T005, DESIGN 4)."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from factories.core import OPERATOR, Core, content, running_core
from switchgear.core.configuration_service import ConfigurationInvalid
from switchgear.core.configuration_service.content import over, portable
from switchgear.domain.configuration import (
    TRANSITIONS,
    Action,
    Content,
    FallbackPolicy,
    FallbackStep,
    IllegalTransition,
    Selection,
    Status,
    canonical_json,
    content_from_json,
    sha256_of,
    transition,
)
from switchgear.domain.errors import InvalidRequest, NotFound
from switchgear.sdk.errors import SwitchgearError

pytestmark = pytest.mark.anyio


@pytest.fixture
async def core(database_url: str) -> AsyncIterator[Core]:
    async with running_core(database_url) as core:
        yield core


@pytest.mark.parametrize(("status", "action"), list(itertools.product(Status, Action)))
def test_the_table_of_a_configurations_life_is_all_there_is(status: Status, action: Action) -> None:
    if (status, action) in TRANSITIONS:
        assert transition(status, action) is TRANSITIONS[(status, action)]
    else:
        with pytest.raises(IllegalTransition, match="Allowed now"):
            transition(status, action)


def test_a_rejected_configuration_cannot_become_active() -> None:
    with pytest.raises(IllegalTransition, match="Allowed now: nothing"):
        transition(Status.REJECTED, Action.ACTIVATE)


@pytest.mark.parametrize(("status", "said"), [(Status.DRAFT, "Validate it first"), (Status.REJECTED, "Make another")])
def test_what_cannot_be_activated_says_what_to_do_instead(status: Status, said: str) -> None:
    with pytest.raises(IllegalTransition, match=said):
        transition(status, Action.ACTIVATE)


async def test_versions_have_numbers_without_gaps(core: Core) -> None:
    for module_id in ("read-b", "read-a"):
        await core.make(read=module_id, deliver="deliver-a")
    with pytest.raises(ConfigurationInvalid):
        await core.make(read="nobody")
    await core.make(deliver="deliver-b")
    assert sorted(await core.statuses()) == [1, 2, 3, 4]


async def test_equal_content_is_stored_once(core: Core) -> None:
    made = await core.service.create(content(read="read-b"), by=OPERATOR)
    shuffled = Content(tuple(reversed(content(read="read-b").selections)), content().policies)
    again = await core.service.create(shuffled, by=OPERATOR, message="other words")
    assert made.created
    assert not again.created
    assert again.configuration == made.configuration


async def test_the_digest_covers_settings_limits_and_policies(core: Core) -> None:
    plain = content()
    variants = [
        content(read=("read-a", {"depth": 2})),
        replace(plain, selections=(replace(plain.selections[0], limits={"retries": 1}), plain.selections[1])),
        content(on=("error",)),
        content(then="fail"),
        replace(plain, policies=(replace(plain.policies[0], budget_s=30),)),
    ]
    digests = [(await core.make(variant)).digest for variant in variants]
    assert len({plain.digest, *digests}) == len(variants) + 1


async def test_the_digest_recomputes_from_what_is_stored(core: Core) -> None:
    awkward = Content(
        (
            Selection("read", "read-a", {"language": "ü\u2028", "depth": 3.0}, {"timeout_s": 20.0, "retries": 2}),
            Selection("extract", "extract-a", {"keys": {"b": "file:x", "a": "env:SWITCHGEAR_SECRET_A"}}),
        ),
        (
            FallbackPolicy(
                "extract",
                (FallbackStep("extract-b", ("timeout", "error", "low_confidence", "error"), {}, 1),),
                None,
                60,
            ),
        ),
    )
    made = await core.make(awkward)
    stored = await core.service.get(made.id)
    assert stored.content.digest == stored.digest == made.digest
    assert stored.content.policies[0].chain[0].on == ("error", "low_confidence", "timeout")


def test_numbers_are_written_as_databases_give_them_back() -> None:
    made = Content((Selection("read", "a", {"x": 2.0, "y": [1.5, {"z": 3.0}], "n": float("inf"), "b": True}),))
    [selection] = portable(made).selections
    assert repr(selection.settings) == "{'x': 2, 'y': [1.5, {'z': 3}], 'n': inf, 'b': True}"


async def test_only_status_and_findings_of_a_version_ever_change(core: Core) -> None:
    made = await core.make(read="read-b")
    await core.switch_to(made.id)
    await core.go_back()
    left = await core.service.get(made.id)
    same = replace(left, status=made.status, activated_at=None, left_at=None, findings=made.findings)
    assert replace(same, content=made.content) == made
    assert left.content.as_json() == made.content.as_json()


async def test_content_that_does_not_fit_is_not_stored_and_the_refusal_is(core: Core) -> None:
    with pytest.raises(ConfigurationInvalid) as refused:
        await core.service.create(content(read="nobody"), by=OPERATOR, message="try")
    assert refused.value.findings.errors[0].pointer == "/selections/0/module_id"
    assert await core.statuses() == {1: "active"}
    [event] = await core.audited("configuration.create_refused")
    assert (event.actor, event.result, event.after) == (
        "olga",
        "refused",
        {"findings": ["selection.unknown_module"]},
    )


async def test_a_refusal_survives_a_process_border(core: Core) -> None:
    with pytest.raises(ConfigurationInvalid) as refused:
        await core.make(read="nobody")
    record = refused.value.record()
    rebuilt = ConfigurationInvalid.__new__(ConfigurationInvalid)
    SwitchgearError.__init__(rebuilt, record["message"], **record["fields"])
    assert rebuilt.findings == refused.value.findings


async def test_a_draft_is_kept_with_its_errors_and_decided_by_validation(core: Core) -> None:
    bad = (await core.service.create(content(read="nobody"), by=OPERATOR, draft=True)).configuration
    assert (bad.status, bad.findings[0]["severity"]) == (Status.DRAFT, "error")
    assert not (await core.service.validate_stored(bad.id, by=OPERATOR)).is_valid
    assert (await core.service.get(bad.id)).status is Status.REJECTED
    good = (await core.service.create(content(read="read-b"), by=OPERATOR, draft=True)).configuration
    assert good.status is Status.DRAFT
    assert (await core.service.validate_stored(good.id, by=OPERATOR)).is_valid
    assert (await core.service.get(good.id)).status is Status.VALIDATED
    assert len(await core.audited("configuration.rejected")) == 1
    assert len(await core.audited("configuration.validated")) == 1


async def test_creating_the_content_of_a_draft_validates_the_draft(core: Core) -> None:
    draft = await core.service.create(content(read="read-b"), by=OPERATOR, draft=True)
    again = await core.service.create(content(read="read-b"), by=OPERATOR)
    assert (again.created, again.configuration.id) == (False, draft.configuration.id)
    assert again.configuration.status is Status.VALIDATED


async def test_rejected_content_may_be_created_anew(core: Core) -> None:
    draft = await core.service.create(content(read="later"), by=OPERATOR, draft=True)
    await core.service.validate_stored(draft.configuration.id, by=OPERATOR)
    core.registry.modules = {**core.registry.modules, "later": replace(core.registry.modules["read-b"], id="later")}
    again = await core.service.create(content(read="later"), by=OPERATOR)
    assert again.created
    assert again.configuration.version == 3


@pytest.mark.parametrize(
    "refused",
    [
        content(read=("read-a", {"token": "a literal secret"})),
        Content((*content().selections, Selection("read", "read-b"))),
    ],
)
async def test_a_secret_as_text_or_a_double_selection_is_no_draft_either(core: Core, refused: Content) -> None:
    with pytest.raises(ConfigurationInvalid):
        await core.service.create(refused, by=OPERATOR, draft=True)
    assert await core.statuses() == {1: "active"}


async def test_partial_content_lies_over_its_base(core: Core) -> None:
    change = Content((Selection("read", "read-b"),))
    made = (await core.service.create(change, base="active", partial=True, by=OPERATOR)).configuration
    base = await core.service.active()
    assert made.base_id == base.id
    assert made.content.selection("read") == Selection("read", "read-b")
    assert made.content.selection("extract") == base.content.selection("extract")
    assert made.content.policies == base.content.policies
    with pytest.raises(NotFound):
        await core.service.create(change, base="v99", partial=True, by=OPERATOR)


def test_findings_of_partial_content_point_into_what_was_sent() -> None:
    merged = over(content(), Content((Selection("extract", "extract-c"),)))
    assert [item.stage_id for item in merged.selections] == ["extract", "read"]


async def test_validating_content_stores_nothing_and_probes_when_asked(core: Core) -> None:
    core.registry.probed.clear()
    assert (await core.service.validate_content(content(read="read-b"))).is_valid
    assert core.registry.probed == []
    assert not (await core.service.validate_content(content(read="nobody"), probe=True)).is_valid
    assert ("extract-b", {}) in core.registry.probed
    partial = Content((Selection("read", "read-b"),))
    assert (await core.service.validate_content(partial, base="active")).is_valid
    assert await core.statuses() == {1: "active"}


async def test_lists_are_paged(core: Core) -> None:
    for depth in range(1, 6):
        await core.make(content(read=("read-a", {"depth": depth})))
    first = await core.service.list(4)
    rest = await core.service.list(4, first.next_cursor)
    assert [item.version for item in (*first.items, *rest.items)] == [6, 5, 4, 3, 2, 1]
    assert rest.next_cursor is None
    with pytest.raises(InvalidRequest):
        await core.service.list(4, "x")


async def test_references_lead_to_versions(core: Core) -> None:
    made = await core.make(read="read-b")
    assert (await core.service.get("v2")).id == made.id == (await core.service.get(made.id)).id
    for missing in ("v3", "2", "cfg_x", "v0", "previous", ""):
        with pytest.raises(NotFound):
            await core.service.get(missing)


async def test_differences_are_told_in_meaning(core: Core) -> None:
    made = await core.make(
        content(
            read=("read-a", {"depth": 2, "keys": {"a": "file:x"}}),
            extract="extract-c",
            deliver="deliver-a",
            chain=(),
            then="fail",
        )
    )
    found = await core.service.diff(made.id)
    assert [(item["stage_id"], item["kind"], item["path"]) for item in found.changes] == [
        ("deliver", "stage", "/module_id"),
        ("extract", "module", "/module_id"),
        ("extract", "fallback", "/fallback/chain"),
        ("extract", "then", "/fallback/then"),
        ("read", "settings", "/settings/depth"),
        ("read", "settings", "/settings/keys"),
    ]
    assert (await core.service.diff("active", "active")).same
    back = await core.service.diff("active", made.id)
    assert back.changes[0]["message"] == "Stage deliver has no module any more."


async def test_a_fallback_plan_is_answered_from_a_version(core: Core) -> None:
    active = await core.service.active()
    plan = core.service.fallback_plan(active, "extract")
    assert plan is not None
    assert [item.module_id for item in plan.candidates] == ["extract-a", "extract-b"]
    assert core.service.fallback_plan(active, "deliver") is None
    with pytest.raises(NotFound):
        core.service.fallback_plan(active, "nowhere")


def test_content_comes_from_json_and_goes_back() -> None:
    assert content_from_json(content().as_json()).as_json() == content().as_json()


def test_settings_and_limits_of_every_module_come_back_from_json() -> None:
    step = FallbackStep("read-b", ("error",), {"retries": 2}, 0.5)
    made = Content(
        (Selection("read", "read-a", {"language": "de"}, {"timeout_s": 5}),), (FallbackPolicy("read", (step,)),)
    )
    assert content_from_json(made.as_json()) == made
    assert content_from_json({}) == Content(())
    bare = content_from_json(
        {"fallback_policies": [{"stage_id": "read"}, {"stage_id": "ocr", "chain": [{"module_id": "b"}]}]}
    )
    assert bare.policies == (FallbackPolicy("read"), FallbackPolicy("ocr", (FallbackStep("b", ()),)))


@pytest.mark.parametrize("budget_s", [None, 30.0])
def test_a_policy_comes_back_from_json_with_what_was_said_and_no_more(budget_s: float | None) -> None:
    made = Content((), (FallbackPolicy("read", budget_s=budget_s),))

    assert content_from_json(made.as_json()) == made
    assert ("budget_s" in made.as_json()["fallback_policies"][0]) is (budget_s is not None)
    assert made.policy("check") == FallbackPolicy("check")


def test_equal_content_is_the_same_text_whatever_the_order_of_its_names() -> None:
    assert canonical_json({"b": 1, "a": [1, {"d": "ü", "c": None}]}) == '{"a":[1,{"c":null,"d":"ü"}],"b":1}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


def test_the_digest_takes_no_notice_of_the_order_of_stages_settings_and_triggers() -> None:
    one = Content(
        (Selection("a", "x", {"p": 1, "q": 2}), Selection("b", "y")),
        (FallbackPolicy("a", (FallbackStep("z", ("error", "crash")),)), FallbackPolicy("b")),
    )
    other = Content(
        (Selection("b", "y"), Selection("a", "x", {"q": 2, "p": 1})),
        (FallbackPolicy("b"), FallbackPolicy("a", (FallbackStep("z", ("crash", "error")),))),
    )
    assert one.digest == other.digest
    swapped = replace(one, selections=(Selection("a", "y"), Selection("b", "x", {"p": 1, "q": 2})))
    assert one.digest != swapped.digest


def test_a_digest_is_of_the_value() -> None:
    assert sha256_of({}) == hashlib.sha256(b"{}").hexdigest()
    assert sha256_of({"b": 1, "a": "é"}) == hashlib.sha256('{"a":"é","b":1}'.encode()).hexdigest()
