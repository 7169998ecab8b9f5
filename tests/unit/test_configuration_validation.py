"""Content that does not fit is an error for every purpose, all findings at once, none repeating the input (T004)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from factories.core import GONE, FakeRegistry, content
from factories.validation import EXTRACT_A, READ_A, check, codes, selecting, step, with_policy
from switchgear.core.configuration_validation import Findings, Purpose, content_errors
from switchgear.domain.configuration import MAX_SELECTIONS, Content, FallbackPolicy, FallbackStep, Selection, Terminal
from switchgear.domain.errors import Code


def test_good_content_has_no_findings(registry: FakeRegistry) -> None:
    assert check(registry, content()) == Findings()


BAD: dict[str, tuple[Callable[[], Content], Code, str]] = {
    "unknown stage": (
        lambda: selecting(READ_A, EXTRACT_A, Selection("extrakt", "extract-b")),
        Code.SELECTION_UNKNOWN_STAGE,
        "/selections/2/stage_id",
    ),
    "unknown module": (lambda: content(read="read-x"), Code.SELECTION_UNKNOWN_MODULE, "/selections/0/module_id"),
    "wrong stage": (lambda: content(read="extract-b"), Code.SELECTION_WRONG_STAGE, "/selections/0/module_id"),
    "missing stage": (lambda: selecting(READ_A), Code.SELECTION_MISSING_STAGE, "/selections"),
    "duplicate": (
        lambda: selecting(READ_A, EXTRACT_A, Selection("read", "read-b")),
        Code.SELECTION_DUPLICATE,
        "/selections/2/stage_id",
    ),
    "bad settings": (
        lambda: content(read=("read-a", {"depth": 0})),
        Code.SELECTION_BAD_SETTINGS,
        "/selections/0/settings/depth",
    ),
    "unknown setting": (
        lambda: content(read=("read-a", {"langage": "de"})),
        Code.SELECTION_BAD_SETTINGS,
        "/selections/0/settings",
    ),
    "unknown limit": (
        lambda: selecting(replace(READ_A, limits={"timeout": 3}), EXTRACT_A),
        Code.SELECTION_BAD_SETTINGS,
        "/selections/0/limits",
    ),
    "limit out of range": (
        lambda: selecting(replace(READ_A, limits={"timeout_s": 0}), EXTRACT_A),
        Code.SELECTION_BAD_SETTINGS,
        "/selections/0/limits/timeout_s",
    ),
    "limit of another type": (
        lambda: selecting(replace(READ_A, limits={"retries": True}), EXTRACT_A),
        Code.SELECTION_BAD_SETTINGS,
        "/selections/0/limits/retries",
    ),
    "secret that is null": (
        lambda: content(read=("read-a", {"token": None})),
        Code.SELECTION_BAD_SETTINGS,
        "/selections/0/settings/token",
    ),
    "secret as text": (
        lambda: content(read=("read-a", {"token": "hunter2hunter2"})),
        Code.SECRET_LITERAL,
        "/selections/0/settings/token",
    ),
    "secret as text in a map": (
        lambda: content(read=("read-a", {"keys": {"x": "hunter2hunter2"}})),
        Code.SECRET_LITERAL,
        "/selections/0/settings/keys/x",
    ),
    "secret as a number": (
        lambda: content(read=("read-a", {"token": 123456789})),
        Code.SECRET_LITERAL,
        "/selections/0/settings/token",
    ),
    "cycle": (
        lambda: with_policy(step("extract-b"), step("extract-a")),
        Code.POLICY_CYCLE,
        "/fallback_policies/0/chain/1/module_id",
    ),
    "repeated": (
        lambda: with_policy(step("extract-b"), step("extract-b")),
        Code.POLICY_REPEATED_MODULE,
        "/fallback_policies/0/chain/1/module_id",
    ),
    "unknown fallback": (
        lambda: with_policy(step("extract-x")),
        Code.SELECTION_UNKNOWN_MODULE,
        "/fallback_policies/0/chain/0/module_id",
    ),
    "fallback of another stage": (
        lambda: with_policy(step("read-b")),
        Code.SELECTION_WRONG_STAGE,
        "/fallback_policies/0/chain/0/module_id",
    ),
    "unknown stage of a policy": (
        lambda: with_policy(stage="nowhere", then=Terminal.PARK),
        Code.SELECTION_UNKNOWN_STAGE,
        "/fallback_policies/0/stage_id",
    ),
    "two policies": (
        lambda: replace(content(), policies=content().policies * 2),
        Code.SELECTION_DUPLICATE,
        "/fallback_policies/1/stage_id",
    ),
    "unknown trigger": (
        lambda: with_policy(step("extract-b", "eror")),
        Code.REQUEST_INVALID,
        "/fallback_policies/0/chain/0/on/0",
    ),
    "an outcome that leads to no fallback": (
        lambda: with_policy(step("extract-b", "cancelled")),
        Code.REQUEST_INVALID,
        "/fallback_policies/0/chain/0/on/0",
    ),
    "no trigger": (
        lambda: with_policy(FallbackStep("extract-b", ())),
        Code.REQUEST_INVALID,
        "/fallback_policies/0/chain/0/on",
    ),
    "low confidence without threshold": (
        lambda: with_policy(step("extract-b", "low_confidence")),
        Code.REQUEST_INVALID,
        "/fallback_policies/0/chain/0/threshold",
    ),
    "threshold without low confidence": (
        lambda: with_policy(step("extract-b", threshold=0.5)),
        Code.REQUEST_INVALID,
        "/fallback_policies/0/chain/0/threshold",
    ),
    "threshold out of range": (
        lambda: with_policy(step("extract-b", "low_confidence", threshold=1.5)),
        Code.REQUEST_INVALID,
        "/fallback_policies/0/chain/0/threshold",
    ),
    "low confidence without confidence": (
        lambda: with_policy(step("read-b", "low_confidence", threshold=0.5), stage="read"),
        Code.REQUEST_INVALID,
        "/fallback_policies/0/chain/0/on",
    ),
    "required stage skipped": (
        lambda: with_policy(then=Terminal.SKIP),
        Code.REQUEST_INVALID,
        "/fallback_policies/0/then",
    ),
    "policy without selection": (
        lambda: with_policy(stage="deliver", then=Terminal.SKIP),
        Code.REQUEST_INVALID,
        "/fallback_policies/0",
    ),
    "budget of nothing": (
        lambda: with_policy(then=Terminal.PARK, budget_s=0.0),
        Code.REQUEST_INVALID,
        "/fallback_policies/0/budget_s",
    ),
    "budget without end": (
        lambda: with_policy(then=Terminal.PARK, budget_s=float("nan")),
        Code.REQUEST_INVALID,
        "/fallback_policies/0/budget_s",
    ),
    "settings too large": (
        lambda: content(read=("read-a", {"language": "x" * 70_000})),
        Code.REQUEST_TOO_LARGE,
        "/selections/0/settings",
    ),
    "chain too long": (
        lambda: with_policy(*(step(f"m{n}") for n in range(21))),
        Code.REQUEST_TOO_LARGE,
        "/fallback_policies/0/chain",
    ),
}


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("name", BAD)
def test_content_that_does_not_fit_is_an_error_everywhere(name: str, purpose: Purpose, registry: FakeRegistry) -> None:
    make, code, place = BAD[name]
    found = check(registry, make(), purpose, accept_degraded=True)
    assert (code, place) in [(finding.code, finding.pointer) for finding in found.errors]
    assert content_errors(found)


def test_more_selections_than_are_allowed_are_one_finding(registry: FakeRegistry) -> None:
    many = Content(tuple(Selection(f"s{n}", "m") for n in range(MAX_SELECTIONS + 1)))
    assert codes(check(registry, many).errors) == [Code.REQUEST_TOO_LARGE]


#: What a body of a mebibyte can hold; each entry costs a search for what was meant.
NONSENSE: dict[str, Content] = {
    "limits": Content(tuple(Selection(f"s{n}", "m", limits=dict.fromkeys(map(str, range(50)), 1)) for n in range(99))),
    "triggers": Content(
        (READ_A, EXTRACT_A),
        tuple(FallbackPolicy(f"s{n}", (FallbackStep("m", ("eror",) * 20),) * 20) for n in range(MAX_SELECTIONS)),
    ),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_of_very_many_findings_the_first_are_told_and_nothing_more_is_looked_at(
    name: str, registry: FakeRegistry
) -> None:
    found = check(registry, NONSENSE[name])
    assert len(found.errors) == 1001
    assert (found.errors[0].code, found.errors[0].pointer) == (Code.REQUEST_TOO_LARGE, "")
    assert "more than 1000 findings" in found.errors[0].message
    assert not found.is_storable


def test_all_findings_come_at_once_in_order_of_the_body(registry: FakeRegistry) -> None:
    registry.change("extract-a", lack=GONE)
    bad = Content(
        (Selection("red", "read-a"), Selection("extract", "extract-a", {"depth": "x", "langage": 1})),
        (FallbackPolicy("extract", (step("extract-a", "eror"),), Terminal.SKIP),),
    )
    found = check(registry, bad)
    assert codes(found.errors) == [
        Code.SELECTION_UNKNOWN_STAGE,
        Code.SELECTION_MISSING_STAGE,
        Code.REQUEST_INVALID,
        Code.POLICY_CYCLE,
        Code.REQUEST_INVALID,
        Code.SELECTION_BAD_SETTINGS,
        Code.SELECTION_BAD_SETTINGS,
    ]
    assert codes(found.warnings) == [Code.SELECTION_UNAVAILABLE, Code.POLICY_UNAVAILABLE]


def test_what_was_probably_meant_is_said(registry: FakeRegistry) -> None:
    assert "Did you mean 'read'?" in check(registry, selecting(Selection("raed", "read-a"))).errors[0].message
    assert "Did you mean 'read-a'?" in check(registry, content(read="read-aa")).errors[0].message
    assert "Did you mean 'language'?" in check(registry, content(read=("read-a", {"langage": 1}))).errors[0].message
    assert "Did you mean 'error'?" in check(registry, with_policy(step("extract-b", "eror"))).errors[0].message


@pytest.mark.parametrize("canary", ["canary-7f3a", 73210987, {"deep": ["canary-7f3a"]}, ["canary-7f3a"]])
def test_a_rejected_value_is_never_repeated(canary: Any, registry: FakeRegistry) -> None:
    settings = dict.fromkeys(("language", "depth", "token", "canary-7f3a"), canary)
    bad = Content(
        (
            Selection("read", "read-a", settings),
            Selection("extract", "extract-a", {"keys": {"x": canary}}, {"timeout_s": canary}),
            Selection("canary-7f3a", "canary-7f3a"),
        ),
        (FallbackPolicy("extract", (FallbackStep("canary-7f3a", ("canary-7f3a",)),) * 2),),
    )
    found = check(registry, bad)
    text = json.dumps(found.as_json()) + json.dumps(found.stored())
    assert len(found.errors) > 8
    assert "7f3a" not in text
    assert "73210987" not in text
