"""`switchgear config`: versions of the module configuration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from switchgear.interface.cli import config_changes, config_files
from switchgear.interface.cli.client import connect
from switchgear.interface.cli.config_activation import check_wait, make, request_activation, say_findings
from switchgear.interface.cli.errors import CommandFailed, Exit
from switchgear.interface.cli.output import (
    AsJson,
    Message,
    finding_line,
    first_of,
    moment,
    pairs,
    print_json,
    printable,
    say,
    show,
    show_fields,
    show_table,
    show_why,
)

app = typer.Typer()

Reference = Annotated[str, typer.Argument(metavar="VERSION", help="v12, active, previous, or an id.")]
Limit = Annotated[int, typer.Option(min=1, help="How many, newest first.")]
Activate = Annotated[bool, typer.Option("--activate", help="Activate it too.")]
Mode = Annotated[str, typer.Option(help="drain: new runs wait for the switch. rolling: they start on the old version.")]
MaxWait = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="Longest wait for running runs; 300, for a rollback 10.")
]
OnExpiry = Annotated[str, typer.Option(help="switch or cancel, when running runs do not end in time.")]
Wait = Annotated[bool, typer.Option("--wait", help="Stay until it is applied; exit code 1 when it is not.")]
AcceptDegraded = Annotated[bool, typer.Option(help="Although a selected module is served by its fallback.")]
ReplacePending = Annotated[bool, typer.Option(help="Replace the activation that is pending.")]
AcceptBaseMoved = Annotated[bool, typer.Option(help="Although the active version is not its base any more.")]
Unblock = Annotated[bool, typer.Option(help="Although a rollback left this very content.")]


@app.command("list", epilog="Example: switchgear config list --limit 5")
def list_versions(limit: Limit = 20, as_json: AsJson = False) -> None:
    """List the versions, newest first."""
    with connect() as api:
        versions = api.newest("/configurations", limit)
    if as_json:
        print_json(versions)
        return
    show_table(
        ("version", "status", "created", "by", "message"),
        [
            (item["label"], item["status"], moment(item["created_at"]), item["created_by"], item["message"])
            for item in versions
        ],
        empty="No configuration yet. `switchgear config create pipeline.yaml` makes one.",
    )


@app.command("show", epilog="Example: switchgear config show v2 --yaml")
def show_version(
    reference: Reference = "active",
    as_yaml: Annotated[bool, typer.Option("--yaml", help="As a configuration file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one version: module, settings and fallback of each stage."""
    with connect() as api:
        configuration = api.get(f"/configurations/{reference}")
        order = {} if as_json or as_yaml else {stage["id"]: stage["order"] for stage in api.get("/stages")["items"]}
    if as_json:
        print_json(configuration)
        return
    if as_yaml:
        sys.stdout.write(config_files.write(configuration))
        return
    _show_head(configuration)
    policies = {policy["stage_id"]: policy for policy in configuration["fallback_policies"]}
    show_table(
        ("stage", "module", "settings", "limits", "fallback", "then"),
        [
            (
                item["stage_id"],
                item["module_id"],
                pairs(item["settings"]),
                pairs(item["limits"]),
                ", ".join(step["module_id"] for step in policies.get(item["stage_id"], {}).get("chain", ())),
                policies.get(item["stage_id"], {}).get("then"),
            )
            for item in sorted(configuration["selections"], key=lambda item: order.get(item["stage_id"], sys.maxsize))
        ],
    )
    say_findings(configuration.get("findings") or [])
    for stage in configuration.get("degraded") or ():
        show(f"degraded {stage['stage_id']}: {printable(stage['message'])}")
        show_why(stage.get("why"), "  ")


