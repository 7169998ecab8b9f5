"""Ends a worker that takes more memory than its limit, by itself or together with what it started.

The kernel's cap counts the private memory of each process alone. Source: RELIABILITY 3 (row 7) and 4.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from switchgear.ingestion.module_pool.worker import WorkerProcess
from switchgear.sdk.host import measures

#: How often memory is looked at, in seconds.
_LOOK_EVERY_S: Final = 0.1
#: What `kill` is told.
TOO_MUCH: Final = "memory_limit"


class MemoryWatch:
    """Looks while a call or an `open` is under way."""

    def __init__(self, worker: WorkerProcess, most_bytes: int) -> None:
        self._worker = worker
        self._most = most_bytes
        self._was_over = False
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(_LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        pid = self._worker.pid
        if resident_bytes(pid) > self._most or self._is_over_with(list(_below(pid))):
            self._worker.kill(TOO_MUCH)
            return
        self._timer = self._loop.call_later(_LOOK_EVERY_S, self._look)

    def _is_over_with(self, started: list[int]) -> bool:
        """Whether it and what it started were over the limit at two looks: a program that starts is its copy at first.

        What several of them share counts once; that takes longer to tell, and is asked only when it may matter.
        """
        family = [self._worker.pid, *started]
        is_over = bool(started) and sum(map(resident_bytes, family)) > self._most
        is_over = is_over and sum(map(_share_bytes, family)) > self._most
        is_over, self._was_over = is_over and self._was_over, is_over
        return is_over

    def stop(self) -> None:
        """It is over."""
        self._timer.cancel()


def resident_bytes(pid: int) -> int:
    """Private and shared memory of one process that is resident, without mapped files; 0 where there is no /proc."""
    return _sum_of(f"/proc/{pid}/status", (b"RssAnon:", b"RssShmem:"))


def _share_bytes(pid: int) -> int:
    """The same, where what n processes share counts 1/n for each."""
    return _sum_of(f"/proc/{pid}/smaps_rollup", (b"Pss_Anon:", b"Pss_Shmem:"))


def _sum_of(path: str, names: tuple[bytes, ...]) -> int:
    try:
        with open(path, "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(names)) * 1024


def _below(pid: int) -> Iterator[int]:
    """Process ids of its children and theirs."""
    for child in measures.children(pid):
        yield child
        yield from _below(child)
