"""A real server process for the demo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from switchgear.interface.cli.client import Api, connect_to
from switchgear.interface.cli.errors import CommandFailed
from switchgear.interface.cli.instance_location import LiveServer, admin_token, live_server

_HOME: Final = "data"
_START_S: Final = 60.0
_STOP_S: Final = 20.0
_LOOK_S: Final = 0.05
_SETTINGS: Final = """\
# The instance of `switchgear demo`. `switchgear init` writes a file with every setting.
home = "data"
min_free_bytes = 104857600
log_level = "warning"
"""
#: The server ends in order also when the demo is killed and can end nothing itself (Linux).
_RUN: Final = """
import signal, sys
from switchgear.sdk.host.measures import die_with_parent
die_with_parent(int(sys.argv[1]), signal.SIGTERM)
from switchgear.interface.cli import main
main(["serve", "--port", "0"])
"""


class DemoServer:
    """`switchgear serve` on a free loopback port, in an instance in *folder*; ended with the `with` block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._home = folder / _HOME
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __str__(self) -> str:
        return f"Serving at {self.url}, token {self._home / 'admin.token'},"

    def __enter__(self) -> DemoServer:
        (self._folder / "switchgear.toml").write_text(_SETTINGS, encoding="utf-8")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _RUN, str(os.getpid())],
                cwd=self._folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self.url = self._listening().url
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @contextmanager
    def connect(self) -> Iterator[Api]:
        """Speak REST to it, as its admin."""
        with connect_to(self.url, admin_token(self._home)) as api:
            yield api

    def wait(self) -> None:
        """Wait until it ends or Ctrl-C."""
        assert self._process is not None, "it was started"
        with suppress(KeyboardInterrupt):
            self._process.wait()

    def _listening(self) -> LiveServer:
        assert self._process is not None, "it was started"
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            found = live_server(self._home)
            if found is not None:
                return found
            if self._process.poll() is not None:
                break
            time.sleep(_LOOK_S)
        raise CommandFailed(f"The server of the demo did not start. It said:\n{self._last_words()}")

    def _last_words(self) -> str:
        with suppress(OSError):
            return self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
        return ""


def _environment() -> dict[str, str]:
    """The environment without settings of another instance."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SWITCHGEAR_")}
