"""A module that could not be used comes back after two good answers, with growing pauses, or at a rescan (T010)."""

from pathlib import Path

import pytest

from factories.plugin import MODULES
from factories.registries import SECOND, Bench, add, lack_of
from switchgear.core.module_registry import ModuleChange
from switchgear.domain.configuration import sha256_of
from switchgear.domain.errors import Code
from switchgear.domain.stage import Lack, ModuleStatus

pytestmark = pytest.mark.anyio


async def test_two_good_answers_bring_a_module_back_and_pauses_grow(bench: Bench) -> None:
    made = await bench.start()
    looked_s: list[int] = []
    for second in range(1000):
        bench.clock.now_us += SECOND
        known = made._known["upper-environment"].trouble
        assert known is not None
        before = known.next_us
        assert await made.look_again(bench.clock()) == []
        if known.next_us != before:
            looked_s.append(second + 1)
        if len(looked_s) == 5:
            break
    assert looked_s == [30, 90, 210, 450, 750]  # 30 s, then 60, 120, 240, 300 at most

    bench.environment["SWITCHGEAR_TINY_REGION"] = "north"
    bench.clock.now_us += 300 * SECOND
    assert await made.look_again(bench.clock()) == []
    assert await made.look_again(bench.clock()) == []
    bench.clock.now_us += 30 * SECOND
    [change] = await made.look_again(bench.clock())
    assert change == ModuleChange("upper-environment", ModuleStatus.UNAVAILABLE, ModuleStatus.AVAILABLE, None)


@pytest.mark.parametrize("by_rescan", [False, True])
async def test_a_module_whose_missing_package_was_installed_comes_back(bench: Bench, by_rescan: bool) -> None:
    add(bench, {"upper-importerror": MODULES["upper-importerror"]})
    made = await bench.start()
    assert lack_of(made, "upper-importerror").code is Code.MODULE_IMPORT_ERROR
    (bench.site / "switchgear_no_such_package.py").write_text("")

    changes = await made.rescan() if by_rescan else []
    for _ in range(0 if by_rescan else 2):
        assert changes == []
        bench.clock.now_us += 30 * SECOND
        changes = await made.look_again(bench.clock())

    assert [(change.module_id, change.after) for change in changes] == [("upper-importerror", ModuleStatus.AVAILABLE)]
    assert made.current().modules["upper-importerror"].stage_id == "upper"


async def test_what_a_worker_saw_holds_until_two_good_probes(bench: Bench) -> None:
    made = await bench.start()
    lack = Lack(Code.MODULE_PROBE_FAILED, "the licence ended")
    digest = sha256_of({"mode": "ok"})
    before = made.current()
    assert made.current() is before, "a snapshot was made although nothing had changed"
    [change] = made.report_unavailable("upper-faulty", digest, lack, {"mode": "ok"})
    assert made.current() is not before

    assert change.after is ModuleStatus.UNAVAILABLE
    assert made.report_unavailable("upper-faulty", digest, lack) == []
    assert made.current().lack_of("upper-faulty", digest) == lack
    assert made.current().lack_of("upper-faulty", sha256_of({"mode": "hang"})) is None
    announced: list[ModuleChange] = []
    for _ in range(2):
        assert made.current().lack_of("upper-faulty", digest) == lack
        bench.clock.now_us += 30 * SECOND
        announced += await made.look_again(bench.clock())
    assert announced == [ModuleChange("upper-faulty", ModuleStatus.UNAVAILABLE, ModuleStatus.AVAILABLE, None)]
    assert made.current().lack_of("upper-faulty", digest) is None


@pytest.mark.parametrize("seen_by", ["validation", "worker"])
async def test_a_rescan_brings_back_what_a_probe_or_a_worker_had_missed(
    bench: Bench, tmp_path: Path, seen_by: str
) -> None:
    made = await bench.start()
    licence = tmp_path / "licence"
    settings = {"licence": str(licence)}
    key = ("upper-faulty", sha256_of(settings))
    if seen_by == "validation":
        await made.snapshot([("upper-faulty", settings)])
    else:
        made.report_unavailable(*key, Lack(Code.MODULE_PROBE_FAILED, "the licence ended"), settings)

    still = await made.rescan()
    assert made.current().lack_of(*key) is not None
    licence.touch()
    changes = await made.rescan()

    back = ModuleChange("upper-faulty", ModuleStatus.UNAVAILABLE, ModuleStatus.AVAILABLE, None)
    assert (still, changes) == ([], [back] if seen_by == "worker" else [])  # what only a validation saw was not told
    assert made.current().lack_of(*key) is None
    assert (await made.snapshot([("upper-faulty", settings)])).lack_of(*key) is None


async def test_what_only_a_validation_missed_is_back_with_the_next_good_probe(bench: Bench, tmp_path: Path) -> None:
    made = await bench.start()
    licence = tmp_path / "licence"
    settings = {"licence": str(licence)}
    digest = sha256_of(settings)
    await made.snapshot([("upper-faulty", settings)])
    assert made.current().lack_of("upper-faulty", digest) is not None
    licence.touch()

    bench.clock.now_us += 11 * SECOND
    asked = await made.snapshot([("upper-faulty", settings)])

    # what an activation was accepted with must also hold where it is made ready
    assert asked.lack_of("upper-faulty", digest) is None
    assert made.current().lack_of("upper-faulty", digest) is None
