"""The registry knows every installed module, what it lacks and what repairs it; nobody uses a disabled one (T010)."""

import hashlib
import json
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from factories.plugin import MODULES, SLOW, change_code, write_distribution
from factories.registries import FEW, Bench, add, lack_of
from switchgear.core.module_registry import PipelineUnavailable, descriptions
from switchgear.core.module_registry.requirements import first_lack
from switchgear.domain.errors import Code, NotFound
from switchgear.domain.stage import IsolationReport, ModuleDescription, ModuleStatus

pytestmark = pytest.mark.anyio


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

    monkeypatch.setattr(descriptions, "describe_all", forbidden)
    monkeypatch.setattr(descriptions, "ask", forbidden)
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


async def test_imports_that_take_a_minute_do_not_hold_the_start(bench: Bench) -> None:
    (bench.site / "slow_too.py").write_text("import time\ntime.sleep(60)\n")
    add(bench, {**FEW, **SLOW, "upper-slowtoo": "slow_too:UpperText"})
    began = time.monotonic()
    made = await bench.start(import_timeout_s=3)

    assert time.monotonic() - began < 30
    for name in ("upper-slowimport", "upper-slowtoo"):
        assert "took more than 3 s" in lack_of(made, name).message
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
