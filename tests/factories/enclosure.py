"""A module that reaches for what it is told to, in real processes of an instance whose files it could find."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factories.modules import enclosing_pools
from factories.plugin import install, write_distribution
from switchgear.domain.run import AttemptResult, Outcome
from switchgear.ingestion.module_pool import Call, DocumentFile, ModulePools, ModuleUse, StageValue
from switchgear.sdk import StageLimits
from switchgear.sdk.values import Frozen

#: A module that does what the text says: a deed and its object.
REACH = '''
import ctypes, errno, json, os, resource, socket, subprocess, sys
from pathlib import Path
from switchgear.sdk import Blob, Context, Module, ModuleSettings, module
from switchgear_tiny.contracts import Text, Upper

class Settings(ModuleSettings):
    folder: str = ""

def connect(port):
    with socket.create_connection(("127.0.0.1", int(port)), timeout=5):
        return "connected"

def send(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.sendto(b"x", ("127.0.0.1", int(port)))
    return "sent"

def speak(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(path)
    return "connected"

def listen(_):
    with socket.socket(socket.AF_INET6) as made:
        made.bind(("::1", 0))
    return "bound"

def ring(_):
    number = ctypes.CDLL(None, use_errno=True).syscall(425, 1, ctypes.create_string_buffer(256))
    if number < 0:
        raise OSError(ctypes.get_errno(), "io_uring")
    os.close(number)
    return "opened"

def read_in_child(path):
    code = "import sys; open(sys.argv[1]).close()"
    done = subprocess.run([sys.executable, "-I", "-c", code, path], capture_output=True, text=True)
    if done.returncode:
        assert "PermissionError" in done.stderr, done.stderr
        raise PermissionError(errno.EACCES, "in a child")
    return "read"

def move(path):
    os.rename(path, path + ".moved")
    return "moved"

def link(path):
    os.link(path, "linked")
    return "linked"

def call(numbers):
    number, *arguments = (ctypes.c_long(int(item)) for item in numbers.split())
    before = os.readlink("/proc/self")
    answer = ctypes.CDLL(None, use_errno=True).syscall(number, *arguments, 0, 0, 0)
    if answer == 0 and os.readlink("/proc/self") != before:
        os._exit(0)
    if answer < 0:
        raise OSError(ctypes.get_errno(), "call")
    return "done"

def queue(key):
    if ctypes.CDLL(None, use_errno=True).msgget(int(key), 0) < 0:
        raise OSError(ctypes.get_errno(), "queue")
    return "found"

def raise_limit(_):
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (1 << 40, 1 << 40))
    except ValueError:
        return "refused"
    return "raised"

def sibling(_):
    """A child of its own, with threads, as programs have them."""
    code = "import threading; t = threading.Thread(target=print, args=('alive',)); t.start(); t.join()"
    return subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True).stdout.strip()

DEEDS = {
    "read": lambda path: Path(path).read_text()[:3],
    "list": lambda path: str(len(os.listdir(path))),
    "write": lambda path: str(Path(path).write_text("x")),
    "append": lambda path: str(Path(path).open("a").write("x")),
    "truncate": lambda path: str(os.truncate(path, 0)),
    "unlink": lambda path: str(os.unlink(path)),
    "move": move,
    "link": link,
    "read_in_child": read_in_child,
    "run": lambda path: subprocess.run([path], check=True, capture_output=True).stdout.decode(),
    "connect": connect,
    "send": send,
    "speak": speak,
    "listen": listen,
    "ring": ring,
    "signal": lambda pid: str(os.kill(int(pid), 0)),
    "pair": lambda _: str(len(socket.socketpair())),
    "call": call,
    "queue": queue,
    "sibling": sibling,
    "namespaces": lambda _: " ".join(os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "net", "ipc")),
    "number": lambda _: f"{os.getpid()} {os.getppid()}",
    "rights": lambda _: Path("/proc/self/status").read_text().partition("CapEff:")[2].split()[0],
    "raise_limit": raise_limit,
    "nothing": lambda _: "nothing",
}

@module(stage="upper", contract="tiny-upper@1", version="1.0.0", guarantees={"is_upper", "keeps_length"})
class Reach(Module):
    """Reaches."""

    Settings = Settings
    settings: Settings

    def run(self, text: Text, blob: Blob, ctx: Context) -> Upper:
        deed, _, thing = text.text.partition(" ")
        try:
            answer = DEEDS[deed](thing)
        except OSError as error:
            if error.errno in (errno.ESRCH, errno.ENOENT, errno.ENOSYS):
                answer = "not there"
            elif error.errno in (errno.EACCES, errno.EPERM, errno.EXDEV):  # the last: a link out of its folder
                answer = "refused"
            else:
                raise
        (ctx.scratch / "own").write_text("own")
        with blob.open() as stream:
            document = stream.read().decode()
        return Upper(text=json.dumps([answer, os.getpid(), document, blob.path.read_text()]))
'''
#: A module whose import disables a measure: what the kernel does not offer looks the same to the worker.
UNHELD = """
from switchgear.sdk.host import namespaces
namespaces.enter = lambda _: "no namespaces today"
from switchgear.sdk.host import seccomp
seccomp.refuse = lambda **_: "no filter today"
from reach import Reach as Unheld
"""
ORIGINAL = "the stored original"


class Text(Frozen):
    """What the stage load gave."""

    text: str


@dataclass
class Bench:
    """Pools of an instance whose home lies where modules may read: in a folder of the module search path."""

    pools: ModulePools
    home: Path
    outside: Path

    async def reach(self, deed: str, *, level: str = "L2", **use: Any) -> Any:
        """The module's answer."""
        made = ModuleUse("upper-reach", use.pop("settings", "{}"), StageLimits(concurrency=1), level=level, **use)  # type: ignore[arg-type]
        return self.answer(await self.call(made, deed))

    async def call(self, use: ModuleUse, deed: str) -> AttemptResult:
        """How a call with this deed ended."""
        document = DocumentFile(self.home / "artifacts" / "original", "0", len(ORIGINAL), "text/plain", "a.txt")
        inputs = {"text": StageValue(Text, model=Text(text=deed))}
        return await self.pools.call(use, Call("run_1", "doc_1", 1, 30.0, document, inputs))

    def answer(self, result: AttemptResult) -> Any:
        """What the deed gave and the process id; the document was there in both ways."""
        assert result.outcome is Outcome.SUCCEEDED, result
        assert isinstance(result.output, bytes)
        said, pid, document, copy = json.loads(json.loads(result.output)["text"])
        assert document == copy == ORIGINAL
        return said, pid


