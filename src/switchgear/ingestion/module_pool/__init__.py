"""Runs modules in supervised processes of their own, one pool per module and settings. Source: DESIGN 5.

Use: `await pools.warm(use)`, then `await pools.call(use, call)`; `keep` closes what no plan names any more. A pool that
only calls have started, a fallback's, is closed when nobody calls it for a while.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
import socket
from collections.abc import Callable, Collection, Coroutine, Mapping
from pathlib import Path
from typing import Any

from switchgear.domain.run import AttemptResult
from switchgear.domain.stage import Lack
from switchgear.ingestion.module_pool.inline import InlinePool
from switchgear.ingestion.module_pool.pool import Pool
from switchgear.ingestion.module_pool.values import (
    Call,
    DocumentFile,
    KeepArtifact,
    Listener,
    ModuleUse,
    StageValue,
    Surroundings,
)
from switchgear.sdk.values import Limits

__all__ = ["Call", "DocumentFile", "ModulePools", "ModuleUse", "StageValue"]


class ModulePools:
    """All pools of one server process.

    Args:
        folder: Root of the scratch folders; each server process has a folder of its own there. What a dead one left
            is removed at start.
        limits: Bounds that modules get as `ctx.limits`; `max_output_bytes` is enforced here.
        environment: The server's environment; modules get PATH, locale and the names that they asked for.
        resolve_secret: Reference -> value, or None when it is not there.
        default_concurrency: Calls at the same time for a selection that says nothing.
        on_artifact: Keeps a file as an artifact (called in a thread); None refuses artifacts.
        on_log: Gets what modules log and print; secrets are taken out.
        on_recycled: Told the module and the reason whenever a worn-out process is replaced.
        import_timeout_s: Longest import of a module, in seconds.
        open_timeout_s: Longest `open` of a module, in seconds.
        idle_s: A pool that no `warm` asked for is closed when it was not called for so long, in seconds.
        private: Files and folders of the instance that no module gets at from level L2 on.
        results: Folders inside them that a module may declare to write all the same.
    """

    def __init__(
        self,
        *,
        folder: Path,
        limits: Limits,
        environment: Mapping[str, str],
        resolve_secret: Callable[[str], str | None],
        default_concurrency: int,
        on_artifact: KeepArtifact | None = None,
        on_log: Listener | None = None,
        on_recycled: Callable[[str, str], None] | None = None,
        import_timeout_s: float = 20.0,
        open_timeout_s: float = 60.0,
        idle_s: float = 900.0,
        private: tuple[Path, ...] = (),
        results: tuple[Path, ...] = (),
    ) -> None:
        self.surroundings = Surroundings(
            folder=folder.resolve() / f"{os.getpid()}-{_machine()}-{secrets.token_hex(4)}",
            limits=limits,
            environment=environment,
            resolve_secret=resolve_secret,
            default_concurrency=default_concurrency,
            on_artifact=on_artifact,
            on_log=on_log or (lambda record: None),
            on_recycled=on_recycled or (lambda module, reason: None),
            import_timeout_s=import_timeout_s,
            open_timeout_s=open_timeout_s,
            private=private,
            results=results,
        )
        self._pools: dict[ModuleUse, Pool | InlinePool] = {}
        self._warmed: set[ModuleUse] = set()
        self._idle_s = idle_s
        self._looking: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._number = 0

    async def start(self) -> None:
        """Make the scratch root; remove those of servers that are gone."""
        await asyncio.to_thread(_remove_left_over, self.surroundings.folder.parent)
        self.surroundings.folder.mkdir(parents=True, mode=0o700)
        self._looking = asyncio.create_task(self._close_idle(), name="close idle pools")

    async def close(self) -> None:
        """End every process of every module; nothing is left when this returns."""
        if self._looking is not None:
            self._looking.cancel()
        pools = list(self._pools.values())
        self._pools.clear()
        await asyncio.gather(*(pool.close() for pool in pools))
        for task in list(self._leaving):
            task.cancel()
        if self._leaving:
            await asyncio.wait(self._leaving)
        shutil.rmtree(self.surroundings.folder, ignore_errors=True)

    def _pool(self, use: ModuleUse) -> Pool | InlinePool:
        pool = self._pools.get(use)
        if pool is None:
            self._number += 1
            folder = self.surroundings.folder / f"p{self._number}"
            pool = (InlinePool if use.level == "L0" else Pool)(use, self.surroundings, folder)
            self._pools[use] = pool
        return pool

    async def warm(self, use: ModuleUse) -> Lack | None:
        """Import and open the module in a process that waits for a call.

        Returns:
            None when it is ready, else why not and what to do.
        """
        self._warmed.add(use)
        return await self._pool(use).warm()

    def call(self, use: ModuleUse, call: Call) -> Coroutine[Any, Any, AttemptResult]:
        """Run one attempt; what the module does never raises, it is the result.

        Cancelling this call ends the module's process.

        Raises:
            OSError: The stored document cannot be opened.
        """
        return self._pool(use).call(call)

    async def keep(self, uses: Collection[ModuleUse]) -> None:
        """Close the pools that are not in *uses*, each when its calls have ended; does not wait for that."""
        self._warmed.intersection_update(uses)
        for use in [use for use in self._pools if use not in uses]:
            self._let_go(use)

    def _let_go(self, use: ModuleUse) -> None:
        task = asyncio.create_task(self._leave(self._pools.pop(use)), name=f"close pool {use.module_id}")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _close_idle(self) -> None:
        """Fallbacks that served for a while keep their models no longer than somebody needs them."""
        while True:
            await asyncio.sleep(self._idle_s / 4)
            for use, pool in list(self._pools.items()):
                if use not in self._warmed and isinstance(pool, Pool) and pool.idle_for_s() > self._idle_s:
                    self._let_go(use)

    async def _leave(self, pool: Pool | InlinePool) -> None:
        try:
            await pool.idle.wait()
        finally:
            await pool.close()

    def describe(self) -> list[dict[str, Any]]:
        """Each pool: module, level, workers, busy, calls, recycled, pids."""
        return [pool.describe() for pool in self._pools.values()]


def _machine() -> str:
    """What tells this machine's folders from those of others that share the file system."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _remove_left_over(root: Path) -> None:
    """Remove the folders of this machine's processes that do not live any more; other servers may share *root*."""
    for folder in root.glob(f"*-{_machine()}-*"):
        number = folder.name.partition("-")[0]
        if not number.isdigit():
            continue
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue
