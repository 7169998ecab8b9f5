"""The registry: what is installed, what it lacks, when it comes back (T010, T036)."""

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from factories.plugin import MODULES, SLOW, change_code, install, write_distribution
from switchgear.core.activation_queue import uses_of
from switchgear.core.configuration_validation import Purpose, lock_of, stale_modules, validate
from switchgear.core.module_registry import (
    ModuleChange,
    ModuleRegistry,
    PipelineUnavailable,
    Serves,
    probe_isolation,
    registry,
    startup_report,
)
from switchgear.core.module_registry.children import ask
from switchgear.core.module_registry.discovery import offers
from switchgear.core.module_registry.isolation import NEEDED, report_of
from switchgear.core.module_registry.requirements import first_lack
from switchgear.domain.configuration import (
    Content,
    FallbackPolicy,
    FallbackStep,
    Selection,
    Terminal,
    canonical_json,
    content_from_json,
    sha256_of,
)
from switchgear.domain.errors import Code, NotFound
from switchgear.domain.stage import IsolationReport, Lack, ModuleDescription, ModuleStatus, Snapshot

pytestmark = pytest.mark.anyio

SECOND = 1_000_000
FEW = {name: MODULES[name] for name in ("upper-text", "upper-other", "upper-faulty", "upper-environment")}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Clock:
    """Stands still unless a test moves it."""

    now_us: int = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now_us


@dataclass
class Bench:
    """A registry over a plug-in that the test may change."""

    site: Path
    cache: Path
    clock: Clock = field(default_factory=Clock)
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/bin:/bin"})
    made: list[ModuleRegistry] = field(default_factory=list)

    async def start(self, **options: Any) -> ModuleRegistry:
        settings: dict[str, Any] = {
            "pipeline": "tiny",
            "cache": self.cache,
            "clock": self.clock,
            "environment": self.environment,
            "isolation": IsolationReport("L1"),
            **options,
        }
        made = ModuleRegistry(**settings)
        self.made.append(made)
        await made.start()
        return made


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """Only the plug-in's modules: describing the built-in ones would cost seconds per test."""
    site = install(tmp_path, modules=FEW)
    monkeypatch.syspath_prepend(str(site))

    def only_of_tests(group: str) -> dict[str, Any]:
        return {name: offer for name, offer in offers(group).items() if offer.distribution != "switchgear"}

    monkeypatch.setattr(registry, "offers", only_of_tests)
    made = Bench(site, tmp_path / "cache")
    yield made
    for one in made.made:
        await one.close()


def add(bench: Bench, modules: Mapping[str, str]) -> None:
    write_distribution(bench.site, "switchgear-tiny", "1.0.0", modules, {"tiny": "switchgear_tiny.contracts:PIPELINE"})


def lack_of(made: ModuleRegistry, module_id: str) -> Lack:
    lack = made.current().modules[module_id].lack
    assert lack is not None
    return lack


# --- what is found ---


async def test_every_installed_module_is_known_with_status_and_reason(bench: Bench) -> None:
    add(bench, MODULES)
    made = await bench.start()
    modules = made.current().modules

    assert set(modules) == set(MODULES)
    assert modules["upper-text"].status is ModuleStatus.AVAILABLE
    assert modules["upper-old"].status is ModuleStatus.DEPRECATED
    assert modules["upper-text"].contract_digest == made.pipeline.stages[1].contract.digest
    assert [stage.id for stage in made.pipeline.stages] == ["load", "upper", "count", "check", "send"]
    assert modules["upper-secret"].secret_pointers == ("/nested/token", "/several/*", "/token")


@pytest.mark.parametrize(
    ("module_id", "code", "fix"),
    [
        ("upper-importerror", Code.MODULE_IMPORT_ERROR, "pip install switchgear_no_such_package"),
        ("upper-nobinary", Code.MODULE_MISSING_BINARY, "apt-get install switchgear-no-such-binary"),
        ("upper-nopackage", Code.MODULE_MISSING_PACKAGE, "pip install 'switchgear-no-such-package>=2'"),
        ("upper-nofile", Code.MODULE_MISSING_FILE, "fetch-model /nowhere/model.bin"),
        ("upper-environment", Code.MODULE_MISSING_ENVIRONMENT, "export SWITCHGEAR_TINY_REGION=..."),
        ("upper-nomemory", Code.MODULE_MISSING_MEMORY, None),
        ("upper-sandboxed", Code.MODULE_ISOLATION, "switchgear doctor"),
    ],
)
async def test_what_a_module_lacks_is_named_with_the_line_that_repairs_it(
    bench: Bench, module_id: str, code: Code, fix: str | None
) -> None:
    add(bench, {module_id: MODULES[module_id]})
    lack = lack_of(await bench.start(), module_id)

    assert (lack.code, lack.fix) == (code, fix)
    assert module_id in lack.message


