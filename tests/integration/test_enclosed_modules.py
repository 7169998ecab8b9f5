"""Levels L2 and L3: what a module reaches for and did not declare is refused, measure by measure, in real processes.

Each deed is tried at L1 too, where it succeeds: so that a refusal is the measure's and not the machine's.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from factories.isolation import broken, measured, needs, needs_level, offered
from factories.modules import enclosing_pools
from factories.plugin import install, write_distribution
from switchgear.domain.configuration import canonical_json
from switchgear.domain.errors import Code
from switchgear.domain.run import AttemptResult, Outcome
from switchgear.ingestion.module_pool import Call, DocumentFile, ModulePools, ModuleUse, StageValue
from switchgear.sdk import Requires, StageLimits
from switchgear.sdk.host import landlock, measures, namespaces, seccomp, trials
from switchgear.sdk.values import Frozen

pytestmark = pytest.mark.anyio

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


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = install(tmp_path_factory.mktemp("enclosed"), modules={})
    (folder / "reach.py").write_text(REACH)
    (folder / "unheld.py").write_text(UNHELD)
    write_distribution(folder, "reach", "1", {"upper-reach": "reach:Reach", "upper-unheld": "unheld:Unheld"})
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


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
        document = DocumentFile(self.home / "artifacts" / "original", "0", len(ORIGINAL), "text/plain", "a.txt")
        inputs = {"text": StageValue(Text, model=Text(text=deed))}
        return await self.pools.call(use, Call("run_1", "doc_1", 1, 30.0, document, inputs))

    def answer(self, result: AttemptResult) -> Any:
        assert result.outcome is Outcome.SUCCEEDED, result
        assert isinstance(result.output, bytes)
        said, pid, document, copy = json.loads(json.loads(result.output)["text"])
        assert document == copy == ORIGINAL
        return said, pid


@pytest.fixture
async def bench(site: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    home, outside = site / "home", tmp_path / "outside"
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


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Sockets that somebody listens on, by deed."""
    path = str(tmp_path / "s")
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        udp.bind(("127.0.0.1", 0))
        unix.bind(path)
        unix.listen()
        yield {"connect": str(tcp.getsockname()[1]), "send": str(udp.getsockname()[1]), "speak": path, "listen": ""}


# --- files ---

FILES = [
    "read /etc/passwd",
    "read_in_child /etc/passwd",
    "read {home}/switchgear.db",
    "read {home}/admin.token",
    "read {home}/artifacts/another",
    "read {home}/artifacts/original",  # its own document, by the back door
    "list {outside}",
    "link {home}/artifacts/original",
    "write {outside}/new.txt",
    "append {outside}/notes.txt",
    "truncate {outside}/notes.txt",
    "write {home}/out/result.json",
    "move {outside}/notes.txt",
    "unlink {outside}/notes.txt",
]


@pytest.mark.parametrize("deed", FILES)
async def test_a_file_that_was_not_declared_is_out_of_reach(bench: Bench, deed: str) -> None:
    needs("files_enclosed", "sockets_refused")
    said = deed.format(home=bench.home, outside=bench.outside)

    refused, first = await bench.reach(said)
    after, second = await bench.reach("nothing")
    allowed, _ = await bench.reach(said, level="L1")

    assert refused == "refused"
    assert (after, first == second) == ("nothing", True), "the same process serves the next call"
    assert allowed != "refused"


async def test_a_program_that_was_not_declared_does_not_run(bench: Bench) -> None:
    needs("files_enclosed", "sockets_refused")
    program = shutil.which("true")
    assert program is not None

    assert (await bench.reach(f"run {program}"))[0] == "refused"
    assert (await bench.reach(f"run {program}", reads=("true",)))[0] == ""


async def test_a_file_that_was_declared_is_read_and_not_written(bench: Bench) -> None:
    needs("files_enclosed", "sockets_refused")
    notes = str(bench.outside / "notes.txt")

    assert (await bench.reach(f"read {notes}", reads=(notes,)))[0] == "not"
    assert (await bench.reach(f"append {notes}", reads=(notes,)))[0] == "refused"


async def test_a_folder_that_was_declared_is_made_and_written_but_nothing_there_is_run(bench: Bench) -> None:
    needs("files_enclosed", "sockets_refused")
    folder = bench.outside / "new" / "folder"
    use: dict[str, Any] = {
        "settings": canonical_json({"folder": str(folder)}),
        "writes": ("$SWITCHGEAR_OUT", "$SWITCHGEAR_OUT/../spool", "settings:/folder", "settings:/other", "$UNSET"),
    }

    for path in (folder / "a", bench.home / "out" / "b", bench.home / "spool" / "c"):
        assert (await bench.reach(f"write {path}", **use))[0] == "1"
        assert path.read_text() == "x"
    assert (await bench.reach(f"read {bench.home}/admin.token", **use))[0] == "refused"
    shutil.copy(bench.outside / "hello", folder / "hello")
    assert (await bench.reach(f"run {folder}/hello", **use))[0] == "refused"


