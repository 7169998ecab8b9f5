"""The conformance suite for module authors, and a fake context. Source: INTERFACES 4, STYLE 4.

    class TestMyExtract(ModuleContractTests):
        module = MyExtract
        samples = [pages("Invoice #A17")]

Each rule is one numbered test. Pytest is imported only while a test runs: the SDK itself needs Pydantic alone.
"""

import hashlib
import importlib.metadata
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ValidationError

from switchgear.sdk.contract import Contract
from switchgear.sdk.errors import InputRejected, NotApplicable, SwitchgearError, Unavailable, Unsupported
from switchgear.sdk.module import Module, ModuleSpec
from switchgear.sdk.pipeline import Pipeline
from switchgear.sdk.values import Blob, Decision, Earlier, Limits, SecretRef


@dataclass
class RecordingLog:
    """A log that keeps its events, as (level, event, fields)."""

    events: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def debug(self, event: str, **fields: Any) -> None:
        """Keep the event."""
        self.events.append(("debug", event, fields))

    def info(self, event: str, **fields: Any) -> None:
        """Keep the event."""
        self.events.append(("info", event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        """Keep the event."""
        self.events.append(("warning", event, fields))


@dataclass
class FakeContext:
    """A `Context` for tests: everything is given, nothing leaves the process but files under `scratch`."""

    run_id: str = "run_test"
    document_id: str = "doc_test"
    attempt: int = 1
    timeout_s: float = 60.0
    decision: Decision | None = None
    earlier: Sequence[Earlier] = ()
    limits: Limits = field(default_factory=Limits)
    secrets: Mapping[str, str] = field(default_factory=dict)
    log: RecordingLog = field(default_factory=RecordingLog)
    scratch: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="switchgear-test-")))
    deadline: float = 0.0

    def __post_init__(self) -> None:
        self.deadline = self.deadline or time.monotonic() + self.timeout_s

    def remaining_s(self) -> float:
        """Seconds left until the deadline."""
        return self.deadline - time.monotonic()

    def save(self, path: Path, media_type: str = "application/octet-stream") -> Blob:
        """Keep the file's bytes in memory."""
        return Blob.from_bytes(path.read_bytes(), media_type=media_type, file_name=path.name)

    def idempotency_key(self, target: str) -> str:
        """The same document and target give the same key."""
        return hashlib.sha256(f"{self.document_id}\0{target}".encode()).hexdigest()

    def delivery_series(self, target: str) -> str:
        """The same document and target give the same series."""
        return hashlib.sha256(f"{self.document_id}\0series\0{target}".encode()).hexdigest()

    def secret(self, reference: SecretRef) -> str:
        """Return the secret given to the fake; raises `Unavailable` when there is none."""
        if reference.root not in self.secrets:
            raise Unavailable(f"secret {reference.root} is not there")
        return self.secrets[reference.root]


def contract_of(spec: ModuleSpec) -> Contract:
    """Find the contract that *spec* names among the installed pipelines.

    Raises:
        LookupError: No installed pipeline has a stage with that id and a contract that serves it.
    """
    for entry in importlib.metadata.entry_points(group="switchgear.pipelines"):
        pipeline = entry.load()
        stage = pipeline.stage(spec.stage) if isinstance(pipeline, Pipeline) else None
        if stage is not None and stage.contract.satisfies(spec.contract):
            return stage.contract
    raise LookupError(f"no installed pipeline has a stage {spec.stage!r} that serves {spec.contract}")


def missing_requirement(spec: ModuleSpec) -> str | None:
    """Say which declared binary, file or variable is not there; packages show at import."""
    for binary in spec.requires.binaries:
        if shutil.which(binary) is None:
            return f"binary {binary} is not there: {spec.requires.install}"
    for file in spec.requires.files:
        if not Path(file.path).exists():
            return f"file {file.path} is not there: {file.install}"
    for name in spec.requires.environment:
        if name not in os.environ:
            return f"environment variable {name} is not set"
    for package in spec.requires.packages:
        try:
            importlib.metadata.version(package.split(">")[0].split("=")[0].split("[")[0].strip())
        except importlib.metadata.PackageNotFoundError:
            return f"package {package} is not installed: {spec.requires.install}"
    return None


