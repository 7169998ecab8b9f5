"""Level L0: an inline module is called directly, and its faults are outcomes too."""

import pytest

from factories.module_processes import BYTES, ON_LINUX, Desk
from switchgear.domain.configuration import canonical_json
from switchgear.domain.errors import Code
from switchgear.domain.run import Outcome
from switchgear.ingestion.module_pool import ModuleUse, StageValue
from switchgear.sdk import StageLimits

pytestmark = [pytest.mark.anyio, ON_LINUX]


@pytest.mark.parametrize(
    ("mode", "outcome", "detail"),
    [
        ("ok", Outcome.SUCCEEDED, ""),
        ("raise", Outcome.ERROR, "ValueError"),
        ("none", Outcome.CONTRACT_VIOLATION, "wrong_type"),
        ("exit0", Outcome.CRASH, "exit:0"),
    ],
)
async def test_an_inline_module_is_called_directly(desk: Desk, mode: str, outcome: Outcome, detail: str) -> None:
    from switchgear_tiny.contracts import Text as TinyText

    use = ModuleUse("upper-faulty-inline", canonical_json({"mode": mode}), StageLimits(), level="L0")
    value = StageValue(TinyText, raw=b'{"text":"hello"}')
    result = await desk.run(use, inputs={"text": value})

    assert (result.outcome, result.detail) == (outcome, detail), result
    assert desk.processes() == []
    if mode == "ok":
        assert result.output.text == "HELLO"


async def test_an_inline_module_reads_the_document(desk: Desk) -> None:
    result = await desk.run(ModuleUse("load-inline", "{}", StageLimits(), level="L0"))

    assert result.output.text == BYTES.decode()


@pytest.mark.parametrize(
    ("use", "code"),
    [
        (ModuleUse("upper-importerror", "{}", StageLimits(), level="L0"), Code.MODULE_IMPORT_ERROR),
        (ModuleUse("upper-faulty-inline", '{"mode":"no"}', StageLimits(), level="L0"), Code.MODULE_BAD_SETTINGS),
        (ModuleUse("upper-faulty-inline", '{"open":"raise"}', StageLimits(), level="L0"), Code.MODULE_PROBE_FAILED),
    ],
    ids=["import", "settings", "open"],
)
async def test_an_inline_module_that_cannot_start_says_why(desk: Desk, use: ModuleUse, code: Code) -> None:
    lack = await desk.warm(use)

    assert lack is not None
    assert lack.code is code
    assert (await desk.run(use)).detail == str(code)
