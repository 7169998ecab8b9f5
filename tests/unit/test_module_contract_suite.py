"""The conformance suite finds what is wrong with a module: each bad module breaks exactly its rule."""

import os
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, Field

from switchgear.sdk import Context, Contract, InputRejected, Module, ModuleSettings, NotApplicable, Unavailable, module
from switchgear.sdk.testing import FakeContext, ModuleContractTests, contract_of


class Text(BaseModel):
    value: str
    marks: list[str] = []


class Upper(BaseModel):
    model_config = ConfigDict(frozen=True)

    value: str


def keeps_length(inputs: Any, output: Upper) -> str | None:
    return None if len(output.value) == len(inputs["text"].value) else "the length changed"


CONTRACT = Contract(
    name="upper",
    version="1.0",
    inputs={"text": Text, "extra": Text | None},
    output_name="upper",
    output=Upper,
    guarantees={"keeps_length": keeps_length},
)
GIVES = {"keeps_length"}


@module(stage="upper", contract="upper@1", version="1.0.0", guarantees=GIVES)
class Good(Module):
    def run(self, text: Text, ctx: Context) -> Upper:
        if not text.value:
            raise InputRejected("empty", "There is no text.")
        if text.value.isdigit():
            raise NotApplicable("digits have no case")
        return Upper(value=text.value.upper())


@module(stage="upper", contract="upper@1", version="1.0.0", guarantees=GIVES)
class UnknownInput(Module):
    def run(self, words: Text) -> Upper:
        return Upper(value=words.value.upper())


@module(stage="upper", contract="upper@1", version="1.0.0", guarantees=GIVES)
class InsistsOnOptional(Module):
    def run(self, text: Text, extra: Text) -> Upper:
        return Upper(value=text.value.upper())


@module(stage="upper", contract="upper@1", version="1.0.0")
class NoGuarantee(Module):
    def run(self, text: Text) -> Upper:
        return Upper(value=text.value.upper())


@module(stage="upper", contract="upper@1", version="1.0.0", guarantees=GIVES)
class LooseSettings(Module):
    class Settings(ModuleSettings):
        model_config = ConfigDict(extra="ignore", frozen=False)

    def run(self, text: Text) -> Upper:
        return Upper(value=text.value.upper())


@module(stage="upper", contract="upper@1", version="1.0.0", guarantees=GIVES)
class ProbeChanges(Module):
    @classmethod
    def probe(cls, settings: Any) -> None:
        os.environ["SWITCHGEAR_TEST_PROBE"] = "changed"

    def run(self, text: Text) -> Upper:
        return Upper(value=text.value.upper())


@module(stage="upper", contract="upper@1", version="1.0.0", guarantees=GIVES)
class OtherShape(Module):
    def run(self, text: Text) -> Text:
        return text


@module(stage="upper", contract="upper@1", version="1.0.0", guarantees=GIVES)
class BreaksGuarantee(Module):
    def run(self, text: Text) -> Upper:
        return Upper(value=text.value.upper() + "!")


@module(stage="upper", contract="upper@1", version="1.0.0", guarantees=GIVES)
class Counts(Module):
    calls: ClassVar[Iterator[int]] = iter(range(1000))

    def run(self, text: Text) -> Upper:
        return Upper(value=chr(65 + next(self.calls) % 26) * len(text.value))


@module(stage="upper", contract="upper@1", version="1.0.0", guarantees=GIVES)
class ChangesInput(Module):
    def run(self, text: Text) -> Upper:
        text.marks.append("read")
        return Upper(value=text.value.upper())


@module(stage="upper", contract="upper@1", version="1.0.0", guarantees=GIVES)
class Crashes(Module):
    def run(self, text: Text) -> Upper:
        if not text.value or text.value.isdigit():
            raise ValueError("cannot")
        return Upper(value=text.value.upper())


@module(stage="upper", contract="upper@1", version="1.0.0", guarantees=GIVES)
class NeverHere(Module):
    class Settings(ModuleSettings):
        level: int = Field(1, description="Nothing.")

    @classmethod
    def probe(cls, settings: Any) -> None:
        raise Unavailable("not on this machine", fix="buy another")

    def run(self, text: Text) -> Upper:
        return Upper(value=text.value.upper())


RULES = [name for name in dir(ModuleContractTests) if name.startswith("test_rule_")]


def suite(kind: type[Module]) -> ModuleContractTests:
    class Suite(ModuleContractTests):
        module = kind
        samples = [Text(value="abc"), {"text": Text(value="def"), "extra": None}]
        rejected = [Text(value="")]
        not_applicable = [Text(value="17")]
        contract = CONTRACT

    return Suite()


def broken(kind: type[Module]) -> list[str]:
    found = []
    for rule in RULES:
        try:
            getattr(suite(kind), rule)()
        except Exception:
            found.append(rule[10:12])
    return found


@pytest.mark.parametrize(
    ("kind", "rules"),
    [
        (Good, []),
        (InsistsOnOptional, ["01", "11", "12"]),
        (NoGuarantee, ["02", "11", "12"]),
        (LooseSettings, ["03", "04", "11", "12"]),
        (ProbeChanges, ["05", "11", "12"]),
        (OtherShape, ["07", "11", "12"]),
        (BreaksGuarantee, ["08", "11", "12"]),
        (Counts, ["09", "11", "12"]),
        (ChangesInput, ["10", "11", "12"]),
        (Crashes, ["11", "12"]),
    ],
)
def test_each_bad_module_breaks_its_rule(kind: type[Module], rules: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHGEAR_TEST_PROBE", "before")
    if kind is InsistsOnOptional:
        assert broken(kind)[0] == "01"
    else:
        assert broken(kind) == rules


def test_an_input_that_the_contract_does_not_know_is_named() -> None:
    with pytest.raises(AssertionError, match=r"'words' is no input of upper@1\.0"):
        suite(UnknownInput).test_rule_01_the_declaration_fits_the_contract()


def test_a_module_without_samples_proves_nothing() -> None:
    class Empty(ModuleContractTests):
        module = Good
        contract = CONTRACT

    with pytest.raises(AssertionError, match="at least one sample"):
        Empty().test_rule_06_there_are_samples()


def test_a_module_that_cannot_work_here_is_skipped_with_the_reason() -> None:
    with pytest.raises(pytest.skip.Exception, match="not on this machine: buy another"):
        suite(NeverHere).test_rule_08_the_guarantees_hold()


def test_a_contract_is_found_among_the_installed_pipelines() -> None:
    with pytest.raises(LookupError, match="no installed pipeline has a stage 'upper'"):
        contract_of(Good.spec)


def test_the_fake_context_gives_one_key_per_document_and_target() -> None:
    one, other = FakeContext(), FakeContext(document_id="doc_other")
    assert one.idempotency_key("files") == FakeContext().idempotency_key("files")
    assert len({one.idempotency_key("files"), one.idempotency_key("mail"), other.idempotency_key("files")}) == 3
    assert one.delivery_series("files") == FakeContext().delivery_series("files")
    assert len({one.delivery_series("files"), one.delivery_series("mail"), other.delivery_series("files")}) == 3
