"""`config set` changes exactly what its words say, keeps the rest, and tells what is left behind."""

from __future__ import annotations

import copy
import json

import pytest

from factories.api_answers import ACTIVE, Json
from switchgear.interface.cli import config_changes
from switchgear.interface.cli.errors import WrongUse
from switchgear.invoice.pipeline import PIPELINE

SCHEMA: Json = {
    "properties": {
        "languages": {"type": "array", "items": {"type": "string"}},
        "pages": {"type": "integer"},
        "name": {"type": "string"},
        "mode": {"$ref": "#/$defs/Mode"},
    },
    "$defs": {"Mode": {"enum": ["1", "2"], "type": "string"}},
}


def change(*words: str) -> config_changes.Change:
    return config_changes.apply(ACTIVE, config_changes.parse(words), lambda _: SCHEMA, lambda _: False)


def test_another_module_begins_without_the_settings_and_limits_of_the_old_one() -> None:
    found = change("read=read-c")
    assert found.selections == [{"stage_id": "read", "module_id": "read-c", "settings": {}, "limits": {}}]
    assert found.notes == [
        "read: the settings of read-a are left: {'pages': 3}.",
        "read: the limits of read-a are left: {'timeout_s': 5}.",
    ]


def test_the_active_configuration_is_not_changed_in_place() -> None:
    before = json.dumps(ACTIVE)
    change("read.settings.pages=9", "read.limits.retries=1", "read.then=fail", "read.fallback=")
    assert json.dumps(ACTIVE) == before


def test_a_selected_fallback_changes_places_with_the_module_that_was_selected() -> None:
    found = change("read=read-b")
    assert found.selections[0]["module_id"] == "read-b"
    assert found.selections[0]["settings"] == {"fast": True}
    assert found.fallback_policies[0]["chain"] == [{"module_id": "read-a", "settings": {"pages": 3}, "on": ["error"]}]
    assert found.notes


def invoice_change(*words: str, then: str | None = "park") -> config_changes.Change:
    """A change of the invoice pipeline's first configuration, whose review begins with settings of its own."""
    active = copy.deepcopy(dict(PIPELINE.default_configuration))
    for item in active["selections"]:
        item["settings"] = {"review_below": 0.7} if item["stage_id"] == "review" else {}
    for policy in active["fallback_policies"]:
        policy["then"] = then

    def is_ordered(stage_id: str) -> bool:
        stage = PIPELINE.stage(stage_id)
        assert stage is not None
        return stage.chain_is_ordered

    return config_changes.apply(active, config_changes.parse(words), lambda _: {}, is_ordered)


@pytest.mark.parametrize(
    ("word", "rest", "said"),
    [
        (
            "review=review-strict",
            ["review-always"],
            "review: review-rules leaves the chain: an earlier module never stands in for a later one. When nobody "
            "serves, the run waits on hold for a person (then=park). To put one back, add "
            "review.fallback=review-rules,review-always.",
        ),
        (
            "review=review-always",
            [],
            "review: review-rules, review-strict leave the chain: an earlier module never stands in for a later one. "
            "When nobody serves, the run waits on hold for a person (then=park). To put one back, add "
            "review.fallback=review-strict.",
        ),
        (
            "deliver=deliver-spool",
            [],
            "deliver: deliver-files leaves the chain: an earlier module never stands in for a later one. When nobody "
            "serves, the run waits on hold for a person (then=park). To put one back, add "
            "deliver.fallback=deliver-files.",
        ),
    ],
)
def test_nothing_earlier_in_an_ordered_chain_stands_in_for_what_is_selected(
    word: str, rest: list[str], said: str
) -> None:
    found = invoice_change(word)
    [policy] = found.fallback_policies
    assert [step["module_id"] for step in policy["chain"]] == rest
    assert policy["then"] == "park"
    assert said in found.notes


