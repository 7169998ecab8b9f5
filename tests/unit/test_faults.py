"""The page of faults names every row of the fault matrix, and tests that exist. RELIABILITY 3."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import Final

import pytest

from factories.markdown import ROOT

ROW: Final = re.compile(r"^\| (\d+) \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)
NAMED: Final = re.compile(r"`([\w/]+\.py)::(\w+)`")
ROWS: Final = ROW.findall((ROOT / "docs" / "explanation" / "faults.md").read_text(encoding="utf-8"))


@cache
def functions_of(path: str) -> frozenset[str]:
    """Names of the test functions in a file below tests/."""
    file = ROOT / "tests" / path
    if not file.is_file():
        return frozenset()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def test_every_fault_has_its_row_once_and_in_order() -> None:
    assert [int(number) for number, *_ in ROWS] == list(range(1, 65))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"row{row[0]}")
def test_a_row_names_tests_that_exist_or_says_why_there_is_none(row: tuple[str, str, str, str]) -> None:
    named = NAMED.findall(row[3])
    assert named or row[3].startswith("Not built yet: ")
    assert [f"{path}::{name}" for path, name in named if name not in functions_of(path)] == []
    assert NAMED.sub("", row[3]).replace("<br>", "") == ("" if named else row[3]), "a name that is no test's"
