"""`switchgear activations`: changes of the active configuration under way."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import typer

from switchgear.interface.cli.client import Api, connect
from switchgear.interface.cli.errors import CommandFailed, Exit
from switchgear.interface.cli.output import (
    AsJson,
    Message,
    moment,
    print_json,
    print_json_line,
    printable,
    say,
    seconds,
    show,
    show_table,
    show_why,
)

app = typer.Typer()

Reference = Annotated[
    str | None, typer.Argument(metavar="[ACTIVATION]", help="Its id; the pending one when absent.", show_default=False)
]
#: Pause between two looks in seconds; what is left and waiting changes with every document.
_LOOK_S: Final = 0.25


@app.command("list", epilog="Example: switchgear activations list --limit 5")
def list_activations(
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20, as_json: AsJson = False
) -> None:
    """List activations and rollbacks, newest first."""
    with connect() as api:
        activations = api.newest("/activations", limit)
    if as_json:
        print_json(activations)
        return
    show_table(
        ("activation", "kind", "from", "to", "state", "requested", "ended", "by", "message"),
        [
            (
                item["id"],
                item["kind"],
                _label(item.get("from_version")),
                _label(item["configuration_version"]),
                item["state"],
                moment(item["requested_at"]),
                moment(item.get("ended_at")),
                item["actor"],
                item["message"],
            )
            for item in activations
        ],
    )


@app.command("watch", epilog="Example: switchgear activations watch")
def watch(reference: Reference = None, as_json: AsJson = False) -> None:
    """Show what an activation waits for until it ends. Exit code 0 when it was applied, else 1."""
    with connect() as api:
        found = reference or _pending(api)
        if found is None:
            _show_last(api, as_json=as_json)
            return
        activation = follow(api, found, as_json=as_json)
    if activation["state"] != "applied":
        raise typer.Exit(Exit.FAILED)


def follow(api: Api, activation_id: str, *, as_json: bool = False, shows_changes: bool = True) -> dict[str, Any]:
    """Print each change of an activation until it ends, and return it as it then is."""
    shown: object = None
    while True:
        activation: dict[str, Any] = api.get(f"/activations/{activation_id}")
        line = describe(activation)
        state = (line, [(run["id"], run.get("stage_id")) for run in activation.get("blocking") or ()])
        if shows_changes and state != shown:
            shown = state
            _print_change(activation, line, as_json=as_json)
        if not activation["is_pending"]:
            if shows_changes and not as_json:
                show_why(activation.get("why"))
            return activation
        if api.in_process:
            api.get(f"/activations/{activation_id}", wait=_LOOK_S)  # lets the application here go on
        else:
            time.sleep(_LOOK_S)


def _print_change(activation: dict[str, Any], line: str, *, as_json: bool) -> None:
    if as_json:
        print_json_line(activation)
        return
    show(line)
    for text in blocking_lines(activation):
        show(text)
    sys.stdout.flush()


def blocking_lines(activation: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each run that an activation waits for: at which stage it is, and since when."""
    for run in activation.get("blocking") or ():
        place = f"in {run['stage_id']}" if run.get("stage_id") else "at its beginning"
        yield f"  waits for {run['id']} ({printable(run['document_name'])}, {place}, {seconds(run['age_s'])})"


def describe(activation: dict[str, Any]) -> str:
    """Return an activation in one line: `v2 -> v3 draining: 1 left, 2 waiting`."""
    way = f"{_label(activation.get('from_version')) or 'nothing'} -> {_label(activation['configuration_version'])}"
    head = f"{activation['kind']} {way}: {activation['state']}"
    if activation["is_pending"] and activation["state"] == "draining":
        return f"{head}, {activation.get('runs_remaining') or 0} left, {activation.get('runs_held') or 0} waiting"
    return head


@app.command("cancel", epilog='Example: switchgear activations cancel -m "Not today"')
def cancel(reference: Reference = None, message: Message = "", as_json: AsJson = False) -> None:
    """Cancel a pending activation; the active configuration goes on."""
    _act("cancel", reference, message, as_json=as_json)


@app.command("switch", epilog="Example: switchgear activations switch")
def switch(reference: Reference = None, message: Message = "", as_json: AsJson = False) -> None:
    """Switch now, without waiting any longer; what still runs ends on the version that it holds."""
    _act("switch", reference, message, as_json=as_json)


def _act(verb: str, reference: str | None, message: str, *, as_json: bool) -> None:
    with connect() as api:
        found = reference or _pending(api)
        if found is None:
            raise CommandFailed("No activation is pending. `switchgear activations list` shows those that ended.")
        activation = api.post(f"/activations/{found}/{verb}", {"message": message} if message else None)
        if verb == "switch":
            activation = api.get(f"/activations/{found}", wait=30)
    if as_json:
        print_json(activation)
        return
    show(describe(activation))


def _pending(api: Api) -> str | None:
    pending = api.get("/status").get("pending_activation")
    return pending["id"] if pending else None


def _show_last(api: Api, *, as_json: bool) -> None:
    last = api.list("/activations", 1)
    if as_json:
        print_json_line(last[0] if last else None)
        return
    say("No activation is pending." + (" The last one:" if last else ""))
    if last:
        show(describe(last[0]))
        show_why(last[0].get("why"))


def _label(version: int | None) -> str:
    return "" if version is None else f"v{version}"
