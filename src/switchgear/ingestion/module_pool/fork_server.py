"""The engine's handle on one fork server: starts it, asks it for workers, hears of their deaths.

Source: DESIGN 5, RELIABILITY 4 and I25.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from switchgear.core.module_registry.lacks import lack_of_failure
from switchgear.domain.errors import Code
from switchgear.domain.stage import Lack
from switchgear.ingestion.module_pool import enclosing
from switchgear.ingestion.module_pool.pipe import BodyTooLarge, FrameError, Pipe, Printed
from switchgear.ingestion.module_pool.values import ModuleUse, StartRefused, Surroundings
from switchgear.ingestion.module_pool.worker import WorkerProcess

#: Native libraries start a thread per core without these; a fork server must have one thread.
_ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
#: How long a process may take to end after its pipe was closed, in seconds.
_GRACE_S: Final = 2.0


def child_environment(environment: Mapping[str, str], names: tuple[str, ...], folder: Path) -> dict[str, str]:
    """What a module process sees: PATH, locale, its folder, the folder for results, and what it asked for.

    PYTHONPATH is for the start only; the process removes it before the module's code runs.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if name in ("PATH", "LANG", "TZ", "SWITCHGEAR_OUT") or name.startswith("LC_") or name in names
    }
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {**_ONE_THREAD, **kept, "TMPDIR": str(folder), "PYTHONPATH": path}


class ForkServer:
    """One exec'ed process that has the module imported."""

    def __init__(self, use: ModuleUse, surroundings: Surroundings, folder: Path) -> None:
        self._use = use
        self._surroundings = surroundings
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Pipe | None = None
        self._numbers = itertools.count(1)
        self._spawned: dict[int, asyncio.Future[int]] = {}
        self._workers: dict[int, WorkerProcess] = {}
        self._early_deaths: dict[int, int] = {}
        self._listening: asyncio.Task[None] | None = None
        self.printed = Printed()
        self.is_alive = False

    @property
    def pid(self) -> int | None:
        """Process id, once started."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start it and wait until the module is imported.

        Raises:
            StartRefused: The import failed or took too long.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        try:
            self._process = self._execute(theirs)
        finally:
            theirs.close()
        self.printed.give_away()
        self._pipe = Pipe(ours, 1 << 20)
        limit = self._surroundings.import_timeout_s
        try:
            async with asyncio.timeout(limit):
                frame = await self._pipe.receive()
        except TimeoutError:
            await self.close(at_once=True)
            raise StartRefused(
                Lack(Code.MODULE_IMPORT_ERROR, f"Module {self._use.module_id}: the import took more than {limit:g} s.")
            ) from None
        except BaseException:
            await self.close(at_once=True)
            raise
        if frame is None or "ready" not in frame.header:
            died = {"refused": {"error": "crash", "message": "the import ended it"}, "while": "import"}
            answer: Mapping[str, Any] = frame.header if frame else died
            await self.close(at_once=True)
            raise StartRefused(lack_of_failure(self._use.module_id, answer["refused"], answer["while"]))
        self.is_alive = True
        self._listening = asyncio.create_task(self._listen(), name=f"fork-server {self._use.module_id}")

    def _execute(self, control: socket.socket) -> subprocess.Popen[bytes]:
        # The kernel ties the child's life to the thread that makes it: this must be the event loop's own.
        use = self._use
        arguments = (control.fileno(), use.module_id, use.limits.memory_mb, enclosing.namespaces_of(use))
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "switchgear.sdk.host", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=self.printed.write,
            stderr=self.printed.write,
            pass_fds=(control.fileno(),),
            env=child_environment(self._surroundings.environment, self._use.environment, self._folder),
            start_new_session=True,
        )

    async def spawn(self) -> WorkerProcess:
        """Fork a worker; its module is not opened yet.

        Raises:
            StartRefused: The fork server is gone, or the module may not write what it declared.
        """
        enclosure = enclosing.enclosure_of(self._use, self._surroundings) if self._use.is_enclosed else None
        number = next(self._numbers)
        ours, theirs = socket.socketpair()
        printed = Printed()
        scratch = self._folder / f"w{number}"
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._spawned[number] = answer
        pipe = Pipe(ours, self._surroundings.limits.max_output_bytes)
        try:
            assert self._pipe is not None
            order = {"number": number, "scratch": str(scratch), "memory_mb": self._use.limits.memory_mb}
            order |= {"enclosure": asdict(enclosure)} if enclosure is not None else {}
            await self._pipe.send(order, descriptors=(theirs.fileno(), printed.write))
            if not self.is_alive:
                raise self._gone()
            pid = await answer
        except BaseException:
            pipe.close()
            printed.close()
            raise
        finally:
            theirs.close()
            printed.give_away()
            self._spawned.pop(number, None)
        worker = WorkerProcess(pid, pipe, printed, scratch, enclosure.writes if enclosure is not None else ())
        self._workers[pid] = worker
        if pid in self._early_deaths:
            self._bury(pid, self._early_deaths.pop(pid))
        return worker

    async def _listen(self) -> None:
        assert self._pipe is not None
        with contextlib.suppress(FrameError, BodyTooLarge):
            while (frame := await self._pipe.receive()) is not None:
                self._hear(frame.header)
        self.is_alive = False
        for waiting in self._spawned.values():
            if not waiting.done():
                waiting.set_exception(self._gone())
        kill_leftovers(self._folder)
        for pid in list(self._workers):
            self._bury(pid, None)

    def _hear(self, header: Mapping[str, Any]) -> None:
        if "spawned" in header:
            waiting = self._spawned.get(header["spawned"])
            if waiting is not None and not waiting.done():
                waiting.set_result(header["pid"])
            else:  # nobody waits any more: the worker ends when it finds its pipe closed
                self._early_deaths.pop(header["pid"], None)
        elif "exited" in header:
            if header["exited"] in self._workers:
                self._bury(header["exited"], header["code"])
            else:
                self._early_deaths[header["exited"]] = header["code"]

    def _bury(self, pid: int, code: int | None) -> None:
        self._workers.pop(pid).set_exited(code)

    def _gone(self) -> StartRefused:
        message = f"Module {self._use.module_id}: its process ended while a worker was made."
        return StartRefused(Lack(Code.MODULE_PROBE_FAILED, message))

    async def close(self, *, at_once: bool = False) -> None:
        """End it with everything below it; returns when no process is left."""
        self.is_alive = False
        if self._pipe is not None:
            self._pipe.close()
        process = self._process
        if process is not None:
            waited = 0.0
            while process.poll() is None:
                if at_once or waited > _GRACE_S:
                    process.kill()
                await asyncio.sleep(0.002)
                waited += 0.002
            kill_leftovers(self._folder)
        if self._listening is not None:
            self._listening.cancel()
            # It may have been about to read the pipe that was closed above: some event loops then raise.
            with contextlib.suppress(asyncio.CancelledError, ValueError, OSError):
                await self._listening
        for pid in list(self._workers):
            self._bury(pid, None)
        self.printed.close()


def kill_leftovers(folder: Path) -> int:
    """Kill every process that was started below the fork server of *folder*, when that one cannot do it any more."""
    mark = b"\0" + f"TMPDIR={folder}".encode()
    killed = 0
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                environment = b"\0" + Path(f"/proc/{name}/environ").read_bytes() + b"\0"
                if mark + b"\0" in environment or mark + b"/" in environment:
                    os.kill(int(name), signal.SIGKILL)
                    killed += 1
    return killed
