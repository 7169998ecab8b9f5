"""What `config set`, `create`, `activate` and `rollback` share: a version is made, and takes over."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import typer

from switchgear.interface.cli.activations import describe, follow
from switchgear.interface.cli.client import Api
from switchgear.interface.cli.errors import Exit, WrongUse
from switchgear.interface.cli.output import finding_line, print_json, printable, say, show


def check_wait(*, activate: bool, wait: bool) -> None:
    """Refuse to wait for nothing.

    Raises:
        WrongUse: There is no activation to wait for.
    """
    if wait and not activate:
        raise WrongUse("--wait goes with --activate: a version that is only made has nothing to wait for.")


def make(
    api: Api,
    body: Mapping[str, Any],
    *,
    activate: bool,
    wait: bool,
    as_json: bool,
    changed: Collection[str] | None = None,
    seen: str | None = None,
) -> None:
    """Make a version, say what was found, and activate it when asked to.

    Args:
        api: The server.
        body: What is sent.
        activate: Whether it is to take over.
        wait: Whether to stay until it has.
        as_json: Whether the answer is printed instead of sentences.
        changed: Stages that the caller changed: findings elsewhere are only counted. None means all.
        seen: ETag of the active configuration that *body* was made from; None when it was made from none.
    """
    response = api.raw("POST", "/configurations", json=body)
    made, is_new = response.json(), response.status_code == 201
    if not as_json:
        _say_made(made, changed, is_new=is_new)
    if not activate:
        _end_with(made, as_json=as_json, flag="" if is_new or made["base_id"] is None else " --accept-base-moved")
    elif made["status"] == "active" and api.get("/configurations/active").get("pending_activation") is None:
        if as_json:
            print_json(made)
        else:
            say(f"{made['label']} is the active configuration already; there is nothing to do.")
    else:
        # A stored version of equal content was made from another base than the caller's. What the caller compared
        # is what was active a moment ago, and the server refuses (412) when that is not active any more.
        request = {"message": body.get("message") or "", "accept_base_moved": None if is_new else True}
        request_activation(
            api, "activate", made["id"], request, wait=wait, as_json=as_json, seen=None if is_new else seen
        )


def _say_made(made: Mapping[str, Any], changed: Collection[str] | None, *, is_new: bool) -> None:
    word = "made" if is_new else "is known already: the content is the same"
    show(f"{made['label']} {word} ({made['status']}).")
    findings = made.get("findings") or []
    told = [one for one in findings if changed is None or one.get("stage_id") in (None, *changed)]
    say_findings(told, "warning: " if made["status"] != "draft" else "")
    if left := len(findings) - len(told):
        say(f"Warnings about other stages: {left}, see `switchgear config show {made['label']}`.")


def _end_with(made: Mapping[str, Any], *, as_json: bool, flag: str) -> None:
    if as_json:
        print_json(made)
    elif made["status"] not in ("draft", "active"):
        say(f"Activate it with `switchgear config activate {made['label']}{flag}`.")


def say_findings(findings: Collection[Mapping[str, Any]], word: str = "") -> None:
    """Say each finding with its hint, on stderr."""
    for finding in findings:
        say(f"{word}{finding_line(finding)}")
        if finding.get("hint"):
            say(f"  {printable(finding['hint'])}")


def request_activation(
    api: Api,
    verb: str,
    reference: str,
    body: Mapping[str, Any],
    *,
    wait: bool,
    as_json: bool,
    seen: str | None = None,
) -> None:
    """Request it; stay until it ended when asked to, and always when nobody else would finish it.

    Args:
        api: The server.
        verb: `activate` or `rollback`.
        reference: The version.
        body: What is sent; None is left out.
        wait: Whether to stay.
        as_json: Whether the activation is printed as JSON, one value: as it was accepted, or as it ended.
        seen: ETag of the active configuration that must not have changed.

    Raises:
        Exit: It ended without having been applied; code 1.
    """
    request = {name: value for name, value in body.items() if value is not None}
    headers = {} if seen is None else {"If-Match": seen}
    activation = api.raw("POST", f"/configurations/{reference}/{verb}", json=request, headers=headers).json()
    if wait or api.in_process:
        ended = follow(api, activation["id"], shows_changes=not as_json)
        if as_json:
            print_json(ended)
        if ended["state"] != "applied":
            raise typer.Exit(Exit.FAILED)
    elif as_json:
        print_json(activation)
    else:
        show(describe(activation))
        say(f"Accepted as {activation['id']}. `switchgear activations watch` shows what it waits for.")
