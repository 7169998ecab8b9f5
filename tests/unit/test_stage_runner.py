"""One stage of one run: candidates, tries, deadlines, contract enforcement. DESIGN 3, 5."""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from factories.core import version_of
from factories.modules import FakeBreakers, FakePools, FakeRegistry
from switchgear.domain.configuration import Lock, LockEntry, StoredConfiguration, content_from_json
from switchgear.domain.errors import Code, NextAction
from switchgear.domain.run import AttemptResult, Outcome
from switchgear.domain.stage import Lack, ModuleDescription, PipelineDescription, Snapshot
from switchgear.ingestion.module_pool import Call, DocumentFile, ModuleUse, StageValue
from switchgear.ingestion.plan import ExecutionPlan
from switchgear.ingestion.stage_runner import StageCall, StageEnd, StageEndKind, StageRunner
from switchgear.sdk import Contract, Pipeline, Stage, StageLimits
from switchgear.sdk.values import Blob, Frozen

pytestmark = pytest.mark.anyio

DOCUMENT = DocumentFile(Path("/nowhere"), "0" * 64, 5, "text/plain", "a.txt")
ALL = ["error", "timeout", "crash", "contract_violation", "unavailable"]


class Word(Frozen):
    text: str
    sure: float = Field(1.0, ge=0, le=1)


def _is_loud(inputs: Mapping[str, Any], output: Any) -> str | None:
    return None if output.text.isupper() else "the text is not in capitals"


def _pipeline(effects: Any = "none", required: bool = True) -> Pipeline:
    contract = Contract(
        name="shout",
        version="1.0",
        inputs={"blob": Blob},
        output_name="word",
        output=Word,
        guarantees={"is_loud": _is_loud},
        confidence="/sure",
        effects=effects,
    )
    return Pipeline("p", (Stage("shout", 10, contract, required=required, limits=StageLimits(timeout_s=30)),), "word")


def value(text: str = "HELLO", sure: float = 1.0) -> AttemptResult:
    return AttemptResult(Outcome.SUCCEEDED, output=Word(text=text, sure=sure).model_dump_json().encode())


def failed(outcome: Outcome, detail: str = "", **more: Any) -> AttemptResult:
    return AttemptResult(outcome, detail, f"it was {outcome}", **more)


def configuration(
    *chain: dict[str, Any],
    limits: dict[str, Any] | None = None,
    lock: Lock | None = None,
    **policy: Any,
) -> StoredConfiguration:
    content = content_from_json(
        {
            "selections": [{"stage_id": "shout", "module_id": "a", "limits": limits or {}}],
            "fallback_policies": [{"stage_id": "shout", "chain": list(chain), **policy}],
        }
    )
    return version_of(content, pipeline="p", lock=lock)


class Bench:
    """A runner with fakes; `run` runs the stage once."""

    def __init__(self, pools: FakePools, registry: FakeRegistry | None = None) -> None:
        self.pools = pools
        self.registry = registry or FakeRegistry("a", "b", "c")
        self.breakers = FakeBreakers()
        self.slept: list[float] = []
        self.runner = StageRunner(
            pools, self.registry, self.breakers, clock=lambda: 1_000_000, sleep=self._sleep, jitter=lambda: 1.0
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def run(
        self, held: StoredConfiguration, *, effects: str = "none", required: bool = True, **call: Any
    ) -> StageEnd:
        plan = ExecutionPlan(held, _pipeline(effects, required))
        given: dict[str, Any] = {"inputs": {}, "deadline": time.monotonic() + 900, **call}
        return await self.runner.run(plan, plan.stages[0], StageCall("run_1", "doc_1", DOCUMENT, **given))


def seen(end: StageEnd) -> list[tuple[str | None, int, str]]:
    return [(item.module_id, item.try_number, str(item.outcome)) for item in end.attempts]


async def test_the_selection_serves_when_it_works() -> None:
    bench = Bench(FakePools(a=[value()]))

    end = await bench.run(configuration({"module_id": "b", "on": ALL}))

    assert (end.kind, end.module_id, end.degraded, end.why) == (StageEndKind.OUTPUT, "a", False, None)
    assert end.value is not None
    assert end.value.model == Word(text="HELLO")
    assert seen(end) == [("a", 1, "succeeded")]
    assert (end.attempts[0].module_version, end.attempts[0].code_digest) == ("1.0", "code of a")
    assert end.attempts[0].limits["timeout_s"] == 30


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.TIMEOUT, Outcome.CRASH])
async def test_the_fallback_serves_with_the_reason(outcome: Outcome) -> None:
    bench = Bench(FakePools(a=[failed(outcome, "why")], b=[value()]))

    end = await bench.run(configuration({"module_id": "b", "on": ALL}))

    assert (end.kind, end.module_id, end.degraded) == (StageEndKind.OUTPUT, "b", True)
    assert end.why is not None
    assert end.why.code == f"fallback.{outcome}"
    assert seen(end) == [("a", 1, str(outcome)), ("b", 1, "succeeded")]