def _show_head(configuration: dict[str, Any]) -> None:
    runs = configuration.get("runs") or {}
    shown = None
    if runs.get("total"):
        shown = f"{runs['total']}, {runs['succeeded']} succeeded, {runs['degraded']} of them degraded"
    show_fields(
        {
            "version": configuration["label"],
            "status": configuration["status"],
            "message": configuration["message"],
            "created": f"{moment(configuration['created_at'])} by {configuration['created_by']}",
            "active from": moment(configuration.get("activated_at")),
            "left": moment(configuration.get("left_at")),
            "digest": configuration["digest"],
            "runs": shown,
        }
    )
    show()


@app.command("create", epilog='Example: switchgear config create pipeline.yaml -m "Scans first" --activate')
def create(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML, as written by `init` and `config export`.")],
    message: Message = "",
    draft: Annotated[bool, typer.Option("--draft", help="Store it although it has errors.")] = False,
    activate: Activate = False,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Make a version from a file. --wait goes with --activate."""
    check_wait(activate=activate, wait=wait)
    body, pipeline = config_files.read(file)
    if message:
        body["message"] = message
    if draft:
        body["draft"] = True
    with connect() as api:
        config_files.check_pipeline(file, pipeline, api.get("/status")["pipeline"])
        make(api, body, activate=activate, wait=wait, as_json=as_json)


@app.command(
    "set", epilog='Example: switchgear config set extract=extract-text extract.limits.timeout_s=20 -m "Faster"'
)
def set_values(
    changes: Annotated[list[str], typer.Argument(metavar="STAGE=MODULE...", help="What to change.")],
    message: Message = "",
    activate: Activate = False,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Make a version from the active one, with some things changed.

    STAGE=MODULE selects a module; STAGE.settings.NAME=VALUE and STAGE.limits.NAME=VALUE change what it gets;
    STAGE.fallback=MODULE,MODULE is the chain, STAGE.then=park|fail|skip what happens when nobody could.
    --wait goes with --activate.
    """
    check_wait(activate=activate, wait=wait)
    assignments = config_changes.parse(changes)
    with connect() as api:
        answer = api.raw("GET", "/configurations/active")
        active = answer.json()
        change = config_changes.apply(
            active,
            assignments,
            lambda module_id: api.get(f"/modules/{module_id}")["settings_schema"],
            lambda stage_id: api.get(f"/stages/{stage_id}")["chain_is_ordered"],
        )
        for note in change.notes:
            say(note)
        body: dict[str, Any] = {"base": active["id"], "selections": change.selections, "message": message}
        if change.fallback_policies:
            body["fallback_policies"] = change.fallback_policies
        changed = {item["stage_id"] for item in (*change.selections, *change.fallback_policies)}
        make(
            api,
            body,
            activate=activate,
            wait=wait,
            as_json=as_json,
            changed=changed,
            seen=answer.headers.get("etag"),
        )


@app.command("validate", epilog="Example: switchgear config validate pipeline.yaml")
def validate(
    subject: Annotated[str, typer.Argument(metavar="FILE|VERSION", help="A file, or a draft such as v3.")],
    probe: Annotated[bool, typer.Option("--probe", help="Also let the modules probe their settings.")] = False,
    message: Message = "",
    as_json: AsJson = False,
) -> None:
    """Say everything that is wrong with a file or a draft. Exit code 1 when something is."""
    path = Path(subject)
    with connect() as api:
        if path.is_file():
            body, pipeline = config_files.read(path)
            config_files.check_pipeline(path, pipeline, api.get("/status")["pipeline"])
            findings = api.post("/configurations/validate", body, probe=probe or None)
        else:
            findings = api.post(f"/configurations/{subject}/validate", {"message": message}, probe=probe or None)
    if as_json:
        print_json(findings)
    else:
        for finding in findings["errors"]:
            _show_finding("error", finding)
        for finding in findings["warnings"]:
            _show_finding("warning", finding)
        show("It fits." if findings["is_valid"] else "It does not fit.")
    if not findings["is_valid"]:
        raise typer.Exit(Exit.FAILED)


def _show_finding(word: str, finding: dict[str, Any]) -> None:
    show(f"{word}: {finding_line(finding)}")
    if finding.get("hint"):
        show(f"  {printable(finding['hint'])}")


@app.command("diff", epilog="Example: switchgear config diff v1 v2")
def diff(
    before: Annotated[str, typer.Argument(metavar="FROM", help="v1, active, previous, or an id.")],
    after: Annotated[str, typer.Argument(metavar="[TO]", help="The active one when absent.")] = "active",
    as_json: AsJson = False,
) -> None:
    """Say what differs in meaning. Exit code 0 same, 1 differs, 2 error."""
    try:
        with connect() as api:
            found = api.get(f"/configurations/{after}/diff", against=before)
    except CommandFailed as error:
        error.exit_code = Exit.WRONG_USE
        raise
    if as_json:
        print_json(found)
    else:
        show(f"v{found['from_version']} -> v{found['to_version']}")
        for change in found["changes"]:
            show(f"  {change['stage_id']}: {printable(change['message'])}")
        if found["same"]:
            show("  the same content")
    if not found["same"]:
        raise typer.Exit(Exit.FAILED)


@app.command("activate", epilog='Example: switchgear config activate v3 -m "Scans first" --wait')
def activate_version(
    reference: Reference,
    message: Message = "",
    mode: Mode = "drain",
    max_wait: MaxWait = None,
    on_expiry: OnExpiry = "switch",
    replace_pending: ReplacePending = False,
    accept_degraded: AcceptDegraded = False,
    accept_base_moved: Annotated[
        bool, typer.Option(help="Although the active version is not its base any more.")
    ] = False,
    unblock: Unblock = False,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Make a version the active one, once running work has ended."""
    body: dict[str, Any] = {
        "message": message,
        "mode": mode,
        "max_wait_s": max_wait,
        "on_expiry": on_expiry,
        "replace_pending": replace_pending or None,
        "accept_degraded": accept_degraded,
        "accept_base_moved": accept_base_moved,
        "unblock": unblock,
    }
    with connect() as api:
        request_activation(api, "activate", reference, body, wait=wait, as_json=as_json)


@app.command("rollback", epilog='Example: switchgear config rollback -m "The new reader loses lines"')
def rollback(
    reference: Reference = "previous",
    message: Message = "",
    mode: Mode = "drain",
    max_wait: MaxWait = None,
    on_expiry: OnExpiry = "switch",
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Go back to a version that was active before."""
    body: dict[str, Any] = {"message": message, "mode": mode, "max_wait_s": max_wait, "on_expiry": on_expiry}
    with connect() as api:
        request_activation(api, "rollback", reference, body, wait=wait, as_json=as_json)


@app.command("history", epilog="Example: switchgear config history")
def history(limit: Limit = 20, as_json: AsJson = False) -> None:
    """Show which version was active when, who changed it, and why; newest first."""
    with connect() as api:
        applied = first_of((item for item in api.items("/activations") if item["state"] == "applied"), limit)
    if as_json:
        print_json(applied)
        return
    show_table(
        ("when", "kind", "from", "to", "by", "message"),
        [
            (
                moment(item.get("ended_at")),
                item["kind"],
                f"v{item['from_version']}" if item.get("from_version") else "",
                f"v{item['configuration_version']}",
                item["actor"],
                item["message"],
            )
            for item in applied
        ],
        empty="No version was ever active.",
    )


@app.command("export", epilog="Example: switchgear config export active -o pipeline.yaml")
def export(
    reference: Reference = "active",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; stdout when absent.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a version as a file that `config create` accepts."""
    with connect() as api:
        configuration = api.get(f"/configurations/{reference}")
    text = config_files.write_json(configuration) if as_json else config_files.write(configuration)
    if output is None:
        sys.stdout.write(text)
        return
    output.write_text(text, encoding="utf-8")
    if as_json:
        print_json({"configuration": configuration["label"], "file": str(output)})
    else:
        say(f"Wrote {configuration['label']} to {output}.")
