"""The start-up report says for every stage, in order, who serves it and what follows when nobody does (T036)."""

from dataclasses import replace

import pytest

from factories.plugin import MODULES
from factories.registries import Bench, add
from switchgear.core.module_registry import Serves, startup_report
from switchgear.domain.configuration import (
    Content,
    FallbackPolicy,
    FallbackStep,
    Selection,
    Terminal,
    canonical_json,
    content_from_json,
)
from switchgear.domain.errors import Code
from switchgear.domain.stage import Lack, ModuleDescription, Snapshot

pytestmark = pytest.mark.anyio


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
