"""Every built-in module at the highest level does what it does without: the samples of its conformance suite."""

from __future__ import annotations

import importlib.metadata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from contract import test_modules_classify_read_parse, test_modules_extract_deliver
from factories.isolation import highest_level, needs_level
from factories.modules import enclosing_pools
from switchgear.domain.run import Outcome
from switchgear.ingestion.module_pool import Call, DocumentFile, ModulePools, ModuleUse, StageValue
from switchgear.sdk import Blob, Decision, Module, StageLimits, Unavailable
from switchgear.sdk.testing import ModuleContractTests

pytestmark = pytest.mark.anyio

MODULES: dict[str, type[Module]] = {
    entry.name: entry.load()
    for entry in importlib.metadata.entry_points(group="switchgear.modules")
    if entry.dist is not None and entry.dist.name == "switchgear"
}
SUITES: dict[type[Module], type[ModuleContractTests]] = {
    suite.module: suite
    for place in (test_modules_classify_read_parse, test_modules_extract_deliver)
    for suite in vars(place).values()
    if isinstance(suite, type) and issubclass(suite, ModuleContractTests) and hasattr(suite, "module")
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def pools(tmp_path: Path) -> AsyncIterator[ModulePools]:
    home = tmp_path / "home"
    made = enclosing_pools(home)
    await made.start()
    yield made
    await made.close()


@pytest.mark.parametrize("module_id", sorted(MODULES))
async def test_a_built_in_module_works_enclosed(pools: ModulePools, tmp_path: Path, module_id: str) -> None:
    needs_level("L2")
    module = MODULES[module_id]
    requires = module.spec.requires
    use = ModuleUse(
        module_id,
        "{}",
        StageLimits(memory_mb=2048),
        level=highest_level(),
        reads=(*(file.path for file in requires.files), *requires.binaries),
        writes=requires.writes,
        network=bool(requires.network),
    )
    _skip_what_is_not_installed(module)

    assert await pools.warm(use) is None
    for number, sample in enumerate(SUITES[module].samples):
        result = await pools.call(use, _call(tmp_path, number, sample))
        assert result.outcome is Outcome.SUCCEEDED, (number, result)


@pytest.mark.parametrize("module_id", sorted(MODULES))
def test_no_module_that_reads_documents_runs_inside_the_server(module_id: str) -> None:
    spec = MODULES[module_id].spec

    assert "blob" not in spec.inputs or spec.min_isolation != "L0"


def _skip_what_is_not_installed(module: type[Module]) -> None:
    for name in module.spec.requires.packages:
        package = name.partition(">")[0]
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{package} is not installed")
    try:
        module.probe(module.Settings())
    except Unavailable as error:
        pytest.skip(str(error))


def _call(folder: Path, number: int, sample: dict[str, Any]) -> Call:
    blob = sample.get("blob") or Blob.from_bytes(b"none")
    path = folder / f"document-{number}"
    with blob.open() as stream:
        path.write_bytes(stream.read())
    document = DocumentFile(path, blob.sha256, blob.size_bytes, blob.media_type, blob.file_name)
    inputs = {
        name: None if value is None else StageValue(type(value), model=value)
        for name, value in sample.items()
        if name != "blob"
    }
    released = Decision(action="release", actor="ada", message="looked at it")
    return Call("run_1", f"doc_{number}", 1, 120.0, document, inputs, decision=released, delivery_base=str(number))
