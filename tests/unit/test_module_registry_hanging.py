"""Modules whose import hangs: all together cost one limit, once; a repaired one is never shown with its old reason.

Source: RELIABILITY row 16, docs/adr/0021-modules-that-hang.md.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from factories.plugin import MODULES
from factories.registries import FEW, SECOND, Bench, add, lack_of
from switchgear.core.module_registry import ModuleChange, ModuleRegistry, descriptions
from switchgear.core.module_registry.describing import describe_all
from switchgear.domain.stage import ModuleStatus

pytestmark = pytest.mark.anyio

GOOD = "from switchgear_tiny.upper_text import UpperText as Upper\n"
HANGS = "import time\ntime.sleep(600)\n"
AVAILABLE, UNAVAILABLE = ModuleStatus.AVAILABLE, ModuleStatus.UNAVAILABLE


@pytest.fixture(autouse=True)
async def known(bench: Bench) -> None:
    """All but the modules of a test is in the cache: small limits are for these alone."""
    await bench.start()


def offer(bench: Bench, codes: Mapping[str, str]) -> None:
    """Install the few modules, and each of *codes*: name of its file, and the file."""
    for name, code in codes.items():
        (bench.site / f"{name}.py").write_text(code)
    add(bench, {**FEW, **{name: f"{name}:Upper" for name in codes}})


def announced(bench: Bench, name: str, code: str) -> str:
    """Code that says in a file that its import has begun."""
    return f"from pathlib import Path\nPath({str(bench.site / name)!r}).touch()\n{code}"


def status_of(made: ModuleRegistry, name: str) -> ModuleStatus:
    return made.current().modules[name].status


async def appears(bench: Bench, name: str) -> None:
    """Wait until an import has begun."""
    async with asyncio.timeout(60):
        while not (bench.site / name).exists():
            await asyncio.sleep(0.01)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the modules that are imported from now on."""
    names: list[str] = []

    async def seen(some: Collection[str], *words: Any, **more: Any) -> dict[str, Any]:
        names.extend(some)
        return await describe_all(sorted(some), *words, **more)

    monkeypatch.setattr(descriptions, "describe_all", seen)
    return names


async def test_imports_that_wait_for_each_other_are_under_way_side_by_side(bench: Bench) -> None:
    codes = {
        f"waits{place}": announced(
            bench,
            f"begun{place}",
            f"import time\nwhile not Path({str(bench.site / f'begun{place + 1}')!r}).exists():\n"
            f"    time.sleep(0.01)\n{GOOD}",
        )
        for place in range(6)
    }
    offer(bench, {**codes, "waits6": announced(bench, "begun6", GOOD)})
    made = await bench.start(import_timeout_s=10)

    assert {status_of(made, name) for name in (*codes, "waits6", "upper-text")} == {AVAILABLE}


