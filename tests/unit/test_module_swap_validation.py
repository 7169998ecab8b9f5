"""Swapping one module: only that stage changes, only fitting modules are accepted (T026)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from factories.core import EXTRACT, GONE, OPERATOR, READ, Core, module, running_core, schema
from switchgear.core.configuration_service import ConfigurationInvalid
from switchgear.domain.configuration import Content, Selection
from switchgear.domain.errors import Code

pytestmark = pytest.mark.anyio


@pytest.fixture
async def core(database_url: str) -> AsyncIterator[Core]:
    async with running_core(database_url) as core:
        yield core


def swap(module_id: str, stage: str = "extract") -> Content:
    return Content((Selection(stage, module_id),))


async def swapped(core: Core, module_id: str, stage: str = "extract") -> str:
    made = await core.service.create(swap(module_id, stage), base="active", partial=True, by=OPERATOR)
    return made.configuration.id


async def refusal(core: Core, module_id: str, stage: str = "extract") -> list[str]:
    with pytest.raises(ConfigurationInvalid) as refused:
        await swapped(core, module_id, stage)
    return [item["code"] for item in refused.value.fields["errors"]]


async def test_a_swap_changes_one_module_and_nothing_else(core: Core) -> None:
    found = await core.service.diff(await swapped(core, "extract-c"))
    [change] = found.changes
    assert (change["stage_id"], change["before"], change["after"]) == ("extract", "extract-a", "extract-c")


async def test_swapping_and_swapping_back_is_the_same_content(core: Core) -> None:
    first = await core.service.active()
    await core.switch_to(await swapped(core, "extract-c"))
    assert await swapped(core, "extract-a") == first.id


async def test_a_module_of_another_stage_is_refused(core: Core) -> None:
    assert await refusal(core, "read-b") == [Code.SELECTION_WRONG_STAGE]


async def test_a_module_that_sends_something_else_is_refused(core: Core) -> None:
    core.registry.modules["odd"] = module("odd", EXTRACT, "extract", output_schema=schema(number="string"))
    assert await refusal(core, "odd") == [Code.CONTRACT_INCOMPATIBLE]


async def test_a_module_that_takes_more_than_it_gets_is_refused(core: Core) -> None:
    inputs = {"pages": replace(EXTRACT.inputs["pages"], schema=schema(text="string", words="array"))}
    core.registry.modules["greedy"] = module("greedy", EXTRACT, "extract", inputs=inputs)
    assert await refusal(core, "greedy") == [Code.CONTRACT_INCOMPATIBLE]


async def test_a_module_that_takes_less_and_sends_more_is_accepted(core: Core) -> None:
    more = schema(number="string", confidence="number", notes="string")
    core.registry.modules["generous"] = module("generous", EXTRACT, "extract", output_schema=more, inputs={})
    assert await swapped(core, "generous")


async def test_a_module_without_the_guarantee_is_refused(core: Core) -> None:
    core.registry.modules["vague"] = module("vague", EXTRACT, "extract", guarantees=())
    assert await refusal(core, "vague") == [Code.CONTRACT_GUARANTEE_MISSING]


async def test_a_module_of_another_contract_version_is_refused(core: Core) -> None:
    core.registry.modules["new"] = module("new", EXTRACT, "extract", contract="x-extract@2")
    assert await refusal(core, "new") == [Code.CONTRACT_INCOMPATIBLE]


async def test_swapping_in_the_module_of_the_chain_is_a_cycle(core: Core) -> None:
    assert await refusal(core, "extract-b") == [Code.POLICY_CYCLE]


async def test_an_unavailable_module_is_accepted_when_covered_and_activated_only_on_request(core: Core) -> None:
    core.registry.change("extract-c", lack=GONE)
    made = await swapped(core, "extract-c")
    with pytest.raises(ConfigurationInvalid, match="Program foo is missing"):
        await core.switch_to(made)
    await core.switch_to(made, accept_degraded=True)
    assert (await core.service.active()).id == made


async def test_an_unavailable_module_that_nothing_covers_is_refused(core: Core) -> None:
    core.registry.change("read-b", lack=GONE)
    assert await refusal(core, "read-b", "read") == [Code.SELECTION_UNAVAILABLE]


async def test_a_disabled_module_counts_as_unavailable(core: Core) -> None:
    core.registry.modules["off"] = module("off", READ, "read", enabled=False)
    assert await refusal(core, "off", "read") == [Code.SELECTION_UNAVAILABLE]