@pytest.mark.parametrize(
    ("requires", "code"),
    [
        ({"packages": ["pydantic>=1"]}, None),
        ({"packages": ["pydantic>=900"]}, Code.MODULE_MISSING_PACKAGE),
        ({"packages": ["pydantic==="]}, Code.MODULE_MISSING_PACKAGE),
        ({"packages": ["no-such-thing; python_version < '3'"]}, None),
        ({"files": [{"path": "MODEL"}]}, None),
        ({"files": [{"path": "MODEL", "sha256": "SHA"}]}, None),
        ({"files": [{"path": "MODEL", "sha256": "0" * 64}]}, Code.MODULE_MISSING_FILE),
        ({"binaries": ["sh"]}, None),
        ({"environment": ["PATH"], "memory_mb": 1}, None),
    ],
)
async def test_requirements_are_met_exactly_when_they_are(
    tmp_path: Path, requires: dict[str, Any], code: Code | None
) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(b"weights")
    text = json.dumps(requires).replace("MODEL", str(model)).replace("SHA", hashlib.sha256(b"weights").hexdigest())
    described = ModuleDescription(id="module", requires=json.loads(text))
    lack = first_lack(described, {"PATH": "/usr/bin:/bin"}, IsolationReport("L1"))

    assert (lack.code if lack else None) == code


async def test_a_second_start_imports_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    add(bench, {**FEW, "upper-importerror": MODULES["upper-importerror"]})
    first = await bench.start()

    async def forbidden(names: Collection[str], *_: Any, **__: Any) -> dict[str, Any]:
        assert not names, f"{names} would be imported"
        return {}

    monkeypatch.setattr(registry, "describe_all", forbidden)
    monkeypatch.setattr(registry, "ask", forbidden)
    second = await bench.start()

    assert second.current() == first.current()


async def test_schemas_that_are_alike_are_one_object_so_that_they_are_compared_once(bench: Bench) -> None:
    now = (await bench.start()).current()
    stage = now.pipeline.stage("upper")
    assert stage is not None
    for name in ("upper-text", "upper-other"):
        assert now.modules[name].output_schema is stage.contract.output_schema
    assert now.modules["upper-text"].inputs["text"].schema is now.modules["upper-other"].inputs["text"].schema


async def test_changed_code_is_described_anew_at_the_next_start(bench: Bench) -> None:
    first = await bench.start()
    change_code(bench.site)
    second = await bench.start()

    digests = [made.current().modules["upper-text"].code_digest for made in (first, second)]
    assert digests[0] != digests[1]


async def test_a_broken_cache_costs_nothing_but_time(bench: Bench) -> None:
    await bench.start()
    (bench.cache / "descriptions.json").write_text('{"key": 1, "entries"')

    assert (await bench.start()).current().modules["upper-text"].status is ModuleStatus.AVAILABLE


async def test_an_import_that_takes_a_minute_does_not_hold_the_start(bench: Bench) -> None:
    add(bench, {**FEW, **SLOW})
    began = time.monotonic()
    made = await bench.start(import_timeout_s=3)

    assert time.monotonic() - began < 30
    assert "took more than 3 s" in lack_of(made, "upper-slowimport").message
    assert made.current().modules["upper-text"].status is ModuleStatus.AVAILABLE


async def test_an_import_that_ends_its_process_is_blamed_alone(bench: Bench) -> None:
    (bench.site / "deadly.py").write_text("import os\nos._exit(0)\n")
    add(bench, {**FEW, "upper-deadly": "deadly:Deadly"})
    made = await bench.start()

    assert "the import ended with exit:0" in lack_of(made, "upper-deadly").message
    assert made.current().modules["upper-text"].status is ModuleStatus.AVAILABLE
    assert made.current().modules["upper-other"].status is ModuleStatus.AVAILABLE


