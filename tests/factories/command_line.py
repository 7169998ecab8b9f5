"""Runs `switchgear` with the tiny pipeline installed: the real command in a folder, or its code in this process."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog

from switchgear.core.logging import renew
from switchgear.interface.cli.app import run

SWITCHGEAR = str(Path(sys.executable).parent / "switchgear")
_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")


@dataclass
class CommandLine:
    """A shell, so to speak: a folder and an environment without settings from outside.

    Attributes:
        folder: Where commands run.
        site: Folder of the test plug-in, for PYTHONPATH.
        variables: Further variables, with their full names.
    """

    folder: Path
    site: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """The variables of a command."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        site = {} if self.site is None else {"PYTHONPATH": str(self.site)}
        return {**kept, **site, "SWITCHGEAR_MIN_FREE_BYTES": "1000000", **self.variables}

    def __call__(self, *words: str, expect: int = 0, seconds: float = 100.0) -> str:
        """Run a command, check its exit code, and return what it printed on stdout."""
        return self.run(*words, expect=expect, seconds=seconds).stdout

    def run(self, *words: str, expect: int | None = 0, seconds: float = 100.0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; a traceback is never right."""
        ended = subprocess.run(
            [SWITCHGEAR, *words],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if expect is not None:
            assert ended.returncode == expect, (words, ended.returncode, ended.stdout, ended.stderr)
        assert "Traceback" not in ended.stderr, ended.stderr
        return ended

    def json(self, *words: str, expect: int = 0) -> Any:
        """What a command prints with --json."""
        return json.loads(self(*words, "--json", expect=expect))


@dataclass(frozen=True)
class Ended:
    """What a command printed."""

    stdout: str
    stderr: str


@dataclass(frozen=True)
class CommandsInProcess:
    """Runs commands in this process, which is what makes them quick; the application is a new one each time."""

    folder: Path
    captured: pytest.CaptureFixture[str]

    def __call__(self, *words: str, expect: int | None = 0) -> str:
        """What a command printed on stdout, after its exit code was checked."""
        return self.run(*words, expect=expect).stdout

    def run(self, *words: str, expect: int | None = 0) -> Ended:
        """Run a command to its end."""
        self.captured.readouterr()
        code = run(words)
        seen = self.captured.readouterr()
        assert expect in (None, code), (words, code, seen.out, seen.err)
        return Ended(seen.out, seen.err)

    def json(self, *words: str, expect: int = 0) -> Any:
        """What a command prints with --json."""
        return json.loads(self(*words, "--json", expect=expect))


def quiet_logging(**_options: Any) -> None:
    """What the command does to logs, without a trace in later tests of this process: cached loggers stay for ever."""
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=quiet, cache_logger_on_first_use=False)
    renew()


def write(folder: Path, **texts: str) -> list[str]:
    """Write text files; return their names."""
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
    return [f"{name}.txt" for name in texts]
