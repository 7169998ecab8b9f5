"""Results have one identity however their identity fields are written, and none without them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.ingestion.identity import identity_of

POINTERS = ("/seller/name", "/number")


def identity(number: object, name: object = "Acme GmbH") -> str | None:
    return identity_of({"seller": {"name": name}, "number": number}, POINTERS)


@pytest.mark.parametrize(
    "written",
    [
        "RE 2024-1",
        "re 2024-1",
        " RE  2024-1 ",
        "RE\u00a02024-1",  # no-break space
        "RE 20\u200b24-1",  # zero width space
        "RE\u00ad 2024-1",  # soft hyphen
        "RE 2024\u20111",  # no-break hyphen
        "RE 2024\u20131",  # en dash
        "RE 2024\u22121",  # minus sign
        "RE 2024\ufe631",  # small hyphen-minus
        "\uff32\uff25 2024-1",  # full width letters
        "RE2024-1",
        "RE-2024-1",
        "RE 2024 - 1",
        "RE/2024/1",
        "RE 2024-1.",
    ],
)
def test_the_same_number_is_one_identity_however_it_is_written(written: str) -> None:
    assert identity(written) == identity("RE 2024-1")


@pytest.mark.parametrize("other", ["RE 2024-2", "RE 20241", "0RE 2024-1", "RE 2024-1-1"])
def test_another_number_is_another_identity(other: str) -> None:
    assert identity(other) != identity("RE 2024-1")


def test_what_parts_two_groups_of_digits_is_kept() -> None:
    assert identity("2024-1-11") != identity("2024-11-1")
    assert identity("2024 17") == identity("202417")  # a space is no part of a number


@pytest.mark.parametrize("name", ["Acme-GmbH", "ACME GmbH.", "AcmeGmbH", '"Acme" GmbH'])
def test_the_same_name_is_one_identity_however_it_is_written(name: str) -> None:
    assert identity("1", name) == identity("1")


@pytest.mark.parametrize(("one", "other"), [("***", "+++"), ("\u8ca1\u52d9", "\u8ca1\u7a0e")])
def test_what_has_no_letters_or_none_of_ours_is_told_apart_all_the_same(one: str, other: str) -> None:
    assert None not in (identity(one), identity(other))
    assert identity(one) != identity(other)


@pytest.mark.parametrize("missing", [None, "", " ", "\u200b"])
def test_without_one_of_the_fields_there_is_none(missing: object) -> None:
    assert identity(missing) is None
    assert identity("1", missing) is None
    assert identity_of({"number": "1"}, POINTERS) is None
    assert identity_of({"number": "1"}, ()) is None


def test_fields_do_not_run_into_each_other() -> None:
    assert identity("c", "ab") != identity("bc", "a")


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1))
def test_case_and_spaces_around_make_no_difference(number: str) -> None:
    assert identity(f"  {number.upper()}\n") == identity(number.lower()) is not None
