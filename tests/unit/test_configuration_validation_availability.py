"""A module that is not there is an error or a warning by purpose, and by what covers it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from factories.core import GONE, FakeRegistry, content
from factories.validation import ACTIVATE, CREATE, ROLLBACK, STARTUP, check, codes, only, stored
from switchgear.core.configuration_validation import Purpose, content_errors
from switchgear.domain.configuration import FallbackPolicy, Terminal, sha256_of
from switchgear.domain.errors import Code
from switchgear.domain.stage import Lack, ProbeAnswer

COVERED = {
    "fallback": content(then=None),
    "park": content(chain=(), then="park"),
    "both": content(then="fail"),
}


@pytest.mark.parametrize("name", COVERED)
@pytest.mark.parametrize(
    ("purpose", "options", "is_error"),
    [
        (CREATE, {}, False),
        (ACTIVATE, {}, True),
        (ACTIVATE, {"accept_degraded": True}, False),
        (ROLLBACK, {}, False),
        (STARTUP, {}, False),
    ],
)
def test_a_covered_unavailable_module(
    name: str, purpose: Purpose, options: dict[str, Any], is_error: bool, registry: FakeRegistry
) -> None:
    registry.change("extract-a", lack=GONE)
    found = check(registry, COVERED[name], purpose, **options)
    finding = (found.errors if is_error else found.warnings)[0]
    assert finding.code == Code.SELECTION_UNAVAILABLE
    assert finding.message.startswith("Program foo is missing.")
    assert finding.hint == "apt install foo"
    assert found.is_valid is not is_error


def test_a_missing_module_is_not_said_to_be_served_by_a_fallback_that_is_missing_too(registry: FakeRegistry) -> None:
    registry.change("extract-a", lack=GONE)
    for name, then in (("fallback", "Its fallback serves."), ("park", "runs that reach the stage are put on hold.")):
        assert check(registry, COVERED[name], CREATE).warnings[0].message.endswith(then)
    registry.change("extract-b", lack=GONE)
    registry.change("extract-c", lack=GONE)
    both_gone = check(registry, content(then="park"), CREATE).warnings[0]
    assert both_gone.message.endswith("No fallback serves: runs that reach the stage are put on hold.")


def test_a_lack_that_the_active_version_has_too_refuses_nothing(registry: FakeRegistry) -> None:
    active = stored(content(), registry)
    registry.change("extract-a", lack=GONE)
    assert check(registry, content(read="read-b"), ACTIVATE, active=active).is_valid
    other = stored(content(extract="extract-c"), registry)
    assert codes(check(registry, content(), ACTIVATE, active=other).errors) == [Code.SELECTION_UNAVAILABLE]
    # with its own settings the module works in the active version, so the lack would be new
    registry.change("extract-a", lack=None)
    key = ("extract-a", sha256_of({"depth": 2}))
    registry.probes[key] = ProbeAnswer(*key, GONE)
    changed = content(extract=("extract-a", {"depth": 2}))
    assert codes(check(registry, changed, ACTIVATE, active=active).errors) == [Code.SELECTION_UNAVAILABLE]


NOT_COVERED = {
    "nothing": content(chain=(), then=None),
    "fail": content(chain=(), then="fail"),
    "a chain that unavailable does not lead to": content(on=("error",), then=None),
}


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("name", NOT_COVERED)
def test_an_unavailable_module_that_nothing_covers_is_an_error_everywhere(
    name: str, purpose: Purpose, registry: FakeRegistry
) -> None:
    registry.change("extract-a", lack=GONE)
    found = check(registry, NOT_COVERED[name], purpose, accept_degraded=True)
    assert codes(found.errors) == [Code.SELECTION_UNAVAILABLE]
    assert not content_errors(found)


def test_an_unavailable_fallback_covers_nothing(registry: FakeRegistry) -> None:
    registry.change("extract-a", lack=GONE)
    registry.change("extract-b", enabled=False)
    found = check(registry, content(then=None), ROLLBACK)
    assert codes(found.errors) == [Code.SELECTION_UNAVAILABLE]
    assert codes(found.warnings) == [Code.POLICY_UNAVAILABLE]


def test_an_optional_stage_is_covered_by_skip(registry: FakeRegistry) -> None:
    registry.change("deliver-a", lack=GONE)
    plain = content(deliver="deliver-a")
    skipping = replace(plain, policies=(*plain.policies, FallbackPolicy("deliver", (), Terminal.SKIP)))
    assert check(registry, skipping).is_valid
    assert not check(registry, plain).is_valid


def test_a_module_that_cannot_be_imported_is_unavailable_and_nothing_else(registry: FakeRegistry) -> None:
    lack = Lack(Code.MODULE_IMPORT_ERROR, "Module extract-a cannot be imported.")
    registry.change("extract-a", stage_id="", contract="", settings_schema={}, inputs={}, guarantees=(), lack=lack)
    found = check(registry, content())
    assert (codes(found.errors), codes(found.warnings)) == ([], [Code.SELECTION_UNAVAILABLE])


def test_a_module_that_was_installed_once_names_its_distribution(registry: FakeRegistry) -> None:
    registry.remove("extract-a")
    found = check(registry, content(), ROLLBACK, distributions={"extract-a": "plug-extract-a"})
    assert only(found).hint == "pip install plug-extract-a, then: switchgear modules rescan"
    assert "extract-a is not installed" in only(check(registry, content(), ROLLBACK)).message