class ModuleContractTests:
    """Inherit, set `module` and `samples`; every rule is then one test.

    Attributes:
        module: The module's class.
        settings: Settings as plain data; the defaults when empty.
        samples: Inputs that must succeed: a mapping by name, or one value for the input of its type.
        rejected: Inputs that must raise `InputRejected`, and nothing else.
        unsupported: Inputs that must raise `Unsupported`.
        not_applicable: Inputs that must raise `NotApplicable`.
        contract: Found among the installed pipelines when not set.
        deterministic: False for a module that asks a model or a service.
    """

    module: ClassVar[type[Module]]
    settings: ClassVar[Mapping[str, Any]] = {}
    samples: ClassVar[Iterable[Any]] = ()
    rejected: ClassVar[Iterable[Any]] = ()
    unsupported: ClassVar[Iterable[Any]] = ()
    not_applicable: ClassVar[Iterable[Any]] = ()
    contract: ClassVar[Contract | None] = None
    deterministic: ClassVar[bool] = True

    # --- what the rules use ---

    def context(self) -> FakeContext:
        """Make the context of one call; override to add a decision, earlier results or secrets."""
        return FakeContext()

    def the_contract(self) -> Contract:
        """The contract of the module's stage."""
        return type(self).contract or contract_of(self.module.spec)

    def inputs(self, sample: Any) -> dict[str, Any]:
        """Turn a sample into the module's inputs; an absent optional one becomes None."""
        spec = self.module.spec
        if isinstance(sample, Mapping):
            given = dict(sample)
        else:
            given = {next(name for name, item in spec.inputs.items() if isinstance(sample, item.type)): sample}
        return {name: given.get(name) for name in spec.inputs}

    def opened(self) -> Module:
        """Make the module ready as the engine does; skips the test when it cannot work here."""
        missing = missing_requirement(self.module.spec)
        settings = self.module.Settings.model_validate(dict(self.settings))
        if missing is None:
            try:
                self.module.probe(settings)
            except Unavailable as error:
                missing = f"{error.message}: {error.fix}"
        if missing is not None:
            import pytest

            pytest.skip(missing)
        module = self.module()
        module.settings = settings
        module.open(self.context())
        return module

    def call(self, module: Module, inputs: Mapping[str, Any]) -> BaseModel:
        """Run the module once."""
        extra = {"ctx": self.context()} if self.module.spec.wants_context else {}
        output = module.run(**inputs, **extra)  # type: ignore[attr-defined]
        assert isinstance(output, BaseModel), f"run returned {type(output).__name__}, not a Pydantic model"
        return output

    # --- the rules ---

    def test_rule_01_the_declaration_fits_the_contract(self) -> None:
        """Inputs are among the contract's by name, and optional where the contract's are."""
        spec, contract = self.module.spec, self.the_contract()
        for name, item in spec.inputs.items():
            assert name in contract.inputs, f"{name!r} is no input of {contract.id}: {sorted(contract.inputs)}"
            if contract.is_optional(name):
                assert item.optional, f"{contract.id} may give no {name}: write {name}: {item.type.__name__} | None"

    def test_rule_02_the_guarantees_are_the_contracts(self) -> None:
        """Every guarantee of the contract is given, and none that the contract does not know."""
        spec, contract = self.module.spec, self.the_contract()
        assert spec.guarantees == set(contract.guarantees), f"{contract.id} asks for {sorted(contract.guarantees)}"

    def test_rule_03_unknown_settings_are_refused(self) -> None:
        """A misspelt setting is an error, never ignored."""
        self.module.Settings.model_validate(dict(self.settings))
        try:
            self.module.Settings.model_validate({**self.settings, "surely_no_such_setting": 1})
        except ValidationError:
            return
        raise AssertionError("a setting with an unknown name was accepted: inherit Settings from ModuleSettings")

    def test_rule_04_settings_have_a_schema_and_stay_as_they_are(self) -> None:
        """The schema can be shown as a form; values are frozen."""
        assert self.module.Settings.model_json_schema()["type"] == "object"
        assert self.module.Settings.model_config.get("frozen"), "settings can be changed: keep frozen=True"

    def test_rule_05_the_probe_only_looks(self) -> None:
        """It raises `Unavailable` or nothing, and leaves environment and working folder alone."""
        before = (dict(os.environ), Path.cwd(), sorted(os.listdir()))
        reason = "available"
        try:
            self.module.probe(self.module.Settings.model_validate(dict(self.settings)))
        except Unavailable as error:
            reason = error.message
        assert reason, "Unavailable without a reason"
        assert before == (dict(os.environ), Path.cwd(), sorted(os.listdir())), "the probe changed something"

    def test_rule_06_there_are_samples(self) -> None:
        """Without samples the other rules prove nothing."""
        assert list(self.samples), "give at least one sample"

    def test_rule_07_the_output_is_the_contracts_and_survives_json(self) -> None:
        """The output is an instance of the contract's model and the same after JSON."""
        module, contract = self.opened(), self.the_contract()
        for sample in self.samples:
            output = self.call(module, self.inputs(sample))
            assert isinstance(output, contract.output), f"{type(output).__name__} is no {contract.output.__name__}"
            again = contract.output.model_validate_json(output.model_dump_json())
            assert again == output, "the output changes when it passes through JSON"
        module.close()

    def test_rule_08_the_guarantees_hold(self) -> None:
        """Every named check of the contract holds on every sample."""
        module, contract = self.opened(), self.the_contract()
        for sample in self.samples:
            inputs = self.inputs(sample)
            everything = {**dict.fromkeys(contract.inputs), **inputs}
            if isinstance(sample, Mapping):
                everything |= {name: value for name, value in sample.items() if name in contract.inputs}
            output = self.call(module, inputs)
            for name, check in contract.guarantees.items():
                trouble = check(everything, output)
                assert trouble is None, f"guarantee {name}: {trouble}"
        module.close()

    def test_rule_09_the_same_input_gives_the_same_output(self) -> None:
        """Twice in one process and once in a fresh module."""
        if not self.deterministic:
            return
        module, fresh = self.opened(), self.opened()
        for sample in self.samples:
            inputs = self.inputs(sample)
            first = self.call(module, inputs).model_dump_json()
            assert first == self.call(module, inputs).model_dump_json(), "a second call gives something else"
            assert first == self.call(fresh, inputs).model_dump_json(), "a fresh module gives something else"
        module.close()
        fresh.close()

    def test_rule_10_inputs_stay_as_they_are(self) -> None:
        """A module never changes what it was given."""
        module = self.opened()
        for sample in self.samples:
            inputs = self.inputs(sample)
            before = {name: _text(value) for name, value in inputs.items()}
            self.call(module, inputs)
            assert before == {name: _text(value) for name, value in inputs.items()}, "an input was changed"
        module.close()

    def test_rule_11_bad_documents_are_rejected_with_a_reason(self) -> None:
        """`InputRejected` with a short code and a sentence, never another error and never a value."""
        self._raises(InputRejected, self.rejected)

    def test_rule_12_other_documents_are_not_applicable(self) -> None:
        """`NotApplicable` with a reason for what does not concern the stage."""
        self._raises(NotApplicable, self.not_applicable)

    def test_rule_13_documents_for_another_module_are_unsupported(self) -> None:
        """`Unsupported` with a reason for what this module is not made for: a chain goes on, no breaker counts it."""
        self._raises(Unsupported, self.unsupported)

    def _raises(self, kind: type[SwitchgearError], samples: Iterable[Any]) -> None:
        samples = list(samples)
        module = self.opened() if samples else None
        for number, sample in enumerate(samples):
            assert module is not None
            raised: SwitchgearError | None = None
            try:
                self.call(module, self.inputs(sample))
            except kind as error:
                raised = error
            assert raised is not None, f"sample {number} gave a value instead of {kind.__name__}"
            assert raised.message, "an error without a sentence"
            assert not isinstance(raised, InputRejected) or raised.reason_code, "InputRejected without a code"


def _text(value: Any) -> str:
    return value.model_dump_json() if isinstance(value, BaseModel) else repr(value)
