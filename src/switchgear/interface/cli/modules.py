"""`switchgear modules`: what is installed, what is missing, and trying a module out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from switchgear.interface.cli.client import Api, connect
from switchgear.interface.cli.errors import Exit, WrongUse
from switchgear.interface.cli.module_wait import telling
from switchgear.interface.cli.output import (
    AsJson,
    Message,
    print_json,
    printable,
    say,
    show,
    show_fields,
    show_table,
    show_why,
    written,
)
from switchgear.interface.cli.runs import decision_lines, status_words

app = typer.Typer()

BreakerWord = Literal["forced_open", "disabled", "closed"]
ModuleId = Annotated[str, typer.Argument(metavar="MODULE", help="Its id.")]


@app.command("list", epilog="Example: switchgear modules list --stage read")
def list_modules(
    stage: Annotated[str | None, typer.Option(help="Only modules of this stage.")] = None, as_json: AsJson = False
) -> None:
    """List the installed modules; for those that cannot be used, why, and the line that repairs it."""
    with connect() as api:
        modules = api.list("/modules", stage_id=stage)
    if as_json:
        print_json(modules)
        return
    show_table(
        ("module", "stage", "version", "status", "used as", "does"),
        [(one["id"], one["stage_id"], one["version"], status_of(one), used_as(one), one["title"]) for one in modules],
        empty="No module is installed for that.",
    )
    for one in modules:
        show_why(one.get("why"), f"{one['id']}: ")


def status_of(module: dict[str, Any]) -> str:
    """Return a module's status, and its breaker's unless that is closed."""
    return module["status"] if module["breaker"] == "closed" else f"{module['status']}, breaker {module['breaker']}"


def used_as(module: dict[str, Any]) -> str:
    """Return what the active configuration uses a module for."""
    uses = [word for word, yes in (("selected", module["is_selected"]), ("fallback", module["is_fallback"])) if yes]
    return ", ".join(uses)


@app.command("show", epilog="Example: switchgear modules show extract-layout")
def show_module(module_id: ModuleId, as_json: AsJson = False) -> None:
    """Show one module: what it promises, needs, and can be set."""
    with connect() as api:
        module = api.get(f"/modules/{module_id}")
    if as_json:
        print_json(module)
        return
    requires = {name: value for name, value in module["requires"].items() if value}
    show_fields(
        {
            "module": module["id"],
            "does": module["title"],
            "status": status_of(module),
            "version": module["version"],
            "stage": module["stage_id"],
            "contract": module["contract"],
            "guarantees": ", ".join(module["guarantees"]),
            "requires": "; ".join(f"{name} {written(value)}" for name, value in requires.items()),
            "isolation": f"{module['min_isolation']} or higher{', network open' if requires.get('network') else ''}",
            "from": f"{module['distribution']} {module['distribution_version']}",
            "used as": used_as(module),
            "deprecated": module.get("deprecated"),
        }
    )
    show_why(module.get("why"))
    for one in module["breakers"]:
        since = f"since {written(one['changed_at'])}"
        show(f"breaker {one['state']} by {one['actor']} {since}: {one['why'] or 'no reason given'}")
    rows = setting_rows(module["settings_schema"])
    if rows:
        show()
        show_table(("setting", "type", "default", "meaning"), rows)


def setting_rows(schema: dict[str, Any]) -> list[tuple[object, ...]]:
    """Return name, type, default and description of each setting."""
    required = schema.get("required") or ()
    return [
        (
            name,
            one.get("type") or one.get("$ref", "").rpartition("/")[2] or "value",
            "required" if name in required else written(one["default"]) if "default" in one else None,
            one.get("description"),
        )
        for name, one in (schema.get("properties") or {}).items()
    ]


@app.command("enable", epilog="Example: switchgear modules enable ocr-tesseract")
def enable(module_id: ModuleId, message: Message = "", as_json: AsJson = False) -> None:
    """Let runs use a module again."""
    _switch(module_id, True, message, as_json=as_json)


@app.command("disable", epilog='Example: switchgear modules disable ocr-tesseract -m "Too slow today"')
def disable(module_id: ModuleId, message: Message = "", as_json: AsJson = False) -> None:
    """Keep runs from using a module; where it is selected, its fallback serves."""
    _switch(module_id, False, message, as_json=as_json)


def _switch(module_id: str, enabled: bool, message: str, *, as_json: bool) -> None:
    with connect() as api:
        module = api.patch(f"/modules/{module_id}", {"enabled": enabled, "message": message})
    if as_json:
        print_json(module)
        return
    show(f"{module['id']}: {module['status']}")
    show_why(module.get("why"))


@app.command("breaker", epilog='Example: switchgear modules breaker ocr-tesseract forced_open -m "Wrong totals"')
def breaker(
    module_id: ModuleId,
    state: Annotated[BreakerWord, typer.Argument(help="forced_open, disabled or closed.")],
    message: Message = "",
    as_json: AsJson = False,
) -> None:
    """Open a module's breaker by hand, keep it from ever opening, or close it.

    A module that keeps failing is left alone by itself: its breaker opens after 5 or more calls of which half failed,
    first for 30 s; then single calls try whether it works again. forced_open does so until you say closed; disabled
    calls it however often it fails.
    """
    with connect() as api:
        module = api.post(f"/modules/{module_id}/breaker", {"state": state, "message": message})
    if as_json:
        print_json(module)
        return
    show(f"{module['id']}: breaker {module['breaker']}")


@app.command("rescan", epilog="Example: switchgear modules rescan")
def rescan(message: Message = "", as_json: AsJson = False) -> None:
    """Look for modules that were installed, removed or repaired since; no restart is needed."""
    with connect() as api:
        found = api.run(_rescan(api, message))
    if as_json:
        print_json(found)
        return
    show(f"{found['modules']} modules are installed; {len(found['changes']) or 'nothing'} changed.")
    for change in found["changes"]:
        show(f"  {change['module_id']}: {_what_changed(change)}")
        show_why(change.get("why"), "    ")


async def _rescan(api: Api, message: str) -> Any:
    async with telling(lambda: (f"modules by {api.where}",)):
        return (await api.send("POST", "/modules/rescan", json={"message": message})).json()


def _what_changed(change: dict[str, Any]) -> str:
    """The status before and after; a module that is reported without another status has other code."""
    before, after = (change[name] or "absent" for name in ("before", "after"))
    return f"its code changed; still {after}" if before == after else f"{before} -> {after}"


@app.command("try", epilog="Example: switchgear modules try read-pdfplumber invoice.pdf")
def try_module(
    module_id: ModuleId,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A real document.")],
    as_json: AsJson = False,
) -> None:
    """Run one document with one module replaced, without activating anything.

    It happens in a temporary instance in this process, with the selections of the active configuration and the modules
    that are installed here; database, documents and deliveries of the instance are not touched. Exit codes as
    `ingest --wait`; a module that cannot be used here is not tried and ends with 1.
    """
    if not file.is_file():
        raise WrongUse(f"{file} does not exist.")
    from switchgear.interface.cli.module_trial import run_trial, trial_content

    with connect() as api:
        active = api.get("/configurations/active")
        module = api.get(f"/modules/{module_id}")
        content = trial_content(active, module, lambda stage_id: api.get(f"/stages/{stage_id}")["chain_is_ordered"])
    trial = run_trial(content, module, file)
    run = trial["run"]
    if as_json:
        print_json(trial)
    else:
        show(f"{printable(file.name)} with {module_id} for {module['stage_id']}: {status_words(run)}")
        show_why(run.get("why"))
        for line in decision_lines(run):
            show(line)
        if trial.get("invoice") is not None:
            print_json(trial["invoice"])
        say("Nothing was activated, stored or delivered; this was a temporary instance.")
    code = {"succeeded": Exit.DONE, "parked": Exit.ON_HOLD}.get(run["status"], Exit.FAILED)
    if code:
        raise typer.Exit(code)