@pytest.mark.parametrize(
    ("output", "detail"),
    [
        (b'{"text":"hello"}', "guarantee:is_loud"),
        (b'{"text":7}', "schema"),
        (b"{}", "schema"),
        (b"no json", "schema"),
        (b'{"text":"A","sure":3}', "schema"),
        (b"null", "schema"),
        ({"text": "A"}, "wrong_type"),
        (None, "wrong_type"),
    ],
)
async def test_what_breaks_the_contract_is_the_modules_failure(output: Any, detail: str) -> None:
    bench = Bench(FakePools(a=[AttemptResult(Outcome.SUCCEEDED, output=output)], b=[value()]))

    end = await bench.run(configuration({"module_id": "b", "on": ["contract_violation"]}))

    assert end.module_id == "b"
    assert (end.attempts[0].outcome, end.attempts[0].detail) == (Outcome.CONTRACT_VIOLATION, detail)


async def test_a_violation_never_repeats_what_the_document_says() -> None:
    secret = AttemptResult(Outcome.SUCCEEDED, output=b'{"text": 12345678, "sure": "IBAN DE02"}')

    end = await Bench(FakePools(a=[secret])).run(configuration())

    assert "12345678" not in end.attempts[0].message
    assert "IBAN" not in end.attempts[0].message
    assert "/text" in end.attempts[0].message


async def test_undeclared_fields_are_dropped() -> None:
    given = AttemptResult(Outcome.SUCCEEDED, output=b'{"text":"A","more":{"x":1},"sure":0.5}')

    end = await Bench(FakePools(a=[given])).run(configuration())

    assert end.value is not None
    assert end.value.raw == b'{"text":"A","sure":0.5}'


async def test_an_inline_output_is_the_contracts_model_or_a_violation() -> None:
    class Louder(Word):
        more: int = 1

    class Other(Frozen):
        text: str = "A"

    plain = await Bench(FakePools(a=[AttemptResult(Outcome.SUCCEEDED, output=Word(text="A"))])).run(configuration())
    wider = await Bench(FakePools(a=[AttemptResult(Outcome.SUCCEEDED, output=Louder(text="A"))])).run(configuration())
    other = await Bench(FakePools(a=[AttemptResult(Outcome.SUCCEEDED, output=Other())])).run(configuration())

    assert plain.value is not None
    assert wider.value is not None
    assert type(wider.value.model) is Word
    assert other.attempts[0].detail == "wrong_type"


async def test_an_unsure_value_is_compared_with_the_fallbacks() -> None:
    held = configuration({"module_id": "b", "on": ["low_confidence"], "threshold": 0.6})

    better = await Bench(FakePools(a=[value(sure=0.3)], b=[value("OTHER", 0.5)])).run(held)
    worse = await Bench(FakePools(a=[value(sure=0.3)], b=[value("OTHER", 0.2)])).run(held)

    assert (better.module_id, better.degraded) == ("b", True)
    assert better.why is not None
    assert better.why.code is Code.FALLBACK_LOW_CONFIDENCE
    assert seen(better)[0] == ("a", 1, "low_confidence")
    assert better.attempts[0].confidence == 0.3
    assert (worse.module_id, worse.degraded, worse.why) == ("a", False, None)


async def test_rules_that_did_not_match_are_recorded_with_the_attempt() -> None:
    bench = Bench(FakePools(a=[failed(Outcome.ERROR)], c=[value()]))

    end = await bench.run(configuration({"module_id": "b", "on": ["timeout"]}, {"module_id": "c", "on": ["error"]}))

    assert [rule["module_id"] for rule in end.attempts[0].rules_not_matched] == ["b"]
    assert end.attempts[1].rules_not_matched == []


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


