"""A module or a stage that does not fit its contract is an error for every purpose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from factories.core import DELIVER, EXTRACT, PIPELINE, READ, FakeRegistry, content, module, schema
from factories.validation import check, only
from switchgear.core.configuration_validation import Purpose
from switchgear.core.configuration_validation.contracts import within
from switchgear.domain.errors import Code

MISFITS: dict[str, dict[str, Any]] = {
    "output": {"output_schema": schema(number="integer", confidence="number")},
    "input": {"inputs": {"pages": replace(EXTRACT.inputs["pages"], schema=schema(text="integer"))}},
    "needs more": {"inputs": {"pages": replace(EXTRACT.inputs["pages"], schema=schema(text="string", words="array"))}},
    "unknown input": {"inputs": {"sheets": EXTRACT.inputs["pages"]}},
    "other contract": {"contract": "x-read@1"},
    "other major": {"contract": "x-extract@2"},
    "newer minor": {"contract": "x-extract@1.3"},
    "no reference": {"contract": "nonsense"},
}


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("name", MISFITS)
def test_a_contract_mismatch_is_an_error_everywhere(name: str, purpose: Purpose, registry: FakeRegistry) -> None:
    registry.change("extract-a", **MISFITS[name])
    finding = only(check(registry, content(), purpose))
    assert (finding.code, finding.pointer) == (Code.CONTRACT_INCOMPATIBLE, "/selections/1/module_id")


def test_an_input_that_may_be_absent_must_be_accepted_absent(registry: FakeRegistry) -> None:
    optional = replace(EXTRACT, inputs={"pages": replace(EXTRACT.inputs["pages"], optional=True)})
    stages = tuple(replace(s, contract=optional) if s.id == "extract" else s for s in PIPELINE.stages)
    registry.pipeline = replace(PIPELINE, stages=stages)
    assert "may be absent" in check(registry, content(chain=())).errors[0].message


@pytest.mark.parametrize("purpose", Purpose)
def test_a_missing_guarantee_is_an_error_everywhere(purpose: Purpose, registry: FakeRegistry) -> None:
    registry.change("extract-b", guarantees=())
    finding = only(check(registry, content(), purpose))
    assert (finding.code, finding.pointer) == (
        Code.CONTRACT_GUARANTEE_MISSING,
        "/fallback_policies/0/chain/0/module_id",
    )
    assert "has_number" in finding.message


def test_stages_that_do_not_fit_each_other_are_an_error(registry: FakeRegistry) -> None:
    reader = replace(READ, output_sent_schema=schema(text="integer"))
    stages = tuple(replace(s, contract=reader) if s.id == "read" else s for s in PIPELINE.stages)
    registry.pipeline = replace(PIPELINE, stages=stages)
    finding = only(check(registry, content()))
    assert (finding.code, finding.stage_id) == (Code.CONTRACT_INCOMPATIBLE, "extract")


def test_two_schemas_are_compared_once() -> None:
    producer, consumer = EXTRACT.output_schema, module("x", DELIVER, "deliver").inputs["result"].schema
    assert within(producer, consumer) is within(producer, consumer)
