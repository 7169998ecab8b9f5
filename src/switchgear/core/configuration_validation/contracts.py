"""Modules against contracts, and contracts against each other, decided from JSON Schemas. Source: T004, DESIGN 3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from switchgear.core.configuration_validation.findings import Collector, Finding, Kind, listed
from switchgear.core.configuration_validation.identity_cache import IdentityCache
from switchgear.core.configuration_validation.structure import Use
from switchgear.domain.compatibility import Compatibility, Verdict, schema_within
from switchgear.domain.errors import Code
from switchgear.domain.stage import ContractDescription, ModuleDescription, PipelineDescription, StageDescription
from switchgear.sdk.contract import parse_reference
from switchgear.sdk.errors import DeclarationError

#: The document itself: it never travels as JSON, so there is nothing to compare.
_BLOB: Final = "blob"
_FITS: Final = Compatibility(Verdict.COMPATIBLE)
_compared: Final[IdentityCache[Compatibility]] = IdentityCache()
_disagreed: Final[IdentityCache[tuple[tuple[Verdict, str], ...]]] = IdentityCache()
_linked: Final[IdentityCache[tuple[tuple[str, Verdict, str], ...]]] = IdentityCache()


def check_contract(use: Use, module: ModuleDescription, collector: Collector) -> None:
    """Report where a module does not, or may not, fulfil its stage's contract."""
    where = use.pointer + "/module_id"
    for verdict, message in _disagreed.get(module, use.stage, make=lambda: tuple(disagreements(module, use.stage))):
        code = Code.CONTRACT_INCOMPATIBLE if verdict is Verdict.INCOMPATIBLE else Code.CONTRACT_UNPROVEN
        kind = Kind.CONTENT if verdict is Verdict.INCOMPATIBLE else Kind.NOTICE
        collector.add(kind, Finding(code, where, use.stage.id, message))
    missing = set(use.stage.contract.guarantees) - set(module.guarantees)
    if missing:
        message = f"Module {module.id} does not promise {listed(missing)}, which stage {use.stage.id} demands."
        hint = "Select a module that promises it, or let the module's author declare it."
        collector.add(Kind.CONTENT, Finding(Code.CONTRACT_GUARANTEE_MISSING, where, use.stage.id, message, hint))


def disagreements(module: ModuleDescription, stage: StageDescription) -> Iterator[tuple[Verdict, str]]:
    """Yield what stands between a module and its stage's contract: `incompatible` or `unknown`, and a sentence."""
    contract = stage.contract
    if not _serves(module.contract, contract):
        yield (
            Verdict.INCOMPATIBLE,
            f"Module {module.id} serves contract {module.contract}; stage {stage.id} asks for "
            f"{contract.name}@{contract.version}.",
        )
        return
    output = within(module.output_schema, contract.output_schema)
    yield from _told(output, f"The output of module {module.id} does not fit contract {contract.name}")
    for name, accepted in module.inputs.items():
        sent = contract.inputs.get(name)
        if sent is None:
            yield (
                Verdict.INCOMPATIBLE,
                f"Module {module.id} takes {name}, which contract {contract.name} does not have.",
            )
            continue
        if sent.optional and not accepted.optional:
            yield (
                Verdict.INCOMPATIBLE,
                f"Module {module.id} needs {name}; contract {contract.name} says that it may be absent.",
            )
        if name != _BLOB:
            answer = within(sent.schema, accepted.schema)
            yield from _told(answer, f"Module {module.id} does not accept every {name} of contract {contract.name}")


def check_pipeline(pipeline: PipelineDescription, collector: Collector) -> None:
    """Report where a stage's output is not what a later stage takes; so every chain holds by transitivity."""
    for stage_id, verdict, message in _linked.get(pipeline, make=lambda: tuple(_loose_links(pipeline))):
        kind = Kind.CONTENT if verdict is Verdict.INCOMPATIBLE else Kind.NOTICE
        code = Code.CONTRACT_INCOMPATIBLE if verdict is Verdict.INCOMPATIBLE else Code.CONTRACT_UNPROVEN
        collector.add(kind, Finding(code, "/selections", stage_id, message))


def _loose_links(pipeline: PipelineDescription) -> Iterator[tuple[str, Verdict, str]]:
    outputs: dict[str, StageDescription] = {}
    for stage in pipeline.stages:
        for name, taken in stage.contract.inputs.items():
            producer = outputs.get(name)
            if producer is None:
                continue
            answer = within(producer.contract.output_sent_schema, taken.schema)
            text = f"The output of stage {producer.id} does not fit the input {name} of stage {stage.id}"
            for verdict, message in _told(answer, text):
                yield stage.id, verdict, message
        outputs[stage.contract.output_name] = stage


def within(producer: Mapping[str, Any], consumer: Mapping[str, Any]) -> Compatibility:
    """As `schema_within`, remembered for each pair of schemas."""
    if producer is consumer:
        return _FITS
    return _compared.get(producer, consumer, make=lambda: schema_within(producer, consumer))


def _serves(reference: str, contract: ContractDescription) -> bool:
    """Whether a module made for *reference* serves *contract*: same name, same major, not newer."""
    try:
        name, major, least_minor = parse_reference(reference)
        _, offered_major, offered_minor = parse_reference(f"{contract.name}@{contract.version}")
    except DeclarationError:
        return False
    return name == contract.name and major == offered_major and least_minor <= offered_minor


def _told(answer: Compatibility, text: str) -> Iterator[tuple[Verdict, str]]:
    if answer.verdict is Verdict.COMPATIBLE:
        return
    verb = text if answer.verdict is Verdict.INCOMPATIBLE else f"Not proven: {text[0].lower()}{text[1:]}, perhaps"
    for reason in answer.reasons or ():
        yield answer.verdict, f"{verb}, at {reason.pointer or '/'}: {reason.message}"
    if not answer.reasons:
        yield answer.verdict, f"{verb}."
