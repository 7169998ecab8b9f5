"""`make demo` and `make test` in a bare checkout say at once what is missing, in one sentence each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from factories.markdown import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a bare checkout has that makes the environment, and nothing made yet."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for name in ("tools", "requirements"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def make(checkout: Path, target: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "-C", str(checkout), target, f"PYTHON={sys.executable}"]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("target", ["demo", "test"])
def test_a_python_that_is_too_old_is_told_and_nothing_is_made(checkout: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\n\nsys.version_info = (3, 9, 2, 'final', 0)\n")

    ended = make(checkout, target, PYTHONPATH=str(tmp_path))

    assert ended.returncode != 0
    assert "Python 3.9.2 is too old; Switchgear needs 3.11 or newer: " in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("target", ["demo", "test"])
def test_a_python_without_venv_is_told_with_the_line_that_installs_it(
    checkout: Path, tmp_path: Path, target: str
) -> None:
    (tmp_path / "venv.py").write_text("raise SystemExit('ensurepip is not available')\n")

    ended = make(checkout, target, PYTHONPATH=str(tmp_path))

    assert ended.returncode != 0
    assert "apt-get install python3-venv" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (checkout / ".venv").exists()


def test_without_a_network_it_says_so_and_the_next_try_begins_again(checkout: Path) -> None:
    ended = make(checkout, "demo", PIP_NO_INDEX="1")

    assert ended.returncode != 0
    assert "switchgear: 2/3  installing the locked packages" in ended.stderr
    assert "Is the network there?" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list((checkout / ".venv").glob(".*.stamp"))
