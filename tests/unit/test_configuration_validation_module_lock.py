"""A lock that no longer fits the installed code is a warning, or an error where such modules are to be held."""

from __future__ import annotations

import pytest

from factories.core import FakeRegistry, content
from factories.validation import ACTIVATE, CREATE, ROLLBACK, STARTUP, check, stored
from switchgear.core.configuration_validation import Purpose, ValidationOptions, stale_modules
from switchgear.domain.errors import Code

HOLD = ValidationOptions(on_module_change="hold")


@pytest.mark.parametrize(
    ("purpose", "options", "is_error"),
    [
        (CREATE, ValidationOptions(), False),
        (ACTIVATE, ValidationOptions(), False),
        (ROLLBACK, ValidationOptions(), False),
        (STARTUP, ValidationOptions(), False),
        (CREATE, HOLD, False),
        (ACTIVATE, HOLD, True),
        (ROLLBACK, HOLD, True),
        (STARTUP, HOLD, False),
    ],
)
def test_a_stale_lock(purpose: Purpose, options: ValidationOptions, is_error: bool, registry: FakeRegistry) -> None:
    lock = stored(content(), registry).lock
    registry.change("read-a", version="2.0.0", code_digest="other")
    found = check(registry, content(), purpose, lock=lock, settings=options)
    [finding] = found.errors if is_error else found.warnings
    assert (finding.code, finding.stage_id) == (Code.CONFIGURATION_LOCK_STALE, "read")
    assert "read-a 1.0.0" in finding.message
    assert found.is_valid is not is_error


def test_what_makes_a_lock_stale(registry: FakeRegistry) -> None:
    lock = stored(content(), registry).lock
    assert stale_modules(lock, registry.current()) == []
    registry.change("read-a", contract_digest="other")
    registry.change("extract-b", code_digest="other")
    assert stale_modules(lock, registry.current()) == ["extract-b", "read-a"]
    registry.change("read-a", editable=True)
    registry.remove("extract-b")
    assert stale_modules(lock, registry.current()) == []
