"""Every way to misbehave, by name. Each function gets the settings and the context; returning means: go on as usual."""

import ctypes
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from switchgear.sdk import (
    Context,
    InputRejected,
    ModuleSettings,
    NeedsReview,
    NotApplicable,
    Retryable,
    Unavailable,
)

GIB: Final = 1 << 30

#: Modes that change the output, not the way there; the module of the stage looks at them itself.
Output = Literal[
    "ok", "none", "wrong_type", "not_serialisable", "huge", "low_confidence", "broken_guarantee", "invalid"
]
Deed = Literal[
    "raise",
    "retryable",
    "retryable_later",
    "unavailable",
    "reject",
    "not_applicable",
    "review",
    "hang",
    "hang_in_c",
    "ignore_sigterm",
    "slow",
    "wait",
    "exit0",
    "os_exit",
    "segv",
    "abort",
    "alloc",
    "shared_memory",
    "memory_of_children",
    "shared_with_children",
    "leak_memory",
    "print",
    "setsid_child",
    "many_children",
    "fork_bomb",
    "thread",
    "close_fds",
    "kill_parent",
    "leak_fds",
    "mutate",
]


class FaultSettings(ModuleSettings):
    """How to misbehave, when, and how long."""

    mode: Output | Deed = "ok"
    seconds: float = Field(0.5, description="For slow.")
    confidence: float = Field(0.2, ge=0, le=1, description="For low_confidence.")
    file: str = Field("", description="wait: goes on when it exists; setsid_child: gets the child's process id.")
    only_if: str = Field("", description="Misbehaves only for documents that contain this; empty: for all.")
    bad_calls: int = Field(0, ge=0, description="Misbehaves this many times, counted in `counter`; 0: always.")
    counter: str = Field("", description="Path of a file; each call appends one byte, in any process.")
    probe: Literal["ok", "unavailable", "hang", "raise"] = "ok"
    licence: str = ""
    open: Literal["ok", "unavailable", "raise", "hang", "exit", "alloc", "shared_memory"] = "ok"


def is_bad_now(settings: FaultSettings, text: str) -> bool:
    """Whether this call misbehaves; counts it."""
    calls = 0
    if settings.counter:
        with open(settings.counter, "ab") as file:
            file.write(b".")
            calls = file.tell()
    if settings.only_if and settings.only_if not in text:
        return False
    return not settings.bad_calls or calls <= settings.bad_calls


def _raise(settings: FaultSettings, ctx: Context) -> None:
    raise ValueError("the module is broken")


def _retryable(settings: FaultSettings, ctx: Context) -> None:
    raise Retryable("the service is busy", after_s=0.01)


def _retryable_later(settings: FaultSettings, ctx: Context) -> None:
    raise Retryable("the service is down for maintenance", after_s=60)


def _unavailable(settings: FaultSettings, ctx: Context) -> None:
    raise Unavailable("the licence ended", fix="renew-licence tiny")


def _reject(settings: FaultSettings, ctx: Context) -> None:
    raise InputRejected("encrypted", "The document is encrypted.")


def _not_applicable(settings: FaultSettings, ctx: Context) -> None:
    raise NotApplicable("this document does not concern the stage")


def _review(settings: FaultSettings, ctx: Context) -> None:
    if ctx.decision is None:
        raise NeedsReview("somebody has to look", {"words": 3})


def _hang(settings: FaultSettings, ctx: Context) -> None:
    while True:
        pass


def _hang_in_c(settings: FaultSettings, ctx: Context) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        ctypes.PyDLL(None).sleep(3600)  # holds the interpreter's lock


def _ignore_sigterm(settings: FaultSettings, ctx: Context) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(3600)


def _slow(settings: FaultSettings, ctx: Context) -> None:
    time.sleep(settings.seconds)


def _wait(settings: FaultSettings, ctx: Context) -> None:
    while not Path(settings.file).exists():
        time.sleep(0.005)


def _exit0(settings: FaultSettings, ctx: Context) -> None:
    sys.exit(0)


def _os_exit(settings: FaultSettings, ctx: Context) -> None:
    os._exit(0)


def _segv(settings: FaultSettings, ctx: Context) -> None:
    ctypes.string_at(0)


def _abort(settings: FaultSettings, ctx: Context) -> None:
    os.abort()


def _alloc(settings: FaultSettings, ctx: Context) -> None:
    bytearray(10 * GIB)


def _shared_memory(settings: FaultSettings, ctx: Context) -> None:
    region = mmap.mmap(-1, 4 * GIB)  # shared: RLIMIT_DATA does not count it
    for offset in range(0, 4 * GIB, 4096):
        region[offset] = 1
    time.sleep(3600)


