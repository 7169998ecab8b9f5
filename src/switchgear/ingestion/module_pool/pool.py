"""One pool: the processes of one module with one set of settings. The pool is the concurrency limit too.

Source: DESIGN 5, RELIABILITY 3 (rows 1 to 15), I21 to I23.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from switchgear.core.module_registry.lacks import lack_of_failure
from switchgear.domain.errors import Code
from switchgear.domain.run import AttemptResult, Outcome
from switchgear.domain.stage import Lack
from switchgear.ingestion.module_pool import outcomes
from switchgear.ingestion.module_pool.fork_server import ForkServer
from switchgear.ingestion.module_pool.pipe import BodyTooLarge, FrameError
from switchgear.ingestion.module_pool.secrets import Redactor, references, resolve
from switchgear.ingestion.module_pool.values import Call, KeepArtifact, ModuleUse, StartRefused, Surroundings
from switchgear.ingestion.module_pool.worker import WorkerProcess
from switchgear.sdk.host.frames import Frame
from switchgear.sdk.host.worker import too_large
from switchgear.sdk.values import Blob

#: How often a running call's memory is looked at, in seconds.
_WATCH_S: Final = 0.1
#: How long the fork server may take to report a death before the engine ends it, in seconds.
_REPORT_S: Final = 1.0


class Pool:
    """Keeps one worker in reserve, so that the call after a crash or a hang starts at once."""

    level: Final = "L1"

    def __init__(self, use: ModuleUse, surroundings: Surroundings, folder: Path) -> None:
        self.use = use
        self._around = surroundings
        self._folder = folder
        self._concurrency = use.limits.concurrency or surroundings.default_concurrency
        self._slots = asyncio.Semaphore(self._concurrency)
        self._server: ForkServer | None = None
        self._server_lock = asyncio.Lock()
        self._generations = 0
        self._ready: list[WorkerProcess] = []
        self._busy: set[WorkerProcess] = set()
        self._starting: set[asyncio.Task[Any] | None] = set()
        self._waiting: deque[asyncio.Future[WorkerProcess]] = deque()
        self._is_closed = False
        self._redactor = Redactor()
        self._active = 0
        self.idle = asyncio.Event()  #: set while no call runs or waits
        self.idle.set()
        self.calls = 0
        self.recycled: Counter[str] = Counter()

    def describe(self) -> dict[str, Any]:
        """Module, level, processes and counts; for `/status`."""
        workers = [*self._ready, *self._busy]
        return {
            "module": self.use.module_id,
            "level": self.level,
            "workers": len(workers),
            "busy": len(self._busy),
            "calls": self.calls,
            "recycled": dict(self.recycled),
            "server_pid": self._server.pid if self._server else None,
            "pids": sorted(worker.pid for worker in workers),
        }

    # --- workers ---

    async def warm(self) -> Lack | None:
        """Make one worker ready; returns why that is not possible."""
        if any(worker.is_usable for worker in self._ready) or self._busy:
            return None
        try:
            self._give_back(await self._wait_for_worker())
        except StartRefused as refused:
            return refused.lack
        return None

    async def _wait_for_worker(self) -> WorkerProcess:
        waiting: asyncio.Future[WorkerProcess] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._fill()
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                self._give_back(waiting.result())
            raise
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    def _fill(self) -> None:
        """Start as many workers as calls wait for, else one in reserve."""
        if self._is_closed:
            return
        wanted = len(self._waiting) or (0 if self._ready else 1)
        room = self._concurrency + 1 - len(self._busy) - len(self._ready) - len(self._starting)
        for _ in range(min(wanted - len(self._starting), room)):
            task = asyncio.create_task(self._start_one(), name=f"start {self.use.module_id}")
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
            message = f"Module {self.use.module_id}: no process could be started: {error}"
            lack = Lack(Code.MODULE_PROBE_FAILED, message)
        self._starting.discard(asyncio.current_task())  # before a waiting call goes on and counts
        if worker is not None:
            self._give_back(worker)
        elif lack is not None:
            self._refuse(lack)
        if self._waiting:
            self._fill()

    def _refuse(self, lack: Lack) -> None:
        self._log("warning", "module.start_refused", code=str(lack.code), message=lack.message)
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(StartRefused(lack))
                return

    def _give_back(self, worker: WorkerProcess) -> None:
        if self._is_closed:
            worker.kill("closed")
            return
        while self._waiting and worker.is_usable:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(worker)
                return
        if worker.is_usable:
            self._ready.append(worker)

    async def _start_worker(self) -> WorkerProcess:
        settings = json.loads(self.use.settings_json)
        names = references(settings, self.use.secret_pointers)
        secrets = resolve(self.use.module_id, names, self._around.resolve_secret)
        self._redactor = Redactor(secrets.values())
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
        try:
            async with asyncio.timeout(self._around.open_timeout_s):
                await worker.pipe.send({"open": {"settings": settings, "limits": limits, "secrets": secrets}})
                frame = await self._next_answer(worker, None)
        except (TimeoutError, FrameError, BodyTooLarge):
            worker.kill("open")
            await worker.gone(_REPORT_S)
            message = f"Module {self.use.module_id}: open took more than {self._around.open_timeout_s:g} s."
            raise StartRefused(Lack(Code.MODULE_PROBE_FAILED, message)) from None
        except BaseException:
            worker.kill("cancelled")
            raise
        if frame is not None and "opened" in frame.header:
            worker.inputs = tuple(frame.header["inputs"])
            self._say_printed(worker, None)
            return worker
        raise StartRefused(await self._why_refused(worker, frame))

    async def _why_refused(self, worker: WorkerProcess, frame: Frame | None) -> Lack:
        self._say_printed(worker, None)
        await worker.gone(_REPORT_S)
        if frame is not None and "refused" in frame.header:
            failure = self._redactor.plain(frame.header["refused"])
            return lack_of_failure(self.use.module_id, failure, frame.header.get("while", "open"))
        code = worker.exited.result() if worker.exited.done() else None
        worker.kill("open")
        message = f"Module {self.use.module_id}: its process ended in open ({outcomes.death_detail(code)})."
        return Lack(Code.MODULE_PROBE_FAILED, message)

    async def _running_server(self) -> ForkServer:
        async with self._server_lock:
            if self._is_closed:
                raise StartRefused(Lack(Code.MODULE_PROBE_FAILED, "The server is stopping."))
            if self._server is None or not self._server.is_alive:
                if self._server is not None:
                    await self._server.close(at_once=True)
                self._generations += 1
                server = ForkServer(self.use, self._around, self._folder / f"g{self._generations}")
                await server.start()
                self._server = server
            return self._server

    # --- calls ---

    async def call(self, call: Call) -> AttemptResult:
        """Run one attempt; never raises for what the module did.

        Raises:
            OSError: The stored document cannot be opened.
        """
        self._active += 1
        self.idle.clear()
        try:
            return await self._call(call)
        finally:
            self._active -= 1
            if not self._active:
                self.idle.set()

    async def _call(self, call: Call) -> AttemptResult:
        began = time.monotonic()
        deadline = began + call.timeout_s
        try:
            if self._slots.locked():
                async with asyncio.timeout(call.timeout_s):
                    await self._slots.acquire()
            else:
                await self._slots.acquire()  # free: does not wait
        except TimeoutError:
            return self._no_worker(call, began)
        try:
            worker = await self._take(deadline)
            if worker is None:
                return self._no_worker(call, began)
            result = await self._attempt(worker, call, deadline)
        except StartRefused as refused:
            result = outcomes.of_lack(refused.lack)
        finally:
            self._slots.release()
        return replace(result, duration_us=int((time.monotonic() - began) * 1e6))

    def _no_worker(self, call: Call, began: float) -> AttemptResult:
        message = f"No process of the module was free within {call.timeout_s:g} s."
        return AttemptResult(
            Outcome.TIMEOUT, "no_free_worker", message, duration_us=int((time.monotonic() - began) * 1e6)
        )

    async def _take(self, deadline: float) -> WorkerProcess | None:
        while self._ready:
            worker = self._ready.pop()
            if worker.is_usable:
                return worker
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await self._wait_for_worker()
        except TimeoutError:
            return None

    async def _attempt(self, worker: WorkerProcess, call: Call, deadline: float) -> AttemptResult:
        self._busy.add(worker)
        self.calls += 1
        worker.calls += 1
        self._fill()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(max(0.0, deadline - time.monotonic()), worker.kill, "timeout")
        watch = _Watch(worker, self.use.limits.memory_mb << 20)
        is_reusable = False
        try:
            await self._send(worker, call, deadline)
            frame = await self._next_answer(worker, call)
            if frame is None:
                return await self._after_death(worker, call)
            result = self._checked(outcomes.of_answer(frame.header, frame.body))
            is_reusable = "recycle" not in frame.header
            if not is_reusable:
                self.recycled[str(frame.header["recycle"])] += 1
            return result
        except BodyTooLarge as error:
            return outcomes.of_answer(too_large(error.size, self._around.limits.max_output_bytes), b"")
        except (FrameError, ValueError, KeyError, TypeError) as error:
            return AttemptResult(Outcome.CONTRACT_VIOLATION, "protocol", f"Its process answered nonsense: {error}")
        except asyncio.CancelledError:
            worker.kill("cancelled")
            raise
        finally:
            timer.cancel()
            watch.stop()
            self._say_printed(worker, call)
            self._busy.discard(worker)
            if is_reusable and worker.is_usable:
                self._give_back(worker)
            else:
                worker.kill("recycled")
            self._fill()

    async def _send(self, worker: WorkerProcess, call: Call, deadline: float) -> None:
        listed: list[list[Any]] = []
        parts: list[bytes] = []
        for name in worker.inputs:
            if name == "blob":
                continue
            value = call.inputs.get(name)
            if value is not None:
                parts.append(value.raw)
            listed.append([name, None if value is None else len(value.raw)])
        document = call.document
        header = {
            "run_id": call.run_id,
            "document_id": call.document_id,
            "attempt": call.attempt,
            "deadline": deadline,
            "delivery_base": call.delivery_base,
            "decision": call.decision.model_dump(mode="json") if call.decision else None,
            "earlier": [item.model_dump(mode="json") for item in call.earlier],
            "inputs": listed,
        }
        if "blob" not in worker.inputs:
            await worker.pipe.send({"call": header}, parts)
            return
        header["document"] = {
            "sha256": document.sha256,
            "size_bytes": document.size_bytes,
            "media_type": document.media_type,
            "file_name": document.file_name,
        }
        descriptor = os.open(document.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            await worker.pipe.send({"call": header}, parts, (descriptor,))
        finally:
            os.close(descriptor)

    async def _next_answer(self, worker: WorkerProcess, call: Call | None) -> Frame | None:
        """Wait for the answer; serve what the module asks for meanwhile."""
        while (frame := await worker.pipe.receive()) is not None:
            if "log" in frame.header:
                fields = self._redactor.plain(frame.header.get("fields") or {})
                event = self._redactor.text(str(frame.header.get("event")))
                self._log(str(frame.header["log"]), event, call, fields=fields)
            elif "save" in frame.header:
                await worker.pipe.send(await self._save(worker, frame.header))
            else:
                return frame
        return None

    async def _save(self, worker: WorkerProcess, order: Mapping[str, Any]) -> dict[str, Any]:
        path = Path(str(order["save"]))
        keep = self._around.on_artifact
        if keep is None:
            return {"message": "this server keeps no artifacts"}
        try:
            loop = asyncio.get_running_loop()
            blob = await loop.run_in_executor(
                None, _keep_file, keep, worker.scratch, path, str(order.get("media_type"))
            )
        except OSError as error:
            return {"message": error.strerror or type(error).__name__}
        return {"blob": blob.model_dump(mode="json")}

    async def _after_death(self, worker: WorkerProcess, call: Call) -> AttemptResult:
        """The pipe closed without an answer: wait for the reason, and until nothing that it started is left."""
        if worker.killed_for is None and not await worker.gone(0.05):
            worker.kill("pipe closed")  # it closed its descriptors and lives on
        if not await worker.gone(_REPORT_S) and self._server is not None:
            await self._server.close(at_once=True)
        code = worker.exited.result() if worker.exited.done() else None
        return outcomes.of_death(worker.killed_for, code, call.timeout_s, self.use.limits.memory_mb)

    def _checked(self, result: AttemptResult) -> AttemptResult:
        """Keep resolved secrets out of what leaves the pool."""
        if isinstance(result.output, bytes) and self._redactor.finds_in(result.output):
            message = "The output holds a secret of the module's settings; it was dropped."
            return AttemptResult(Outcome.CONTRACT_VIOLATION, "secret_in_output", message)
        if result.message or result.facts:
            return replace(
                result, message=self._redactor.text(result.message), facts=self._redactor.plain(result.facts)
            )
        return result

    # --- logs and the end ---

    def _log(self, level: str, event: str, call: Call | None = None, **fields: Any) -> None:
        who = {"run_id": call.run_id, "document_id": call.document_id} if call else {}
        self._around.on_log({"level": level, "event": event, "module": self.use.module_id, **who, **fields})

    def _say_printed(self, worker: WorkerProcess, call: Call | None) -> None:
        text, was_cut = worker.printed.take()
        if text:
            self._log("info", "module.printed", call, text=self._redactor.text(text), was_cut=was_cut)

    async def close(self) -> None:
        """End every process; calls that still run get the outcome `cancelled`."""
        self._is_closed = True
        starting = [task for task in self._starting if task is not None]
        for task in starting:
            task.cancel()
        for worker in [*self._ready, *self._busy]:
            worker.kill("cancelled")
        self._ready.clear()
        if starting:
            await asyncio.wait(starting)
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(StartRefused(Lack(Code.MODULE_PROBE_FAILED, "The server is stopping.")))
        async with self._server_lock:
            if self._server is not None:
                await self._server.close()


def _keep_file(keep: KeepArtifact, scratch: Path, path: Path, media_type: str) -> Blob:
    if not path.resolve().is_relative_to(scratch.resolve()) or not path.is_file():
        raise OSError(errno.EPERM, "the file is outside the scratch folder")
    return keep(path, media_type)


class _Watch:
    """Ends a worker whose memory grows beyond its limit by ways that the kernel's cap does not count."""

    def __init__(self, worker: WorkerProcess, most_bytes: int) -> None:
        self._worker = worker
        self._most = most_bytes
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(_WATCH_S, self._look)

    def _look(self) -> None:
        if self._worker.memory_bytes() > self._most:
            self._worker.kill("memory_limit")
            return
        self._timer = self._loop.call_later(_WATCH_S, self._look)

    def stop(self) -> None:
        """The call is over."""
        self._timer.cancel()
