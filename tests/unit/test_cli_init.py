"""`init` writes two files that are accepted as they are, once, and whose commented lines give the defaults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from switchgear.core.settings import Settings, load_settings
from switchgear.interface.cli import config_files
from switchgear.interface.cli.app import run
from switchgear.interface.cli.instance import pipeline_text, settings_text


def test_the_files_of_init_are_accepted_as_they_are(tmp_path: Path) -> None:
    from switchgear.invoice.pipeline import PIPELINE

    (tmp_path / "switchgear.toml").write_text(settings_text("invoice"))
    settings = load_settings(tmp_path, environment={})
    assert settings.home == tmp_path / "switchgear-data"
    missing = set(Settings.model_fields) - {name for name, _, _ in commented_settings()} - {"pipeline"}
    assert missing == {"bootstrap_token"}
    (tmp_path / "pipeline.yaml").write_text(pipeline_text(PIPELINE))
    body, _ = config_files.read(tmp_path / "pipeline.yaml")
    assert {item["stage_id"] for item in body["selections"]} == {stage.id for stage in PIPELINE.stages}
    assert body["fallback_policies"] == PIPELINE.default_configuration["fallback_policies"]


def commented_settings() -> list[tuple[str, int, bool]]:
    """Of each commented line with TOML in the template of `init`: the name, its number, whether it is an example."""
    lines = settings_text("invoice").splitlines()
    found = [(number, re.match(r"# ([a-z_]+) = |# \[", line)) for number, line in enumerate(lines)]
    return [
        (match[1] or "", number, lines[number - 1].endswith("None by default; an example:"))
        for number, match in found
        if match is not None
    ]


@pytest.mark.parametrize(("name", "number", "is_example"), commented_settings())
def test_a_line_of_the_settings_of_init_gives_the_default_when_it_is_uncommented(
    tmp_path: Path, name: str, number: int, is_example: bool
) -> None:
    lines = settings_text("invoice").splitlines()
    lines[number] = lines[number].removeprefix("# ")
    default = getattr(load_settings(tmp_path, environment={}), name)
    (tmp_path / "switchgear.toml").write_text("\n".join(lines))
    settings = load_settings(tmp_path, environment={})
    assert settings.origin_of(name) == str(tmp_path / "switchgear.toml")
    assert (getattr(settings, name) == default) is not is_example


def test_init_writes_two_files_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init", "billing"]) == 0
    assert sorted(path.name for path in (tmp_path / "billing").iterdir()) == ["pipeline.yaml", "switchgear.toml"]
    assert run(["init", "billing"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert run(["init", "other", "--pipeline", "nothing"]) == 2
    assert not (tmp_path / "other").exists()
