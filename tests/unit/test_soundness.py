"""What was found sound once is not looked at again, unless anything that it follows from has changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from factories.core import Clock, FakeRegistry, content
from switchgear.core.configuration_validation import Findings, Purpose, ValidationOptions, soundness, validate
from switchgear.core.configuration_validation.identity_cache import IdentityCache
from switchgear.core.configuration_validation.structure import Structure, Use
from switchgear.domain.configuration import (
    Content,
    FallbackPolicy,
    FallbackStep,
    Lock,
    Selection,
    Terminal,
    sha256_of,
)
from switchgear.domain.errors import Code
from switchgear.domain.stage import Lack, ProbeAnswer, SettingMistake

SETTINGS = {"depth": 2}


@pytest.fixture
def known(registry: FakeRegistry) -> Content:
    """Content that was sound a moment ago."""
    made = content(read=("read-a", SETTINGS))
    assert found(made, registry) == Findings()
    return made


def found(made: Content, registry: FakeRegistry, **options: Any) -> Findings:
    return validate(made, registry.current(), purpose=Purpose.CREATE, **options)


def test_it_is_not_looked_at_again(known: Content, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError

    for name in ("check_settings", "check_contract", "check_deprecation"):
        monkeypatch.setattr(soundness, name, fail)
    assert found(known, registry) == Findings()
    with pytest.raises(AssertionError):
        found(content(read=("read-a", {"depth": 3})), registry)


def test_a_module_that_is_described_anew_is(known: Content, registry: FakeRegistry) -> None:
    registry.change("read-a", deprecated="Use read-b.")
    assert [each.code for each in found(known, registry).warnings] == [Code.SELECTION_DEPRECATED]

    registry.change("read-a", deprecated=None, guarantees=frozenset())
    registry.change("read-a", settings_schema={"type": "object", "properties": {"depth": {"maximum": 1}}})
    assert Code.SELECTION_BAD_SETTINGS in [each.code for each in found(known, registry).errors]


def test_what_the_code_of_modules_refuses_is_said(known: Content, registry: FakeRegistry) -> None:
    refused = {("read-a", sha256_of(SETTINGS)): (SettingMistake(("depth",), "must be odd"),)}
    snapshot = replace(registry.current(), mistakes=refused)

    assert [each.code for each in validate(known, snapshot, purpose=Purpose.CREATE).errors] == [
        Code.SELECTION_BAD_SETTINGS
    ]


def test_a_secret_that_is_gone_is_said(registry: FakeRegistry) -> None:
    made = content(read=("read-a", {"token": "env:SWITCHGEAR_SECRET_X"}))
    assert found(made, registry, settings=ValidationOptions(secret_exists=lambda _: True)) == Findings()

    gone = found(made, registry, settings=ValidationOptions(secret_exists=lambda _: False))
    assert [each.code for each in gone.warnings] == [Code.SECRET_UNVERIFIED]


def test_no_more_is_kept_than_said_and_what_was_asked_for_last_stays() -> None:
    cache: IdentityCache[str] = IdentityCache(2)
    one, other, third = [1], [2], [3]
    for asked in (one, other, one, third):
        cache.get(asked, make=lambda: "known")

    assert [cache.get(asked, make=lambda: "anew") for asked in (third, one, other)] == ["known", "known", "anew"]


def test_what_was_wrong_is_said_each_time(registry: FakeRegistry) -> None:
    made = content(read=("read-a", {"unheard": 1}))

    assert found(made, registry) == found(made, registry) != Findings()


# --- stages ---


def test_of_a_version_over_a_base_only_what_was_sent_is_looked_at(
    known: Content, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    check_part = Structure.check_part

    def watched(part: Structure) -> list[Use]:
        seen.extend(item.stage_id for item in part.content.selections)
        return check_part(part)

    monkeypatch.setattr(Structure, "check_part", watched)
    changed = replace(known, selections=(*known.selections[1:], replace(known.selections[0], limits={"retries": 1})))

    assert found(changed, registry) == Findings()
    assert seen == [known.selections[0].stage_id]


SETTINGS_OF_ANY = st.sampled_from(
    [{}, {"depth": 2}, {"depth": 0}, {"unheard": 1}, {"token": "env:SWITCHGEAR_SECRET_X"}, {"token": "plain"}]
)
NAMES = st.sampled_from(["read-a", "read-b", "extract-a", "extract-b", "deliver-a", "no-such-module"])
STAGES = st.sampled_from(["read", "extract", "deliver", "no-such-stage"])
SELECTIONS = st.builds(
    Selection, STAGES, NAMES, SETTINGS_OF_ANY, st.sampled_from([{}, {"retries": 1}, {"retries": -1}])
)
STEPS = st.builds(
    FallbackStep,
    NAMES,
    st.sampled_from([("error",), ("error", "unavailable"), ("low_confidence",), ("no-such-trigger",), ()]),
    SETTINGS_OF_ANY,
    st.sampled_from([None, 0.5, 2.0]),
)
POLICIES = st.builds(
    FallbackPolicy,
    STAGES,
    st.lists(STEPS, max_size=2).map(tuple),
    st.sampled_from([None, *Terminal]),
    st.sampled_from([None, 5.0, -1.0]),
)


@st.composite
def versions(draw: st.DrawFn) -> list[Content]:
    """Versions that share selections and policies, as those do that are made over a base."""
    selections = [
        Selection("read", "read-a"),
        Selection("extract", "extract-a"),
        *draw(st.lists(SELECTIONS, max_size=3)),
    ]
    policies = draw(st.lists(POLICIES, min_size=1, max_size=3))
    made = st.builds(
        Content,
        st.lists(st.sampled_from(selections), max_size=4).map(tuple),
        st.lists(st.sampled_from(policies), max_size=3).map(tuple),
    )
    return draw(st.lists(made, min_size=2, max_size=4))


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["read-a", "read-b", "extract-a", "extract-b"]),
        st.sampled_from(
            [
                {"lack": Lack(Code.MODULE_IMPORT_ERROR, "It is gone.")},
                {"lack": None},
                {"enabled": False},
                {"deprecated": "Use another."},
                {"guarantees": ()},
                {"stage_id": "", "contract": "", "lack": Lack(Code.MODULE_IMPORT_ERROR, "It is broken.")},
            ]
        ),
    ),
    max_size=3,
)


BOTH = (Selection("read", "read-a"), Selection("extract", "extract-a"))
GOOD, BAD = FallbackPolicy("read", (), Terminal.PARK), FallbackPolicy("read", (), Terminal.SKIP)


@example(contents=[Content(BOTH), Content(BOTH, (BAD,))], changes=[])
@example(contents=[Content(BOTH, (GOOD,)), Content(BOTH, (BAD, GOOD))], changes=[])
@given(contents=versions(), changes=CHANGES)
def test_what_is_remembered_changes_no_finding(
    contents: list[Content], changes: list[tuple[str, dict[str, Any]]]
) -> None:
    registry = FakeRegistry(Clock())
    for name, values in [("read-a", {}), *changes]:
        registry.change(name, **values)
        for made in [*contents, *contents]:
            for purpose in Purpose:
                remembered = validate(made, registry.current(), purpose=purpose)
                assert remembered == validate(made, registry.current(), purpose=purpose, lock=Lock())


def test_what_workers_saw_is_said(known: Content, registry: FakeRegistry) -> None:
    digest = sha256_of(SETTINGS)
    registry.probes[("read-a", digest)] = ProbeAnswer("read-a", digest, Lack(Code.MODULE_IMPORT_ERROR, "It is gone."))

    assert [each.code for each in found(known, registry).errors] == [Code.SELECTION_UNAVAILABLE]