async def test_a_folder_that_was_replaced_is_written_by_a_new_process(bench: Bench) -> None:
    needs("files_enclosed", "sockets_refused")
    use: dict[str, Any] = {"writes": ("$SWITCHGEAR_OUT",)}
    _, first = await bench.reach(f"write {bench.home}/out/a", **use)
    (bench.home / "out").rename(bench.home / "out-of-last-month")

    said, second = await bench.reach(f"write {bench.home}/out/a", **use)

    assert said == "1"
    assert first != second


@pytest.mark.parametrize("folder", ["{home}", "{home}/artifacts", "/", "{home}/scratch/new"])
async def test_a_module_that_declares_to_write_the_instances_own_is_refused(bench: Bench, folder: str) -> None:
    needs("files_enclosed", "sockets_refused")
    settings = canonical_json({"folder": folder.format(home=bench.home)})
    use = ModuleUse("upper-reach", settings, StageLimits(), level="L2", writes=("settings:/folder",))

    lack = await bench.pools.warm(use)

    assert lack is not None
    assert (lack.code, "keeps its own data" in lack.message) == (Code.MODULE_ISOLATION, True)


# --- network, signals ---


@pytest.mark.parametrize("deed", ["connect", "send", "speak", "listen", "ring"])
async def test_a_socket_is_refused_unless_the_network_was_declared(
    bench: Bench, listening: dict[str, str], deed: str
) -> None:
    needs("files_enclosed", "sockets_refused")
    said = f"{deed} {listening.get(deed, '')}"

    refused, first = await bench.reach(said)
    _, second = await bench.reach("nothing")

    assert (refused, first == second) == ("refused", True)
    if deed == "ring":  # not every machine offers it
        return
    assert (await bench.reach(said, level="L1"))[0] in ("connected", "sent", "bound")
    assert (await bench.reach(said, network=True))[0] in ("connected", "sent", "bound")


async def test_a_module_that_declared_the_network_still_gets_at_no_file(bench: Bench) -> None:
    needs("files_enclosed")

    assert (await bench.reach("read /etc/hosts", network=True))[0] != "refused"
    assert (await bench.reach(f"read {bench.home}/admin.token", network=True))[0] == "refused"


async def test_a_pair_of_sockets_for_an_event_loop_is_left(bench: Bench) -> None:
    needs("files_enclosed", "sockets_refused")

    assert (await bench.reach("pair"))[0] == "2"


async def test_processes_outside_get_no_signal_and_show_nothing(bench: Bench) -> None:
    needs("files_enclosed", "sockets_refused")
    server = os.getpid()

    assert (await bench.reach(f"read /proc/{server}/environ"))[0] == "refused"
    assert (await bench.reach(f"read /proc/{server}/cmdline"))[0] == "refused"
    needs("signals_enclosed")
    assert (await bench.reach(f"signal {server}"))[0] == "refused"
    assert (await bench.reach(f"signal {server}", level="L1"))[0] == "None"


# --- level L3 ---


async def test_other_processes_are_not_there(bench: Bench) -> None:
    needs_level("L3")
    server = os.getpid()

    assert (await bench.reach(f"signal {server}", level="L3"))[0] == "not there"
    assert (await bench.reach(f"signal {server}", level="L1"))[0] == "None"
    own, parent = (await bench.reach("number", level="L3"))[0].split()
    assert (int(own) < 10, parent) == (True, "0")


async def test_shared_memory_of_others_is_not_there(bench: Bench) -> None:
    needs_level("L3")
    library, key = ctypes.CDLL(None), 0x53580000 | os.getpid() & 0xFFFF
    made = library.msgget(key, 0o1600)
    try:
        assert (await bench.reach(f"queue {key}", level="L3"))[0] == "not there"
        assert (await bench.reach(f"queue {key}", level="L1"))[0] == "found"
    finally:
        library.msgctl(made, 0, None)


