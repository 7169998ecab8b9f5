"""Configurations made ready beside what runs. DESIGN 4 (warm beside)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from factories.core import version_of
from factories.modules import FakePools, FakeRegistry
from switchgear.domain.configuration import Status, StoredConfiguration, content_from_json
from switchgear.domain.errors import Code
from switchgear.domain.stage import Lack, ModuleDescription
from switchgear.ingestion.plan import Plans, load_pipeline
from switchgear.sdk import Contract, Pipeline, Stage
from switchgear.sdk.errors import DeclarationError
from switchgear.sdk.values import Blob, Frozen

pytestmark = pytest.mark.anyio

BROKEN = Lack(Code.MODULE_PROBE_FAILED, "It does not open.", "repair it")


class Word(Frozen):
    text: str


def stage(name: str, order: int, *, required: bool = True) -> Stage:
    contract = Contract(name=name, version="1.0", inputs={"blob": Blob}, output_name=name, output=Word)
    return Stage(name, order, contract, required=required)


PIPELINE = Pipeline("p", (stage("read", 1), stage("ocr", 2, required=False)), "read")


def version(number: int, module: str = "a", **policy: Any) -> StoredConfiguration:
    policies = [{"stage_id": "read", **policy}] if policy else []
    body = {"selections": [{"stage_id": "read", "module_id": module}], "fallback_policies": policies}
    content = content_from_json(body)
    return version_of(content, number, pipeline="p", status=Status.VALIDATED)


def chain(module: str = "b", on: str = "unavailable") -> list[dict[str, Any]]:
    return [{"module_id": module, "on": [on]}]


class Bench:
    def __init__(self, registry: FakeRegistry | None = None, **lacks: Lack) -> None:
        self.pools = FakePools()
        self.pools.lacks = dict(lacks)
        self.registry = registry or FakeRegistry("a", "b", "c")
        self.stored: dict[str, StoredConfiguration] = {}
        self.found: list[str] = []
        self.plans = Plans(pipeline=PIPELINE, find=self._find, registry=self.registry, pools=self.pools)

    async def _find(self, configuration_id: str) -> StoredConfiguration:
        self.found.append(configuration_id)
        return self.stored[configuration_id]


async def test_the_selection_is_made_warm_and_the_rest_of_the_chain_is_not() -> None:
    bench = Bench()

    assert await bench.plans.warm(version(1, chain=chain())) is None
    assert bench.pools.warmed == ["a"]


async def test_the_fallback_is_made_warm_when_the_selection_cannot_be() -> None:
    bench = Bench(a=BROKEN)

    assert await bench.plans.warm(version(1, chain=chain())) is None
    assert bench.pools.warmed == ["a", "b"]
    assert [(name, lack.fix) for name, lack in bench.registry.reported] == [("a", "repair it")]


async def test_an_unavailable_selection_is_not_even_started() -> None:
    bench = Bench(FakeRegistry("b", a=ModuleDescription(id="a", lack=BROKEN)))

    assert await bench.plans.warm(version(1, chain=chain())) is None
    assert bench.pools.warmed == ["b"]


@pytest.mark.parametrize(
    "policy",
    [{}, {"then": "fail"}, {"chain": chain(on="error")}, {"chain": chain("c"), "then": "fail"}],
)
async def test_a_stage_that_nothing_covers_refuses_the_version(policy: dict[str, Any]) -> None:
    bench = Bench(a=BROKEN, c=BROKEN)

    why = await bench.plans.warm(version(1, **policy))

    assert why is not None
    assert why.code is Code.ACTIVATION_WORKER_REFUSED
    assert "v1 cannot be made ready here: It does not open." in why.summary
    assert why.facts["lacks"][0]["fix"] == "repair it"


@pytest.mark.parametrize("then", ["park", "skip"])
async def test_an_explicit_park_or_skip_covers(then: str) -> None:
    assert await Bench(a=BROKEN).plans.warm(version(1, then=then)) is None


async def test_a_plan_is_made_once_and_forgotten_with_its_pools() -> None:
    bench = Bench()
    first, second = version(1), version(2, "b")
    bench.stored = {first.id: first, second.id: second}
    for configuration in (first, second):
        await bench.plans.warm(configuration)

    assert await bench.plans.get("cfg_1") is await bench.plans.get("cfg_1")
    assert bench.found == []
    await bench.plans.keep({"cfg_2"})
    assert bench.pools.kept == ["b"]
    await bench.plans.get("cfg_1")
    assert bench.found == ["cfg_1"]


async def test_what_is_made_ready_meanwhile_stays_when_an_earlier_switch_closes_old_pools() -> None:
    bench = Bench()
    first, second = version(1), version(2, "b")
    bench.stored = {first.id: first, second.id: second}
    await bench.plans.warm(first)
    bench.pools.gate = asyncio.Event()
    warming = asyncio.create_task(bench.plans.warm(second))
    await asyncio.sleep(0.01)

    await bench.plans.keep({"cfg_1"})
    assert bench.pools.kept == ["a", "b"]

    bench.pools.gate.set()
    assert await warming is None
    await bench.plans.keep({"cfg_1"})
    assert bench.pools.kept == ["a"]


def test_a_pipeline_that_is_not_installed_is_named() -> None:
    with pytest.raises(DeclarationError, match="nowhere"):
        load_pipeline("nowhere")


def test_the_shipped_pipeline_is_found() -> None:
    assert load_pipeline("invoice").name == "invoice"
