"""One pool: the processes of one module with one set of settings. The pool is the concurrency limit too.

Source: DESIGN 5, RELIABILITY 3 (rows 1 to 15), I21 to I23.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from switchgear.domain.run import NO_FREE_WORKER, AttemptResult, Outcome
from switchgear.domain.stage import Lack
from switchgear.ingestion.module_pool import outcomes
from switchgear.ingestion.module_pool.crew import REPORT_S, Crew
from switchgear.ingestion.module_pool.listener import Listener
from switchgear.ingestion.module_pool.memory import MemoryWatch
from switchgear.ingestion.module_pool.pipe import BodyTooLarge, FrameError
from switchgear.ingestion.module_pool.values import Call, ModuleUse, PoolClosed, StartRefused, Surroundings
from switchgear.ingestion.module_pool.worker import WorkerProcess
from switchgear.sdk.host.frames import Frame
from switchgear.sdk.host.worker import too_large
from switchgear.sdk.values import Earlier

#: A call that takes longer than this gets a reserve made meanwhile; a short one is not disturbed by a fork. Seconds.
_RESERVE_S: Final = 0.02


class Pool:
    """Keeps one worker in reserve, so that the call after a crash or a hang starts at once."""

    def __init__(self, use: ModuleUse, surroundings: Surroundings, folder: Path) -> None:
        self.use = use
        self._around = surroundings
        self._listener = Listener(use.module_id, surroundings)
        self._crew = Crew(use, surroundings, folder, self._listener)
        self._slots = asyncio.Semaphore(self._crew.concurrency)
        self._active = 0
        self.idle = asyncio.Event()  #: set while no call runs or waits, and nobody waits until it is warm
        self.idle.set()
        self._last_call = time.monotonic()
        self.calls = 0
        self.recycled: Counter[str] = Counter()

    def describe(self) -> dict[str, Any]:
        """Module, level, processes and counts; for `/status`."""
        workers = [worker for worker in [*self._crew.ready, *self._crew.busy] if worker.is_usable]
        return {
            "module": self.use.module_id,
            "level": self.use.level_in_words,
            "workers": len(workers),
            "busy": len(self._crew.busy),
            "calls": self.calls,
            "recycled": dict(self.recycled),
            "server_pid": self._crew.server_pid,
            "pids": sorted(worker.pid for worker in workers),
        }

    def idle_for_s(self) -> float:
        """Seconds since the last call ended; 0 while one runs or waits."""
        return 0.0 if self._active else time.monotonic() - self._last_call

    async def warm(self) -> Lack | None:
        """Make one worker ready; returns why that is not possible."""
        with self._in_use():
            return await self._crew.warm()

    async def call(self, call: Call) -> AttemptResult:
        """Run one attempt; never raises for what the module did.

        Raises:
            OSError: The stored document cannot be opened.
        """
        with self._in_use():
            try:
                return await self._call(call)
            finally:
                self._last_call = time.monotonic()

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        self._active += 1
        self.idle.clear()
        try:
            yield
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
        except PoolClosed:
            result = AttemptResult(Outcome.CANCELLED, message="The run was stopped.")
        except StartRefused as refused:
            result = outcomes.of_lack(refused.lack)
        finally:
            self._slots.release()
        return replace(result, duration_us=int((time.monotonic() - began) * 1e6))

    def _no_worker(self, call: Call, began: float) -> AttemptResult:
        message = f"No process of the module was free within {call.timeout_s:g} s."
        return AttemptResult(
            Outcome.TIMEOUT, NO_FREE_WORKER, message, duration_us=int((time.monotonic() - began) * 1e6)
        )

    async def _take(self, deadline: float) -> WorkerProcess | None:
        while self._crew.ready:
            worker = self._crew.ready.pop()
            if worker.is_usable:
                if worker.reaches_its_folders():
                    return worker
                worker.kill("folders")
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await self._crew.wait_for_worker()
        except TimeoutError:
            return None

    async def _attempt(self, worker: WorkerProcess, call: Call, deadline: float) -> AttemptResult:
        self._crew.busy.add(worker)
        self.calls += 1
        worker.calls += 1
        loop = asyncio.get_running_loop()
        reserve = loop.call_later(_RESERVE_S, self._crew.fill)
        timer = loop.call_later(max(0.0, deadline - time.monotonic()), worker.kill, "timeout")
        watch = MemoryWatch(worker, self.use.limits.memory_mb << 20)
        is_reusable = False
        try:
            await self._send(worker, call, deadline)
            frame = await self._answer_in_time(worker, call, deadline)
            if frame is None:
                return await self._after_death(worker, call)
            result = self._listener.checked(outcomes.of_answer(frame.header, frame.body))
            is_reusable = "recycle" not in frame.header
            if not is_reusable:
                await self._recycle(worker, str(frame.header["recycle"]))
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
            reserve.cancel()
            watch.stop()
            self._listener.say_printed(worker.printed, call)
            self._crew.busy.discard(worker)
            if is_reusable and worker.is_usable:
                self._crew.give_back(worker)
            else:
                worker.kill("recycled")
            self._crew.fill()

    async def _answer_in_time(self, worker: WorkerProcess, call: Call, deadline: float) -> Frame | None:
        frame = await self._listener.next_answer(worker, call)
        if frame is not None and time.monotonic() >= deadline:
            worker.kill("timeout")  # an event loop that was busy hears the answer before the timer
            return None
        return frame

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
        earlier = _as_json(call.earlier)
        parts.append(earlier)
        document = call.document
        header = {
            "run_id": call.run_id,
            "document_id": call.document_id,
            "attempt": call.attempt,
            "deadline": deadline,
            "delivery_base": call.delivery_base,
            "decision": call.decision.model_dump(mode="json") if call.decision else None,
            "earlier_bytes": len(earlier),
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

    async def _after_death(self, worker: WorkerProcess, call: Call) -> AttemptResult:
        """The pipe closed without an answer: wait for the reason, and until nothing that it started is left."""
        if worker.killed_for is None and not await worker.gone(0.05):
            worker.kill("pipe closed")  # it closed its descriptors and lives on
        await self._ended(worker)
        code = worker.exited.result() if worker.exited.done() else None
        return outcomes.of_death(worker.killed_for, code, call.timeout_s, self.use.limits.memory_mb)

    async def _recycle(self, worker: WorkerProcess, reason: str) -> None:
        self.recycled[reason] += 1
        self._around.on_recycled(self.use.module_id, reason)
        worker.kill(reason)
        if reason == "processes":  # nothing that a call started outlives its attempt
            await self._ended(worker)

    async def _ended(self, worker: WorkerProcess) -> None:
        """Wait until it is gone with everything that it started; a fork server that does not say so is ended."""
        if not await worker.gone(REPORT_S):
            await self._crew.end_server()

    async def close(self) -> None:
        """End every process; calls that still run get the outcome `cancelled`."""
        await self._crew.close()


def _as_json(earlier: Sequence[Earlier]) -> bytes:
    """Results of earlier documents; each may be as large as an output, so they travel as values do."""
    return b"[%b]" % b",".join(item.model_dump_json().encode() for item in earlier) if earlier else b""
