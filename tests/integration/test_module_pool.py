"""A call of a module process gives what the module gave or says on purpose, and the module sees what it is promised."""

import asyncio
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from factories.module_processes import BYTES, ON_LINUX, Desk, Text, output, until, use_of
from factories.plugin import write_distribution
from switchgear.domain.configuration import canonical_json
from switchgear.domain.run import Outcome
from switchgear.ingestion.module_pool import ModuleUse, StageValue
from switchgear.sdk import Decision, StageLimits
from switchgear.sdk.host.context import delivery_key, delivery_series
from switchgear.sdk.values import Earlier

pytestmark = [pytest.mark.anyio, ON_LINUX]


async def test_a_module_reads_the_document_and_its_output_comes_back_as_bytes(desk: Desk) -> None:
    result = await desk.run(use_of("load-text"))

    assert output(result) == {"text": BYTES.decode(), "loaded_by": "load-text"}
    assert result.duration_us > 0


async def test_a_module_that_needs_a_path_gets_a_private_copy(desk: Desk) -> None:
    assert output(await desk.run(use_of("load-other")))["text"] == BYTES.decode()
    assert desk.document.path.stat().st_nlink == 1


async def test_calls_share_a_process_until_it_is_recycled(desk: Desk) -> None:
    use = use_of("upper-lively", limits=StageLimits(concurrency=1))
    pids = {json.loads(output(await desk.run(use))["text"])["pid"] for _ in range(6)}

    assert len(pids) <= 2  # the one that was warm, and the one in reserve


async def test_as_many_calls_run_at_once_as_the_limit_says(desk: Desk) -> None:
    gate, counter = desk.out / "gate", desk.out / "counter"
    use = use_of(limits=StageLimits(concurrency=2), mode="wait", file=str(gate), counter=str(counter))
    calls = [asyncio.create_task(desk.run(use)) for _ in range(4)]

    await until(lambda: counter.exists() and counter.stat().st_size == 2)
    await asyncio.sleep(0.2)
    assert counter.stat().st_size == 2
    gate.touch()
    assert [result.outcome for result in await asyncio.gather(*calls)] == [Outcome.SUCCEEDED] * 4


async def test_a_call_that_finds_no_free_process_in_time_says_so(desk: Desk) -> None:
    gate = desk.out / "gate"
    use = use_of(limits=StageLimits(concurrency=1), mode="wait", file=str(gate), only_if="slow")
    first = asyncio.create_task(desk.run(use, "slow"))
    await until(lambda: any(pool["busy"] for pool in desk.pools.describe()))

    second = await desk.run(use, timeout_s=0.3)
    gate.touch()

    assert (second.outcome, second.detail) == (Outcome.TIMEOUT, "no_free_worker")
    assert (await first).outcome is Outcome.SUCCEEDED


async def test_a_module_sees_what_the_context_promises_and_no_more(desk: Desk) -> None:
    decision = Decision(action="release", actor="ada", message="fine")
    use = use_of("upper-lively", limits=StageLimits(memory_mb=512))
    seen = json.loads(output(await desk.run(use, decision=decision, delivery_base="bytes\0result"))["text"])
    again = json.loads(output(await desk.run(use))["text"])

    allowed = {"PATH", "LANG", "SWITCHGEAR_OUT", "TMPDIR", "LC_CTYPE"}
    threads = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"}
    assert set(seen["environment"]) - {name for name in os.environ if name.startswith("LC_")} <= allowed | threads
    assert seen["data"] == 512 << 20
    assert (seen["core"], seen["no_new_privs"], seen["session"]) == (0, "1", True)
    assert seen["files"] <= 512
    assert seen["stdin"] == "/dev/null"
    assert 0 < seen["remaining"] <= 20
    assert seen["decision"] == "release"
    assert seen["key"] == delivery_key("bytes\0result", "target")
    assert seen["series"] == delivery_series("bytes\0another result", "target")
    assert seen["run"] == ["run_1", "doc_1", 1]
    assert again["left"] == ["left.txt"], "temporary files of an earlier call were still there"
    assert [record["event"] for record in desk.logs if record["event"] == "looked.around"] == ["looked.around"] * 2


async def test_a_variable_that_the_module_asked_for_is_handed_over(desk: Desk) -> None:
    use = ModuleUse("upper-environment", "{}", StageLimits(), environment=("SWITCHGEAR_TINY_REGION",))

    assert output(await desk.run(use))["text"] == "HELLO NORTH"