async def test_retries_follow_the_limits_with_growing_pauses() -> None:
    bench = Bench(FakePools(a=[failed(Outcome.ERROR), failed(Outcome.CRASH), value()]))

    end = await bench.run(configuration(limits={"retries": 2}))

    assert seen(end) == [("a", 1, "error"), ("a", 2, "crash"), ("a", 3, "succeeded")]
    assert bench.slept == [0.2, 0.4]
    assert not end.degraded


async def test_a_retryable_error_is_tried_twice_more_without_any_limit_set() -> None:
    busy = failed(Outcome.ERROR, "Retryable", retryable=True, after_s=0.5)
    bench = Bench(FakePools(a=[busy, busy, busy], b=[value()]))

    end = await bench.run(configuration({"module_id": "b", "on": ["error"]}))

    assert [item[1] for item in seen(end)] == [1, 2, 3, 1]
    assert bench.slept == [0.5, 0.5]


async def test_a_longer_pause_gives_the_run_back() -> None:
    bench = Bench(FakePools(a=[failed(Outcome.ERROR, "Retryable", retryable=True, after_s=60.0)]))

    end = await bench.run(configuration({"module_id": "b", "on": ["error"]}))

    assert (end.kind, end.back_off_s) == (StageEndKind.BACK_OFF, 60.0)
    assert end.why is not None
    assert end.why.code is Code.WAITING_RETRY_BACKOFF
    assert bench.slept == []


async def test_tries_before_a_longer_pause_count() -> None:
    later = failed(Outcome.ERROR, "Retryable", retryable=True, after_s=60.0)
    bench = Bench(FakePools(a=[later], b=[value()]))

    end = await bench.run(configuration({"module_id": "b", "on": ["error"]}), tries_before={0: 2})

    assert seen(end) == [("a", 3, "error"), ("b", 1, "succeeded")]


async def test_an_effect_that_is_perhaps_done_is_tried_once_more_by_the_same_module_with_the_same_key() -> None:
    held = configuration({"module_id": "b", "on": ["timeout"]})
    done = Bench(FakePools(a=[failed(Outcome.TIMEOUT), value()]))
    not_done = Bench(FakePools(a=[failed(Outcome.TIMEOUT), failed(Outcome.TIMEOUT)], b=[value()]))

    first = await done.run(held, effects="external", delivery_base="base")
    second = await not_done.run(held, effects="external", delivery_base="base")

    assert seen(first) == [("a", 1, "timeout"), ("a", 2, "succeeded")]
    assert seen(second) == [("a", 1, "timeout"), ("a", 2, "timeout"), ("b", 1, "succeeded")]
    assert {call.delivery_base for _, call in not_done.pools.calls} == {"base"}


async def test_without_effects_a_timeout_goes_to_the_chain_at_once() -> None:
    bench = Bench(FakePools(a=[failed(Outcome.TIMEOUT)], b=[value()]))

    assert seen(await bench.run(configuration({"module_id": "b", "on": ["timeout"]})))[1] == ("b", 1, "succeeded")


async def test_no_attempt_gets_more_time_than_budget_and_deadline_leave() -> None:
    bench = Bench(FakePools(a=[value(), value()]))

    await bench.run(configuration(budget_s=7))
    await bench.run(configuration(), deadline=time.monotonic() + 3)

    assert 6 < bench.pools.calls[0][1].timeout_s <= 7
    assert 2 < bench.pools.calls[1][1].timeout_s <= 3


async def test_a_used_up_budget_ends_the_stage() -> None:
    async def slow(call: Call) -> AttemptResult:
        await asyncio.sleep(0.02)
        return failed(Outcome.ERROR)

    bench = Bench(FakePools(a=[slow]))

    end = await bench.run(configuration({"module_id": "b", "on": ["error"]}, budget_s=0.01))

    assert end.kind is StageEndKind.FAIL
    assert end.why is not None
    assert end.why.code is Code.FAILED_BUDGET


async def test_the_runs_deadline_ends_it_whatever_the_policy_says() -> None:
    async def slow(call: Call) -> AttemptResult:
        await asyncio.sleep(0.02)
        return failed(Outcome.TIMEOUT)

    bench = Bench(FakePools(a=[slow]))
    held = configuration({"module_id": "b", "on": ["timeout"]}, then="park")

    end = await bench.run(held, deadline=time.monotonic() + 0.01)

    assert end.kind is StageEndKind.FAIL
    assert end.why is not None
    assert end.why.code is Code.FAILED_DEADLINE


