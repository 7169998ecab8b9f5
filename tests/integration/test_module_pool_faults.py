"""A fault of a module is an outcome, and costs its process at most. RELIABILITY 3, rows 1 to 16."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from factories.isolation import at_levels
from factories.module_processes import ON_LINUX, Desk, other_pools, output, until, use_of
from switchgear.domain.run import Outcome
from switchgear.sdk import Blob, StageLimits

pytestmark = [pytest.mark.anyio, ON_LINUX]


@dataclass(frozen=True)
class Fault:
    """One row, at the highest level that the machine has; below it too where the level decides the outcome."""

    row: int
    mode: str
    outcome: Outcome
    detail: str
    timeout_s: float = 20.0
    levels: tuple[str, ...] = ("highest",)


FAULTS = [
    Fault(1, "raise", Outcome.ERROR, "ValueError"),
    Fault(2, "hang", Outcome.TIMEOUT, "", 0.5),
    Fault(3, "hang_in_c", Outcome.TIMEOUT, "", 0.5, levels=("highest", "L1", "L2")),
    Fault(3, "ignore_sigterm", Outcome.TIMEOUT, "", 0.5),
    Fault(4, "wrong_type", Outcome.CONTRACT_VIOLATION, "wrong_type"),
    Fault(4, "none", Outcome.CONTRACT_VIOLATION, "wrong_type"),
    Fault(4, "not_serialisable", Outcome.CONTRACT_VIOLATION, "wrong_type"),
    Fault(6, "segv", Outcome.CRASH, "signal:SEGV", levels=("highest", "L1")),
    Fault(6, "abort", Outcome.CRASH, "signal:ABRT", levels=("highest", "L1", "L2")),
    Fault(7, "alloc", Outcome.CRASH, "memory_limit", levels=("highest", "L1", "L2")),
    Fault(7, "shared_memory", Outcome.CRASH, "memory_limit", levels=("highest", "L1")),
    Fault(8, "setsid_child", Outcome.SUCCEEDED, "", levels=("highest", "L1", "L2")),
    Fault(8, "fork_bomb", Outcome.TIMEOUT, "", 0.5, levels=("highest", "L1")),
    Fault(10, "exit0", Outcome.CRASH, "exit:0"),
    Fault(10, "os_exit", Outcome.CRASH, "exit:0", levels=("highest", "L1")),
    Fault(11, "close_fds", Outcome.CRASH, "exit:1", levels=("highest", "L1", "L2")),
    # At L2 a kernel with version 6 of Landlock refuses the signal.
    Fault(11, "kill_parent", Outcome.CRASH, "signal:KILL", levels=("L1", "L3")),
    Fault(12, "huge", Outcome.CONTRACT_VIOLATION, "output_too_large"),
    Fault(15, "thread", Outcome.SUCCEEDED, ""),
]


@pytest.mark.parametrize(
    ("fault", "level"),
    [(fault, level) for fault in FAULTS for level in fault.levels],
    ids=lambda value: value if isinstance(value, str) else f"row{value.row}-{value.mode}",
    indirect=["level"],
)
async def test_a_fault_is_an_outcome_and_the_next_call_is_good(desk: Desk, fault: Fault) -> None:
    use = use_of(mode=fault.mode, only_if="POISON")
    neighbour = use_of("upper-text")
    assert output(await desk.run(neighbour))["text"] == "HELLO"
    assert output(await desk.run(use))["text"] == "HELLO"
    memory_before = _resident_mib(os.getpid())

    began = time.monotonic()
    result = await desk.run(use, "POISON", timeout_s=fault.timeout_s)
    took_s = time.monotonic() - began

    assert (result.outcome, result.detail) == (fault.outcome, fault.detail), result
    assert took_s < (fault.timeout_s + 10 if fault.outcome is Outcome.TIMEOUT else 15)
    assert "Traceback" not in result.message
    assert output(await desk.run(use, "after"))["text"] == "AFTER"
    assert output(await desk.run(neighbour))["text"] == "HELLO"
    assert _resident_mib(os.getpid()) < memory_before + 250
    await until(lambda: set(desk.processes()) == desk.known())


# The server's loop is uvloop where it is installed, which says otherwise than asyncio's that a socket is closed.
@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})], ids=["uvloop"])
async def test_a_process_that_ends_between_two_of_its_messages_has_its_own_outcome(desk: Desk) -> None:
    def pids() -> set[int]:
        return {pid for pool in pools.describe() for pid in pool["pids"]}

    def keep_after_its_end(path: Path, media_type: str) -> Blob:
        killed = pids()
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        while killed & pids():
            time.sleep(0.01)
        return Blob.from_bytes(path.name.encode(), media_type=media_type)

    pools = other_pools(desk, on_artifact=keep_after_its_end)
    await pools.start()
    result = await pools.call(desk.use(use_of("upper-lively", limits=StageLimits(concurrency=1))), desk.call("save"))
    await pools.close()

    assert (result.outcome, result.detail) == (Outcome.CRASH, "signal:KILL"), result


def _resident_mib(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


@at_levels("L1", "L2", "L3")
async def test_nothing_that_a_good_call_started_is_left_when_it_returns(desk: Desk) -> None:
    use = use_of(mode="many_children")
    await desk.warm(use)
    server = desk.pools.describe()[0]["server_pid"]

    result = await desk.run(use)
    left = set(desk.processes()) - desk.known() - set(desk.starting())

    assert output(result)["text"] == "HELLO"
    assert left == set()
    assert desk.recycled == [("upper-faulty", "processes")]
    assert desk.pools.describe()[0]["server_pid"] == server, "it cost more than the worker"
    assert output(await desk.run(use, "again"))["text"] == "AGAIN"
    assert desk.pools.describe()[0]["server_pid"] == server


@at_levels("L1", "highest")
async def test_the_memory_of_what_a_module_started_is_its_own(desk: Desk) -> None:
    use = use_of(limits=StageLimits(memory_mb=512), mode="memory_of_children")
    result = await desk.run(use)

    assert (result.outcome, result.detail) == (Outcome.CRASH, "memory_limit"), result


async def test_memory_that_a_child_shares_with_the_module_counts_once(desk: Desk) -> None:
    use = use_of(limits=StageLimits(memory_mb=512), mode="shared_with_children")

    assert output(await desk.run(use))["text"] == "HELLO"


@pytest.mark.parametrize(
    ("text", "detail"), [("large", "output_too_large"), ("nonsense", "protocol"), ("odd", "protocol")]
)
async def test_a_module_that_speaks_for_its_process_gains_nothing(desk: Desk, text: str, detail: str) -> None:
    memory_before = _resident_mib(os.getpid())
    result = await desk.run(use_of("upper-liar"), text)

    assert (result.outcome, result.detail) == (Outcome.CONTRACT_VIOLATION, detail), result
    assert _resident_mib(os.getpid()) < memory_before + 30
    assert output(await desk.run(use_of("upper-liar"), "after"))["text"] == "after"


async def test_a_module_gets_no_file_of_the_server_as_an_artifact(desk: Desk) -> None:
    said = output(await desk.run(use_of("upper-liar"), "artifact"))["text"]

    assert (said, desk.artifacts) == ("the file is outside the scratch folder", [])
