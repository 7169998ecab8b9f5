"""An output that breaks the contract is the module's failure; what is declared is all that goes on. DESIGN 5."""

import time
from collections.abc import Mapping
from typing import Any

import pytest

from factories.modules import FakePools
from factories.stage_runner import DOCUMENT, Bench, Word, configuration, value
from switchgear.domain.run import AttemptResult, Outcome
from switchgear.ingestion.module_pool import StageValue
from switchgear.ingestion.plan import ExecutionPlan
from switchgear.ingestion.stage_runner import StageCall
from switchgear.sdk import Contract, Pipeline, Stage
from switchgear.sdk.values import Blob, Frozen

pytestmark = pytest.mark.anyio


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


async def noted(notes: Any) -> str:
    """What the attempt of the word A says under a contract with these notes."""
    contract = Contract(name="c", version="1.0", inputs={}, output_name="word", output=Word, notes=notes)
    plan = ExecutionPlan(configuration(), Pipeline("p", (Stage("shout", 1, contract),), "word"))
    call = StageCall("run_1", "doc_1", DOCUMENT, {}, time.monotonic() + 9)
    end = await Bench(FakePools(a=[value("A")])).runner.run(plan, plan.stages[0], call)
    assert end.value is not None
    return end.attempts[0].message


async def test_what_people_are_to_read_of_an_output_is_kept_with_the_attempt() -> None:
    assert await noted(lambda word: [f"it is {word.text}", "and loud"]) == "it is A\nand loud"
    assert await noted(lambda word: []) == ""
    assert len((await noted(lambda word: (str(number) for number in range(10**9)))).splitlines()) == 20
    assert await noted(lambda word: [word.nothing]) == "Its notes cannot be told: AttributeError."


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
