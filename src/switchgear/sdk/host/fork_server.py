"""Imports one module, then forks a worker whenever the engine asks for one.

It has one thread and one child per worker. It kills what dead workers leave behind, so nothing that a module starts
outlives it; it ends with the engine and takes its workers along. At level L3 its workers live in namespaces of their
own, which it enters once. Source: DESIGN 5, RELIABILITY 4.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import os
import select
import signal
import socket
import sys
import traceback
from typing import NoReturn

from switchgear.sdk.errors import DeclarationError
from switchgear.sdk.host import enclosure, frames, measures, namespaces
from switchgear.sdk.host.failures import failure_of
from switchgear.sdk.host.worker import work
from switchgear.sdk.module import Module


def load(module_id: str) -> type[Module]:
    """Import the class behind the entry point *module_id*.

    Raises:
        DeclarationError: There is no such entry point, or it is no module.
        Exception: Whatever the import raises.
    """
    entries = list(importlib.metadata.entry_points(group="switchgear.modules", name=module_id))
    if not entries:
        raise DeclarationError(f"No installed package offers a module named {module_id!r}.")
    found = entries[0].load()
    if not (isinstance(found, type) and issubclass(found, Module) and "spec" in vars(found)):
        raise DeclarationError(f"{entries[0].value} is no module: write @module(...) above the class.")
    return found


def serve(control_number: int, module_id: str, memory_mb: int, apart: int = 0, *, lazy: bool = False) -> NoReturn:
    """Run the fork server on an inherited socket until the engine closes it.

    Args:
        control_number: Descriptor of the control socket.
        module_id: Name of the entry point.
        memory_mb: Cap of this process and of each worker, in MiB.
        apart: Kinds of namespaces that the workers get, added up; 0 for none.
        lazy: Import in each worker instead of here: the module starts threads when it is imported, and forking a
            process with threads is not safe.
    """
    os.environ.pop("PYTHONPATH", None)  # only says where this process finds Switchgear and the module
    os.set_inheritable(control_number, False)
    measures.die_with_parent(os.getppid())
    measures.adopt_orphans()
    measures.limit_resources(memory_mb)
    control = socket.socket(fileno=control_number)
    module: type[Module] | None = None
    if not lazy:
        try:
            module = load(module_id)
        except BaseException as error:
            traceback.print_exc()
            _refuse(control, error, "import")
        sys.stdout.flush()
        if measures.thread_count() > 1:
            _start_again(control_number, module_id, memory_mb, apart)
    trouble = namespaces.enter(apart) if apart else ""
    if trouble:
        _refuse(control, OSError(f"no namespaces: {trouble}"), "isolation")
    gc.collect()
    gc.freeze()  # shared pages stay shared after a fork
    gc.enable()
    server = _Server(control, module_id, module, namespaces.start_keeper() if apart else None)
    frames.send(control, {"ready": os.getpid()})
    server.run()


def _refuse(control: socket.socket, error: BaseException, step: str) -> NoReturn:
    sys.stdout.flush()
    frames.send(control, {"refused": failure_of(error), "while": step})
    os._exit(1)


def _start_again(control_number: int, module_id: str, memory_mb: int, apart: int) -> NoReturn:
    """Become a fresh process without the module's threads."""
    os.set_inheritable(control_number, True)
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    arguments = [str(control_number), module_id, str(memory_mb), str(apart), "lazy"]
    os.execv(sys.executable, [sys.executable, "-P", "-m", "switchgear.sdk.host", *arguments])  # noqa: S606


class _Server:
    """The loop: commands from the engine, deaths of workers."""

    def __init__(self, control: socket.socket, module_id: str, module: type[Module] | None, keeper: int | None) -> None:
        self._control = control
        self._module_id = module_id
        self._module = module
        self._keeper = keeper
        self._workers: set[int] = set()
        self._wake_read, self._wake_write = os.pipe()
        for descriptor in (self._wake_read, self._wake_write):
            os.set_blocking(descriptor, False)
        # The engine's death is a signal now, so that there is time to end the workers and what they started.
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._ending = False

    def _on_term(self, *_: object) -> None:
        self._ending = True

    def run(self) -> NoReturn:
        """Serve until the engine goes away: a signal says so, elsewhere than on Linux the closed socket."""
        measures.die_with_parent(os.getppid(), signal.SIGTERM)
        while not self._ending:
            ready, _, _ = select.select([self._control.fileno(), self._wake_read], [], [])
            if self._wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
                self._reap()
            if self._control.fileno() in ready:
                try:
                    frame = frames.receive(self._control)
                except (OSError, frames.FrameError):
                    frame = None
                if frame is None:
                    break
                self._spawn(frame)
        self._end()

    def _end(self) -> NoReturn:
        signal.set_wakeup_fd(-1)
        if self._keeper is not None:  # last: it ends when the others are buried
            measures.kill_children(spare=(self._keeper,))
        measures.kill_children()
        os._exit(0)

    def _reap(self) -> None:
        ended: list[tuple[int, int]] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid in self._workers:
                self._workers.discard(pid)
                ended.append((pid, os.waitstatus_to_exitcode(status)))
            elif pid == self._keeper:  # and with it all of its namespace
                self._ending = True
        # A living worker adopts its own orphans: a child that is no worker was left by a dead one. The keeper has no
        # other children.
        if ended and not measures.kill_children(spare=self._workers, of=self._keeper):
            self._ending = True
        for pid, code in ended:
            with contextlib.suppress(OSError):
                frames.send(self._control, {"exited": pid, "code": code})

    def _class(self) -> type[Module]:
        return self._module or load(self._module_id)

    def _spawn(self, frame: frames.Frame) -> None:
        pipe_number, output_number = frame.descriptors
        if "enclosure" in frame.header:
            enclosure.prepare(enclosure.Enclosure(**frame.header["enclosure"]))
        own = os.getpid()
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for descriptor in (self._control.fileno(), self._wake_read, self._wake_write):
                os.close(descriptor)
            self._control.detach()
            work(pipe_number, output_number, own, frame.header, self._class)
        os.close(pipe_number)
        os.close(output_number)
        self._workers.add(pid)
        with contextlib.suppress(OSError):
            frames.send(self._control, {"spawned": frame.header["number"], "pid": pid})
