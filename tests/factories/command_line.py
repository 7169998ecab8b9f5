"""Runs the real `switchgear` command in a folder, with the tiny pipeline installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