async def test_two_packages_with_the_same_module_are_both_named(bench: Bench) -> None:
    write_distribution(bench.site, "copycat", "3.1", {"upper-text": MODULES["upper-other"]})
    lack = lack_of(await bench.start(), "upper-text")

    assert lack.code is Code.MODULE_DUPLICATE_ID
    assert "copycat 3.1" in lack.message
    assert "switchgear-tiny 1.0.0" in lack.message


async def test_an_unknown_pipeline_is_an_error_that_lists_the_known_ones(bench: Bench) -> None:
    with pytest.raises(PipelineUnavailable, match="there are: tiny"):
        await bench.start(pipeline="tyni")


async def test_a_missing_package_that_is_an_extra_of_the_plugin_is_installed_as_one(bench: Bench) -> None:
    info = write_distribution(bench.site, "extras", "1", {"upper-extra": MODULES["upper-importerror"]})
    with (info / "METADATA").open("a") as file:
        file.write('Provides-Extra: all\nRequires-Dist: switchgear-no-such-package>=1; extra == "all"\n')

    assert lack_of(await bench.start(), "upper-extra").fix == "pip install 'extras[all]'"


# --- what changes ---


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


# --- probes ---


async def test_a_sentence_of_a_module_ends_with_one_full_stop(bench: Bench, tmp_path: Path) -> None:
    made = await bench.start()
    settings = {"licence": str(tmp_path / "licence")}

    lack = (await made.snapshot([("upper-faulty", settings)])).lack_of("upper-faulty", sha256_of(settings))

    assert lack is not None
    assert lack.message == "Module upper-faulty cannot start: The licence is not there."


async def test_a_hanging_probe_is_a_lack_at_its_limit_and_requests_share_it(bench: Bench) -> None:
    made = await bench.start(probe_timeout_s=2)
    settings = {"probe": "hang"}
    began = time.monotonic()
    first, second = await asyncio.gather(
        made.snapshot([("upper-faulty", settings), ("upper-text", {})]), made.snapshot([("upper-faulty", settings)])
    )

    assert time.monotonic() - began < 20
    lack = first.lack_of("upper-faulty", sha256_of(settings))
    assert lack is not None
    assert "did not answer within 2 s" in lack.message
    assert second.lack_of("upper-faulty", sha256_of(settings)) is lack
    assert first.lack_of("upper-text", sha256_of({})) is None
    assert lack == made.current().lack_of("upper-faulty", sha256_of(settings))


async def test_a_probe_says_why_and_its_answer_is_kept_for_ten_seconds(bench: Bench, tmp_path: Path) -> None:
    made = await bench.start()
    settings = {"probe": "unavailable"}
    first = (await made.snapshot([("upper-faulty", settings)])).probes
    again = (await made.snapshot([("upper-faulty", settings)])).probes
    bench.clock.now_us += 11 * SECOND
    later = (await made.snapshot([("upper-faulty", settings)])).probes

    key = ("upper-faulty", sha256_of(settings))
    lack = first[key].lack
    assert lack is not None
    assert lack.fix == "renew-licence tiny"
    assert again[key] is first[key]
    assert later[key] is not first[key]


async def test_settings_that_nobody_asks_for_any_more_are_forgotten(bench: Bench) -> None:
    made = await bench.start()
    settings = {"probe": "unavailable"}
    await made.snapshot([("upper-faulty", settings)])
    digest = sha256_of(settings)
    bench.clock.now_us += 60 * SECOND
    await made.look_again(bench.clock())
    assert made.current().lack_of("upper-faulty", digest) is not None

    bench.clock.now_us += 600 * SECOND
    await made.look_again(bench.clock())
    assert made.current().lack_of("upper-faulty", digest) is None


