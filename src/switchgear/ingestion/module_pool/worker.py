"""The engine's handle on one worker process. Source: DESIGN 5, RELIABILITY 3."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import stat
from collections.abc import Sequence
from pathlib import Path

from switchgear.ingestion.module_pool.pipe import Pipe, Printed


class WorkerProcess:
    """A process that has the module opened, or is about to; serves one call at a time."""

    def __init__(self, pid: int, pipe: Pipe, printed: Printed, scratch: Path, writes: Sequence[str] = ()) -> None:
        self.pid = pid
        self.pipe = pipe
        self.printed = printed
        self.scratch = scratch
        self._writes = [(path, identity(path)) for path in writes]
        self.inputs: tuple[str, ...] = ()
        self.calls = 0
        self.killed_for: str | None = None
        self.exited: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    @property
    def is_usable(self) -> bool:
        """Whether a call may be sent to it."""
        return self.killed_for is None and not self.exited.done()

    def reaches_its_folders(self) -> bool:
        """Whether what it may write is still there: a folder that was replaced is another one for the kernel.

        One that was missing when the process was made stays out of its reach, so each call gets a new process until
        there is one.
        """
        return all(known is not None and identity(path) == known for path, known in self._writes)

    def kill(self, why: str) -> None:
        """End it and its session now; what left the session is killed by the fork server, which hears of the death."""
        if self.killed_for is None:
            self.killed_for = why
        if self.exited.done():
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def set_exited(self, code: int | None) -> None:
        """The fork server reported its end, with everything that it had started."""
        if not self.exited.done():
            self.exited.set_result(code)
        self.pipe.close()
        self.printed.close()
        # The next module of the chain waits for this, and on a slow disk all who share the loop would.
        asyncio.get_running_loop().run_in_executor(None, _remove, self.scratch)

    async def gone(self, within_s: float) -> bool:
        """Wait until it is gone; False when that takes longer than *within_s*."""
        if not self.exited.done():
            await asyncio.wait([self.exited], timeout=within_s)
        return self.exited.done()


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def identity(path: str) -> tuple[int, int] | None:
    """Device and number of the folder at *path* now; None when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISDIR(found.st_mode) else None
