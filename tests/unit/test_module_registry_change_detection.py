"""What is installed, removed or changed under a running server is noticed, and makes its lock stale (T010)."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from factories.plugin import MODULES, change_code
from factories.registries import FEW, SECOND, Bench, add
from switchgear.core.configuration_validation import lock_of, stale_modules
from switchgear.core.module_registry import ModuleChange, registry
from switchgear.core.module_registry.requirements import first_lack
from switchgear.domain.errors import Code
from switchgear.domain.stage import ModuleDescription, ModuleStatus

pytestmark = pytest.mark.anyio


async def test_rescan_finds_what_was_installed_removed_and_changed(bench: Bench) -> None:
    made = await bench.start()
    await asyncio.sleep(0.01)  # another mtime for the folder
    add(
        bench,
        {"upper-text": MODULES["upper-text"], "upper-faulty": FEW["upper-faulty"], "load-text": MODULES["load-text"]},
    )
    change_code(bench.site)
    changes = {change.module_id: change for change in await made.rescan()}

    assert changes["load-text"] == ModuleChange("load-text", None, ModuleStatus.AVAILABLE, None)
    assert changes["upper-other"] == ModuleChange("upper-other", ModuleStatus.AVAILABLE, None, None)
    assert changes["upper-text"].after is ModuleStatus.AVAILABLE
    assert "upper-faulty" not in changes
    assert await made.rescan() == []


async def test_code_that_changes_under_a_running_server_is_noticed(bench: Bench) -> None:
    made = await bench.start()
    assert await made.look_again(bench.clock()) == []
    change_code(bench.site)
    [change] = await made.look_again(bench.clock())

    assert (change.module_id, change.after) == ("upper-text", ModuleStatus.UNAVAILABLE)
    assert change.lack is not None
    assert change.lack.code is Code.MODULE_VERSION_CHANGED
    [back] = await made.rescan()
    assert (back.module_id, back.after) == ("upper-text", ModuleStatus.AVAILABLE)


async def test_a_snapshot_notices_changed_code_when_its_facts_are_older_than_ten_seconds(bench: Bench) -> None:
    made = await bench.start()
    change_code(bench.site)

    assert (await made.snapshot()).modules["upper-text"].lack is None
    bench.clock.now_us += 10 * SECOND
    lack = (await made.snapshot()).modules["upper-text"].lack
    assert lack is not None
    assert lack.code is Code.MODULE_VERSION_CHANGED
    [change] = await made.look_again(bench.clock())  # found by a snapshot, announced here
    assert (change.module_id, change.after) == ("upper-text", ModuleStatus.UNAVAILABLE)


async def test_changed_code_that_a_module_imports_from_its_distribution_is_another_version(bench: Bench) -> None:
    made = await bench.start()
    lock = lock_of(["upper-text", "upper-other"], made.current())
    shared = bench.site / "switchgear_tiny" / "contracts.py"
    shared.write_text(f"{shared.read_text()}\n# changed\n")

    bench.clock.now_us += 10 * SECOND
    lack = (await made.snapshot()).modules["upper-text"].lack
    anew = await bench.start()

    assert lack is not None
    assert lack.code is Code.MODULE_VERSION_CHANGED
    assert stale_modules(lock, anew.current()) == ["upper-other", "upper-text"]


async def test_a_touched_file_with_the_same_bytes_is_no_change(bench: Bench) -> None:
    made = await bench.start()
    file = bench.site / "switchgear_tiny" / "upper_text" / "__init__.py"
    file.write_bytes(file.read_bytes())

    assert await made.look_again(bench.clock()) == []


async def test_many_who_ask_when_the_last_look_is_old_wait_for_one_look(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await bench.start()
    looked: list[str] = []

    def counted(base: ModuleDescription, *more: Any) -> Any:
        looked.append(base.id)
        return first_lack(base, *more)

    monkeypatch.setattr(registry, "first_lack", counted)
    bench.clock.now_us += 10 * SECOND
    await asyncio.gather(*(made.snapshot() for _ in range(16)))
    assert sorted(looked) == sorted(set(looked))


async def test_the_lock_is_stale_exactly_for_changed_code(bench: Bench) -> None:
    made = await bench.start()
    lock = lock_of(["upper-text", "upper-other", "not-installed"], made.current())
    assert set(lock) == {"upper-text", "upper-other"}
    assert lock["upper-text"].version == "1.0.0"
    assert stale_modules(lock, made.current()) == []

    change_code(bench.site)
    await made.rescan()
    assert stale_modules(lock, made.current()) == ["upper-text"]
    other_contract = {**lock, "upper-other": replace(lock["upper-other"], contract_digest="0" * 64)}
    assert stale_modules(other_contract, made.current()) == ["upper-other", "upper-text"]


async def test_an_editable_install_is_never_stale(bench: Bench) -> None:
    info = next(bench.site.glob("switchgear_tiny-*.dist-info"))
    (info / "direct_url.json").write_text(json.dumps({"url": "file:///x", "dir_info": {"editable": True}}))
    made = await bench.start()
    lock = lock_of(["upper-text"], made.current())
    change_code(bench.site)
    await made.rescan()

    assert lock["upper-text"].editable
    assert stale_modules(lock, made.current()) == []
