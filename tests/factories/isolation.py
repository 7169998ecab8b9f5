"""Levels of isolation in tests: what this machine does not hold is a skip, and a line of a table at the end.

What the kernel offers is asked a second time, without our code: where that breaks a test fails, and is not skipped.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Literal

import pytest

from switchgear.core.module_registry.isolation import NEEDED, report_of
from switchgear.sdk.host import trials

Level = Literal["L1", "L2", "L3"]

#: Measures that a test was skipped for, and why each is missing.
MISSED: dict[str, str] = {}
#: Every Linux that has a /proc.
_ALWAYS = {"own_session", "dies_with_server", "no_new_privileges", "adopts_orphans", "resource_limits"}
_ALWAYS |= {"memory_watchdog", "privileges_dropped"}
#: Which version of Landlock brought it.
_LANDLOCK = {"files_enclosed": 1, "tcp_refused": 4, "signals_enclosed": 6}
_FILTERED = {"sockets_refused", "calls_refused"}
_NAMESPACES = {"processes_enclosed": "--pid", "network_enclosed": "--net", "shared_memory_enclosed": "--ipc"}


@cache
def measured() -> dict[str, str]:
    """Every measure of this machine: "" or why it is missing."""
    if sys.platform != "linux":
        return dict.fromkeys(NEEDED["L3"], "not Linux")
    # In a process without threads: a child of one that has some may inherit what another thread holds.
    tried = subprocess.run([sys.executable, "-m", trials.__name__], check=True, capture_output=True, timeout=60)
    return dict(json.loads(tried.stdout))


@cache
def offered() -> frozenset[str]:
    """Measures that the kernel offers, asked by other means than ours."""
    if sys.platform != "linux" or not Path("/proc/self/task").exists():
        return frozenset()
    found = set(_ALWAYS)
    if Path(f"/proc/self/task/{os.getpid()}/children").exists():
        found |= {name for name, since in _LANDLOCK.items() if _landlock() >= since}
    actions = Path("/proc/sys/kernel/seccomp/actions_avail")
    if os.uname().machine in ("x86_64", "aarch64") and actions.exists() and "errno" in actions.read_text().split():
        found |= _FILTERED
    return frozenset(found | {name for name, option in _NAMESPACES.items() if _can_unshare(option)})


def _landlock() -> int:
    ask_version = (ctypes.c_long(444), None, ctypes.c_long(0), ctypes.c_long(1))
    return int(ctypes.CDLL(None).syscall(*ask_version))


def _can_unshare(option: str) -> bool:
    program = shutil.which("unshare")
    as_ours, as_users = ([program, *more, option, "--fork", "true"] for more in ((), ("--map-root-user",)))
    return program is not None and any(
        subprocess.run(command, check=False, capture_output=True).returncode == 0 for command in (as_ours, as_users)
    )


def broken() -> dict[str, str]:
    """Measures that the kernel offers and our code does not bring about, and what it says of each."""
    return {name: why for name, why in measured().items() if why and name in offered()}


def highest_level() -> Level:
    """What `ISOLATION=auto` takes here."""
    return report_of(measured()).process_level


def needs(*measures: str) -> None:
    """Skip, naming what is missing and why; fail where the kernel does not lack it."""
    if ours := {name: why for name, why in broken().items() if name in measures}:
        pytest.fail(f"the kernel offers it, our code does not bring it about: {ours}")
    missing = {name: measured()[name] for name in measures if measured()[name]}
    MISSED.update(missing)
    if missing:
        pytest.skip(f"missing here: {missing}")


def needs_level(level: str) -> None:
    """Skip where the machine does not hold *level*."""
    needs(*NEEDED[level])


def at_levels(*levels: str) -> pytest.MarkDecorator:
    """Run a test of module processes at each of these levels, or at the "highest" of this machine."""
    return pytest.mark.parametrize("level", levels, indirect=True)