async def test_a_question_to_a_person_parks_with_its_facts() -> None:
    asked = AttemptResult(Outcome.SKIPPED, message="Look at the total.", needs_review=True, facts={"total": "12.00"})

    end = await Bench(FakePools(a=[asked])).run(configuration({"module_id": "b", "on": ALL}))

    assert end.kind is StageEndKind.PARK
    assert end.why is not None
    assert (end.why.code, end.why.summary) == (Code.PARKED_REVIEW, "Look at the total.")
    assert end.why.facts["total"] == "12.00"


async def test_a_stage_that_does_not_apply_gives_no_value() -> None:
    end = await Bench(FakePools(a=[AttemptResult(Outcome.NOT_APPLICABLE, message="no words")])).run(configuration())

    assert (end.kind, end.value, end.degraded) == (StageEndKind.NOT_APPLICABLE, None, False)


async def test_an_optional_stage_can_be_skipped_and_that_is_a_degraded_run() -> None:
    bench = Bench(FakePools(a=[failed(Outcome.CRASH)]))

    end = await bench.run(configuration(then="skip"), required=False)

    assert (end.kind, end.degraded) == (StageEndKind.SKIPPED, True)
    assert end.why is not None


async def test_a_missing_document_parks_the_run() -> None:
    end = await Bench(FakePools(a=[FileNotFoundError(2, "No such file")])).run(configuration())

    assert end.kind is StageEndKind.PARK
    assert end.why is not None
    assert end.why.code is Code.PARKED_CORRUPT_ARTIFACT


async def test_a_check_that_breaks_on_an_output_is_a_violation() -> None:
    def explodes(inputs: Mapping[str, Any], output: Any) -> str | None:
        raise RecursionError

    contract = Contract(
        name="c", version="1.0", inputs={}, output_name="word", output=Word, guarantees={"holds": explodes}
    )
    plan = ExecutionPlan(configuration(), Pipeline("p", (Stage("shout", 1, contract),), "word"))
    call = StageCall("run_1", "doc_1", DOCUMENT, {}, time.monotonic() + 9)

    end = await Bench(FakePools(a=[value()])).runner.run(plan, plan.stages[0], call)

    assert end.attempts[0].detail == "guarantee:holds"


async def test_a_stopped_attempt_is_recorded_as_cancelled() -> None:
    started = asyncio.Event()

    async def hangs(call: Call) -> AttemptResult:
        started.set()
        await asyncio.sleep(3600)
        raise AssertionError

    attempts: list[Any] = []
    bench = Bench(FakePools(a=[hangs]))
    plan = ExecutionPlan(configuration(), _pipeline())
    call = StageCall("run_1", "doc_1", DOCUMENT, {}, time.monotonic() + 900)
    task = asyncio.create_task(bench.runner.run(plan, plan.stages[0], call, attempts))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [(item.module_id, item.outcome) for item in attempts] == [("a", Outcome.CANCELLED)]


async def test_guarantees_see_the_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def remembers(inputs: Mapping[str, Any], output: Any) -> str | None:
        given.update(inputs)
        return None

    first = Contract(name="f", version="1.0", inputs={"blob": Blob}, output_name="first", output=Word)
    second = Contract(
        name="s",
        version="1.0",
        inputs={"blob": Blob, "first": Word | None},
        output_name="word",
        output=Word,
        guarantees={"remembers": remembers},
    )
    pipeline = Pipeline("p", (Stage("before", 1, first, required=False), Stage("shout", 2, second)), "word")
    plan = ExecutionPlan(configuration(), pipeline)
    inputs = {"first": StageValue(Word, raw=b'{"text":"A"}')}
    call = StageCall("run_1", "doc_1", DOCUMENT, inputs, time.monotonic() + 9)

    await Bench(FakePools(a=[value()])).runner.run(plan, plan.stages[1], call)

    assert given["first"] == Word(text="A")
    assert given["blob"].sha256 == DOCUMENT.sha256


