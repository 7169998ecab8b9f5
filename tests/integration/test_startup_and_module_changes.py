"""What the server does by itself: version 1, who serves at start, availability that changes, relocks (T036, I11)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import delete
from structlog.testing import capture_logs

from factories.core import DEFAULTS, GONE, OPERATOR, PIPELINE, Clock, Core, FakeRuns, running_core
from switchgear.core.activation_queue import uses_of
from switchgear.core.configuration_models import Worker
from switchgear.core.configuration_validation import ValidationOptions
from switchgear.core.database import Database
from switchgear.core.module_registry import ModuleChange, Serves
from switchgear.core.observability import Metrics
from switchgear.domain.activation import Kind, State
from switchgear.domain.configuration import Status, Terminal
from switchgear.domain.errors import Code, NotFound, Why
from switchgear.domain.stage import Lack, ModuleStatus

pytestmark = pytest.mark.anyio

CHANGED = Lack(Code.MODULE_VERSION_CHANGED, "Its code was changed.", "switchgear modules rescan")
AVAILABLE, UNAVAILABLE = ModuleStatus.AVAILABLE, ModuleStatus.UNAVAILABLE


async def test_defaults_that_do_not_fit_leave_nothing_active_and_are_recorded(database_url: str) -> None:
    clock = Clock()
    database = Database(database_url, clock=clock)
    await database.start()
    core = Core(database, clock)
    core.registry.pipeline = replace(PIPELINE, default_configuration={"selections": []})
    assert await core.service.start() == []
    with pytest.raises(NotFound):
        await core.service.active()
    [refused] = await core.audited("configuration.create_refused")
    assert (refused.actor, refused.result) == ("system", "refused")
    await database.close()


async def test_the_first_start_accepts_defaults_that_are_degraded(database_url: str) -> None:
    clock = Clock()
    database = Database(database_url, clock=clock)
    await database.start()
    core = Core(database, clock)
    core.registry.change("extract-a", lack=GONE)
    report = {line.stage_id: line for line in await core.service.start()}
    assert (await core.service.active()).version == 1
    assert (report["extract"].serves, report["extract"].module_id) == (Serves.FALLBACK, "extract-b")
    await database.close()


async def test_a_restart_with_missing_modules_starts_and_says_who_serves(core: Core) -> None:
    core.registry.remove("extract-a")
    core.registry.change("read-a", lack=GONE)
    report = {line.stage_id: line for line in await core.service.start()}
    assert (report["extract"].serves, report["extract"].module_id) == (Serves.FALLBACK, "extract-b")
    assert (report["read"].serves, report["read"].then) == (Serves.NOBODY, Terminal.PARK)
    assert report["deliver"].serves is Serves.NOT_SELECTED
    assert (await core.service.active()).version == 1


async def test_a_restart_logs_each_stage_that_its_selection_does_not_serve_and_whatever_else_validation_finds(
    core: Core,
) -> None:
    core.registry.change("read-a", lack=GONE)
    core.registry.change("extract-a", deprecated="Use extract-c.")
    core.registry.change("extract-b", lack=GONE)
    with capture_logs() as lines:
        await core.service.start()
    told = [line for line in lines if line["event"] == "startup.checked"]
    assert {line["log_level"] for line in told} == {"warning"}
    assert [(line["stage"], line.get("reason")) for line in told] == [
        ("read", None),
        ("extract", "selection.deprecated"),
        ("extract", "policy.unavailable"),
    ]
    assert told[0]["serves"] == "nobody"
    assert "Use extract-c." in told[1]["summary"]
    assert told[2]["fix"] == "apt install foo"


async def test_a_restart_goes_on_with_content_that_does_not_fit_any_more_and_says_so(core: Core) -> None:
    core.registry.change("extract-a", guarantees=(), editable=True)
    with capture_logs() as lines:
        report = {line.stage_id: line for line in await core.service.start()}
    assert [line["reason"] for line in lines if line["event"] == "startup.checked"] == ["contract.guarantee_missing"]
    assert report["extract"].selected == "extract-a"
    assert (await core.service.active()).version == 1


async def test_settings_of_the_active_version_are_checked_before_anybody_names_them(core: Core) -> None:
    for _ in range(2):
        await core.service.look_at_modules()
    active = await core.service.active()
    assert core.registry.settings_checked == uses_of(active.content)


async def test_with_hold_changed_code_makes_modules_unavailable_and_makes_no_version(database_url: str) -> None:
    async with running_core(database_url, options=ValidationOptions(on_module_change="hold")) as core:
        core.registry.change("extract-a", version="2.0.0", code_digest="other")
        report = {line.stage_id: line for line in await core.service.start()}
        assert report["extract"].serves is Serves.FALLBACK
        lack = report["extract"].lack
        assert lack is not None
        assert lack.code is Code.MODULE_VERSION_CHANGED
        await core.service.look_at_modules()
        await core.settle()
        assert await core.statuses() == {1: "active"}


async def test_with_hold_a_person_makes_the_same_content_anew_to_let_changed_code_serve(database_url: str) -> None:
    async with running_core(database_url, options=ValidationOptions(on_module_change="hold")) as core:
        before = await core.service.active()
        core.registry.change("extract-a", version="2.0.0", code_digest="other")

        anew = await core.make(before.content)
        again = await core.make(before.content)
        await core.switch_to(anew.id)

        assert (anew.version, again.id) == (2, anew.id)
        assert anew.lock["extract-a"].code_digest == "other"
        assert {line.serves for line in await core.service.startup_check()} <= {Serves.SELECTED, Serves.NOT_SELECTED}
        assert await core.statuses() == {1: "superseded", 2: "active"}


async def test_a_relock_that_does_not_validate_is_left_alone(core: Core) -> None:
    core.registry.change("extract-a", version="2.0.0", code_digest="other", guarantees=())
    assert await core.service.relock_active() is None
    assert await core.statuses() == {1: "active"}


async def test_a_relock_does_not_push_a_pending_activation_aside(core: Core) -> None:
    assert isinstance(core.runs, FakeRuns)
    core.runs.running = 1
    made = await core.make(deliver="deliver-a")
    waiting = await core.switch_to(made.id)
    core.registry.change("deliver-a", version="2.0.0", code_digest="other")
    core.registry.change("read-a", version="2.0.0", code_digest="other")
    assert await core.service.relock_active() is None
    core.runs.running = 0
    await core.queue.advance()
    ended = (await core.queue.get(waiting.id)).activation
    assert (ended.state, ended.configuration_version) == (State.APPLIED, 3)  # it relocked at the switch
    active = await core.service.active()
    assert (active.digest, active.lock["deliver-a"].version) == (made.digest, "2.0.0")


async def test_a_relock_is_rolling_and_by_the_system(core: Core) -> None:
    assert isinstance(core.runs, FakeRuns)
    core.runs.running = 1
    core.registry.change("read-a", version="2.0.0", code_digest="other")
    queued = await core.service.relock_active()
    assert queued is not None
    assert (queued.kind, queued.actor) == (Kind.RELOCK, "system")
    await core.settle()
    assert await core.statuses() == {1: "superseded", 2: "active"}


async def _lives(core: Core, *workers: str) -> None:
    async with core.units() as unit:
        for worker_id in workers:
            await unit.session.merge(
                Worker(
                    id=worker_id,
                    host="here",
                    process_id=1,
                    boot_id="boot",
                    started_at=core.clock(),
                    heartbeat_at=core.clock(),
                    generation_loaded=None,
                    unavailable={},
                    isolation={},
                )
            )
        await unit.commit()


@pytest.mark.parametrize("has_new_code", [True, False], ids=["its files are new", "its files are old"])
async def test_a_process_that_knows_older_code_does_not_relock_back(core: Core, has_new_code: bool) -> None:
    late = Core(core.database, core.clock, worker_id="late")
    await _lives(core, "server", "late")
    if has_new_code:
        late.registry.change("extract-a", lack=CHANGED, outdated=True)
    core.registry.change("extract-a", version="2.0.0", code_digest="other")

    for process in (core, late) * 3:
        await process.service.look_at_modules()
        for each in (late, core, late):
            await each.queue.advance()
            await each.queue.idle()

    assert await core.statuses() == {1: "superseded", 2: "active"}
    assert (await core.service.active()).lock["extract-a"].version == "2.0.0"
    await late.queue.stop()


async def _turn(core: Core, old: Core) -> None:
    """Each process does what it does again and again."""
    await _lives(core, "server", "old")
    await core.service.look_at_modules()
    for process in (core, old, core):
        await process.queue.advance()
        await process.queue.idle()


@pytest.fixture
async def old(core: Core) -> AsyncIterator[Core]:
    """A worker beside the server, whose code is older and stays so."""
    old = Core(core.database, core.clock, worker_id="old")
    old.refusal = Why(Code.ACTIVATION_WORKER_REFUSED, "Its code is older.")
    yield old
    await old.queue.stop()


async def test_a_relock_that_an_older_worker_refused_waits_until_that_one_is_gone(core: Core, old: Core) -> None:
    core.registry.change("extract-a", version="2.0.0", code_digest="other")
    for _ in range(3):
        await _turn(core, old)
    assert await core.statuses() == {1: "active", 2: "validated"}
    assert [item.state for item in (await core.queue.list()).items] == [State.REJECTED, State.APPLIED]

    async with core.units() as unit:
        await unit.session.execute(delete(Worker).where(Worker.id == "old"))
        await unit.commit()
    await core.service.relock_active()
    await core.settle()
    assert await core.statuses() == {1: "superseded", 2: "active"}


async def test_a_relock_that_was_refused_is_asked_for_again_now_and_then(core: Core, old: Core) -> None:
    core.registry.change("extract-a", version="2.0.0", code_digest="other")
    for minutes, asked in ((0, 1), (4, 1), (2, 2), (4, 2), (2, 3)):
        core.clock.advance(60 * minutes)  # type: ignore[attr-defined]
        await _turn(core, old)
        assert len(await core.audited("activation.rejected")) == asked
    assert await core.statuses() == {1: "active", 2: "validated"}


async def test_a_server_alone_relocks_back_when_the_upgrade_is_undone(core: Core) -> None:
    await _lives(core, "server")
    core.registry.change("extract-a", version="2.0.0", code_digest="other")
    await core.service.relock_active()
    await core.settle()
    core.registry.change("extract-a", version="1.0.0", code_digest="code of extract-a")

    await core.service.relock_active()
    await core.settle()

    assert await core.statuses() == {1: "superseded", 2: "superseded", 3: "active"}


async def test_a_version_that_was_rejected_meanwhile_is_not_switched_to(core: Core) -> None:
    assert isinstance(core.runs, FakeRuns)
    core.runs.running = 1
    made = await core.make(read="read-b")
    waiting = await core.switch_to(made.id)
    async with core.units() as unit:
        await unit.configurations.set_status(made.id, Status.VALIDATED, Status.REJECTED)
        await unit.commit()
    core.runs.running = 0
    await core.queue.advance()
    ended = (await core.queue.get(waiting.id)).activation
    assert ended.state is State.REJECTED
    assert ended.why is not None
    assert ended.why["code"] == Code.CONFIGURATION_ILLEGAL_TRANSITION
    assert (await core.service.active()).version == 1


async def test_availability_that_changes_is_recorded_once_for_all_processes(core: Core) -> None:
    other = Core(core.database, core.clock, registry=core.registry, worker_id="second")
    core.service._metrics = Metrics()
    core.registry.change("read-b", lack=GONE)
    change = ModuleChange("read-b", AVAILABLE, UNAVAILABLE, GONE)
    for process in (core, other):
        core.registry.changes = [change]
        assert await process.service.look_at_modules() == [change]
    [gone] = await core.audited("module.became_unavailable")
    assert (gone.actor, gone.subjects, gone.message) == ("system", ("read-b",), "Program foo is missing.")
    assert b'switchgear_module_available{module="read-b",stage="read"} 0.0' in core.service._metrics.render()
    core.registry.change("read-b", lack=None)
    await core.service.record_module_changes([ModuleChange("read-b", UNAVAILABLE, AVAILABLE, None)])
    assert len(await core.audited("module.became_available")) == 1


async def test_what_a_maintainer_disabled_stays_disabled(core: Core) -> None:
    async with core.units() as unit:
        assert await unit.catalogue.set_enabled("read-b", False, core.clock())
        assert not await unit.catalogue.set_enabled("read-b", False, core.clock())
        with pytest.raises(NotFound):
            await unit.catalogue.set_enabled("nobody", False, core.clock())
        await unit.commit()
    await core.service.record_module_changes((), catalogue=True)
    async with core.units(write=False) as unit:
        assert await unit.catalogue.disabled_modules() == {"read-b"}


async def test_an_uninstalled_module_names_the_line_that_installs_it(core: Core) -> None:
    core.registry.remove("read-b")
    findings = await core.service.validate_content((await core.make(deliver="deliver-a")).content)
    assert findings.is_valid
    draft = await core.service.create(
        replace(
            (await core.service.active()).content,
            selections=tuple(
                replace(item, module_id="read-b") if item.stage_id == "read" else item
                for item in (await core.service.active()).content.selections
            ),
        ),
        by=OPERATOR,
        draft=True,
    )
    assert draft.findings.errors[0].hint == "pip install plug-read-b, then: switchgear modules rescan"


async def test_metrics_count_validations_and_ends(core: Core) -> None:
    metrics = Metrics()
    core.service._metrics = core.queue.announcer._metrics = metrics
    await core.service.validate_content((await core.service.active()).content)
    made = await core.make(read="read-b")
    await core.service.activate(made.id, by=OPERATOR, request=DEFAULTS)
    await core.settle()
    shown = metrics.render().decode()
    assert 'switchgear_validations_total{outcome="valid"} 1.0' in shown
    assert 'switchgear_activations_total{kind="activate",mode="drain",outcome="applied"} 1.0' in shown
