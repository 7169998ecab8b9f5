"""A server and worker processes on one instance, and ways to end, stop and find them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from factories.server import RunningServer, until

#: Longest wait until no process of an instance is left, in seconds; promised is one.
_GONE_S = 10.0


@dataclass
class WorkerProcess:
    """One `switchgear worker` on a server's instance.

    Attributes:
        server: Whose instance and settings it shares.
        name: Of its log.
        words: Further arguments.
    """

    server: RunningServer
    name: str
    words: tuple[str, ...] = ("--concurrency", "2")
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What it said, of every process of this name."""
        return self.server.home / f"worker-{self.name}.txt"

    def start(self) -> WorkerProcess:
        """Start the process."""
        command = [str(Path(sys.executable).parent / "switchgear"), "worker", *self.words]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env=self.server.variables(),
                cwd=self.server.home,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        return self

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it like a power cut ends it."""
        self.send(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(30)

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        assert self.process is not None
        self.send(signal.SIGTERM)
        return self.process.wait(60)


@dataclass
class Fleet:
    """A server and two workers.

    Attributes:
        deeds: How often each was done to a process.
    """

    server: RunningServer
    workers: list[WorkerProcess] = field(default_factory=list)
    deeds: Counter[str] = field(default_factory=Counter)

    def start(self) -> None:
        """Start all; the server may be at work already."""
        if self.server.process is None:
            self.server.start()
        self.workers = [WorkerProcess(self.server, str(number)).start() for number in range(2)]

    def kill_worker(self, number: int) -> None:
        """Kill one worker, and start another in its place."""
        self.deeds["kill -9 of a worker"] += 1
        self.workers[number].kill()
        self.workers[number].start()

    def kill_server(self) -> None:
        """Kill the server, and start it again."""
        self.deeds["kill -9 of the API"] += 1
        self.server.kill()
        self.server.start()

    def kill_all(self) -> None:
        """Kill all at once, and start all again."""
        self.deeds["kill -9 of all"] += 1
        self.server.kill()
        for worker in self.workers:
            worker.kill()
        for worker in self.workers:
            worker.start()
        self.server.start()

    def suspend_worker(self, number: int, seconds: float) -> None:
        """Let a worker sleep beyond its lease, and go on as if nothing had been."""
        self.deeds["SIGSTOP of a worker"] += 1
        self.workers[number].send(signal.SIGSTOP)
        time.sleep(seconds)
        self.workers[number].send(signal.SIGCONT)

    def stop(self) -> None:
        """Ask all to end."""
        for worker in self.workers:
            worker.stop()
        self.server.stop()

    def end(self) -> None:
        """Kill whatever is left."""
        for process in (self.server.process, *(worker.process for worker in self.workers)):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(30)

    def logs(self) -> str:
        """What all of them said."""
        return "".join(path.read_text() for path in sorted(self.server.home.glob("*.txt")))

    def processes(self) -> list[str]:
        """Every process that belongs to the instance: its command, folder or environment names the home."""
        return processes_of(self.server.home)

    def are_gone(self) -> bool:
        """Whether no process is left, a moment after the end; module processes end with their parent."""
        try:
            until(lambda: not self.processes(), seconds=_GONE_S, what="the end of all processes")
        except AssertionError:
            return False
        return True


def processes_of(home: Path) -> list[str]:
    """Commands of the processes of an instance, that of the caller not among them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int(folder.name) == os.getpid() or (folder / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                continue
            command = (folder / "cmdline").read_bytes()
            text = command + (folder / "environ").read_bytes() + os.fsencode((folder / "cwd").readlink())
        except OSError:  # it has ended meanwhile, or is somebody else's
            continue
        if os.fsencode(home) in text:
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found
