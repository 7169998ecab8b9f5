"""Tries every measure, each in a child of its own; as a program it prints each name and why it is missing.

A measure is there when its effect was seen, not when the kernel took the call. Source: RELIABILITY 4.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from switchgear.sdk.host import landlock, measures, namespaces, seccomp
from switchgear.sdk.host.enclosure import Enclosure, rules

_DISCARD: Final = ("127.0.0.1", 9)


def report() -> dict[str, str]:
    """Try every measure; name -> "" or why it is missing."""
    trials: dict[str, Callable[[], str]] = {
        "own_session": lambda: "" if hasattr(os, "setsid") else "no sessions here",
        "dies_with_server": lambda: measures.die_with_parent(os.getppid()),
        "no_new_privileges": measures.forbid_new_privileges,
        "adopts_orphans": measures.adopt_orphans,
        "resource_limits": lambda: measures.limit_resources(65536),
        "memory_watchdog": lambda: "" if Path("/proc/self/status").exists() else "no /proc here",
        "files_enclosed": _files,
        "tcp_refused": _tcp,
        "sockets_refused": _sockets,
        "signals_enclosed": _signals,
        "processes_enclosed": _processes,
        "network_enclosed": _network,
        "shared_memory_enclosed": _shared_memory,
        "calls_refused": _calls,
        "privileges_dropped": _privileges,
    }
    return {name: in_child(trial) for name, trial in trials.items()}


def in_child(trial: Callable[[], str]) -> str:
    """What *trial* returned in a child, which it may change for ever; how the child ended when it did not answer."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.write(writing, trial().encode()[:4000])
            code = 0
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode()[:4000])
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        text = answer.read().decode(errors="replace")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return text if status == 0 else f"the trial ended with {status}"


def _refused(deed: Callable[[], object], what: str) -> str:
    """Return "" when *deed* is refused, else that it was possible all the same."""
    try:
        deed()
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            return ""
        return f"{what} was not refused: {error.strerror}"
    return f"{what} was not refused"


def _files() -> str:
    with tempfile.TemporaryDirectory() as folder:
        return in_child(lambda: _files_in(Path(folder)))


def _files_in(folder: Path) -> str:
    inside, beside = folder / "inside", folder / "beside"
    inside.mkdir()
    beside.write_text("private")
    measures.forbid_new_privileges()
    held = os.open("/proc/self", os.O_PATH)
    landlock.restrict(rules(Enclosure(), inside))
    (inside / "own").write_text("own")
    for deed, what in ((beside.read_bytes, "reading"), (lambda: beside.write_text("x"), "writing")):
        trouble = _refused(deed, f"{what} a file outside")
        if trouble:
            return trouble
    child = os.fork()
    if child == 0:
        signal.pause()
    try:
        is_seen = child in measures.children()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(held)
    return "" if is_seen else "the kernel does not list a process's children below /proc/self, which ends them"


def _tcp() -> str:
    measures.forbid_new_privileges()
    trouble = landlock.require(landlock.TCP_SINCE)
    if trouble:
        return trouble
    landlock.restrict(refuse_tcp=True)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
        return _refused(lambda: made.connect(_DISCARD), "connecting")


def _sockets() -> str:
    measures.forbid_new_privileges()
    trouble = seccomp.refuse(sockets=True)
    if trouble:
        return trouble
    families = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
    return next(filter(None, (_refused(partial(socket.socket, item), item.name) for item in families)), "")


def _signals() -> str:
    measures.forbid_new_privileges()
    trouble = landlock.require(landlock.SIGNALS_SINCE)
    if trouble:
        return trouble
    parent = os.getppid()
    landlock.restrict(keep_signals_in=True)
    return _refused(lambda: os.kill(parent, 0), "a signal to the parent")


def _processes() -> str:
    trouble = namespaces.enter(namespaces.PROCESSES)
    if trouble:
        return trouble
    keeper = namespaces.start_keeper()
    try:
        trouble = in_child(_leave_one)
        if not trouble and not measures.children(keeper):
            return "what a process leaves behind does not go to the first of its namespace"
        return trouble or ("" if measures.kill_children(of=keeper) else "what a process left behind cannot be ended")
    finally:
        os.kill(keeper, signal.SIGKILL)
        os.waitpid(keeper, 0)


def _leave_one() -> str:
    """Seen from inside: nobody outside is there. Leaves a process in a session of its own."""
    if os.fork() == 0:
        os.setsid()
        os.closerange(0, measures.MAX_OPEN_FILES)
        signal.pause()
    return "the parent outside is in sight" if os.getppid() else ""


def _network() -> str:
    with socket.create_server(("127.0.0.1", 0)) as outside:
        address = outside.getsockname()
        trouble = namespaces.enter(namespaces.NETWORK)
        if trouble:
            return trouble
        with socket.socket() as made:
            made.settimeout(1)
            return "" if made.connect_ex(address) else "a server outside was reached"


def _shared_memory() -> str:
    library, key = ctypes.CDLL(None, use_errno=True), 0x53570000 | os.getpid() & 0xFFFF
    queue = library.msgget(key, 0o1600)  # makes it, for this user
    if queue < 0:
        return f"no queue could be made to try it with: {os.strerror(ctypes.get_errno())}"

    def look() -> str:
        trouble = namespaces.enter(namespaces.SHARED_MEMORY)
        return trouble or ("a queue outside was found" if library.msgget(key, 0) >= 0 else "")

    try:
        return in_child(look)
    finally:
        library.msgctl(queue, 0, None)  # removes it


def _calls() -> str:
    measures.forbid_new_privileges()
    known = seccomp.machine()
    trouble = seccomp.refuse(dangerous=True)
    if trouble or known is None:
        return trouble
    library = ctypes.CDLL(None, use_errno=True)
    # What the kernel would allow anybody: to be traced, a new namespace of users, to name a keyring, and the rest.
    arguments = {"unshare": (0x10000000,), "keyctl": (0, -3), "userfaultfd": (1,), "ptrace": (0,)}
    tried = {name: (seccomp.DANGEROUS[name][known.column], given) for name, given in arguments.items()}
    for name, (number, given) in {**tried, "clone": (known.clone, (0x10000000 | signal.SIGCHLD,))}.items():
        answer = library.syscall(ctypes.c_long(number), *map(ctypes.c_long, (*given, 0, 0, 0)))
        if answer == 0 and name == "clone":
            os._exit(0)
        if answer >= 0 or ctypes.get_errno() != errno.EPERM:
            return f"{name} was not refused"
    hides = library.syscall(ctypes.c_long(seccomp.CLONE3), None, ctypes.c_long(0))
    return "" if hides < 0 and ctypes.get_errno() == errno.ENOSYS else "clone3 is still there"


def _privileges() -> str:
    trouble = measures.drop_capabilities()
    return trouble or _refused(lambda: os.chroot("/"), "to change the root folder")


if __name__ == "__main__":
    json.dump(report(), sys.stdout)
