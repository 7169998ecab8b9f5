"""A process that leaks, is used up or is not to be trusted any more is replaced, and counted."""

import json
import os
import signal

import pytest

from factories.module_processes import ON_LINUX, Desk, output, until, use_of
from switchgear.domain.run import Outcome
from switchgear.sdk import StageLimits
from switchgear.sdk.host.worker import MAX_CALLS

pytestmark = [pytest.mark.anyio, ON_LINUX]


async def test_a_process_that_leaks_descriptors_is_replaced_and_counted(desk: Desk) -> None:
    use = use_of(limits=StageLimits(concurrency=1), mode="leak_fds")
    for _ in range(24):
        assert (await desk.run(use)).outcome is Outcome.SUCCEEDED

    assert desk.pools.describe()[0]["recycled"].get("descriptors", 0) >= 1


async def test_a_process_that_leaks_memory_is_replaced_and_counted(desk: Desk) -> None:
    use = use_of(limits=StageLimits(concurrency=1, memory_mb=256), mode="leak_memory")
    for _ in range(8):
        assert (await desk.run(use)).outcome is Outcome.SUCCEEDED

    assert desk.recycled == [("upper-faulty", "memory")]


async def test_a_process_is_replaced_after_its_number_of_calls(desk: Desk) -> None:
    use = use_of("upper-lively", limits=StageLimits(concurrency=1))
    pids = [json.loads(output(await desk.run(use))["text"])["pid"] for _ in range(MAX_CALLS + 1)]

    assert desk.recycled == [("upper-lively", "calls")]
    assert pids[-1] not in pids[:-1]


async def test_a_process_that_ran_out_of_memory_is_not_trusted_with_another_call(desk: Desk) -> None:
    use = use_of(limits=StageLimits(concurrency=1), mode="alloc", only_if="POISON")
    await desk.warm(use)
    before = desk.pools.describe()[0]["pids"]
    await desk.run(use, "POISON")

    assert output(await desk.run(use))["text"] == "HELLO"
    assert desk.recycled == [("upper-faulty", "memory")]
    assert not set(before) & set(desk.pools.describe()[0]["pids"])


async def test_a_thread_that_goes_on_costs_the_process_its_place(desk: Desk) -> None:
    use = use_of(mode="thread")
    await desk.run(use)

    assert desk.pools.describe()[0]["recycled"] == {"threads": 1}
    assert desk.recycled == [("upper-faulty", "threads")]


async def test_the_scratch_folder_of_a_dead_process_is_removed(desk: Desk) -> None:
    use = use_of(mode="segv", only_if="POISON")
    for _ in range(3):
        await desk.run(use, "POISON")

    await until(lambda: len(list(desk.folder.glob("scratch/*/p1/*/w*"))) == desk.pools.describe()[0]["workers"] > 0)


async def test_a_fork_server_that_dies_is_replaced(desk: Desk) -> None:
    use = use_of("upper-text")
    await desk.run(use)
    os.kill(desk.pools.describe()[0]["server_pid"], signal.SIGKILL)

    async def works() -> bool:
        return (await desk.run(use)).outcome is Outcome.SUCCEEDED

    await until(works)
