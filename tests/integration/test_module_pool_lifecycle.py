"""A pool is made ready or says why not, and leaves no process and no folder behind when it ends, however it ends."""

import asyncio
import hashlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from factories.isolation import at_levels
from factories.module_processes import ON_LINUX, Desk, other_pools, output, until, use_of
from switchgear.domain.errors import Code
from switchgear.domain.run import Outcome
from switchgear.ingestion.module_pool import ModulePools, ModuleUse
from switchgear.sdk import Limits

pytestmark = [pytest.mark.anyio, ON_LINUX]


@pytest.mark.parametrize("open_", ["alloc", "shared_memory"])
async def test_a_module_that_opens_with_too_much_memory_says_why(desk: Desk, open_: str) -> None:
    lack = await desk.warm(use_of(open=open_))

    assert lack is not None
    assert lack.code is Code.MODULE_PROBE_FAILED
    assert ("MemoryError" if open_ == "alloc" else "more than its 1024 MiB") in lack.message


@pytest.mark.parametrize(
    ("use", "code", "words"),
    [
        (use_of("upper-importerror"), Code.MODULE_IMPORT_ERROR, "switchgear_no_such_package"),
        (use_of("no-such-module"), Code.MODULE_IMPORT_ERROR, "No installed package offers"),
        (use_of(mode="sideways"), Code.MODULE_BAD_SETTINGS, "/mode"),
        (use_of(open="unavailable"), Code.MODULE_PROBE_FAILED, "no licence to open"),
        (use_of(open="raise"), Code.MODULE_PROBE_FAILED, "open is broken"),
        (use_of(open="exit"), Code.MODULE_PROBE_FAILED, "exit:3"),
    ],
    ids=lambda value: value.settings_json if isinstance(value, ModuleUse) else str(value),
)
async def test_a_module_that_cannot_start_says_why_and_a_call_is_unavailable(
    desk: Desk, use: ModuleUse, code: Code, words: str
) -> None:
    lack = await desk.warm(use)
    result = await desk.run(use)

    assert lack is not None
    assert lack.code == code
    assert words in lack.message
    assert (result.outcome, result.detail) == (Outcome.UNAVAILABLE, str(code))


async def test_a_hanging_open_is_ended_at_its_limit(desk: Desk) -> None:
    pools = other_pools(desk, open_timeout_s=0.5)
    await pools.start()
    began = time.monotonic()
    lack = await pools.warm(desk.use(use_of(open="hang")))
    took = time.monotonic() - began
    await pools.close()

    assert took < 5
    assert lack is not None
    assert "open took more than 0.5 s" in lack.message


async def test_a_warm_module_has_a_process_in_reserve_after_a_crash(desk: Desk) -> None:
    use = use_of(mode="segv", only_if="POISON")
    assert await desk.warm(use) is None
    first = asyncio.create_task(desk.run(use, "POISON"))
    await first
    await until(lambda: desk.pools.describe()[0]["workers"] >= 1)

    assert output(await desk.run(use))["text"] == "HELLO"


async def test_a_cancelled_call_ends_the_process(desk: Desk) -> None:
    use = use_of(mode="ignore_sigterm", only_if="POISON")
    await desk.warm(use)
    call = asyncio.create_task(desk.run(use, "POISON"))
    await until(lambda: any(pool["busy"] for pool in desk.pools.describe()))
    busy = desk.pools.describe()[0]["pids"]
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    await until(lambda: not set(busy) & set(_living(busy)) or desk.pools.describe()[0]["pids"] != busy)
    assert output(await desk.run(use))["text"] == "HELLO"


