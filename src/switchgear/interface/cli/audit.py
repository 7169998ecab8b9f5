"""`switchgear audit`: who changed what, when and why; and whether the trail is whole."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from switchgear.interface.cli.client import Api, connect
from switchgear.interface.cli.errors import Exit
from switchgear.interface.cli.output import (
    AsJson,
    moment,
    print_json,
    print_json_line,
    printable,
    say,
    show,
    show_table,
)

app = typer.Typer()

_TAIL_S: Final = 1.0


@app.command("list", epilog="Example: switchgear audit list --action configuration.activated")
def list_events(
    actor: Annotated[str | None, typer.Option(help="Only what this one did.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this action, such as token.created.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only events about this id.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List configuration change events, newest first."""
    with connect() as api:
        events = api.newest("/audit", limit, actor=actor, action=action, subject=subject)
    if as_json:
        print_json(events)
        return
    show_table(("number", "when", "who", "action", "result", "about", "message"), [_row(event) for event in events])


def _row(event: dict[str, Any]) -> tuple[object, ...]:
    return (
        event["sequence"],
        moment(event["at"]),
        event["actor"],
        event["action"],
        event["result"],
        ", ".join(event["subjects"]),
        event["message"],
    )


@app.command("tail", epilog="Example: switchgear audit tail")
def tail(
    number: Annotated[int, typer.Option("--lines", "-n", min=0, max=200, help="How many to begin with.")] = 10,
    once: Annotated[bool, typer.Option("--no-follow", help="End after those.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print events as they come, until stopped."""
    with connect() as api:
        last = _newest(api) - number
        while True:
            for event in _since(api, last):
                last = event["sequence"]
                if as_json:
                    print_json_line(event)
                else:
                    show("  ".join(printable(cell) for cell in _row(event)).rstrip())
            sys.stdout.flush()
            if once:
                return
            time.sleep(_TAIL_S)


def _newest(api: Api) -> int:
    newest = api.list("/audit", 1)
    return int(newest[0]["sequence"]) if newest else 0


def _since(api: Api, sequence: int) -> list[dict[str, Any]]:
    return api.list("/audit", after=max(sequence, 0))[::-1]


@app.command("export", epilog="Example: switchgear audit export -o audit.jsonl")
def export(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; stdout when absent.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the whole trail as JSON lines; the head at its end finds a cut tail later."""
    with connect() as api:
        content = api.raw("GET", "/audit/export").content
        head = api.get("/audit/verify")["head"]
    if output is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        output.write_bytes(content)
    if as_json and output is not None:
        print_json({"file": str(output), "bytes": len(content), "head": head})
        return
    say(f"Head {head}: keep it elsewhere; `switchgear audit verify --head` finds with it whether the end was cut.")


@app.command("verify", epilog="Example: switchgear audit verify --head 3f2a...")
def verify(
    head: Annotated[str | None, typer.Option(metavar="HASH", help="Head that was exported earlier.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check the hash chain of the whole trail. Exit code 1 when an event was changed, removed or inserted."""
    with connect() as api:
        found = api.get("/audit/verify", head=head)
    if as_json:
        print_json(found)
    elif found["ok"]:
        show(f"The audit trail is whole: {found['checked']} events, head {found['head']}.")
    else:
        place = f" First bad event: {found['first_bad_sequence']}." if found.get("first_bad_sequence") else ""
        show(f"The audit trail is NOT whole: {printable(found['reason'])}{place}")
    if not found["ok"]:
        raise typer.Exit(Exit.FAILED)
