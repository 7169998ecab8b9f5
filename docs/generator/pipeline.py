# ruff: noqa: E501  # a paragraph of prose is one line
"""The shipped pipeline, its modules, and the result."""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from generator.markdown import code, first_paragraph, table, type_words
from switchgear.invoice.pipeline import PIPELINE
from switchgear.invoice.types import Invoice
from switchgear.modules.deliver_files.rendering import CSV_COLUMNS
from switchgear.sdk import Module
from switchgear.sdk.contract import Contract


def pipeline_page() -> str:
    """Stages, contracts, and the configuration of the first start."""
    stages = [
        (
            stage.order,
            code(stage.id),
            "required" if stage.required else "optional",
            code(stage.contract.id),
            "ordered" if stage.chain_is_ordered else "",
        )
        for stage in PIPELINE.stages
    ]
    parts = [
        f"# The pipeline `{PIPELINE.name}`",
        "",
        "Stages run in ascending order. A required stage must have a module selected. Where the chain is ordered, an"
        " earlier module never stands in for a later one.",
        "",
        table(("order", "stage", "", "contract", "chain"), stages),
        f"The run's result is the output `{PIPELINE.result}`. Documents with the same"
        f" {' and '.join(code(pointer) for pointer in PIPELINE.identity)} are taken to be the same business object.",
        "",
        "## Contracts",
        "",
    ]
    for stage in PIPELINE.stages:
        parts += [f"### `{stage.contract.id}`", "", _contract(stage.contract), ""]
    parts += ["## Configuration of the first start", "", _defaults(), ""]
    return "\n".join(parts)


def _contract(contract: Contract) -> str:
    inputs = ", ".join(f"`{name}`" + (" (optional)" if contract.is_optional(name) else "") for name in contract.inputs)
    lines = [f"- inputs: {inputs}"]
    lines += [f"- at least one of {', '.join(code(name) for name in group)}" for group in contract.any_of]
    lines.append(f"- output: `{contract.output_name}`. {first_paragraph(contract.output.__doc__)}")
    if contract.applies is not None:
        lines.append(f"- concerns: {first_paragraph(contract.applies.__doc__)}")
    lines += [f"- guarantee `{name}`: {first_paragraph(check.__doc__)}" for name, check in contract.guarantees.items()]
    if contract.confidence:
        lines.append(f"- confidence at `{contract.confidence}`")
    if contract.effects != "none":
        lines.append(f"- effects: {contract.effects}")
    return "\n".join(lines)


def _defaults() -> str:
    default = PIPELINE.default_configuration
    policies = {policy["stage_id"]: policy for policy in default["fallback_policies"]}
    rows = []
    for selection in default["selections"]:
        policy = policies.get(selection["stage_id"], {})
        steps = "; ".join(
            f"{code(step['module_id'])} on {', '.join(step['on'])}"
            + (f" (threshold {step['threshold']})" if "threshold" in step else "")
            for step in policy.get("chain", ())
        )
        rows.append((code(selection["stage_id"]), code(selection["module_id"]), steps, code(policy.get("then", ""))))
    return table(("stage", "module", "fallback", "then"), rows)


def modules() -> Iterator[tuple[str, type[Module]]]:
    """Yield id and class of each built-in module, in the order of the stages."""
    order = {stage.id: stage.order for stage in PIPELINE.stages}
    found = {
        entry.name: entry.load()
        for entry in importlib.metadata.entry_points(group="switchgear.modules")
        if entry.value.startswith("switchgear.modules.")
    }
    defaults = {item["module_id"] for item in PIPELINE.default_configuration["selections"]}
    yield from sorted(found.items(), key=lambda item: (order[item[1].spec.stage], item[0] not in defaults, item[0]))


def modules_page() -> str:
    """Every built-in module with what it needs and its settings."""
    parts = [
        "# Built-in modules",
        "",
        "Modules of other packages are listed by `switchgear modules list`.",
        "",
        table(
            ("module", "stage", "version"),
            [(f"[`{name}`](#{name})", code(kind.spec.stage), kind.spec.version) for name, kind in modules()],
        ),
    ]
    for name, kind in modules():
        spec = kind.spec
        parts += [f"## {name}", "", inspect.cleandoc(kind.__doc__ or ""), ""]
        parts += [f"Stage `{spec.stage}`, contract `{spec.contract}`, at least isolation {spec.min_isolation}."]
        if spec.guarantees:
            parts.append(f"Promises {', '.join(code(each) for each in sorted(spec.guarantees))}.")
        parts += [*_needs(spec.requires), "", _settings(kind), ""]
    return "\n".join(parts)


