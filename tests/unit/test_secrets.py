"""Secrets are found by reference only, and their values are taken out of everything that is logged."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.core.secrets import SecretResolver

VALUE = 'canary "5519"\nsecret'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "MAIL").write_text("from-a-file\n")
    (tmp_path / "outside").write_text("must not be read")
    return tmp_path / "secrets"


def test_a_variable_and_a_file_are_found(folder: Path) -> None:
    resolver = SecretResolver({"SWITCHGEAR_SECRET_A": "from-a-variable"}, [folder / "not-there", folder])
    assert resolver.resolve("env:SWITCHGEAR_SECRET_A") == "from-a-variable"
    assert resolver.resolve("file:MAIL") == "from-a-file"
    assert resolver.exists("file:MAIL")


@pytest.mark.parametrize(
    "reference",
    [
        "env:PATH",
        "env:SWITCHGEAR_SECRET_NOT_THERE",
        "env:SWITCHGEAR_SECRET_EMPTY",
        "file:NOT_THERE",
        "file:../outside",
        "file:..",
        "file:",
        "file:/etc/hostname",
        "from-a-variable",
        "",
    ],
)
def test_anything_else_leads_to_nothing(folder: Path, reference: str) -> None:
    resolver = SecretResolver({"PATH": "/bin", "SWITCHGEAR_SECRET_EMPTY": ""}, [folder])
    assert resolver.resolve(reference) is None
    assert not resolver.exists(reference)


def test_a_file_that_is_no_text_or_too_large_is_none(folder: Path) -> None:
    (folder / "BINARY").write_bytes(b"\xff\xfe\x00")
    (folder / "LARGE").write_text("x" * 70_000)
    resolver = SecretResolver({}, [folder])
    assert resolver.resolve("file:BINARY") is None
    assert resolver.resolve("file:LARGE") is None


def test_a_resolved_value_is_masked_wherever_it_stands() -> None:
    resolver = SecretResolver({"SWITCHGEAR_SECRET_A": VALUE})
    assert resolver.redact({"line": VALUE}) == {"line": VALUE}, "not a secret until it was resolved"
    resolver.resolve("env:SWITCHGEAR_SECRET_A")
    data = {"line": f"a {VALUE} b", VALUE: [1, (VALUE,), None, True], "error": ValueError(VALUE)}
    clean = resolver.redact(data)
    assert VALUE not in str(clean)
    assert clean["line"] == "a [secret] b"
    assert clean["[secret]"] == [1, ["[secret]"], None, True]
    assert "canary" not in resolver.redact('{"x": "canary \\"5519\\"\\nsecret"}'), "its JSON form too"


def test_existence_alone_remembers_nothing() -> None:
    resolver = SecretResolver({"SWITCHGEAR_SECRET_A": VALUE})
    assert resolver.exists("env:SWITCHGEAR_SECRET_A")
    assert resolver.redact(VALUE) == VALUE


def test_a_number_that_is_a_secret_is_masked_too() -> None:
    resolver = SecretResolver({})
    resolver.remember("1234567890")
    assert resolver.redact({"n": 1234567890, "m": 5}) == {"n": "[secret]", "m": 5}


def test_very_short_values_are_not_masked() -> None:
    resolver = SecretResolver({})
    resolver.remember("ab")
    assert resolver.redact("abc") == "abc"


@given(st.text(min_size=6), st.text(), st.text())
def test_no_remembered_text_survives(secret: str, before: str, after: str) -> None:
    resolver = SecretResolver({})
    resolver.remember(secret)
    if secret not in "[secret]":
        assert secret not in resolver.redact(before + secret + after).replace("[secret]", "\0")
