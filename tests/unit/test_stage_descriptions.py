"""What is installed, as data: which module can be used, and with which line one that cannot be is repaired."""

from __future__ import annotations

from typing import Any

import pytest

from switchgear.domain.errors import Code, NotFound
from switchgear.domain.stage import (
    ContractDescription,
    Lack,
    ModuleDescription,
    ModuleStatus,
    PipelineDescription,
    ProbeAnswer,
    Snapshot,
    StageDescription,
)

_BROKEN = Lack(Code.MODULE_MISSING_BINARY, "tesseract is not there.", "apt-get install tesseract-ocr")
_NO_KEY = Lack(Code.MODULE_PROBE_FAILED, "The key was refused.")


def stage(stage_id: str, order: int) -> StageDescription:
    contract = ContractDescription("c", "1.0", {}, (), "out", {}, {}, (), None, "none", "")
    return StageDescription(stage_id, order, True, contract, {})


def snapshot(**modules: ModuleDescription) -> Snapshot:
    pipeline = PipelineDescription("p", (stage("read", 1), stage("check", 2)), "out", (), {})
    return Snapshot(0, pipeline, modules, {("a", "refused"): ProbeAnswer("a", "refused", _NO_KEY)})


def test_a_pipeline_finds_its_stage_by_name() -> None:
    pipeline = snapshot().pipeline

    assert pipeline.stage("check") is pipeline.stages[1]
    assert pipeline.stage("other") is None


@pytest.mark.parametrize(
    ("given", "status", "is_usable"),
    [
        ({}, ModuleStatus.AVAILABLE, True),
        ({"deprecated": "Use b."}, ModuleStatus.DEPRECATED, True),
        ({"lack": _BROKEN}, ModuleStatus.UNAVAILABLE, False),
        ({"lack": _BROKEN, "deprecated": "Use b."}, ModuleStatus.UNAVAILABLE, False),
        ({"enabled": False}, ModuleStatus.DISABLED, False),
        ({"enabled": False, "lack": _BROKEN}, ModuleStatus.DISABLED, False),
    ],
    ids=str,
)
def test_a_modules_status_says_whether_a_run_may_call_it(
    given: dict[str, Any], status: ModuleStatus, is_usable: bool
) -> None:
    module = ModuleDescription("a", **given)

    assert (module.status, module.is_usable) == (status, is_usable)


def test_an_installed_module_is_found_even_if_it_cannot_be_used() -> None:
    module = ModuleDescription("a", lack=_BROKEN)

    assert snapshot(a=module).module("a") is module


def test_a_module_that_is_not_installed_is_refused_with_the_way_to_see_all() -> None:
    with pytest.raises(NotFound) as caught:
        snapshot().module("a")

    assert caught.value.message == (
        "No such module is installed. `switchgear modules list` shows all; after installing one, rescan."
    )
    assert caught.value.fields == {}  # what was asked for may be a secret in the wrong place


@pytest.mark.parametrize(
    ("module", "settings", "lack"),
    [
        (None, "", Lack(Code.SELECTION_UNKNOWN_MODULE, "Module 'a' is not installed.")),
        (
            ModuleDescription("a", enabled=False, lack=_BROKEN),
            "refused",
            Lack(Code.MODULE_DISABLED, "Module a was disabled by a maintainer.", "switchgear modules enable a"),
        ),
        (ModuleDescription("a", lack=_BROKEN), "refused", _BROKEN),
        (ModuleDescription("a"), "refused", _NO_KEY),
        (ModuleDescription("a"), "others", None),
        (ModuleDescription("b"), "refused", Lack(Code.SELECTION_UNKNOWN_MODULE, "Module 'a' is not installed.")),
    ],
    ids=["not installed", "disabled", "broken", "refused by its probe", "not probed", "another one"],
)
def test_a_module_lacks_the_first_thing_that_stands_in_its_way(
    module: ModuleDescription | None, settings: str, lack: Lack | None
) -> None:
    known = {} if module is None else {module.id: module}

    assert snapshot(**known).lack_of("a", settings) == lack


def test_a_lack_is_told_with_the_line_that_repairs_it() -> None:
    assert str(_NO_KEY) == "The key was refused."
    assert str(_BROKEN) == "tesseract is not there. To repair it: apt-get install tesseract-ocr"


def test_further_lacks_lie_over_what_is_known_of_modules_and_their_settings() -> None:
    known = snapshot(a=ModuleDescription("a"), b=ModuleDescription("b"))

    found = known.with_lacks({("a", "others"): _BROKEN, ("b", ""): _NO_KEY, ("gone", ""): _BROKEN})

    assert [found.lack_of("a", digest) for digest in ("others", "refused", "")] == [_BROKEN, _NO_KEY, None]
    assert found.lack_of("b", "others") == _NO_KEY
    assert found.modules.keys() == {"a", "b"}
    assert found.probes[("a", "others")] == ProbeAnswer("a", "others", _BROKEN)
    assert ("b", "") not in found.probes


def test_without_further_lacks_a_snapshot_stays_the_very_same() -> None:
    known = snapshot(a=ModuleDescription("a"))

    assert known.with_lacks({}) is known
