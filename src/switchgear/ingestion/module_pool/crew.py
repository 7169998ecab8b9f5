"""The workers of one pool: as many as calls need, and one in reserve. Source: DESIGN 5 (warm standby)."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from switchgear.core.module_registry.lacks import lack_of_failure
from switchgear.domain.errors import Code
from switchgear.domain.stage import Lack
from switchgear.ingestion.module_pool import outcomes
from switchgear.ingestion.module_pool.fork_server import ForkServer
from switchgear.ingestion.module_pool.listener import Listener
from switchgear.ingestion.module_pool.memory import TOO_MUCH, MemoryWatch
from switchgear.ingestion.module_pool.pipe import BodyTooLarge, FrameError
from switchgear.ingestion.module_pool.redaction import Redactor, references, resolve
from switchgear.ingestion.module_pool.values import ModuleUse, PoolClosed, StartRefused, Surroundings
from switchgear.ingestion.module_pool.worker import WorkerProcess
from switchgear.sdk.host.frames import Frame

#: How long the fork server may take to report a death before the engine ends it, in seconds.
REPORT_S: Final = 1.0


class Crew:
    """Makes workers ready, lends them to calls, and replaces those that are gone."""

    def __init__(self, use: ModuleUse, surroundings: Surroundings, folder: Path, listener: Listener) -> None:
        self._use = use
        self._around = surroundings
        self._folder = folder
        self._listener = listener
        self.concurrency = use.limits.concurrency or surroundings.default_concurrency
        self.ready: list[WorkerProcess] = []
        self.busy: set[WorkerProcess] = set()
        self._server: ForkServer | None = None
        self._server_lock = asyncio.Lock()
        self._generations = 0
        self._starting: set[asyncio.Task[Any] | None] = set()
        self._waiting: deque[asyncio.Future[WorkerProcess]] = deque()
        self._is_closed = False

    @property
    def server_pid(self) -> int | None:
        """Process id of the fork server, once started."""
        return self._server.pid if self._server else None

    async def warm(self) -> Lack | None:
        """Make one worker ready; returns why that is not possible."""
        if any(worker.is_usable for worker in self.ready) or self.busy:
            return None
        try:
            self.give_back(await self.wait_for_worker())
        except StartRefused as refused:
            return refused.lack
        return None

    async def wait_for_worker(self) -> WorkerProcess:
        """Return the next free worker; starts one if need be.

        Raises:
            StartRefused: None can be started.
        """
        if self._is_closed:
            raise PoolClosed()
        waiting: asyncio.Future[WorkerProcess] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self.fill()
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                self.give_back(waiting.result())
            raise
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    def fill(self) -> None:
        """Start as many workers as calls wait for, else one in reserve."""
        if self._is_closed:
            return
        self.ready = [worker for worker in self.ready if worker.is_usable]
        wanted = len(self._waiting) or (0 if self.ready else 1)
        room = self.concurrency + 1 - len(self.busy) - len(self.ready) - len(self._starting)
        for _ in range(min(wanted - len(self._starting), room)):
            task = asyncio.create_task(self._start_one(), name=f"start {self._use.module_id}")
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)  # when it is cancelled

    async def _start_one(self) -> None:
        worker: WorkerProcess | None = None
        lack: Lack | None = None
        try:
            worker = await self._start_worker()
        except StartRefused as refused:
            lack = refused.lack
        except (OSError, ValueError) as error:  # no descriptors or processes left, or settings that are no JSON
            message = f"Module {self._use.module_id}: no process could be started: {error}"
            lack = Lack(Code.MODULE_PROBE_FAILED, message)
        self._starting.discard(asyncio.current_task())  # before a waiting call goes on and counts
        if worker is not None:
            self.give_back(worker)
        elif lack is not None:
            self._refuse(lack)
        if self._waiting:
            self.fill()

    def _refuse(self, lack: Lack) -> None:
        self._listener.log("warning", "module.start_refused", code=str(lack.code), message=lack.message)
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(StartRefused(lack))
                return

    def give_back(self, worker: WorkerProcess) -> None:
        """Hand a worker that is free to who waits, else keep it ready."""
        if self._is_closed:
            worker.kill("closed")
            return
        while self._waiting and worker.is_usable:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(worker)
                return
        if worker.is_usable:
            self.ready.append(worker)

    async def _start_worker(self) -> WorkerProcess:
        settings = json.loads(self._use.settings_json)
        names = references(settings, self._use.secret_pointers)
        secrets = resolve(self._use.module_id, names, self._around.resolve_secret)
        self._listener.redactor = Redactor(secrets.values())
        for is_last in (False, True):
            server = await self._running_server()
            try:
                return await self._open(await server.spawn(), settings, secrets)
            except StartRefused:
                if is_last or server.is_alive:
                    raise  # else a call killed the fork server meanwhile: not this call's fault
        raise AssertionError("unreachable")

    async def _open(self, worker: WorkerProcess, settings: Any, secrets: Mapping[str, str]) -> WorkerProcess:
        limits = self._around.limits.model_dump(mode="json")
        watch = MemoryWatch(worker, self._use.limits.memory_mb << 20)
        try:
            async with asyncio.timeout(self._around.open_timeout_s):
                await worker.pipe.send({"open": {"settings": settings, "limits": limits, "secrets": secrets}})
                frame = await self._listener.next_answer(worker, None)
        except (TimeoutError, FrameError, BodyTooLarge):
            worker.kill("open")
            await worker.gone(REPORT_S)
            message = f"Module {self._use.module_id}: open took more than {self._around.open_timeout_s:g} s."
            raise StartRefused(Lack(Code.MODULE_PROBE_FAILED, message)) from None
        except BaseException:
            worker.kill("cancelled")
            raise
        finally:
            watch.stop()
        if frame is not None and "opened" in frame.header:
            worker.inputs = tuple(frame.header["inputs"])
            self._listener.say_printed(worker.printed, None)
            return worker
        raise StartRefused(await self._why_refused(worker, frame))

    async def _why_refused(self, worker: WorkerProcess, frame: Frame | None) -> Lack:
        self._listener.say_printed(worker.printed, None)
        await worker.gone(REPORT_S)
        if frame is not None and "refused" in frame.header:
            failure = self._listener.redactor.plain(frame.header["refused"])
            return lack_of_failure(self._use.module_id, failure, frame.header.get("while", "open"))
        code = worker.exited.result() if worker.exited.done() else None
        ended = f"its process ended in open ({outcomes.death_detail(code)})."
        if worker.killed_for == TOO_MUCH:
            ended = f"open took more than its {self._use.limits.memory_mb} MiB."
        worker.kill("open")
        message = f"Module {self._use.module_id}: {ended}"
        return Lack(Code.MODULE_PROBE_FAILED, message)

    async def _running_server(self) -> ForkServer:
        async with self._server_lock:
            if self._is_closed:
                raise PoolClosed()
            if self._server is None or not self._server.is_alive:
                if self._server is not None:
                    await self._server.close(at_once=True)
                self._generations += 1
                server = ForkServer(self._use, self._around, self._folder / f"g{self._generations}")
                try:
                    await server.start()
                finally:
                    self._listener.say_printed(server.printed, None)
                self._server = server
            return self._server

    async def end_server(self) -> None:
        """End the fork server that does not report a death, and all below it; the next start makes a new one."""
        if self._server is not None:
            await self._server.close(at_once=True)

    async def close(self) -> None:
        """End every process; calls that still run get the outcome `cancelled`."""
        self._is_closed = True
        starting = [task for task in self._starting if task is not None]
        for task in starting:
            task.cancel()
        for worker in [*self.ready, *self.busy]:
            worker.kill("cancelled")
        self.ready.clear()
        if starting:
            await asyncio.wait(starting)
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(PoolClosed())
        async with self._server_lock:
            if self._server is not None:
                await self._server.close()
