"""Describes modules in a few child processes; what hangs or dies is blamed by name and holds up nobody else.

A child that says nothing is helped: another one goes on with the modules behind the silent one. A go over all modules
so takes about one limit, however many of them hang. Source: DESIGN 3, RELIABILITY 3 (row 16), ADR 0021.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from switchgear.core.module_registry.children import death_of, end_child, start_child

#: A child that says nothing for this part of the limit is helped by another, again and again.
_PATIENCE: Final = 0.1
#: Not more children than this at once: each is an interpreter with what the module imported so far.
_MOST_CHILDREN: Final = 16


async def describe_all(
    names: Sequence[str],
    environment: Mapping[str, str],
    *,
    limit_s: float,
    parallel: int,
    importing: set[str] | None = None,
) -> dict[str, dict[str, Any]]:
    """Describe modules, several at a time; a name that hangs or dies does not stop the others.

    Args:
        names: Entry point names; neighbours share a child, and with it what both import.
        environment: The whole environment of the children.
        limit_s: Longest import of one module, in seconds. When more modules hang than there may be children, those
            that are asked later get a tenth of it.
        parallel: So many children work at once; those that say nothing do not count.
        importing: Holds, meanwhile, the names that are waited for.

    Returns:
        Name -> `{description}` or `{failure}`; a hang is the failure `timeout`, a death the failure `crash`.
    """
    share = max(1, -(-len(names) // max(1, parallel)))
    describing = _Describing(environment, limit_s, set() if importing is None else importing)
    async with asyncio.TaskGroup() as group:
        for start in range(0, len(names), share):
            group.create_task(describing.work_through(deque(names[start : start + share]), group))
    left = _failure("crash", f"no process could be started for it ({describing.refusal})")
    return {name: describing.found.get(name, left) for name in names}


@dataclass(slots=True)
class _Describing:
    """One go over modules: what was found so far, and how many children are at work."""

    environment: Mapping[str, str]
    limit_s: float
    importing: set[str]
    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    children: int = 0
    is_crowded: bool = False  #: so many hang that others cannot be given the whole limit
    refusal: str = ""  #: why the machine gave no process

    async def work_through(self, names: deque[str], group: asyncio.TaskGroup) -> None:
        """Describe *names*, which helpers take from too, in one child after the other."""
        self.children += 1
        try:
            while names:
                child = await start_child("module", environment=self.environment)
                try:
                    while names and await self._describe(names.popleft(), child, names, group):
                        pass
                finally:
                    await end_child(child)
        except OSError as error:
            self.refusal = error.strerror or type(error).__name__
        finally:
            self.children -= 1

    async def _describe(
        self, name: str, child: asyncio.subprocess.Process, behind: deque[str], group: asyncio.TaskGroup
    ) -> bool:
        """Ask for one module, and return whether *child* can be asked for another."""
        limit_s = self.limit_s * (_PATIENCE if self.is_crowded else 1)
        self.importing.add(name)
        try:
            self.found[name] = json.loads(await self._answer(name, child, limit_s, behind, group))
            return True
        except TimeoutError:
            self.is_crowded = self.is_crowded or self.children >= _MOST_CHILDREN
            self.found[name] = _failure("timeout", f"the import took more than {limit_s:g} s")
            await end_child(child, at_once=True)
        except (ValueError, OSError):  # no answer, or none that can be read
            await end_child(child)
            self.found[name] = _failure("crash", f"the import ended with {death_of(child.returncode)}")
        finally:
            self.importing.discard(name)
        return False

    async def _answer(
        self,
        name: str,
        child: asyncio.subprocess.Process,
        limit_s: float,
        behind: deque[str],
        group: asyncio.TaskGroup,
    ) -> bytes:
        """Wait for a line; each time that patience ends, another child goes on with what is *behind*."""
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(f"{name}\n".encode())
        reading = asyncio.ensure_future(child.stdout.readline())
        ends = time.monotonic() + limit_s
        try:
            while not reading.done():
                left_s = ends - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError
                await asyncio.wait([reading], timeout=min(left_s, self.limit_s * _PATIENCE))
                if not reading.done() and behind:
                    self._help(behind, group)
            return reading.result()
        finally:
            reading.cancel()

    def _help(self, names: deque[str], group: asyncio.TaskGroup) -> None:
        if self.children < _MOST_CHILDREN:
            group.create_task(self.work_through(names, group))


def _failure(error: str, message: str) -> dict[str, Any]:
    return {"failure": {"error": error, "message": message, "missing": None}}
