"""Runs transcripts of the documentation in a real shell and compares what is printed with what the page says.

In a page's output, `...` stands for any text, and a line `...` for any lines. Ids are those of the page; the first
time that one is seen it is bound to the real one, and later commands use that. Runs of spaces count as one.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from factories.markdown import Step
from factories.server import free_port

_ID = re.compile(r"\b(?:run|doc|act|cfg|evt|tok)_[0-9a-z]{26}\b")
_MARK = "--- end of command"
_PORT = "8420"


class Transcript:
    """A shell in *folder*; leaving it ends the server that the transcript has started.

    Args:
        folder: Where it begins.
        site: Folders for PYTHONPATH, with plug-ins.
    """

    def __init__(self, folder: Path, *, site: Iterable[Path] = ()) -> None:
        self.folder = folder
        self.port = free_port()
        self.bound: dict[str, str] = {}
        self._server: subprocess.Popen[str] | None = None
        self._numbers = itertools.count(1)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SWITCHGEAR_")}
        path = f"{Path(sys.executable).parent}:{kept.get('PATH', '')}"
        self._environment = {
            **kept,
            "PATH": path,
            "PYTHONPATH": os.pathsep.join(str(each) for each in site),
            "SWITCHGEAR_PORT": str(self.port),
            "SWITCHGEAR_MIN_FREE_BYTES": "1000000",
            "NO_COLOR": "1",
        }

    def __enter__(self) -> Transcript:
        bash = shutil.which("bash")
        assert bash is not None
        self._talk = (self.folder / "talk.txt").open("w+")
        self._shell = subprocess.Popen(
            [bash, "--noprofile", "--norc"],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._talk,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        self._shell.wait(30)
        with contextlib.suppress(ProcessLookupError):  # what the page started behind `&` and did not end
            os.killpg(self._shell.pid, signal.SIGTERM)
        if self._shell.stdout is not None:
            self._shell.stdout.close()
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGTERM)
            try:
                self._server.wait(60)
            except subprocess.TimeoutExpired:
                self._server.kill()
                raise
        self._talk.close()

    def play(self, steps: Iterable[Step]) -> None:
        """Run each command; fail where it prints something else than the page says."""
        for step in steps:
            command = self.real(step.command)
            if re.match(r"switchgear serve\b", command):
                self._serve(command, step.expected)
                continue
            printed = self.run(command)
            difference = self.compare(step.expected, printed)
            assert difference is None, f"$ {command}\n{difference}\n--- talk:\n{self._said()}"

    def real(self, text: str) -> str:
        """*text* with real ids and the real port."""
        found = _ID.sub(lambda match: self.bound.get(match[0], match[0]), text)
        return found.replace(f":{_PORT}", f":{self.port}")

    def run(self, command: str, *, seconds: float = 180.0) -> list[str]:
        """Run one command in the shell; return the lines on its standard output."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        mark = f"{_MARK} {next(self._numbers)}"
        self._shell.stdin.write(f"{command}\n__code=$?; printf '%s\\n' '{mark}'; (exit $__code)\n")
        self._shell.stdin.flush()
        watchdog = threading.Timer(seconds, self._shell.kill)
        watchdog.start()
        lines: list[str] = []
        try:
            for line in self._shell.stdout:
                if line.rstrip("\n").endswith(mark):
                    rest = line.rstrip("\n").removesuffix(mark)
                    return [*lines, rest] if rest else lines
                lines.append(line.rstrip("\n"))
        finally:
            watchdog.cancel()
        raise AssertionError(f"$ {command}\nthe shell ended, after: {lines}\n--- talk:\n{self._said()}")

    def compare(self, expected: Iterable[str], printed: list[str]) -> str | None:
        """What differs, or None; binds new ids when nothing does. An empty expectation fits anything."""
        expected = list(expected)
        if not expected:
            return None
        names: dict[str, str] = {}
        pattern = "".join(self._pattern(line, names) for line in expected)
        actual = "".join(f"{' '.join(line.split())}\n" for line in printed)
        match = re.fullmatch(pattern, actual.replace(f":{self.port}", f":{_PORT}"))
        if match is None:
            return "--- the page:\n" + "\n".join(expected) + "\n--- printed:\n" + "\n".join(printed)
        self.bound.update({name: match[group] for name, group in names.items()})
        return None

    def _pattern(self, line: str, names: dict[str, str]) -> str:
        if line.strip() == "...":
            return r"(?:.*\n)*?"
        parts = []
        for piece in re.split(rf"({_ID.pattern}|\.\.\.)", " ".join(line.split())):
            if piece == "...":
                parts.append(".*?")
            elif not _ID.fullmatch(piece):
                parts.append(re.escape(piece))
            elif piece in self.bound:
                parts.append(re.escape(self.bound[piece]))
            elif piece in names:
                parts.append(f"(?P={names[piece]})")
            else:
                names[piece] = f"id{len(names)}"
                parts.append(f"(?P<{names[piece]}>{piece[:4]}[0-9a-z]{{26}})")
        return "".join(parts) + r"\n"

    def _serve(self, command: str, expected: Iterable[str]) -> None:
        here = Path(self.run("pwd")[0])
        log = self.folder / "serve.txt"
        with log.open("w") as output, (self.folder / "serve-log.txt").open("w") as errors:
            self._server = subprocess.Popen(
                command.split(), cwd=here, env=self._environment, stdout=output, stderr=errors, text=True
            )
        end = time.monotonic() + 90
        while True:
            printed = log.read_text().splitlines()
            difference = self.compare(expected, printed) if printed else "nothing was printed yet"
            if difference is None:
                return
            assert self._server.poll() is None, (self.folder / "serve-log.txt").read_text()[-3000:]
            assert time.monotonic() < end, f"$ {command}\n{difference}"
            time.sleep(0.1)

    def _said(self) -> str:
        self._talk.flush()
        return (self.folder / "talk.txt").read_text()[-3000:]