def install_reaching(folder: Path) -> Path:
    """Install the tiny plug-in below *folder* with the modules above alone; returns the folder for `sys.path`."""
    site = install(folder, modules={})
    (site / "reach.py").write_text(REACH)
    (site / "unheld.py").write_text(UNHELD)
    write_distribution(site, "reach", "1", {"upper-reach": "reach:Reach", "upper-unheld": "unheld:Unheld"})
    return site


@asynccontextmanager
async def running_bench(site: Path, outside: Path) -> AsyncIterator[Bench]:
    """An instance below *site* with documents and secrets of its own, and started pools; *outside* is not its own."""
    home = site / "home"
    for folder in (home / "artifacts", home / "out", outside):
        folder.mkdir(parents=True)
    for name in ("switchgear.db", "admin.token", "artifacts/original", "artifacts/another"):
        (home / name).write_text(ORIGINAL)
    (outside / "notes.txt").write_text("notes")
    (outside / "hello").write_text("#!/bin/true\n")
    (outside / "hello").chmod(0o755)
    pools = enclosing_pools(home)
    await pools.start()
    yield Bench(pools, home, outside)
    await pools.close()
    shutil.rmtree(home)


@contextmanager
def listening_sockets(path: str) -> Iterator[dict[str, str]]:
    """Sockets that somebody listens on, by deed; the local one at *path*."""
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        udp.bind(("127.0.0.1", 0))
        unix.bind(path)
        unix.listen()
        yield {"connect": str(tcp.getsockname()[1]), "send": str(udp.getsockname()[1]), "speak": path, "listen": ""}