def _memory_of_children(settings: FaultSettings, ctx: Context) -> None:
    for _ in range(4):  # each of them within the limit
        if os.fork() == 0:
            held = bytearray(200 << 20)
            held[::4096] = b"x" * len(held[::4096])
            time.sleep(3600)
    time.sleep(3600)


def _shared_with_children(settings: FaultSettings, ctx: Context) -> None:
    held = bytearray(200 << 20)
    held[::4096] = b"x" * len(held[::4096])
    children = [os.fork() for _ in range(4)]
    if not all(children):
        time.sleep(3600)
    time.sleep(1)  # ten looks of the watch
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


_LEAKED: Final[list[bytearray]] = []


def _leak_memory(settings: FaultSettings, ctx: Context) -> None:
    _LEAKED.append(bytearray(b"x" * (20 << 20)))


def _print(settings: FaultSettings, ctx: Context) -> None:
    print("x" * (1 << 20))
    print("y" * (1 << 20), file=sys.stderr, flush=True)
    os.write(1, b"raw bytes\n")
    subprocess.run(["/bin/echo", "from a child"], check=True)


def _setsid_child(settings: FaultSettings, ctx: Context) -> None:
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(3600)
        os._exit(0)
    os.waitpid(child, 0)
    if settings.file:
        Path(settings.file).write_text(str(child))
    subprocess.Popen(["/bin/sleep", "3599"], start_new_session=True)


def _many_children(settings: FaultSettings, ctx: Context) -> None:
    for _ in range(60):
        if os.fork() == 0:
            os.setsid()
            time.sleep(3600)


def _fork_bomb(settings: FaultSettings, ctx: Context) -> None:
    for _ in range(4):  # sixteen processes, each in a session of its own
        if os.fork() == 0:
            os.setsid()
    while True:
        time.sleep(3600)


def _thread(settings: FaultSettings, ctx: Context) -> None:
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()


def _close_fds(settings: FaultSettings, ctx: Context) -> None:
    os.closerange(0, 4096)


def _kill_parent(settings: FaultSettings, ctx: Context) -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(3600)


def _leak_fds(settings: FaultSettings, ctx: Context) -> None:
    for _ in range(10):
        os.open("/dev/null", os.O_RDONLY)


def _mutate(settings: FaultSettings, ctx: Context) -> None:
    """The module of the stage changes its input itself."""


DEEDS: Final[dict[str, Callable[[FaultSettings, Any], None]]] = {
    "raise": _raise,
    "retryable": _retryable,
    "retryable_later": _retryable_later,
    "unavailable": _unavailable,
    "reject": _reject,
    "not_applicable": _not_applicable,
    "review": _review,
    "hang": _hang,
    "hang_in_c": _hang_in_c,
    "ignore_sigterm": _ignore_sigterm,
    "slow": _slow,
    "wait": _wait,
    "exit0": _exit0,
    "os_exit": _os_exit,
    "segv": _segv,
    "abort": _abort,
    "alloc": _alloc,
    "shared_memory": _shared_memory,
    "memory_of_children": _memory_of_children,
    "shared_with_children": _shared_with_children,
    "leak_memory": _leak_memory,
    "print": _print,
    "setsid_child": _setsid_child,
    "many_children": _many_children,
    "fork_bomb": _fork_bomb,
    "thread": _thread,
    "close_fds": _close_fds,
    "kill_parent": _kill_parent,
    "leak_fds": _leak_fds,
    "mutate": _mutate,
}


def probe(settings: FaultSettings) -> None:
    """Look whether it can work here; misbehaves when told to."""
    if settings.probe == "unavailable":
        raise Unavailable("the probe found no licence", fix="renew-licence tiny")
    if settings.probe == "raise":
        raise ValueError("the probe is broken")
    if settings.probe == "hang":
        time.sleep(3600)
    if settings.licence and not Path(settings.licence).exists():
        raise Unavailable("The licence is not there.", fix=f"touch {settings.licence}")


def prepare(settings: FaultSettings) -> None:
    """What `open` does; misbehaves when told to."""
    if settings.open == "unavailable":
        raise Unavailable("no licence to open", fix="renew-licence tiny")
    if settings.open == "raise":
        raise ValueError("open is broken")
    if settings.open in ("alloc", "shared_memory"):
        DEEDS[settings.open](settings, None)
    if settings.open == "exit":
        os._exit(3)
    if settings.open == "hang":
        time.sleep(3600)
