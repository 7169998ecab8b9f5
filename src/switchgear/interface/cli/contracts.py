"""`switchgear contracts`: what each stage promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from switchgear.interface.cli.client import Api, connect
from switchgear.interface.cli.errors import Exit, WrongUse
from switchgear.interface.cli.output import AsJson, print_json, show, show_fields, show_table

app = typer.Typer()

Reference = Annotated[str, typer.Argument(metavar="NAME@VERSION", help="Such as invoice-extract@1.0")]


@app.command("list", epilog="Example: switchgear contracts list")
def list_contracts(as_json: AsJson = False) -> None:
    """List the capability contracts of the pipeline."""
    with connect() as api:
        contracts = api.list("/contracts")
    if as_json:
        print_json(contracts)
        return
    show_table(
        ("contract", "stages", "inputs", "output", "effects", "guarantees"),
        [
            (
                f"{contract['name']}@{contract['version']}",
                ", ".join(contract["stage_ids"]),
                ", ".join(input_names(contract)),
                contract["output_name"],
                contract["effects"],
                ", ".join(contract["guarantees"]),
            )
            for contract in contracts
        ],
    )


def input_names(contract: Mapping[str, Any]) -> list[str]:
    """Return the names of a contract's inputs; those that may be absent carry a question mark."""
    return [f"{name}?" if one["optional"] else name for name, one in contract["inputs"].items()]


@app.command("show", epilog="Example: switchgear contracts show invoice-extract@1.0")
def show_contract(reference: Reference, as_json: AsJson = False) -> None:
    """Show one contract with its schemas."""
    with connect() as api:
        contract = _fetch(api, reference)
    if as_json:
        print_json(contract)
        return
    show_fields(
        {
            "contract": f"{contract['name']}@{contract['version']}",
            "stages": ", ".join(contract["stage_ids"]),
            "inputs": ", ".join(input_names(contract)),
            "one of": "; ".join(" or ".join(group) for group in contract["any_of"]),
            "output": contract["output_name"],
            "guarantees": ", ".join(contract["guarantees"]),
            "confidence": contract.get("confidence"),
            "effects": contract["effects"],
            "digest": contract["digest"],
        }
    )
    show("\nOutput schema:")
    print_json(contract["output_schema"])


@app.command("compare", epilog="Example: switchgear contracts compare invoice-extract@1.0 invoice-extract@1.1")
def compare(left: Reference, right: Reference, as_json: AsJson = False) -> None:
    """Say whether a module made for the first contract fits the second. Exit code 1 when it does not."""
    with connect() as api:
        first, second = _fetch(api, left), _fetch(api, right)
    findings = list(_findings(first, second))
    fits = all(finding["verdict"] == "compatible" for finding in findings)
    if as_json:
        print_json({"fits": fits, "findings": findings})
    else:
        show_table(
            ("what", "fits", "why"), [(item["what"], item["verdict"], item["message"]) for item in findings], empty=""
        )
        show(f"A module made for {left} {'fits' if fits else 'does not surely fit'} {right}.")
    if not fits:
        raise typer.Exit(Exit.FAILED)


def _findings(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Output of the first within the output of the second; inputs of the second within those of the first."""
    yield _finding("output", first["output_schema"], second["output_schema"])
    for name, wanted in first["inputs"].items():
        given = second["inputs"].get(name)
        if given is not None:
            yield _finding(f"input {name}", given["json_schema"], wanted["json_schema"])
        elif not wanted["optional"]:
            yield {"what": f"input {name}", "verdict": "incompatible", "message": "the second contract has none"}
    for name in second["guarantees"]:
        if name not in first["guarantees"]:
            message = "the first contract does not promise it"
            yield {"what": f"guarantee {name}", "verdict": "incompatible", "message": message}


def _finding(what: str, given: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, str]:
    from switchgear.domain.compatibility import schema_within

    found = schema_within(given, wanted)
    reasons = "; ".join(f"{reason.pointer or '/'}: {reason.message}" for reason in found.reasons)
    return {"what": what, "verdict": str(found.verdict), "message": reasons}


def _fetch(api: Api, reference: str) -> dict[str, Any]:
    name, separator, version = reference.partition("@")
    if not separator or not version:
        raise WrongUse(f"{reference!r} names no version. Write it as NAME@VERSION, see `switchgear contracts list`.")
    answer: dict[str, Any] = api.get(f"/contracts/{name}/{version}")
    return answer
