"""Describes modules and pipelines as JSON from a process of its own, so that the engine never imports their code.

    python -m switchgear.sdk.describe module NAME [NAME...]     one line of JSON for each
    python -m switchgear.sdk.describe module                    the same for each name that comes on standard input
    python -m switchgear.sdk.describe pipeline NAME
    python -m switchgear.sdk.describe settings NAME             settings as JSON on standard input: does it take them?
    python -m switchgear.sdk.describe probe NAME                the same, and can it work with them here?

What modules print goes to standard error, never into the answer. Source: DESIGN 3 (discovery, module lock), T010.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import inspect
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter, ValidationError

from switchgear.sdk.errors import DeclarationError
from switchgear.sdk.host import measures
from switchgear.sdk.host.failures import failure_of, mistakes_of
from switchgear.sdk.module import Module, ModuleSpec
from switchgear.sdk.module_code import code_digest, code_files, code_roots, packages_of
from switchgear.sdk.pipeline import Pipeline, Stage

#: The schema of `blob` inputs: the document itself, which never travels as JSON.
BLOB_SCHEMA: Final = {"x-blob": True}
#: Kinds of the validating library that check no more than their JSON Schema says.
_SHOWN: Final = frozenset(
    (
        *("any", "bool", "default", "definition-ref", "definitions", "dict", "enum", "float", "int", "list", "literal"),
        *("model", "model-field", "model-fields", "none", "nullable", "str", "tuple", "union"),
    )
)
#: Keys of its schemas that hold no schema.
_NO_SCHEMA: Final = ("metadata", "serialization", "config", "default", "expected", "members", "cls", "ref")


def describe_module(entry: importlib.metadata.EntryPoint) -> dict[str, Any]:
    """Import the module behind *entry* and return all that the engine needs to know about it.

    Raises:
        DeclarationError: It is no module.
        Exception: Whatever the import raises.
    """
    cls = entry.load()
    if not (isinstance(cls, type) and issubclass(cls, Module) and isinstance(getattr(cls, "spec", None), ModuleSpec)):
        raise DeclarationError(f"{entry.value} is no module: write @module(...) above the class.")
    spec = cls.spec
    settings_schema = cls.Settings.model_json_schema()
    roots = [str(root) for root in code_roots(entry.module, cls.__module__, packages=packages_of(entry.dist))]
    return {
        "version": spec.version,
        "stage_id": spec.stage,
        "contract": spec.contract,
        "guarantees": sorted(spec.guarantees),
        "requires": spec.requires.model_dump(mode="json"),
        "min_isolation": spec.min_isolation,
        "deprecated": spec.deprecated,
        "title": (inspect.getdoc(cls) or "").split("\n")[0],
        "code_roots": roots,
        "code_digest": code_digest(roots),
        "has_probe": cls.probe.__func__ is not Module.probe.__func__,  # type: ignore[attr-defined]
        "settings_schema": settings_schema,
        "schema_decides": schema_decides(cls.Settings.__pydantic_core_schema__),
        "secret_pointers": secret_pointers(settings_schema),
        "inputs": {
            name: {"schema": _schema(name, item.type, "validation"), "optional": item.optional}
            for name, item in spec.inputs.items()
        },
        "output_schema": _schema("", spec.output, "serialization"),
        "watched": sorted(
            {
                *_watched(entry.module, [spec.output, *(item.type for item in spec.inputs.values())]),
                *map(str, code_files(roots)),
            }
        ),
    }


def describe_pipeline(entry: importlib.metadata.EntryPoint) -> dict[str, Any]:
    """Import the pipeline behind *entry* and return it as data, contracts with schemas and digests included.

    Raises:
        DeclarationError: It is no pipeline.
        Exception: Whatever the import raises.
    """
    pipeline = entry.load()
    if not isinstance(pipeline, Pipeline):
        raise DeclarationError(f"{entry.value} is no switchgear.sdk.Pipeline.")
    outputs = {stage.contract.output_name: stage.contract.output for stage in pipeline.stages}
    return {
        "name": pipeline.name,
        "stages": [_stage(stage, outputs) for stage in pipeline.stages],
        "result": pipeline.result,
        "identity": list(pipeline.identity),
        "default_configuration": dict(pipeline.default_configuration),
        "watched": _watched(entry.module, list(outputs.values())),
    }


def _stage(stage: Stage, outputs: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    contract = stage.contract
    described: dict[str, Any] = {
        "name": contract.name,
        "version": contract.version,
        "inputs": {
            name: {"schema": _schema(name, outputs.get(name), "serialization"), "optional": contract.is_optional(name)}
            for name in contract.inputs
        },
        "any_of": [list(group) for group in contract.any_of],
        "output_name": contract.output_name,
        "output_schema": _schema("", contract.output, "validation"),
        "output_sent_schema": _schema("", contract.output, "serialization"),
        "guarantees": sorted(contract.guarantees),
        "confidence": contract.confidence,
        "effects": contract.effects,
    }
    described["digest"] = _sha256_of(described)
    return {
        "id": stage.id,
        "order": stage.order,
        "required": stage.required,
        "contract": described,
        "limits": stage.limits.model_dump(mode="json"),
        "chain_is_ordered": stage.chain_is_ordered,
    }


def _schema(name: str, kind: Any, mode: Any) -> dict[str, Any]:
    return dict(BLOB_SCHEMA) if name == "blob" else TypeAdapter(kind).json_schema(mode=mode)


def _sha256_of(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


# --- settings ---


def schema_decides(core_schema: Any) -> bool:
    """Whether the JSON Schema of settings says all that is checked: no validator in code, no format as of a date."""
    if isinstance(core_schema, Mapping):
        kind = core_schema.get("type")
        in_code = isinstance(kind, str) and kind not in _SHOWN
        more = core_schema.get("post_init") or core_schema.get("custom_init")
        inner = (part for name, part in core_schema.items() if name not in _NO_SCHEMA)
        return not in_code and not more and all(schema_decides(part) for part in inner)
    return not isinstance(core_schema, list | tuple) or all(schema_decides(part) for part in core_schema)


def secret_pointers(schema: Mapping[str, Any]) -> list[str]:
    """Return JSON pointers of all settings that hold a secret reference; `*` stands for every item or key."""
    return sorted(set(_secrets(schema, schema, "", ())))


def _secrets(root: Mapping[str, Any], node: Any, pointer: str, seen: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(node, Mapping):
        return
    reference = node.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        target: Any = root
        for part in reference.removeprefix("#/").split("/"):
            target = target.get(part, {})
        yield from _secrets(root, target, pointer, (*seen, reference))
    if node.get("format") == "secret-reference":
        yield pointer
    for keyword in ("anyOf", "oneOf", "allOf"):
        for option in node.get(keyword, ()):
            yield from _secrets(root, option, pointer, seen)
    for name, child in node.get("properties", {}).items():
        yield from _secrets(root, child, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}", seen)
    for child in (node.get("items"), node.get("additionalProperties"), *node.get("prefixItems", ())):
        yield from _secrets(root, child, f"{pointer}/*", seen)


# --- what a description depends on ---


def _watched(module_name: str, types: Sequence[Any]) -> list[str]:
    """Source files on which this description depends: the packages of the module, of its types, and of Switchgear."""
    tops = {module_name.partition(".")[0], "switchgear"}
    tops |= {str(getattr(kind, "__module__", "")).partition(".")[0] for kind in types}
    files = (
        getattr(found, "__file__", None)
        for name, found in list(sys.modules.items())
        if name.partition(".")[0] in tops - {"builtins", "typing", ""}
    )
    return sorted({str(file) for file in files if file})


def _watched_in_vain(module_name: str) -> list[str]:
    """The same for a module that cannot be imported: what was imported, and its own file."""
    files = set(_watched(module_name, ()))
    with contextlib.suppress(Exception):
        found = importlib.util.find_spec(module_name)
        if found is not None and found.origin:
            files.add(found.origin)
    return sorted(files)


# --- the process ---


def probe(entry: importlib.metadata.EntryPoint, settings_json: str, *, only_settings: bool) -> dict[str, Any] | None:
    """Ask the module whether it takes these settings, and can work here with them; None means yes."""
    step = "import"
    try:
        cls: type[Module] = entry.load()
        step = "settings"
        settings = cls.Settings.model_validate_json(settings_json)
        if not only_settings:
            step = "probe"
            cls.probe(settings)
    except ValidationError as error:
        return {**failure_of(error), "while": step, "mistakes": mistakes_of(error)}
    except BaseException as error:  # the answer says what it was; this process ends anyhow
        return {**failure_of(error), "while": step}
    return None


def _entry(group: str, name: str) -> importlib.metadata.EntryPoint:
    for entry in importlib.metadata.entry_points(group=group, name=name):
        return entry
    raise DeclarationError(f"No installed package offers {name!r} in the group {group}.")


def _lines_of_input() -> Iterator[str]:
    """What comes on standard input, line by line; what modules read there is empty."""
    with os.fdopen(os.dup(0), encoding="utf-8") as lines:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        while line := lines.readline():
            yield line.rstrip("\n")


def main(arguments: Sequence[str]) -> None:
    """Answer on the descriptor that was standard output at the start."""
    measures.die_with_parent(os.getppid())
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    command = arguments[0]
    names = arguments[1:] or _lines_of_input()
    asks = command in ("probe", "settings")
    settings_json = sys.stdin.read() if asks else ""
    answer: dict[str, Any]
    group = "switchgear.pipelines" if command == "pipeline" else "switchgear.modules"
    for name in names:
        module_name = ""
        try:
            entry = _entry(group, name)
            module_name = entry.module
            if asks:
                answer = {"id": name, "lack": probe(entry, settings_json, only_settings=command == "settings")}
            else:
                describe = describe_pipeline if command == "pipeline" else describe_module
                answer = {"id": name, "description": describe(entry)}
        except BaseException as error:
            answer = {"id": name, "failure": failure_of(error), "watched": _watched_in_vain(module_name)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    sys.stdout.flush()
    os._exit(0)  # whatever threads an import started do not hold this process


if __name__ == "__main__":
    main(sys.argv[1:])
