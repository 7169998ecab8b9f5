"""What refuses nothing is a warning for every purpose: deprecation, a missing fallback, secrets, unproven contracts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from factories.core import EXTRACT, GONE, FakeRegistry, content
from factories.validation import check, codes
from switchgear.core.configuration_validation import Purpose, ValidationOptions, validate
from switchgear.core.configuration_validation.contracts import within
from switchgear.domain.compatibility import Verdict
from switchgear.domain.configuration import Content
from switchgear.domain.errors import Code


def _deprecated(registry: FakeRegistry) -> tuple[Content, ValidationOptions]:
    registry.change("read-a", deprecated="Use read-b.")
    return content(), ValidationOptions()


def _fallback_gone(registry: FakeRegistry) -> tuple[Content, ValidationOptions]:
    registry.change("extract-b", lack=GONE)
    return content(), ValidationOptions()


def _unverified(registry: FakeRegistry) -> tuple[Content, ValidationOptions]:
    return (
        content(read=("read-a", {"token": "env:SWITCHGEAR_SECRET_X"})),
        ValidationOptions(secret_exists=lambda _: False),
    )


def _unproven(registry: FakeRegistry) -> tuple[Content, ValidationOptions]:
    accepts = {
        "type": "object",
        "properties": {"text": {"type": "string", "not": {"pattern": "^zz+$"}}},
        "required": ["text"],
    }
    registry.change("extract-a", inputs={"pages": replace(EXTRACT.inputs["pages"], schema=accepts)})
    assert within(EXTRACT.inputs["pages"].schema, accepts).verdict is Verdict.UNKNOWN
    return content(), ValidationOptions()


NOTICES: dict[Code, Callable[[FakeRegistry], tuple[Content, ValidationOptions]]] = {
    Code.SELECTION_DEPRECATED: _deprecated,
    Code.POLICY_UNAVAILABLE: _fallback_gone,
    Code.SECRET_UNVERIFIED: _unverified,
    Code.CONTRACT_UNPROVEN: _unproven,
}


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("code", NOTICES)
def test_notices_are_warnings_everywhere(code: Code, purpose: Purpose, registry: FakeRegistry) -> None:
    checked, options = NOTICES[code](registry)
    found = check(registry, checked, purpose, settings=options)
    assert found.is_valid
    assert code in codes(found.warnings)


def _queued(**queues: str) -> Content:
    held = content()
    selections = (
        replace(each, limits={"queue": queues[each.stage_id]}) if each.stage_id in queues else each
        for each in held.selections
    )
    return replace(held, selections=tuple(selections))


@pytest.mark.parametrize("purpose", Purpose)
def test_a_queue_that_no_live_worker_serves_is_told_once(purpose: Purpose, registry: FakeRegistry) -> None:
    snapshot = replace(registry.current(), served=frozenset({"default", "light"}))
    for _ in range(2):  # also when nothing else was to be said about these stages before
        found = validate(_queued(read="heavy", extract="heavy"), snapshot, purpose=purpose)
        assert found.is_valid
        [told] = found.warnings
        assert (told.code, told.pointer, told.stage_id) == (Code.WAITING_WORKER, "/selections/0/limits/queue", "read")
        assert told.message == "No live worker serves the queue heavy: runs wait there."
        assert told.hint == "Start `switchgear worker --queues heavy`."


def test_queues_that_are_served_or_of_which_nothing_is_known_are_not_told(registry: FakeRegistry) -> None:
    snapshot = registry.current()
    assert validate(_queued(read="heavy"), snapshot, purpose=Purpose.CREATE).warnings == ()
    served = replace(snapshot, served=frozenset({"default", "heavy"}))
    assert validate(_queued(read="heavy"), served, purpose=Purpose.CREATE).warnings == ()


def test_the_queue_of_stages_that_name_none_may_be_the_one_that_nobody_serves(registry: FakeRegistry) -> None:
    snapshot = replace(registry.current(), served=frozenset({"heavy"}))
    [told] = validate(_queued(read="heavy"), snapshot, purpose=Purpose.CREATE).warnings
    assert (told.pointer, told.stage_id) == ("/selections/1", "extract")
    assert "the queue default" in told.message


def test_unproven_can_be_made_an_error(registry: FakeRegistry) -> None:
    checked, _ = _unproven(registry)
    found = check(registry, checked, settings=ValidationOptions(unproven="error"))
    assert codes(found.errors) == [Code.CONTRACT_UNPROVEN]
