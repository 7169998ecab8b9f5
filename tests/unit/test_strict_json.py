"""JSON without surprises, and tables without formulas."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.interface.api.invoice_csv import COLUMNS, as_csv
from switchgear.interface.api.strict_json import MAX_DEPTH, Malformed, parse_strict

_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
_FLOATS = st.floats(allow_nan=False, allow_infinity=False)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(_VALUES)
def test_ordinary_json_comes_through_unchanged(value: Any) -> None:
    assert parse_strict(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(raw: bytes) -> None:
    with contextlib.suppress(Malformed):
        parse_strict(raw)


@pytest.mark.parametrize(("depth", "fits"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False), (100_000, False)])
def test_nesting_has_a_bound(depth: int, fits: bool) -> None:
    raw = b"[" * depth + b"]" * depth
    if fits:
        parse_strict(raw)
        return
    with pytest.raises(Malformed, match="nested deeper"):
        parse_strict(raw)


@pytest.mark.parametrize(
    "raw", [b'{"a":1,"a":1}', b"NaN", b"-Infinity", b"1e999", b"1" * 5000, b'"\\u0000"', b'"\\udfff"']
)
def test_what_parsers_disagree_about_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_strict(raw)


def _rows(result: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(result, "doc_1").decode(), newline="")))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_read_as_a_formula(start: str) -> None:
    rows = _rows(
        {"number": {"value": f"{start}cmd|' /C calc'!A0"}, "lines": [{"description": {"value": f"{start}1+1"}}]}
    )
    assert rows[0]["number"].startswith("'")
    assert rows[0]["line_description"].startswith("'")


def test_amounts_stay_amounts_also_negative_ones() -> None:
    rows = _rows({"totals": {"gross": {"value": "-12.50"}}, "lines": [{"net_amount": {"value": "-1e5;x"}}]})
    assert rows[0]["gross_total"] == "-12.50"
    assert rows[0]["line_net_amount"] == "'-1e5;x"


@pytest.mark.parametrize("result", [None, [], {"lines": None}, {"lines": [1]}, {"seller": "text"}])
def test_a_result_of_any_form_is_a_table(result: Any) -> None:
    rows = _rows(result)
    assert len(rows) == 1
    assert tuple(rows[0]) == COLUMNS
