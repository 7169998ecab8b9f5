"""Level L3: other processes, networks and shared memory are not there, and dangerous calls are refused."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from factories.enclosure import Bench
from factories.isolation import needs, needs_level
from switchgear.domain.run import Outcome
from switchgear.ingestion.module_pool import ModuleUse
from switchgear.sdk import StageLimits
from switchgear.sdk.host import measures, namespaces, seccomp, trials

pytestmark = pytest.mark.anyio


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
