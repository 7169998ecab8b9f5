"""The measures of isolation are tried one by one, and a level is only there with all of them."""

import sys

import pytest

from switchgear.core.module_registry import probe_isolation
from switchgear.core.module_registry.isolation import NEEDED, report_of

pytestmark = pytest.mark.anyio


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