async def test_a_saved_file_becomes_an_artifact(desk: Desk) -> None:
    seen = json.loads(output(await desk.run(use_of("upper-lively"), "save"))["text"])

    assert desk.artifacts == [(b"pixels", "image/png")]
    assert seen["blob"]["sha256"] == hashlib.sha256(b"pixels").hexdigest()


async def test_a_large_output_and_a_large_input_pass_the_pipe(desk: Desk) -> None:
    text = "abc " * 1_000_000

    assert output(await desk.run(use_of("upper-text"), text))["text"] == text.upper()


async def test_large_results_of_earlier_documents_pass_the_pipe(desk: Desk) -> None:
    earlier = [Earlier(document_id=f"doc_{number}", result={"text": "ä" * (3 << 20)}) for number in range(2)]

    seen = json.loads(output(await desk.run(use_of("upper-lively"), earlier=earlier))["text"])

    assert seen["earlier"] == [3 << 20] * 2


async def test_a_module_that_starts_threads_at_import_is_imported_in_each_process(desk: Desk) -> None:
    use = use_of("upper-threads")

    assert await desk.warm(use) is None
    assert output(await desk.run(use))["text"] == "HELLO"


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("retryable", {"outcome": Outcome.ERROR, "retryable": True, "after_s": 0.01}),
        ("retryable_later", {"outcome": Outcome.ERROR, "retryable": True, "after_s": 60}),
        ("unavailable", {"outcome": Outcome.UNAVAILABLE, "facts": {"fix": "renew-licence tiny"}}),
        ("reject", {"outcome": Outcome.BAD_INPUT, "detail": "encrypted", "message": "The document is encrypted."}),
        ("not_applicable", {"outcome": Outcome.NOT_APPLICABLE}),
        ("review", {"needs_review": True, "message": "somebody has to look", "facts": {"words": 3}}),
        ("low_confidence", {"outcome": Outcome.SUCCEEDED}),
    ],
)
@pytest.mark.parametrize("module_id", ["upper-faulty", "upper-faulty-inline"])
async def test_what_a_module_says_on_purpose_is_understood(
    desk: Desk, module_id: str, mode: str, expected: dict[str, Any]
) -> None:
    level = "L0" if module_id.endswith("inline") else "L1"
    use = ModuleUse(module_id, canonical_json({"mode": mode}), StageLimits(), level=level)  # type: ignore[arg-type]
    result = await desk.run(use)

    assert {name: getattr(result, name) for name in expected} == expected


async def test_what_a_module_prints_is_captured_and_cut_and_the_protocol_stays_whole(desk: Desk) -> None:
    assert output(await desk.run(use_of(mode="print")))["text"] == "HELLO"

    printed = [record for record in desk.logs if record["event"] == "module.printed"]
    assert sum(len(record["text"]) for record in printed) <= 64 * 1024
    assert any(record["was_cut"] for record in printed)


async def test_the_traceback_of_a_bug_goes_to_the_module_log_only(desk: Desk) -> None:
    result = await desk.run(use_of(mode="raise"))

    assert result.message == "the module is broken"
    assert any("Traceback" in record.get("text", "") for record in desk.logs)


async def test_a_changed_input_is_changed_for_nobody_else(desk: Desk) -> None:
    value = StageValue(Text, model=Text(text="hello"))
    await desk.run(use_of(mode="mutate"), inputs={"text": value})

    assert json.loads(value.raw)["text"] == "hello"
    assert output(await desk.run(use_of("upper-text"), inputs={"text": value}))["text"] == "HELLO"


async def test_an_invalid_output_is_handed_on_for_the_contract_to_refuse(desk: Desk) -> None:
    assert output(await desk.run(use_of(mode="invalid")))["text"] == 7


async def test_what_an_import_prints_is_in_the_log(desk: Desk, site: Path) -> None:
    (site / "loud.py").write_text("print('loud import')\nraise RuntimeError('no')\n")
    write_distribution(site, "loud", "1", {"upper-loud": "loud:Loud"})
    lack = await desk.warm(use_of("upper-loud"))

    assert lack is not None
    assert "RuntimeError: no" in lack.message
    await until(lambda: any("loud import" in record.get("text", "") for record in desk.logs))


def test_a_stage_value_makes_each_form_once() -> None:
    value = StageValue(Text, raw=b'{"text":"x"}')

    assert value.model is value.model
    assert value.raw is value.raw
    assert StageValue(Text, model=Text(text="x")).raw == b'{"text":"x"}'
    with pytest.raises(ValueError, match="raw or model"):
        StageValue(Text)
