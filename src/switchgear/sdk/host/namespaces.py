"""Namespaces: processes that see no processes, network or shared memory but their own. Linux.

A fork server enters them once. Namespaces of processes hold for children made from then on: the first one is the
keeper, which inherits what dead workers leave behind, and with which the kernel ends all others. Source: RELIABILITY 4,
https://man7.org/linux/man-pages/man7/namespaces.7.html.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
from pathlib import Path
from typing import Final

from switchgear.sdk.host import measures

#: Kinds; they can be added up.
PROCESSES: Final = 0x20000000
NETWORK: Final = 0x40000000
SHARED_MEMORY: Final = 0x08000000
_USER: Final = 0x10000000


def enter(kinds: int) -> str:
    """Leave the namespaces of the server; needs a process with one thread. Returns "" or why it did not work.

    Without the privilege the process takes a namespace of users first, in which its user is the same and may.
    """
    user, group = os.geteuid(), os.getegid()
    if not _unshare(kinds):
        return ""
    trouble = _unshare(kinds | _USER)
    if trouble:
        return trouble
    try:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            Path("/proc/self", name).write_text(text)
    except OSError as error:
        return f"the user cannot be the same there: {error.strerror}"
    return ""


def _unshare(kinds: int) -> str:
    if sys.platform != "linux":
        return f"{sys.platform} has no namespaces"
    if ctypes.CDLL(None, use_errno=True).unshare(kinds) == 0:
        return ""
    number = ctypes.get_errno()
    if number == errno.ENOSPC:
        return "there are as many as user.max_*_namespaces allows"
    return f"the kernel refused it: {os.strerror(number)}"


def start_keeper() -> int:
    """Fork the first process of a namespace of processes; it does nothing, and ends with the process that calls this.

    Returns:
        Its process id outside.
    """
    reading, writing = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        _keep(reading, writing)
    os.close(writing)
    os.read(reading, 1)  # from here on it cannot be left behind
    os.close(reading)
    return keeper


def _keep(reading: int, writing: int) -> None:
    try:
        measures.die_with_parent(0)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries what it inherits
        os.close(reading)  # only its maker may hold that end
        os.write(writing, b"x")  # fails when the maker is gone already
        os.closerange(0, measures.MAX_OPEN_FILES)
        while True:
            signal.pause()
    finally:
        os._exit(1)