def _living(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


async def test_pools_that_no_plan_names_are_closed_when_their_calls_have_ended(desk: Desk) -> None:
    gate = desk.out / "gate"
    leaving = use_of(mode="wait", file=str(gate))
    staying = use_of("upper-text")
    await desk.warm(staying)
    call = asyncio.create_task(desk.run(leaving))
    await until(lambda: any(pool["busy"] for pool in desk.pools.describe()))

    await desk.pools.keep([desk.use(staying)])
    assert [pool["module"] for pool in desk.pools.describe()] == ["upper-text"]
    gate.touch()

    assert (await call).outcome is Outcome.SUCCEEDED
    await until(lambda: set(desk.processes()) == desk.known())


async def test_a_pool_that_no_plan_names_any_more_is_first_made_ready_for_whoever_waits(desk: Desk) -> None:
    warming = asyncio.create_task(desk.warm(use_of("upper-text")))
    await until(lambda: bool(desk.starting()))

    await desk.pools.keep([])

    assert await warming is None  # what is said of the module holds for everybody
    await until(lambda: set(desk.processes()) == desk.known())


async def test_an_answer_after_the_deadline_is_late_however_busy_the_event_loop_is(desk: Desk) -> None:
    gate = desk.out / "gate"
    use = use_of(mode="wait", file=str(gate))
    await desk.warm(use)
    call = asyncio.create_task(desk.run(use, timeout_s=0.5))
    await until(lambda: call.done() or any(pool["busy"] for pool in desk.pools.describe()))
    await asyncio.sleep(0.05)  # it has been sent
    gate.touch()
    time.sleep(1)  # the module answers, and nobody hears it

    assert (await call).outcome is Outcome.TIMEOUT


async def test_a_call_whose_pool_ends_meanwhile_was_stopped_and_its_module_lacks_nothing(desk: Desk) -> None:
    pools = other_pools(desk)
    await pools.start()
    call = asyncio.create_task(pools.call(desk.use(use_of("upper-text")), desk.call()))
    await asyncio.sleep(0)

    await pools.close()

    assert (await call).outcome is Outcome.CANCELLED


async def test_a_pool_that_only_calls_started_is_closed_when_nobody_calls_it(desk: Desk) -> None:
    pools = other_pools(desk, idle_s=0.2)
    await pools.start()
    selected, fallback = desk.use(use_of("upper-text")), desk.use(use_of("upper-other"))
    try:
        assert await pools.warm(selected) is None
        assert (await pools.call(fallback, desk.call())).outcome is Outcome.SUCCEEDED
        assert len(pools.describe()) == 2

        await until(lambda: len(pools.describe()) == 1)
        assert pools.describe()[0]["module"] == "upper-text"
        assert (await pools.call(fallback, desk.call())).outcome is Outcome.SUCCEEDED
    finally:
        await pools.close()


async def test_what_a_dead_server_left_is_removed_and_a_living_one_keeps_its_own(desk: Desk, tmp_path: Path) -> None:
    root = tmp_path / "scratch"
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    here = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
    dead, alive, foreign = root / f"{gone.pid}-{here}-ab", root / f"{os.getppid()}-{here}-ab", root / "notes"
    elsewhere = root / f"{gone.pid}-00000000-ab"  # of another machine on the same file system
    for folder in (dead, alive, foreign, elsewhere):
        folder.mkdir(parents=True)
    other = ModulePools(
        folder=root, limits=Limits(), environment={}, resolve_secret=lambda _: None, default_concurrency=1
    )
    await other.start()
    await other.close()

    assert not dead.exists()
    assert alive.exists()
    assert foreign.exists()
    assert elsewhere.exists()
    assert output(await desk.run(use_of("upper-text")))["text"] == "HELLO"


#: A server process that dies without a word while a module hangs and has children of its own.
SERVER = """
import asyncio, os, sys
from pathlib import Path
from switchgear.ingestion.module_pool import *
from switchgear.sdk import Limits, StageLimits
from switchgear.domain.configuration import canonical_json

async def main() -> None:
    folder = Path(sys.argv[1])
    pools = ModulePools(folder=folder / "scratch", limits=Limits(), environment=os.environ,
                        resolve_secret=lambda _: None, default_concurrency=2)
    await pools.start()
    document = DocumentFile(folder / "document.txt", "", 0, "text/plain", "x.txt")
    for mode in ("fork_bomb", "hang_in_c"):
        settings = canonical_json({"mode": mode, "counter": str(folder / "out" / mode)})
        use = ModuleUse("load-faulty", settings, StageLimits(), level=sys.argv[2], writes=("$SWITCHGEAR_OUT",))
        asyncio.create_task(pools.call(use, Call("r", "d", 1, 600, document, {})))
    while not all((folder / "out" / mode).exists() for mode in ("fork_bomb", "hang_in_c")):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    print("ready", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@at_levels("L1", "L2", "L3")
async def test_no_module_process_outlives_a_killed_server(desk: Desk, site: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "SWITCHGEAR_OUT": str(desk.out), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path), desk.level], env=environment, stdout=subprocess.PIPE, text=True
    )
    with server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        assert len(desk.processes()) >= 16
        server.kill()

    await until(lambda: desk.processes() == [])
