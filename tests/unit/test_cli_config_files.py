"""A configuration file reads back as what was written, and what is none is refused with its line and the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from factories.api_answers import ACTIVE
from switchgear.interface.cli import config_files
from switchgear.interface.cli.errors import WrongUse


def test_a_written_configuration_reads_back_as_the_same_body(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(config_files.write(ACTIVE))
    body, pipeline = config_files.read(file)
    assert pipeline == "invoice"
    assert body["message"] == ACTIVE["message"]
    assert body["selections"][0] == ACTIVE["selections"][0]
    assert body["fallback_policies"] == [
        {
            "stage_id": "read",
            "chain": [{"module_id": "read-b", "settings": {"fast": True}, "on": ["error"]}],
            "then": "park",
        }
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("selections: []", "does not say its format"),
        ("format: 2", "has format 2"),
        ("- a", "holds no configuration"),
        ("a: [", "is no YAML"),
        ("format: !!python/object:os.system 1", "JSON does not have"),
        ("format: 1\nselections: []\nselections: []", "line 3 has a key that stands there before"),
        ("format: 1\nselections: [{settings: {a: 1, a: 2}}]", "line 2 has a key that stands there before"),
        ("format: 1\nx: .inf", "line 2 has a number that is none"),
        ("format: 1\nx: 1.0e+400", "line 2 has a number that is none"),
        ("format: 1\nx: .nan", "line 2 has a number that is none"),
        ("format: 1\nx: 2026-01-31", "line 2 has a value that JSON does not have"),
        ("format: 1\nx: !!binary aGk=", "line 2 has a value that JSON does not have"),
        ("format: 1\nx: !!set {a, b}", "line 2 has a value that JSON does not have"),
        ('format: 1\nx: "\\ud800"', "line 2 has a text with a character"),
        ("format: 1\nx: &a [*a]", "line 2 refers to what it stands in"),
        (
            "a: &a0 [1]\n" + "".join(f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)),
            "more than",
        ),
        ("format: 1\nx: {1: 2}", "line 2 has a key that is no text"),
    ],
)
def test_what_is_no_configuration_file_is_refused_with_the_reason(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(text)
    with pytest.raises(WrongUse, match=says):
        config_files.read(file)


def test_a_file_for_another_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="for the pipeline 'receipt'"):
        config_files.check_pipeline(tmp_path, "receipt", "invoice")