async def test_a_module_without_a_probe_costs_no_process(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await bench.start()

    async def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr("switchgear.core.module_registry.probes.ask", forbidden)
    snapshot = await made.snapshot([("upper-text", {}), ("no-such-module", {})])

    unknown = snapshot.lack_of("no-such-module", "")
    assert unknown is not None
    assert unknown.code is Code.SELECTION_UNKNOWN_MODULE


# --- settings that code checks ---

PICKY = """
from pydantic import field_validator, model_validator
from switchgear.sdk import ModuleSettings, module
from switchgear_tiny.upper_text import UpperText


@module(stage="upper", contract="tiny-upper@1", version="1.0.0")
class Picky(UpperText):
    class Settings(ModuleSettings):
        folder: str = ""
        least: int = 0
        most: int = 9

        @field_validator("folder")
        @classmethod
        def _stays_below(cls, value: str) -> str:
            if ".." in value:
                raise ValueError("write a folder without two dots")
            return value

        @model_validator(mode="after")
        def _in_order(self) -> "Picky.Settings":
            assert self.least <= self.most, "least must not be more than most"
            return self

    settings: Settings
"""


async def picky(bench: Bench) -> ModuleRegistry:
    (bench.site / "switchgear_tiny" / "picky.py").write_text(PICKY)
    add(bench, {"load-text": MODULES["load-text"], "upper-picky": "switchgear_tiny.picky:Picky"})
    return await bench.start()


@pytest.mark.parametrize(
    ("settings", "pointer", "sentence"),
    [
        ({"folder": "../canary"}, "/folder", "The setting folder does not fit: write a folder without two dots."),
        ({"least": 5, "most": 4}, "", "The value does not fit: least must not be more than most."),
    ],
)
@pytest.mark.parametrize("probe", [True, False])
@pytest.mark.parametrize("purpose", list(Purpose))
async def test_settings_that_only_the_modules_code_refuses_are_an_error_everywhere(
    bench: Bench, settings: dict[str, Any], pointer: str, sentence: str, probe: bool, purpose: Purpose
) -> None:
    made = await picky(bench)
    content = Content((Selection("load", "load-text"), Selection("upper", "upper-picky", settings)))
    snapshot = await made.snapshot(uses_of(content), probe=probe)
    findings = validate(content, snapshot, purpose=purpose, accept_degraded=True)

    [finding] = [item for item in findings.errors if item.code is Code.SELECTION_BAD_SETTINGS]
    assert (finding.pointer, finding.message) == (f"/selections/1/settings{pointer}", sentence)
    assert not [item for item in findings.warnings if item.stage_id == "upper"]


async def test_settings_are_checked_once_until_the_modules_code_changes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await picky(bench)
    uses = [("upper-picky", {"folder": ".."}), ("upper-picky", {"folder": "below"})]
    first = await made.snapshot(uses, probe=False)
    assert [bool(first.mistakes.get((name, sha256_of(settings)))) for name, settings in uses] == [True, False]
    (bench.site / "switchgear_tiny" / "picky.py").write_text(PICKY.replace('".." in', '"..." in'))
    await made.rescan()
    again = await made.snapshot(uses, probe=False)
    assert not again.mistakes

    async def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr("switchgear.core.module_registry.probes.ask", forbidden)
    await made.snapshot([*uses, ("load-text", {"anything": 1})], probe=False)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What children were started for."""
    commands: list[str] = []

    async def counted(command: str, *words: Any, **more: Any) -> Any:
        commands.append(command)
        return await ask(command, *words, **more)

    monkeypatch.setattr("switchgear.core.module_registry.probes.ask", counted)
    return commands


async def test_many_who_ask_about_the_same_settings_wait_for_one_child(bench: Bench, started: list[str]) -> None:
    made = await picky(bench)
    use = ("upper-picky", {"folder": ".."})
    snapshots = await asyncio.gather(*(made.snapshot([use], probe=False) for _ in range(8)))
    assert started == ["settings"]
    assert all(each.mistakes for each in snapshots)


async def test_a_module_that_content_names_very_often_is_asked_once(bench: Bench, started: list[str]) -> None:
    made = await picky(bench)
    steps = tuple(FallbackStep("upper-picky", ("error",), {"least": 9, "most": number}) for number in range(9))
    content = Content((Selection("upper", "upper-picky", {"least": 9}),), (FallbackPolicy("upper", steps),))
    snapshot = await made.snapshot(uses_of(content), probe=False)
    assert started == ["settings"]
    assert uses_of(content) == [("upper-picky", {"least": 9})]
    assert validate(content, snapshot, purpose=Purpose.CREATE).errors


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


# --- disabling and the lock ---


async def test_a_disabled_module_is_used_by_nobody_until_it_is_enabled(bench: Bench) -> None:
    made = await bench.start(disabled={"upper-other"})
    made.set_enabled("upper-text", False)

    for name in ("upper-text", "upper-other"):
        assert made.current().modules[name].status is ModuleStatus.DISABLED
        lack = made.current().lack_of(name, "")
        assert lack is not None
        assert lack.fix == f"switchgear modules enable {name}"
    assert await made.look_again(bench.clock()) == []  # who disabled it knows
    made.set_enabled("upper-text", True)
    assert made.current().modules["upper-text"].status is ModuleStatus.AVAILABLE
    with pytest.raises(NotFound, match="No such module is installed"):
        made.set_enabled("no-such-module", False)


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


# --- isolation ---


async def test_isolation_is_tried_measure_by_measure() -> None:
    report = await probe_isolation({"PATH": "/usr/bin:/bin"})

    found = {measure.name: measure for measure in report.measures}
    of_every_linux = {"own_session", "dies_with_server", "no_new_privileges", "adopts_orphans", "resource_limits"}
    assert of_every_linux <= set(found)
    if sys.platform == "linux":
        assert all(found[name].is_available for name in of_every_linux), report
    assert all(measure.is_available or measure.why for measure in report.measures)
    held = [level for level, names in NEEDED.items() if all(found[name].is_available for name in names)]
    assert report.level == held[-1]


@pytest.mark.parametrize("level", ["L1", "L2", "L3"])
def test_a_level_is_not_there_when_one_of_its_measures_is_missing(level: str) -> None:
    whole = dict.fromkeys(NEEDED["L3"], "")

    assert report_of(whole).level == "L3"
    for name in set(NEEDED[level]) - {other for lower in NEEDED if lower < level for other in NEEDED[lower]}:
        report = report_of({**whole, name: "not today"})
        assert (report.level < level, report.process_level) == (True, max("L1", report.level))


# --- the start-up report (T036) ---


def module(module_id: str, lack: Lack | None = None) -> ModuleDescription:
    return ModuleDescription(id=module_id, stage_id="upper", lack=lack)


GONE = Lack(Code.MODULE_MISSING_BINARY, "needs a program", "apt-get install program")


@pytest.mark.parametrize(
    ("selected", "chain", "then", "serves", "module_id", "after"),
    [
        ("good", (), None, Serves.SELECTED, "good", None),
        ("gone", (("good", "unavailable"),), None, Serves.FALLBACK, "good", None),
        ("absent", (("good", "unavailable"),), None, Serves.FALLBACK, "good", None),
        ("gone", (("gone2", "unavailable"), ("good", "unavailable")), None, Serves.FALLBACK, "good", None),
        ("gone", (("good", "error"),), None, Serves.NOBODY, None, Terminal.PARK),
        ("gone", (), None, Serves.NOBODY, None, Terminal.PARK),
        ("gone", (), Terminal.FAIL, Serves.NOBODY, None, Terminal.FAIL),
        ("gone", (), Terminal.SKIP, Serves.NOBODY, None, Terminal.PARK),  # a required stage is never skipped
    ],
)
async def test_the_start_up_report_says_who_serves_a_stage(
    bench: Bench,
    selected: str,
    chain: tuple[tuple[str, str], ...],
    then: Terminal | None,
    serves: Serves,
    module_id: str | None,
    after: Terminal | None,
) -> None:
    pipeline = (await bench.start()).pipeline
    modules = {item.id: item for item in (module("good"), module("gone", GONE), module("gone2", GONE))}
    steps = tuple(FallbackStep(name, (trigger,)) for name, trigger in chain)
    content = Content((Selection("upper", selected),), (FallbackPolicy("upper", steps, then),))
    line = startup_report(content, Snapshot(0, pipeline, modules))[1]

    assert (line.serves, line.module_id, line.then) == (serves, module_id, after)
    assert line.is_degraded == (serves is not Serves.SELECTED)
    assert (line.lack is None) == (serves is Serves.SELECTED)
    assert line.stage_id in line.message


async def test_the_start_up_report_covers_every_stage_in_order(bench: Bench) -> None:
    add(bench, MODULES)
    made = await bench.start()
    content = content_from_json(made.pipeline.default_configuration)
    without_count = replace(content, selections=tuple(s for s in content.selections if s.stage_id != "count"))

    assert [line.serves for line in startup_report(content, made.current())] == [Serves.SELECTED] * 5
    lines = startup_report(without_count, made.current())
    assert [line.stage_id for line in lines] == ["load", "upper", "count", "check", "send"]
    assert lines[2].serves is Serves.NOT_SELECTED
    nothing = startup_report(Content(()), made.current())
    assert nothing[0].lack is not None
    assert nothing[0].lack.code is Code.SELECTION_MISSING_STAGE
    assert canonical_json([line.message for line in nothing])
