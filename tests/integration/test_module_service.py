"""What a maintainer does with modules: enable, disable, look again; each change has one entry in the trail (T015)."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from factories.core import Clock, Core
from switchgear.core.database import Database
from switchgear.core.module_registry import ModuleChange
from switchgear.core.module_service import ModuleService
from switchgear.domain.access import Actor, Role
from switchgear.domain.errors import Code, NotFound
from switchgear.domain.stage import Lack, ModuleStatus

pytestmark = pytest.mark.anyio

MARTA = Actor("marta", Role.MAINTAINER, "tok_2")


@pytest.fixture
def modules(core: Core) -> ModuleService:
    return ModuleService(core.units, core.registry)  # type: ignore[arg-type]


async def test_a_disabled_module_is_disabled_here_and_for_other_processes(core: Core, modules: ModuleService) -> None:
    with capture_logs() as lines:
        await modules.set_enabled("read-b", False, by=MARTA, message="bad results")
    assert core.registry.current().modules["read-b"].status is ModuleStatus.DISABLED
    async with core.units(write=False) as unit:
        assert await unit.catalogue.disabled_modules() == {"read-b"}
    [entry] = await core.audited("module.disabled")
    assert (entry.actor, entry.subjects, entry.message) == ("marta", ("read-b",), "bad results")
    assert (entry.before, entry.after) == ({"enabled": True}, {"enabled": False})
    assert [line for line in lines if line["event"] == "module.set"] == [
        {"event": "module.set", "log_level": "info", "module": "read-b", "enabled": False, "actor": "marta"}
    ]


async def test_what_changes_nothing_is_not_recorded(core: Core, modules: ModuleService) -> None:
    await modules.set_enabled("read-b", True, by=MARTA)
    await modules.set_enabled("read-b", False, by=MARTA)
    with capture_logs() as lines:
        await modules.set_enabled("read-b", False, by=MARTA)
    assert await core.audited("module.enabled") == []
    assert len(await core.audited("module.disabled")) == 1
    assert lines == []


async def test_a_process_that_missed_it_catches_up_when_nothing_changes(core: Core, modules: ModuleService) -> None:
    await modules.set_enabled("read-b", False, by=MARTA)
    core.registry.change("read-b", enabled=True)
    await modules.set_enabled("read-b", False, by=MARTA)
    assert core.registry.current().modules["read-b"].status is ModuleStatus.DISABLED


async def test_a_module_that_is_not_installed_cannot_be_set(core: Core, modules: ModuleService) -> None:
    core.registry.remove("read-b")  # the catalogue still knows it
    for name in ("read-b", "nobody"):
        with pytest.raises(NotFound, match="modules list"):
            await modules.set_enabled(name, False, by=MARTA)
    assert await core.audited("module.disabled") == []


async def test_a_rescan_keeps_what_was_found_and_says_who_asked_and_why(core: Core, modules: ModuleService) -> None:
    core.registry.remove("read-b")
    gone = ModuleChange("read-b", ModuleStatus.AVAILABLE, None, None)
    core.registry.changes = [gone]
    with capture_logs() as lines:
        assert await modules.rescan(by=MARTA, message="Upgraded") == [gone]
    async with core.units(write=False) as unit:
        assert (await unit.catalogue.module_statuses())["read-b"] == "unavailable"
    [entry] = await core.audited("module.rescanned")
    assert (entry.actor, entry.subjects, entry.message) == ("marta", ("read-b",), "Upgraded")
    assert entry.after == {"read-b": None}
    [line] = [line for line in lines if line["event"] == "modules.rescanned"]
    assert (line["modules"], line["changed"], line["actor"]) == (6, ["read-b"], "marta")


async def test_a_rescan_that_finds_nothing_new_is_recorded_too(core: Core, modules: ModuleService) -> None:
    assert await modules.rescan(by=MARTA) == []
    [entry] = await core.audited("module.rescanned")
    assert (entry.subjects, entry.message, entry.after) == ((), "", {})


async def test_a_process_with_changed_code_looks_again_as_soon_as_another_has(
    core: Core, modules: ModuleService
) -> None:
    late = Core(core.database, core.clock, worker_id="late")
    follower = ModuleService(late.units, late.registry)  # type: ignore[arg-type]
    lack = Lack(Code.MODULE_VERSION_CHANGED, "Its code was changed.", "switchgear modules rescan")
    late.registry.change("read-a", lack=lack, outdated=True)
    change = ModuleChange("read-a", ModuleStatus.UNAVAILABLE, ModuleStatus.AVAILABLE, None)
    late.registry.changes = [change]
    assert await follower.follow() == ()

    core.registry.change("read-a", version="2.0.0", code_digest="other")
    await modules.rescan(by=MARTA)
    await late.service.record_module_changes((), catalogue=True)  # what it knows of the code is old: not kept

    assert await follower.follow() == [change]


async def test_the_first_process_of_an_instance_does_not_look_twice(database_url: str) -> None:
    database = Database(database_url, clock=Clock())
    await database.start()
    first = Core(database, Clock())
    assert await ModuleService(first.units, first.registry).follow() == ()  # type: ignore[arg-type]
    assert first.registry.rescans == []
    await database.close()


async def test_who_follows_another_process_does_not_import_again_what_failed(
    core: Core, modules: ModuleService
) -> None:
    core.registry.remove("read-b")
    await modules.follow()
    assert core.registry.rescans == [False]


async def test_a_process_looks_once_for_a_module_that_another_has_found(core: Core, modules: ModuleService) -> None:
    late = Core(core.database, core.clock, worker_id="late")
    late.registry.remove("read-b")
    follower = ModuleService(late.units, late.registry)  # type: ignore[arg-type]
    await modules.rescan(by=MARTA)
    found = ModuleChange("read-b", None, ModuleStatus.AVAILABLE, None)
    late.registry.changes = [found]
    assert await follower.follow() == [found]
    late.registry.changes = [found]
    assert await follower.follow() == ()  # it is installed there alone


async def test_a_process_follows_what_was_disabled_through_another(core: Core, modules: ModuleService) -> None:
    late = Core(core.database, core.clock, worker_id="late")
    follower = ModuleService(late.units, late.registry)  # type: ignore[arg-type]
    await modules.set_enabled("read-b", False, by=MARTA)
    await follower.follow()
    assert late.registry.current().modules["read-b"].status is ModuleStatus.DISABLED
    await modules.set_enabled("read-b", True, by=MARTA)
    await follower.follow()
    assert late.registry.current().modules["read-b"].status is ModuleStatus.AVAILABLE


async def test_a_process_looks_once_for_a_module_that_another_has_missed(core: Core, modules: ModuleService) -> None:
    late = Core(core.database, core.clock, worker_id="late")
    follower = ModuleService(late.units, late.registry)  # type: ignore[arg-type]
    core.registry.remove("read-b")
    await modules.rescan(by=MARTA)
    gone = ModuleChange("read-b", ModuleStatus.AVAILABLE, None, None)
    late.registry.changes = [gone]
    assert await follower.follow() == [gone]
    late.registry.changes = [gone]
    assert await follower.follow() == ()  # it is installed here alone