async def test_more_hanging_modules_than_children_cost_no_second_limit_and_others_serve(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchgear.core.module_registry.describing._MOST_CHILDREN", 3)
    hanging = [f"a_hangs{place}" for place in range(6)]
    offer(bench, {**dict.fromkeys(hanging, HANGS), "z_good": GOOD})
    made = await bench.start(import_timeout_s=15)  # a tenth has to do for an import on a loaded machine

    assert {status_of(made, name) for name in hanging} == {UNAVAILABLE}
    assert {status_of(made, name) for name in ("z_good", "upper-text", "upper-other")} == {AVAILABLE}
    waited = {lack_of(made, name).message for name in hanging}
    assert any("took more than 15 s" in message for message in waited)
    assert any("took more than 1.5 s" in message for message in waited), "each waited for a limit of its own"


async def test_what_hung_a_moment_ago_is_not_waited_for_by_the_next_process(bench: Bench, asked: list[str]) -> None:
    offer(bench, {"hangs": HANGS})
    lack = lack_of(await bench.start(import_timeout_s=1), "hangs")
    asked.clear()
    again = await bench.start(import_timeout_s=1)

    assert asked == []
    assert lack_of(again, "hangs") == lack
    bench.clock.now_us += 61 * SECOND
    await bench.start(import_timeout_s=1)
    assert asked == ["hangs"]


async def test_a_repaired_module_is_looked_at_by_the_next_process_at_once(bench: Bench, asked: list[str]) -> None:
    offer(bench, {"hangs": HANGS})
    await bench.start(import_timeout_s=1)
    (bench.site / "hangs.py").write_text(GOOD)
    again = await bench.start()

    assert status_of(again, "hangs") is AVAILABLE


async def test_a_module_that_was_repaired_while_its_import_hung_is_not_remembered_as_hanging(bench: Bench) -> None:
    offer(bench, {"hangs": announced(bench, "begun", HANGS)})
    start = asyncio.create_task(bench.start(import_timeout_s=3))
    await appears(bench, "begun")
    (bench.site / "hangs.py").write_text(GOOD)
    made = await start
    assert status_of(made, "hangs") is UNAVAILABLE

    assert status_of(await bench.start(), "hangs") is AVAILABLE
    await made.look_again(bench.clock())
    assert status_of(made, "hangs") is AVAILABLE


async def test_the_server_and_a_rescan_look_again_at_what_hung(bench: Bench, asked: list[str]) -> None:
    offer(bench, {"hangs": HANGS})
    made = await bench.start(import_timeout_s=1)
    asked.clear()
    bench.clock.now_us += 30 * SECOND
    await made.look_again(bench.clock())
    assert asked == ["hangs"]
    await made.rescan()
    assert asked == ["hangs", "hangs"]
    await made.rescan(anew=False)
    assert asked == ["hangs", "hangs"]


async def test_two_modules_that_are_looked_at_again_are_asked_together(bench: Bench, asked: list[str]) -> None:
    offer(bench, {"hangs": HANGS, "hangs_too": HANGS})
    made = await bench.start(import_timeout_s=1)
    asked.clear()
    together: list[int] = []

    async def seen(some: Collection[str], *words: Any, **more: Any) -> dict[str, Any]:
        together.append(len(some))
        return await describe_all(sorted(some), *words, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(descriptions, "describe_all", seen)
        bench.clock.now_us += 30 * SECOND
        await made.look_again(bench.clock())
    assert [number for number in together if number] == [2]


@pytest.mark.parametrize("by", ["rescan", "look"])
async def test_the_reason_is_that_of_the_last_look_also_after_a_restart(bench: Bench, by: str) -> None:
    word = bench.cache.parent / "word.txt"  # a file that no process watches
    word.write_text("raise ValueError('the old reason')")
    offer(bench, {"moody": f"exec(open({str(word)!r}).read())\n{GOOD}"})
    made = await bench.start()
    assert "the old reason" in lack_of(made, "moody").message
    word.write_text("import os\nos._exit(3)")
    bench.clock.now_us += 30 * SECOND
    await (made.rescan() if by == "rescan" else made.look_again(bench.clock()))

    for one in (made, await bench.start()):
        assert "ended with exit:3" in lack_of(one, "moody").message


async def test_what_a_rescan_brought_back_stays_when_an_earlier_look_ends(bench: Bench) -> None:
    offer(bench, {"a_hangs": announced(bench, "begun", HANGS)})
    add(
        bench,
        {**FEW, "a_hangs": "a_hangs:Upper", "b-repaired": MODULES["upper-importerror"]},
    )
    made = await bench.start(import_timeout_s=3)
    bench.clock.now_us += 30 * SECOND
    (bench.site / "begun").unlink()
    look = asyncio.create_task(made.look_again(bench.clock()))
    await appears(bench, "begun")
    (bench.site / "a_hangs.py").write_text(GOOD)
    (bench.site / "switchgear_no_such_package.py").write_text("")
    changes = await made.rescan()
    announced_late = await look

    assert changes == [ModuleChange(name, UNAVAILABLE, AVAILABLE, None) for name in ("a_hangs", "b-repaired")]
    assert announced_late == []
    assert {status_of(made, name) for name in ("a_hangs", "b-repaired")} == {AVAILABLE}


async def test_a_rescan_that_ends_late_does_not_undo_what_a_later_one_found(bench: Bench) -> None:
    offer(bench, {"hangs": announced(bench, "begun", HANGS)})
    made = await bench.start(import_timeout_s=3)
    (bench.site / "begun").unlink()
    early = asyncio.create_task(made.rescan())
    await appears(bench, "begun")
    offer(bench, {"hangs": GOOD, "newcomer": GOOD})
    late = await made.rescan()
    assert await early == []

    assert [(change.module_id, change.after) for change in late] == [("hangs", AVAILABLE), ("newcomer", AVAILABLE)]
    assert {status_of(made, name) for name in ("hangs", "newcomer")} == {AVAILABLE}


async def test_code_that_changes_while_others_hang_is_noticed(bench: Bench) -> None:
    offer(bench, {"a_good": announced(bench, "read", GOOD), "hangs": announced(bench, "begun", HANGS)})
    start = asyncio.create_task(bench.start(import_timeout_s=3))
    await appears(bench, "begun")
    await appears(bench, "read")
    await asyncio.sleep(0.2)  # it has answered
    (bench.site / "a_good.py").write_text(f"{GOOD}# changed\n")
    made = await start

    assert lack_of(made, "a_good").fix == "switchgear modules rescan"
    assert status_of(await bench.start(), "a_good") is AVAILABLE


async def test_who_waits_can_see_what_for(bench: Bench) -> None:
    offer(bench, {"hangs": announced(bench, "begun", HANGS)})
    made = await bench.start(import_timeout_s=3)
    (bench.site / "begun").unlink()
    began = time.monotonic()
    scan = asyncio.create_task(made.rescan())
    await appears(bench, "begun")
    assert made.importing == {"hangs"}
    await scan
    assert made.importing == set()
    assert time.monotonic() - began < 30
