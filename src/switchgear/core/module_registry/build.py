"""Turns what a describing child printed into the engine's own descriptions. Source: DESIGN 2, 3."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from switchgear.core.module_registry.discovery import Offer, fix_for_missing
from switchgear.core.module_registry.lacks import lack_of_failure
from switchgear.domain.errors import Code, DomainError
from switchgear.domain.stage import (
    ContractDescription,
    InputDescription,
    Lack,
    ModuleDescription,
    PipelineDescription,
    StageDescription,
)


class PipelineUnavailable(DomainError):
    """The pipeline that the instance names is not installed or cannot be imported; nothing can run without it."""

    code = Code.MODULE_IMPORT_ERROR


def pipeline_of(offer: Offer, answer: Mapping[str, Any]) -> PipelineDescription:
    """Build the pipeline's description from what a child printed about it.

    Raises:
        PipelineUnavailable: It could not be imported.
    """
    if "description" not in answer:
        failure = answer["failure"]
        raise PipelineUnavailable(
            f"Pipeline {offer.name} of {offer.distribution} cannot be imported: "
            f"{failure.get('error')}: {failure.get('message')}"
        )
    described = answer["description"]
    return PipelineDescription(
        name=described["name"],
        stages=tuple(
            StageDescription(
                id=stage["id"],
                order=stage["order"],
                required=stage["required"],
                contract=_contract(stage["contract"]),
                limits=stage["limits"],
                chain_is_ordered=stage.get("chain_is_ordered", False),
            )
            for stage in described["stages"]
        ),
        result=described["result"],
        identity=tuple(described["identity"]),
        default_configuration=described["default_configuration"],
    )


def _contract(described: Mapping[str, Any]) -> ContractDescription:
    return ContractDescription(
        name=described["name"],
        version=described["version"],
        inputs=_inputs(described["inputs"]),
        any_of=tuple(tuple(group) for group in described["any_of"]),
        output_name=described["output_name"],
        output_schema=_shared(described["output_schema"]),
        output_sent_schema=_shared(described["output_sent_schema"]),
        guarantees=tuple(described["guarantees"]),
        confidence=described["confidence"],
        effects=described["effects"],
        digest=described["digest"],
    )


def _inputs(described: Mapping[str, Any]) -> dict[str, InputDescription]:
    return {name: InputDescription(_shared(item["schema"]), item["optional"]) for name, item in described.items()}


def _shared(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The one object for all schemas with this text: most modules of a stage have the contract's, compared once."""
    return _parsed(json.dumps(schema))


@lru_cache(maxsize=2048)
def _parsed(schema: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(schema)
    return found


def module_of(offer: Offer, answer: Mapping[str, Any], pipeline: PipelineDescription) -> ModuleDescription:
    """Build a module's description; without one in *answer*, `lack` says why."""
    common: dict[str, Any] = {
        "id": offer.name,
        "distribution": offer.distribution,
        "distribution_version": offer.version,
        "editable": offer.is_editable,
    }
    described = answer.get("description")
    if described is None:
        return ModuleDescription(**common, lack=_import_lack(offer, answer.get("failure") or {}))
    stage = pipeline.stage(described["stage_id"])
    return ModuleDescription(
        **common,
        version=described["version"],
        stage_id=described["stage_id"],
        contract=described["contract"],
        guarantees=tuple(described["guarantees"]),
        requires=described["requires"],
        min_isolation=described["min_isolation"],
        deprecated=described["deprecated"],
        title=described["title"],
        code_digest=described["code_digest"],
        contract_digest=stage.contract.digest if stage else "",
        settings_schema=_shared(described["settings_schema"]),
        secret_pointers=tuple(described["secret_pointers"]),
        inputs=_inputs(described["inputs"]),
        output_schema=_shared(described["output_schema"]),
    )


def _import_lack(offer: Offer, failure: Mapping[str, Any]) -> Lack:
    if failure.get("error") in ("timeout", "crash"):
        return Lack(Code.MODULE_IMPORT_ERROR, f"Module {offer.name} cannot be imported: {failure['message']}.")
    lack = lack_of_failure(offer.name, failure, "import")
    if failure.get("missing"):
        return Lack(lack.code, lack.message, fix_for_missing(offer, str(failure["missing"]).split(".")[0]))
    return lack


def duplicate_lack(offer: Offer) -> Lack:
    """Why a name that two packages offer cannot be used."""
    names = ", ".join([f"{offer.distribution} {offer.version}", *offer.rivals])
    message = f"Several packages offer a module named {offer.name}: {names}. It is not clear which one is meant."
    other = offer.rivals[0].split(" ")[0]
    return Lack(Code.MODULE_DUPLICATE_ID, message, f"pip uninstall {other}")
