"""The audit chain: whatever is done to a stored trail shows, and an honest trail passes. Source: I27."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from switchgear.domain.audit import GENESIS, AuditAction, AuditEvent, Verifier, hash_of, seal, verify

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
documents = st.none() | st.dictionaries(st.text(max_size=8), json_values, max_size=3)


def chain(count: int, after: Any = None) -> list[AuditEvent]:
    events: list[AuditEvent] = []
    previous = GENESIS
    for sequence in range(1, count + 1):
        event = seal(
            AuditEvent(
                sequence=sequence,
                id=f"evt_{sequence}",
                at=1_000_000 + sequence,
                actor="anna",
                actor_role="operator",
                action=str(AuditAction.CONFIGURATION_CREATED),
                result="done",
                subjects=(f"cfg_{sequence}",),
                message="because",
                before=None,
                after=after,
                request_id=None,
                previous_hash=previous,
                hash="",
            )
        )
        events.append(event)
        previous = event.hash
    return events


@given(st.integers(0, 12), documents)
def test_an_honest_trail_passes_and_names_its_head(count: int, after: Any) -> None:
    events = chain(count, after)
    result = verify(events)
    assert (result.ok, result.checked, result.first_bad_sequence, result.reason) == (True, count, None, None)
    assert result.head == (events[-1].head if events else f"0:{GENESIS}")
    assert verify(events, result.head).ok


#: For every field that a forger could want to change, another value.
EDITS: dict[str, Any] = {
    "id": "evt_x",
    "at": 7,
    "actor": "mallory",
    "actor_role": "admin",
    "action": "configuration.rejected",
    "result": "refused",
    "subjects": ("cfg_other",),
    "message": "",
    "before": {"a": 1},
    "after": {"a": 2},
    "request_id": "req_1",
}


def test_every_field_is_covered_by_the_edits() -> None:
    assert set(EDITS) == set(AuditEvent.__slots__) - {"sequence", "hash", "previous_hash"}


@given(st.integers(1, 8), st.data())
def test_an_edit_of_any_field_is_found_at_its_entry(count: int, data: st.DataObject) -> None:
    events = chain(count)
    at = data.draw(st.integers(0, count - 1))
    name = data.draw(st.sampled_from(sorted(EDITS)))
    events[at] = replace(events[at], **{name: EDITS[name]})
    result = verify(events)
    assert (result.ok, result.first_bad_sequence) == (False, at + 1)
    assert result.reason is not None
    assert "changed after it was written" in result.reason


@given(st.integers(2, 8), st.data())
def test_an_edit_with_a_fresh_hash_is_found_at_the_next_entry(count: int, data: st.DataObject) -> None:
    events = chain(count)
    at = data.draw(st.integers(0, count - 2))
    events[at] = seal(replace(events[at], actor="mallory"))
    assert verify(events).first_bad_sequence == at + 2


@given(st.integers(2, 8), st.data())
def test_a_deleted_entry_is_found(count: int, data: st.DataObject) -> None:
    events = chain(count)
    at = data.draw(st.integers(0, count - 2))
    del events[at]
    result = verify(events)
    assert (result.ok, result.first_bad_sequence) == (False, at + 1)


@given(st.integers(1, 8), st.data())
def test_an_inserted_entry_is_found(count: int, data: st.DataObject) -> None:
    events = chain(count)
    at = data.draw(st.integers(1, count))
    forged = seal(replace(events[at - 1], id="evt_forged", sequence=at + 1, previous_hash=events[at - 1].hash))
    shifted = [replace(event, sequence=event.sequence + 1) for event in events[at:]]
    result = verify([*events[:at], forged, *shifted])
    assert result.ok == (at == count)  # one more honest-looking entry at the very end needs an exported head
    if not result.ok:
        assert result.first_bad_sequence == at + 2


@given(st.integers(2, 8), st.data())
def test_moved_entries_are_found(count: int, data: st.DataObject) -> None:
    events = chain(count)
    one, other = data.draw(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)))
    assume(one != other)
    events[one], events[other] = (
        replace(events[other], sequence=one + 1),
        replace(events[one], sequence=other + 1),
    )
    assert verify(events).first_bad_sequence == min(one, other) + 1


@given(st.integers(1, 8), st.data())
def test_a_cut_off_tail_is_found_against_an_exported_head(count: int, data: st.DataObject) -> None:
    events = chain(count)
    keep = data.draw(st.integers(0, count - 1))
    assert verify(events[:keep]).ok, "the chain alone cannot see it"
    for head in (events[-1].head, events[-1].hash):
        result = verify(events[:keep], head)
        assert (result.ok, result.first_bad_sequence) == (False, keep + 1)


def test_a_trail_that_went_on_still_contains_its_exported_head() -> None:
    events = chain(5)
    assert verify(events, events[2].head).ok


def test_a_trail_written_anew_is_found_against_an_exported_head() -> None:
    result = verify(chain(5, {"now": "another"}), chain(5)[2].head)
    assert (result.ok, result.first_bad_sequence) == (False, 3)
    assert result.reason is not None
    assert "written anew" in result.reason


def test_nothing_counts_after_the_first_bad_entry() -> None:
    events = chain(4)
    verifier = Verifier()
    assert verifier.add(events[0])
    assert not verifier.add(events[2])
    assert not verifier.add(events[1])
    assert verifier.result().first_bad_sequence == 2


@pytest.mark.parametrize(
    ("written", "read"),
    [({"x": 1.0}, {"x": 1}), ({"x": -0.0}, {"x": 0}), ({"x": 1e300}, {"x": 10**300}), ({"x": (1, 2)}, {"x": [1, 2]})],
)
def test_numbers_that_databases_give_back_differently_have_one_hash(written: Any, read: Any) -> None:
    assert hash_of(GENESIS, written) == hash_of(GENESIS, read)


def test_true_is_not_one_in_the_hash() -> None:
    assert hash_of(GENESIS, {"x": True}) != hash_of(GENESIS, {"x": 1})


def test_an_integer_beyond_every_float_has_a_hash() -> None:
    assert hash_of(GENESIS, {"x": 10**400}) != hash_of(GENESIS, {"x": 10**401})


def test_actions_are_noun_dot_past_participle() -> None:
    for action in AuditAction:
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", action), action


def test_the_hash_of_an_entry_is_computed_from_what_is_documented_and_nothing_else() -> None:
    [event] = chain(1, {"x": [1.0, 2.5]})
    fields = {name: getattr(event, name) for name in AuditEvent.__slots__ if name not in ("hash", "previous_hash")}
    fields |= {"subjects": ["cfg_1"], "after": {"x": [1, 2.5]}}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert event.hash == hashlib.sha256(f"{GENESIS}\n{text}".encode()).hexdigest()


@pytest.mark.parametrize(("one", "other"), [(1.5, 1), (2**53, 2**53 - 1), ([1, 2], [1, 3]), ([[1]], [[2]])])
def test_numbers_that_differ_have_hashes_that_differ(one: Any, other: Any) -> None:
    assert hash_of(GENESIS, {"x": one}) != hash_of(GENESIS, {"x": other})


def test_a_bad_trail_tells_how_far_it_is_good_and_the_head_up_to_there() -> None:
    events = chain(4)
    result = verify([*events[:2], events[3]])
    assert (result.ok, result.checked, result.head) == (False, 2, events[1].head)
    cut = verify(events[:3], events[3].head)
    assert (cut.ok, cut.checked, cut.head) == (False, 3, events[2].head)
    assert "cut off" in str(cut.reason)


def test_another_last_entry_than_the_exported_one_is_a_trail_written_anew() -> None:
    result = verify(chain(3, {"now": "another"}), chain(3)[2].head)
    assert (result.ok, result.checked, result.first_bad_sequence) == (False, 3, 3)
    assert "written anew" in str(result.reason)