def _needs(requires: Any) -> Iterator[str]:
    for words, values in (
        ("Python packages", requires.packages),
        ("programs", requires.binaries),
        ("files", [each.path for each in requires.files]),
        ("variables", requires.environment),
    ):
        if values:
            yield f"Needs the {words} {', '.join(code(each) for each in values)}."
    if requires.writes:
        yield f"Writes the folders {', '.join(code(each) for each in requires.writes)}."
    if requires.install:
        yield f"To install what is missing: `{requires.install}`."
    if requires.network:
        yield f"Data leaves the host, to {', '.join(requires.network)}."


def _settings(kind: type[Module]) -> str:
    properties = kind.Settings.model_json_schema().get("properties", {})
    if not properties:
        return "No settings."
    rows = [
        (code(name), type_words(schema), code(_json(schema.get("default", ""))), schema.get("description", ""))
        for name, schema in properties.items()
    ]
    return table(("setting", "type", "default", "means"), rows)


def _json(value: object) -> str:
    import json

    return "" if value == "" else json.dumps(value, ensure_ascii=False)


def result_page() -> str:
    """The invoice as JSON and as CSV."""
    parts = [
        "# The result: an invoice",
        "",
        "`GET /api/v1/documents/{id}/invoice` answers with it as JSON, with `Accept: text/csv` as CSV; the module"
        " `deliver-files` writes both. `GET /api/v1/schemas/invoice` gives its JSON Schema. Terms are those of EN 16931."
        " Fields are only ever added.",
        "",
        "A *fact* is a value with `value`, `confidence`, `source`, `evidence` and `module`. Amounts are decimal numbers"
        " as text, with their sign; dates are ISO 8601.",
        "",
    ]
    schema = Invoice.model_json_schema(mode="serialization")
    parts += ["## Invoice", "", _fields(schema, schema["$defs"]), ""]
    for name in _described(schema, schema["$defs"]):
        definition = schema["$defs"][name]
        parts += [f"## {definition.get('title', name)}", "", first_paragraph(definition.get("description")), ""]
        parts += [_fields(definition, schema["$defs"]), ""]
    parts += [
        "## CSV",
        "",
        "One row for each invoice line, with the fields of the invoice repeated; one row when there is no line. UTF-8,"
        " comma, CRLF. A text that a spreadsheet would run as a formula gets an apostrophe in front.",
        "",
        "Columns: " + ", ".join(code(name) for name in CSV_COLUMNS) + ".",
    ]
    return "\n".join(parts)


def _described(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[str]:
    """Names of object definitions, facts left out: those are explained once."""
    return [
        name
        for name, definition in definitions.items()
        if definition.get("type") == "object" and not name.startswith("Fact")
    ]


def _fields(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    rows = [
        (code(name), _reference_words(field, definitions), field.get("description", ""))
        for name, field in schema.get("properties", {}).items()
    ]
    return table(("field", "type", "means"), rows)


def _reference_words(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        definition = definitions[name]
        if name.startswith("Fact"):
            return f"fact of {_reference_words(definition['properties']['value'], definitions)}"
        if "enum" in definition:
            return ", ".join(code(value) for value in definition["enum"])
        title = definition.get("title", name)
        return f"[{title}](#{title.lower()})"
    if "anyOf" in field:
        return " or ".join(_reference_words(each, definitions) for each in field["anyOf"] if each.get("type") != "null")
    if "prefixItems" in field:
        return f"list of {len(field['prefixItems'])} {type_words(field['prefixItems'][0])}s"
    if field.get("type") == "array":
        return f"list of {_reference_words(field.get('items', {}), definitions)}"
    return "date" if field.get("format") == "date" else type_words(field)


def models() -> list[type[BaseModel]]:
    """The outputs of the stages."""
    return [stage.contract.output for stage in PIPELINE.stages]
