"""What the kernel does to hold a module process: each measure on its own, each with the reason when it is not there.

Linux has all of them; elsewhere some are missing and say so. Source: RELIABILITY 4.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITIES_VERSION: Final = 0x20080522
#: A server that is root keeps folders of others, which its modules read and write by this one.
_CAPABILITY_OF_FILES: Final = 1 << 1
_MIB: Final = 1 << 20
#: No module writes larger files or holds more open ones.
MAX_FILE_BYTES: Final = 2 << 30
MAX_OPEN_FILES: Final = 512


def _prctl(option: int, value: int) -> str:
    """Call prctl; returns "" or why it did not work."""
    if sys.platform != "linux":
        return f"{sys.platform} has no prctl"
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, value, 0, 0, 0) == 0:
        return ""
    return os.strerror(ctypes.get_errno())


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> str:
    """Ask the kernel for signal *number* when the parent ends; ends at once when it is already gone."""
    trouble = _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() not in (parent, 0):  # 0: it lives outside this process's namespace
        os._exit(1)
    return trouble


def adopt_orphans() -> str:
    """Become the parent of every descendant that loses its own, sessions of their own included."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def forbid_new_privileges() -> str:
    """No set-user-id program below gives more rights."""
    return _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities() -> str:
    """Keep none of an administrator's rights but the one over files; returns "" or why it did not work."""
    if sys.platform != "linux":
        return f"{sys.platform} has no capabilities"
    library = ctypes.CDLL(None, use_errno=True)
    header = ctypes.create_string_buffer(struct.pack("Ii", _CAPABILITIES_VERSION, 0))
    held = ctypes.create_string_buffer(24)
    if library.capget(header, held) == 0:
        kept = struct.unpack("6I", held.raw[:24])[0] & _CAPABILITY_OF_FILES
        if library.capset(header, struct.pack("6I", kept, kept, 0, 0, 0, 0)) == 0:
            return ""
    return os.strerror(ctypes.get_errno())


def limit_resources(memory_mb: int) -> str:
    """Cap private memory (MiB), open files, file size; no core dumps. A cap that is already lower stays."""
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: MAX_OPEN_FILES,
        resource.RLIMIT_FSIZE: MAX_FILE_BYTES,
        resource.RLIMIT_DATA: memory_mb * _MIB,
    }
    troubles: list[str] = []
    for kind, value in wanted.items():
        hard = resource.getrlimit(kind)[1]
        capped = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (capped, capped))
        except (ValueError, OSError) as error:
            troubles.append(str(error))
    return "; ".join(troubles)


def limit_cpu(seconds: float) -> None:
    """End this process after *seconds* more of CPU time: a second net under the engine's deadline."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 1
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def children(pid: int | None = None) -> list[int]:
    """Process ids of the direct children of *pid* (default: of this process); empty where there is no /proc.

    They are those of the namespace that /proc was mounted for: in another one they name nobody, but can be compared.
    """
    root = Path("/proc") / str(pid or "self")
    found: list[int] = []
    try:
        for task in os.listdir(root / "task"):
            found += [int(word) for word in (root / "task" / task / "children").read_text().split()]
    except FileNotFoundError:
        return _children_by_scan(pid or os.getpid())
    except OSError:
        return found
    return found


def _children_by_scan(parent: int) -> list[int]:
    found: list[int] = []
    if not Path("/proc/self/stat").exists():
        return found
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                after_name = Path(f"/proc/{name}/stat").read_text().rsplit(")", 1)[1].split()
                if int(after_name[1]) == parent:
                    found.append(int(name))
    return found


def kill_children(spare: Collection[int] = (), of: int | None = None, within_s: float = 5.0) -> bool:
    """Kill every child of *of* (default: of this process) but those to *spare* until none is left; False if some are.

    An adopter of orphans gets the children of what it kills, so the loop ends only when the whole tree is gone.
    """
    give_up = time.monotonic() + within_s
    while rest := [pid for pid in children(of) if pid not in spare]:
        if time.monotonic() > give_up:
            return False
        for pid in rest:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if of is not None:
            time.sleep(0.0005)  # whose children they are buries them
            continue
        for pid in rest:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
    return True


def thread_count() -> int:
    """Threads of this process as the kernel counts them; 1 where there is no /proc."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1
