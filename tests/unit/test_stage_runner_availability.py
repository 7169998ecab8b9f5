"""A module that cannot work, or is not what the version locks, is not called; who can repair it is told how."""

import pytest

from factories.modules import FakePools, FakeRegistry
from factories.stage_runner import Bench, configuration, failed, value
from switchgear.domain.configuration import Lock, LockEntry
from switchgear.domain.errors import Code, NextAction
from switchgear.domain.run import Outcome
from switchgear.domain.stage import Lack, ModuleDescription
from switchgear.ingestion.stage_runner import StageEndKind

pytestmark = pytest.mark.anyio


async def test_an_unavailable_module_is_not_called() -> None:
    lack = Lack(Code.MODULE_MISSING_BINARY, "tesseract is not there.", "apt-get install tesseract-ocr")
    bench = Bench(FakePools(b=[value()]), FakeRegistry("b", a=ModuleDescription(id="a", lack=lack)))

    end = await bench.run(configuration({"module_id": "b", "on": ["unavailable"]}))

    assert [name for name, _ in bench.pools.calls] == ["b"]
    assert (end.attempts[0].outcome, end.attempts[0].detail) == (Outcome.UNAVAILABLE, "module.missing_binary")
    assert "apt-get install tesseract-ocr" in end.attempts[0].message
    assert end.degraded


_NO_LICENCE = failed(Outcome.UNAVAILABLE, "module.probe_failed", facts={"fix": "renew-licence"})
_REPAIR = NextAction("Repair it", "maintainer", "renew-licence")


async def test_a_module_that_says_while_it_runs_that_it_cannot_work_tells_the_line_that_repairs_it() -> None:
    chain = {"module_id": "b", "on": ["unavailable"]}

    served = await Bench(FakePools(a=[_NO_LICENCE], b=[value()])).run(configuration(chain))
    parked = await Bench(FakePools(a=[_NO_LICENCE], b=[_NO_LICENCE])).run(configuration(chain))

    for end, kind in ((served, StageEndKind.OUTPUT), (parked, StageEndKind.PARK)):
        assert end.kind is kind
        assert end.why is not None
        assert tuple(end.why.next_actions) == (_REPAIR,)
        assert end.attempts[0].message == "it was unavailable. To repair it: renew-licence"


async def test_a_module_that_is_missing_tells_the_line_that_installs_it_in_the_reason_of_the_run_too() -> None:
    lack = Lack(Code.MODULE_MISSING_BINARY, "tesseract is not there.", "apt-get install tesseract-ocr")
    bench = Bench(FakePools(), FakeRegistry("b", a=ModuleDescription(id="a", lack=lack)))

    end = await bench.run(configuration())

    assert end.why is not None
    assert [action.cli for action in end.why.next_actions] == ["apt-get install tesseract-ocr"]


async def test_other_code_than_the_held_version_locks_is_unavailable() -> None:
    lock = Lock({"a": LockEntry("1.0", "older code", ""), "b": LockEntry("1.0", "code of b", "")})
    bench = Bench(FakePools(b=[value()]))

    served = await bench.run(configuration({"module_id": "b", "on": ["unavailable"]}, lock=lock))
    alone = await bench.run(configuration(lock=lock))

    assert served.module_id == "b"
    assert served.attempts[0].detail == "module.version_changed"
    assert alone.kind is StageEndKind.PARK
    assert alone.why is not None
    assert alone.why.code is Code.PARKED_MODULE_VERSION_CHANGED


async def test_an_editable_module_is_not_locked() -> None:
    lock = Lock({"a": LockEntry("1.0", "older code", "", editable=True)})

    assert (await Bench(FakePools(a=[value()])).run(configuration(lock=lock))).kind is StageEndKind.OUTPUT


async def test_a_module_that_finds_out_in_a_call_that_it_cannot_work_is_reported() -> None:
    given = failed(Outcome.UNAVAILABLE, "module.probe_failed", facts={"fix": "renew-licence"})
    bench = Bench(FakePools(a=[given]))

    end = await bench.run(configuration())

    assert end.kind is StageEndKind.PARK
    assert [(name, lack.fix) for name, lack in bench.registry.reported] == [("a", "renew-licence")]
