"""A version as an answer: put together from texts that are kept, and the same as its schema would say it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from switchgear.domain.configuration import (
    Content,
    FallbackPolicy,
    FallbackStep,
    Lock,
    LockEntry,
    Selection,
    Status,
    StoredConfiguration,
    Terminal,
    content_from_json,
    sha256_of,
)
from switchgear.interface.api.schemas.common import FindingView
from switchgear.interface.api.schemas.configurations import ConfigurationView, RunShares
from switchgear.interface.api.views.configurations import configuration_body, finding_of

names = st.text(min_size=1, max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)
settings = st.dictionaries(names, values, max_size=2)
steps = st.builds(
    FallbackStep,
    names,
    st.lists(names, max_size=3).map(tuple),
    settings,
    st.none() | st.floats(min_value=0, max_value=1),
)
policies = st.builds(
    FallbackPolicy,
    names,
    st.lists(steps, max_size=2).map(tuple),
    st.none() | st.sampled_from(Terminal),
    st.none() | st.floats(min_value=1, max_value=9),
)
selections = st.builds(Selection, names, names, settings, settings)
contents = st.builds(Content, st.lists(selections, max_size=3).map(tuple), st.lists(policies, max_size=3).map(tuple))
FINDING = {"code": "selection.unavailable", "pointer": "/a", "stage_id": None, "message": "\u00e9", "hint": None}
RUNS = RunShares(
    total=1, succeeded=1, failed=0, parked=0, cancelled=0, running=0, queued=0, degraded=0,
    success_share=1.0, fallback_share=0.0,
)  # fmt: skip


def stored(content: Content, findings: tuple[dict[str, Any], ...] = ()) -> StoredConfiguration:
    lock = Lock({"b": LockEntry("1", "c", "d"), "a": LockEntry("2", "e", "f", editable=True)})
    return StoredConfiguration(
        id="cfg_1", version=3, pipeline="tiny", status=Status.VALIDATED, content=content, lock=lock,
        digest=content.digest, lock_digest=lock.digest, base_id=None, message='why "so"', created_by="root",
        created_at=1_700_000_000_000_001, findings=findings,
    )  # fmt: skip


@given(contents)
def test_a_digest_is_of_the_canonical_text_of_the_whole(content: Content) -> None:
    assert content.digest == sha256_of(content.as_json())
    assert content_from_json(content.as_json()).digest == content.digest


@given(contents, st.booleans(), st.booleans())
def test_a_version_is_shown_as_its_schema_says(content: Content, with_runs: bool, with_findings: bool) -> None:
    version = stored(content, (FINDING,) if with_findings else ())

    shown = configuration_body(version, runs=RUNS if with_runs else None)

    view = ConfigurationView.model_validate_json(shown)
    assert json.loads(shown) == json.loads(view.model_dump_json())
    assert view.created_at is not None
    parts = view.model_dump(mode="json", include={"selections", "fallback_policies"}, exclude_none=True)
    assert parts == json.loads(json.dumps(content.as_json()))
    assert (view.runs is not None, view.findings) == (with_runs, [finding_of(each) for each in version.findings])
    assert {name: entry.model_dump() for name, entry in view.module_lock.items()} == {
        name: entry.as_json() for name, entry in version.lock.items()
    }


def test_findings_of_what_was_sent_stand_in_place_of_those_that_are_stored() -> None:
    version = stored(Content((Selection("a", "b"),)), (FINDING,))
    sent = [FindingView(code="other", message="said")]

    assert json.loads(configuration_body(version, findings=sent))["findings"] == [sent[0].model_dump()]