async def test_the_network_is_an_empty_one_unless_it_was_declared(bench: Bench, listening: dict[str, str]) -> None:
    needs_level("L3")
    port = listening["connect"]
    ours = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "net", "ipc")]

    closed = (await bench.reach("namespaces", level="L3"))[0].split()
    opened = (await bench.reach("namespaces", level="L3", network=True))[0].split()

    assert [one == other for one, other in zip(closed, ours, strict=True)] == [False, False, False]
    assert [one == other for one, other in zip(opened, ours, strict=True)] == [False, True, False]
    assert (await bench.reach(f"connect {port}", level="L3"))[0] == "refused"
    assert (await bench.reach(f"connect {port}", level="L3", network=True))[0] == "connected"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("unshare", "268435456"), ("keyctl", "0 -3"), ("userfaultfd", "1"), ("clone", f"{0x10000000 | signal.SIGCHLD}")],
)
@pytest.mark.parametrize("network", [False, True])
async def test_a_call_that_no_reader_of_documents_needs_is_refused(
    bench: Bench, name: str, arguments: str, network: bool
) -> None:
    needs_level("L3")
    known = seccomp.machine()
    assert known is not None
    number = known.clone if name == "clone" else seccomp.DANGEROUS[name][known.column]

    assert (await bench.reach(f"call {number} {arguments}", level="L3", network=network))[0] == "refused"
    if name != "userfaultfd":  # not every machine offers it
        assert (await bench.reach(f"call {number} {arguments}", level="L2", network=network))[0] == "done"


async def test_a_call_whose_wishes_cannot_be_read_is_said_not_to_exist(bench: Bench) -> None:
    needs_level("L3")

    assert (await bench.reach(f"call {seccomp.CLONE3} 0 0", level="L3"))[0] == "not there"
    with pytest.raises(AssertionError, match="Errno 22"):
        await bench.reach(f"call {seccomp.CLONE3} 0 0", level="L2")


async def test_the_rights_of_an_administrator_are_given_up_but_for_those_over_files(bench: Bench) -> None:
    needs_level("L3")

    assert int((await bench.reach("rights", level="L3"))[0], 16) in (0, 2)
    assert (await bench.reach("raise_limit", level="L3"))[0] == "refused"


async def test_what_a_module_may_at_the_level_below_it_still_may(bench: Bench) -> None:
    needs_level("L3")
    notes = str(bench.outside / "notes.txt")
    use: dict[str, Any] = {"level": "L3", "reads": (notes,), "writes": ("$SWITCHGEAR_OUT",)}

    assert (await bench.reach(f"read {notes}", **use))[0] == "not"
    assert (await bench.reach(f"write {bench.home}/out/a", **use))[0] == "1"
    assert (await bench.reach("pair", **use))[0] == "2"
    assert (await bench.reach("sibling", **use))[0] == "alive"
    for deed in ("read /etc/passwd", f"read {bench.home}/admin.token", f"write {notes}", f"run {shutil.which('true')}"):
        assert (await bench.reach(deed, **use))[0] == "refused"


async def test_when_the_first_process_of_a_namespace_dies_the_others_go_and_new_ones_are_made(bench: Bench) -> None:
    needs_level("L3")
    await bench.reach("nothing", level="L3")
    pool = bench.pools.describe()[0]
    keeper = next(pid for pid in measures.children(pool["server_pid"]) if pid not in pool["pids"])

    os.kill(keeper, signal.SIGKILL)
    async with asyncio.timeout(10):
        while any(Path(f"/proc/{pid}").exists() for pid in (keeper, *pool["pids"])):
            await asyncio.sleep(0.01)

    # One that was being made while the namespace ended goes with it, and its call crashes.
    use = ModuleUse("upper-reach", "{}", StageLimits(concurrency=1), level="L3")
    async with asyncio.timeout(10):
        while (result := await bench.call(use, "nothing")).outcome is not Outcome.SUCCEEDED:
            assert result.outcome is Outcome.CRASH
    assert bench.answer(result)[0] == "nothing"


#: A server without the privilege to make namespaces: a process of the same user that gave its rights up.
UNPRIVILEGED = """
import asyncio, os, sys
from pathlib import Path
from switchgear.sdk.host import measures
assert measures.drop_capabilities() == ""
from factories.modules import enclosing_pools
from switchgear.ingestion.module_pool import Call, DocumentFile, ModuleUse, StageValue
from switchgear.sdk import StageLimits
from switchgear.sdk.values import Frozen

class Text(Frozen):
    text: str

async def main() -> None:
    home = Path(sys.argv[1])
    pools = enclosing_pools(home)
    await pools.start()
    document = DocumentFile(home / "artifacts" / "original", "0", 19, "text/plain", "a.txt")
    for deed in (f"signal {os.getpid()}", "read /etc/passwd", "number"):
        use = ModuleUse("upper-reach", "{}", StageLimits(concurrency=1), level="L3")
        inputs = {"text": StageValue(Text, model=Text(text=deed))}
        result = await pools.call(use, Call("run_1", "doc_1", 1, 30.0, document, inputs))
        print((result.output or result.message.encode()).decode())
    await pools.close()

asyncio.run(main())
"""


async def test_a_server_without_privileges_has_the_level_too(bench: Bench) -> None:
    needs_level("L3")
    folders = [str(Path(__file__).parents[1]), *filter(None, sys.path)]
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", UNPRIVILEGED, str(bench.home)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
    )

    said = [json.loads(json.loads(line)["text"])[0] for line in done.stdout.splitlines()]
    assert said[:2] == ["not there", "refused"], done.stderr
    assert said[2].endswith(" 0")


