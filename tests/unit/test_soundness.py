"""What was found sound once is not looked at again, unless anything that it follows from has changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from factories.core import Clock, FakeRegistry, content
from switchgear.core.configuration_validation import Findings, Purpose, ValidationOptions, soundness, validate
from switchgear.core.configuration_validation.identity_cache import IdentityCache
from switchgear.domain.configuration import Content, sha256_of
from switchgear.domain.errors import Code
from switchgear.domain.stage import SettingMistake

SETTINGS = {"depth": 2}


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry(Clock())


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