def use_of(module: ModuleDescription, **options: Any) -> ModuleUse:
    plan = ExecutionPlan(configuration(), _pipeline(), **options)
    snapshot = Snapshot(0, PipelineDescription("p", (), "word", (), {}), {"a": module})
    ready = plan.ready(plan.stages[0].modules[0], snapshot)
    assert not isinstance(ready, Lack)
    return ready.use


def test_the_level_follows_trust() -> None:
    def level(module: ModuleDescription, **options: Any) -> str:
        return use_of(module, **options).level

    make: Callable[..., ModuleDescription] = ModuleDescription
    assert level(make(id="a", min_isolation="L0", distribution="switchgear"), allow_inline=False) == "L0"
    assert level(make(id="a", min_isolation="L0", distribution="other"), allow_inline=False) == "L1"
    assert level(make(id="a", min_isolation="L0", distribution="other"), allow_inline=True) == "L0"
    assert level(make(id="a", min_isolation="L1", distribution="switchgear"), allow_inline=True) == "L1"
    assert level(make(id="a", min_isolation="L0", distribution="switchgear"), level="L2") == "L0"
    assert level(make(id="a", min_isolation="L0", distribution="switchgear"), level="L2", isolate_all=True) == "L2"
    assert level(make(id="a", min_isolation="L1", distribution="other"), level="L2") == "L2"
    assert level(make(id="a", min_isolation="L0", distribution="switchgear"), level="L3", isolate_all=True) == "L3"


def test_what_a_module_declares_is_what_its_processes_may_reach() -> None:
    requires = {"files": [{"path": "/models/a"}], "binaries": ["b"], "writes": ["$C"], "network": ["d:443"]}
    use = use_of(ModuleDescription(id="a", requires=requires), level="L2")

    assert (use.reads, use.writes, use.network) == (("/models/a", "b"), ("$C",), True)


# --- breakers ---

OPEN = Lack(Code.MODULE_BREAKER_OPEN, "The breaker of a is open for another 20 s.", "close it")


async def test_a_module_whose_breaker_is_open_is_not_called_and_its_fallback_serves() -> None:
    bench = Bench(FakePools(b=[value()]))
    bench.breakers.lacks["a"] = OPEN

    end = await bench.run(configuration({"module_id": "b", "on": ["breaker_open"]}))

    assert (end.module_id, end.degraded) == ("b", True)
    assert bench.pools.called() == ["b"]
    assert seen(end) == [("a", 1, "breaker_open"), ("b", 1, "succeeded")]
    assert (end.attempts[0].detail, end.attempts[0].duration_us) == ("module.breaker_open", 0)
    assert end.why is not None
    assert end.why.code is Code.FALLBACK_BREAKER_OPEN
    assert end.why.summary.endswith("The breaker of a is open for another 20 s.")


async def test_a_chain_that_does_not_name_an_open_breaker_is_not_used_and_the_run_waits() -> None:
    bench = Bench(FakePools())
    bench.breakers.lacks["a"] = OPEN

    end = await bench.run(configuration({"module_id": "b", "on": ["error"]}))

    assert end.kind is StageEndKind.PARK  # nothing was tried
    assert end.why is not None
    assert end.why.code is Code.PARKED_NOTHING_AVAILABLE


async def test_what_came_of_each_candidate_is_told_to_the_breakers_once() -> None:
    bench = Bench(FakePools(a=[failed(Outcome.ERROR), failed(Outcome.CRASH)], b=[value()]))

    await bench.run(configuration({"module_id": "b", "on": ALL}, limits={"retries": 1}))

    assert bench.breakers.recorded == [("a", False, Outcome.CRASH), ("b", False, Outcome.SUCCEEDED)]


async def test_what_breaks_the_contract_counts_as_a_failure_of_the_module() -> None:
    bench = Bench(FakePools(a=[value("quiet")], b=[value()]))

    await bench.run(configuration({"module_id": "b", "on": ALL}))

    assert bench.breakers.recorded[0] == ("a", False, Outcome.CONTRACT_VIOLATION)


async def test_a_module_that_asks_for_a_long_pause_has_failed_for_its_breaker() -> None:
    bench = Bench(FakePools(a=[failed(Outcome.ERROR, retryable=True, after_s=60.0)]))
    bench.breakers.probing.add("a")

    end = await bench.run(configuration())

    assert end.kind is StageEndKind.BACK_OFF
    assert bench.breakers.recorded == [("a", True, Outcome.ERROR)]