# --- measures ---


async def test_a_process_that_cannot_be_held_opens_no_module(bench: Bench) -> None:
    needs("files_enclosed")
    lack = await bench.pools.warm(ModuleUse("upper-unheld", "{}", StageLimits(), level="L2"))

    assert lack is not None
    assert (lack.code, "no filter today" in lack.message) == (Code.MODULE_ISOLATION, True)
    lack = await bench.pools.warm(ModuleUse("upper-unheld", "{}", StageLimits(), level="L3"))
    assert lack is not None
    assert (lack.code, "no namespaces today" in lack.message) == (Code.MODULE_ISOLATION, True)
    assert await bench.pools.warm(ModuleUse("upper-unheld", "{}", StageLimits(), level="L1")) is None


async def test_the_pool_says_its_level_and_that_the_network_is_open(bench: Bench) -> None:
    needs_level("L3")
    await bench.reach("nothing")
    await bench.reach("nothing", level="L3")
    await bench.reach("nothing", level="L3", network=True)

    assert [pool["level"] for pool in bench.pools.describe()] == ["L2", "L3", "L3, network open"]


def test_the_first_process_of_a_namespace_ends_also_when_its_maker_is_gone_before_it_is_ready() -> None:
    needs("processes_enclosed")

    def keeper_of_a_dead_maker() -> str:
        measures.adopt_orphans()
        (told, tell), (gone, say_gone) = os.pipe(), os.pipe()
        maker = os.fork()
        if maker == 0:
            namespaces.enter(namespaces.PROCESSES)
            ends = os.pipe()
            keeper = os.fork()
            if keeper == 0:
                os.read(gone, 1)
                namespaces._keep(*ends)
            os.write(tell, str(keeper).encode())
            os._exit(0)
        keeper = int(os.read(told, 20))
        os.waitpid(maker, 0)
        os.write(say_gone, b"x")
        end = time.monotonic() + 10
        while os.waitpid(keeper, os.WNOHANG) == (0, 0):
            if time.monotonic() > end:
                os.kill(keeper, signal.SIGKILL)
                return "it is still there"
            time.sleep(0.01)
        return ""

    assert trials.in_child(keeper_of_a_dead_maker) == ""


def test_what_the_kernel_offers_is_brought_about() -> None:
    if sys.platform == "linux":
        assert offered() <= set(measured())
    assert broken() == {}


def test_a_trial_that_dies_or_raises_is_a_measure_that_is_missing() -> None:
    def dies() -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return ""

    def raises() -> str:
        raise OSError("no such thing")

    assert trials.in_child(dies) == "the trial ended with -9"
    assert trials.in_child(raises) == "OSError: no such thing"
    assert trials.in_child(lambda: "") == ""


def test_a_deed_that_succeeds_is_no_refusal() -> None:
    assert trials._refused(lambda: None, "writing") == "writing was not refused"
    assert trials._refused(Path("/nowhere/at/all").read_bytes, "reading").startswith("reading was not refused: No such")


@pytest.mark.parametrize(
    ("since", "offered", "reason"), [(4, 3, "the kernel has version 3 of Landlock; version 4 brought it"), (4, 4, "")]
)
def test_an_older_kernel_is_named(monkeypatch: pytest.MonkeyPatch, since: int, offered: int, reason: str) -> None:
    monkeypatch.setattr(landlock, "_call", lambda *_: offered)
    assert landlock.require(since) == reason


def test_what_the_kernel_does_not_offer_is_not_asked_for_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "_call", lambda *_: 3)
    asks: list[Callable[[], None]] = [
        lambda: landlock.restrict(refuse_tcp=True),
        lambda: landlock.restrict(keep_signals_in=True),
    ]
    for ask in asks:
        with pytest.raises(landlock.Refused, match="the kernel has version 3"):
            ask()


# --- the declaration ---


@pytest.mark.parametrize("item", ["/srv/out", "out", "$out", "settings:folder", "settings:/", "$SWITCHGEAR_OUT/", ""])
def test_a_folder_to_write_is_named_by_a_variable_or_a_setting(item: str) -> None:
    with pytest.raises(ValidationError):
        Requires(writes=(item,))


def test_a_folder_is_not_named_by_a_variable_that_the_module_does_not_get() -> None:
    with pytest.raises(ValidationError, match="ACME_FOLDER: add it to environment"):
        Requires(writes=("$ACME_FOLDER",))
    assert Requires(writes=("$ACME_FOLDER/x",), environment=("ACME_FOLDER",)).writes == ("$ACME_FOLDER/x",)