def test_for_a_module_that_has_no_place_in_an_ordered_chain_only_the_last_one_stands_in() -> None:
    found = invoice_change("review=acme-review")
    [policy] = found.fallback_policies
    assert [step["module_id"] for step in policy["chain"]] == ["review-always"]
    assert found.notes[-1] == (
        "review: review-strict leaves the chain: nobody said that it may stand in for acme-review. When nobody serves, "
        "the run waits on hold for a person (then=park). To put one back, add "
        "review.fallback=review-strict,review-always."
    )
    assert invoice_change("deliver=acme-deliver").fallback_policies == []  # only its last one is there


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("fail", "the run fails (then=fail)"),
        ("skip", "the run goes on without it (then=skip)"),
        (None, "the run waits on hold when nothing could be tried, and fails when something was"),
    ],
)
def test_the_note_about_an_ordered_chain_says_how_it_ends_now(then: str | None, said: str) -> None:
    assert said in invoice_change("review=review-always", then=then).notes[-1]
    assert "(then=fail)" in invoice_change("review=review-always", "review.then=fail").notes[-1]


def test_who_names_the_chain_of_an_ordered_stage_gets_it_with_the_settings_that_were_there() -> None:
    found = invoice_change("review=review-always", "review.fallback=review-strict,review-rules")
    [policy] = found.fallback_policies
    assert [step["module_id"] for step in policy["chain"]] == ["review-strict", "review-rules"]
    assert policy["chain"][1]["settings"] == {"review_below": 0.7}
    assert not any("leave" in note and "chain" in note for note in found.notes)


def test_whether_a_chain_is_ordered_is_asked_only_where_it_matters() -> None:
    asked: list[str] = []

    def is_ordered(stage_id: str) -> bool:
        asked.append(stage_id)
        return False

    for word in ("read=read-c", "read=read-a", "extract=extract-b", "read.then=fail", "read=read-b"):
        config_changes.apply(ACTIVE, config_changes.parse([word]), lambda _: SCHEMA, is_ordered)
    assert asked == ["read"]


def test_values_follow_the_schema_of_the_setting() -> None:
    found = change(
        "extract.settings.languages=de,en",
        "extract.settings.pages=7",
        "extract.settings.name=12",
        "extract.settings.mode=1",
        "extract.limits.timeout_s=2.5",
    )
    assert found.selections[0]["settings"] == {"languages": ["de", "en"], "pages": 7, "name": "12", "mode": "1"}
    assert found.selections[0]["limits"] == {"timeout_s": 2.5}


def test_the_chain_keeps_what_is_known_of_a_module_and_fills_in_the_rest() -> None:
    policy = change("read.fallback=read-c,read-b", "read.then=fail", "read.budget_s=9").fallback_policies[0]
    assert [step["module_id"] for step in policy["chain"]] == ["read-c", "read-b"]
    assert policy["chain"][0]["on"] == list(config_changes.FAULTS)
    assert policy["chain"][1] == {"module_id": "read-b", "settings": {"fast": True}, "on": ["error"]}
    assert (policy["then"], policy["budget_s"]) == ("fail", 9)


@pytest.mark.parametrize("again", ["read.limits.timeout_s=6", "read.limits.timeout_s=5"])
def test_what_is_given_twice_is_wrong_use(again: str) -> None:
    with pytest.raises(WrongUse, match=r"read\.limits\.timeout_s is given twice"):
        change("read.limits.timeout_s=5", again)


@pytest.mark.parametrize("value", ["1e400", "[1, -1e999]"])
def test_a_number_that_is_too_large_is_wrong_use(value: str) -> None:
    with pytest.raises(WrongUse, match="too large"):
        change(f"read.limits.timeout_s={value}")


@pytest.mark.parametrize("word", ["read", "=x", "read.=x", "read.color=blue", "read.settings=x", "read.limits.a.b=1"])
def test_what_is_no_change_is_wrong_use(word: str) -> None:
    with pytest.raises(WrongUse):
        change(word)


def test_a_setting_of_a_stage_without_a_module_says_what_to_do() -> None:
    with pytest.raises(WrongUse, match="Select one with STAGE=MODULE"):
        change("ocr.settings.pages=1")
