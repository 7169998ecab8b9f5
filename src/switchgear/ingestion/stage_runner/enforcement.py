"""Enforces a contract on what a module gave: shape, undeclared fields, confidence, guarantees. Source: DESIGN 3.

A violation is the module's failure and is never passed on (RELIABILITY I19).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from switchgear.domain.run import AttemptResult, Outcome
from switchgear.ingestion.module_pool import DocumentFile, StageValue
from switchgear.sdk.contract import Contract, Notes
from switchgear.sdk.values import Blob

#: An output of more bytes is read in a thread.
_LARGE: Final = 1 << 20
#: How many wrong fields are named.
_MOST_NAMED: Final = 3
#: How many notes are kept.
_MOST_NOTES: Final = 20


@dataclass(slots=True)
class Checked:
    """An attempt's result after enforcement; `value` only when it succeeded."""

    result: AttemptResult
    value: StageValue | None = None


def is_large(result: AttemptResult) -> bool:
    """Whether `enforce` belongs into a thread, so that other runs go on."""
    return isinstance(result.output, bytes) and len(result.output) > _LARGE


def enforce(
    contract: Contract, result: AttemptResult, inputs: Mapping[str, StageValue | None], document: DocumentFile
) -> Checked:
    """Check a successful result against the contract; another result stays as it is."""
    if result.outcome is not Outcome.SUCCEEDED:
        return Checked(result)
    try:
        value = _value(contract, result.output)
    except ValidationError as error:
        return _violation(result, "schema", f"The output does not fit {contract.id}: {_plain(error)}.")
    except TypeError as error:
        return _violation(result, "wrong_type", str(error))
    output = value.model
    confidence: float | None = None
    if contract.confidence is not None:
        confidence = confidence_of(output, contract.confidence)
        if confidence is None or not 0 <= confidence <= 1:
            message = f"{contract.id} wants a confidence from 0 to 1 at {contract.confidence}; there is none."
            return _violation(result, "confidence", message)
    if contract.guarantees:
        broken = _broken_guarantee(contract, inputs, output, document)
        if broken is not None:
            return _violation(result, f"guarantee:{broken[0]}", broken[1])
    if contract.notes is not None:
        result = replace(result, message=_notes(contract.notes, output))
    return Checked(result if confidence is None else replace(result, confidence=confidence), value)


def _value(contract: Contract, output: Any) -> StageValue:
    if isinstance(output, bytes):
        try:
            return StageValue(contract.output, raw=output, model=_read(contract, output, "forbid"))
        except ValidationError:
            # with undeclared fields dropped; the bytes are made anew from what is left
            return StageValue(contract.output, model=_read(contract, output, "ignore"))
    if type(output) is contract.output:
        return StageValue(contract.output, model=output)
    if isinstance(output, contract.output):
        return StageValue(contract.output, model=_read(contract, output.model_dump_json(by_alias=True), "ignore"))
    raise TypeError(f"The output is {type(output).__name__}, not {contract.output.__name__}.")


def _read(contract: Contract, data: bytes | str, extra: Any) -> BaseModel:
    return contract.output.model_validate_json(data, extra=extra)


def _broken_guarantee(
    contract: Contract, inputs: Mapping[str, StageValue | None], output: BaseModel, document: DocumentFile
) -> tuple[str, str] | None:
    """Name and sentence of the first guarantee that does not hold."""
    given: dict[str, Any] = {}
    for name in contract.inputs:
        value = inputs.get(name)
        given[name] = _reference(document) if name == "blob" else None if value is None else value.model
    for name, check in contract.guarantees.items():
        try:
            trouble = check(given, output)
        except Exception as error:
            trouble = f"the check itself failed on this output: {type(error).__name__}"
        if trouble is not None:
            return name, f"It promised {name}, but {trouble}."
    return None


def _notes(notes: Notes, output: BaseModel) -> str:
    """One sentence a line; notes that fail are no reason to refuse an output that keeps its promises."""
    try:
        return "\n".join(islice(notes(output), _MOST_NOTES))
    except Exception as error:
        return f"Its notes cannot be told: {type(error).__name__}."


def _reference(document: DocumentFile) -> Blob:
    return Blob(
        sha256=document.sha256,
        size_bytes=document.size_bytes,
        media_type=document.media_type,
        file_name=document.file_name,
    )


def confidence_of(output: BaseModel, pointer: str) -> float | None:
    """The number at *pointer* in the output, or None."""
    value: Any = output
    for name in pointer.strip("/").split("/"):
        if isinstance(value, (list, tuple)):
            value = value[int(name)] if name.isdigit() and int(name) < len(value) else None
        else:
            value = getattr(value, name, None)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _violation(result: AttemptResult, detail: str, message: str) -> Checked:
    return Checked(replace(result, outcome=Outcome.CONTRACT_VIOLATION, detail=detail, message=message, output=None))


def _plain(error: ValidationError) -> str:
    """Where it does not fit and why; never the value, which is document content."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    named = [f"/{'/'.join(str(part) for part in item['loc'])}: {item['type']}" for item in found[:_MOST_NAMED]]
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return "; ".join(named) + more
