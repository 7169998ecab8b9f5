"""The names and types that authors of modules and pipelines rely on (INTERFACES 4): types here are checked by mypy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, assert_type

import pytest

import switchgear.sdk
from switchgear.sdk import (
    Blob,
    Context,
    Contract,
    Decision,
    Earlier,
    InputRejected,
    Limits,
    Module,
    ModuleError,
    ModuleSettings,
    NeedsReview,
    NotApplicable,
    Pipeline,
    RequiredFile,
    Requires,
    Retryable,
    SecretRef,
    Stage,
    StageLimits,
    Unavailable,
    Unsupported,
    WarmContext,
    module,
)
from switchgear.sdk.testing import ModuleContractTests
from switchgear.sdk.values import Frozen

NAMES = (
    "Blob Check Context Contract Decision DeclarationError Earlier InputRejected Limits Log Module ModuleError "
    "ModuleSettings NeedsReview NotApplicable Pipeline RequiredFile Requires Retryable SecretRef Stage StageLimits "
    "SwitchgearError Unavailable Unsupported WarmContext module"
)


class Text(Frozen):
    text: str


@module(
    stage="upper",
    contract="some-upper@1",
    version="1.0.0",
    guarantees={"is_upper"},
    requires=Requires(
        packages=("lxml>=5",),
        binaries=("tesseract",),
        files=(RequiredFile(path="/models/x", sha256="0" * 64, install="get-model x"),),
        environment=("REGION",),
        memory_mb=512,
        network=("api.example:443",),
    ),
    min_isolation="L2",
    deprecated="Use another.",
)
class Upper(Module):
    """Uses all that a module is offered."""

    class Settings(ModuleSettings):
        key: SecretRef

    settings: Settings

    @classmethod
    def probe(cls, settings: Settings) -> None:
        raise Unavailable("The licence ended.", fix="renew-licence")

    def open(self, ctx: WarmContext) -> None:
        assert_type(ctx.scratch, Path)
        assert_type(ctx.limits, Limits)
        assert_type(ctx.secret(self.settings.key), str)
        ctx.log.info("model.loaded", seconds=1.5)

    def run(self, blob: Blob, text: Text | None, ctx: Context) -> Text:
        assert_type(ctx.run_id, str)
        assert_type(ctx.document_id, str)
        assert_type(ctx.attempt, int)
        assert_type(ctx.deadline, float)
        assert_type(ctx.remaining_s(), float)
        assert_type(ctx.decision, Decision | None)
        assert_type(ctx.earlier, Sequence[Earlier])
        assert_type(ctx.save(Path("page.png"), media_type="image/png"), Blob)
        assert_type(ctx.idempotency_key("archive"), str)
        assert_type(blob.open(), BinaryIO)
        assert_type(blob.path, Path)
        return Text(text="")

    def close(self) -> None: ...


def upper_is_long_enough(inputs: Mapping[str, Any], output: Any) -> str | None:
    return None if output.text else "It is empty."


if TYPE_CHECKING:

    def _of_values(decision: Decision, earlier: Earlier, blob: Blob, limits: Limits, stage: Stage) -> None:
        assert_type((decision.action, decision.actor, decision.message), tuple[Literal["release", "reject"], str, str])
        assert_type((earlier.document_id, earlier.result), tuple[str, dict[str, Any]])
        assert_type((blob.sha256, blob.size_bytes, blob.media_type, blob.file_name), tuple[str, int, str, str])
        assert_type((limits.max_pages, limits.max_pixels, limits.max_unpacked_bytes), tuple[int, int, int])
        assert_type((limits.max_xml_depth, limits.max_output_bytes), tuple[int, int])
        assert_type((stage.id, stage.order, stage.contract, stage.required), tuple[str, int, Contract, bool])
        assert_type(stage.limits, StageLimits)

    class _Suite(ModuleContractTests):
        module = Upper
        samples = (Text(text="a"),)
        rejected = (Text(text=""),)


def test_the_sdk_offers_these_names_and_no_others() -> None:
    assert sorted(switchgear.sdk.__all__) == sorted(NAMES.split())
    assert all(hasattr(switchgear.sdk, name) for name in NAMES.split())


def test_a_module_declares_all_that_may_be_declared_and_its_parameters_are_its_inputs() -> None:
    spec = Upper.spec
    assert (spec.stage, spec.contract, spec.version) == ("upper", "some-upper@1", "1.0.0")
    assert (spec.guarantees, spec.min_isolation, spec.deprecated) == (frozenset({"is_upper"}), "L2", "Use another.")
    assert {name: (each.type, each.optional) for name, each in spec.inputs.items()} == {
        "blob": (Blob, False),
        "text": (Text, True),
    }
    assert (spec.output, spec.wants_context) == (Text, True)


def test_what_is_not_said_has_the_promised_defaults() -> None:
    @module(stage="upper", contract="some-upper@1", version="1.0.0")
    class Plain(Module):
        def run(self, text: Text) -> Text:
            return text

    spec = Plain.spec
    assert (spec.guarantees, spec.min_isolation, spec.deprecated) == (frozenset(), "L1", None)
    assert spec.requires == Requires(packages=(), binaries=(), files=(), environment=(), memory_mb=512, network=())
    assert Plain.Settings is ModuleSettings


def test_a_pipeline_is_declared_by_contracts_and_stages() -> None:
    contract = Contract(
        name="some-upper",
        version="1.2",
        inputs={"blob": Blob},
        any_of=(),
        output_name="text",
        output=Text,
        guarantees={"is_upper": upper_is_long_enough},
        confidence="/confidence",
        effects="none",
        notes=lambda output: [output.text],
    )
    stage = Stage(
        id="upper",
        order=10,
        contract=contract,
        required=True,
        limits=StageLimits(timeout_s=60),
        chain_is_ordered=True,
    )
    pipeline = Pipeline(
        name="some", stages=(stage,), result="text", identity=("/text",), default_configuration={"selections": []}
    )
    assert contract.satisfies("some-upper@1")
    assert pipeline.stage("upper") is stage
    assert not Stage("upper", 10, contract).chain_is_ordered


@pytest.mark.parametrize(
    "error",
    [
        Retryable("Busy.", after_s=3.0),
        Unavailable("Gone.", fix="install it"),
        InputRejected("encrypted", "The document is encrypted."),
        NotApplicable("No page has text."),
        Unsupported("Only XLSX is read here."),
        NeedsReview("Credit notes are looked at.", {"total": "12.00"}),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_module_may_raise_takes_these_arguments(error: ModuleError) -> None:
    assert isinstance(error, ModuleError)
    assert str(error).endswith(".")


def test_settings_of_a_module_are_frozen_and_refuse_what_they_do_not_know() -> None:
    assert Upper.Settings.model_config["extra"] == "forbid"
    assert Upper.Settings.model_config["frozen"] is True
