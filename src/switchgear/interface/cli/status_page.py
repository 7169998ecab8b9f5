"""Prints what `/status` says: for `status`, `doctor` and the first lines of `serve`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from switchgear.interface.cli.activations import blocking_lines, describe
from switchgear.interface.cli.output import action_line, printable, show, show_fields, show_table, show_why, state_word
from switchgear.interface.cli.stages import serving


def show_status(found: Mapping[str, Any], where: str) -> None:
    """Print the whole page."""
    active = found.get("active")
    runs = ", ".join(f"{count} {state_word(status)}" for status, count in found["runs"].items() if count)
    show_fields(
        {
            "version": found["version"],
            "where": where,
            "pipeline": found["pipeline"],
            "active": f"{active['label']} {active['message']}".strip() if active else "none yet",
            "runs": runs or "none yet",
            "workers": "; ".join(_worker(each, found["isolation"]["level"]) for each in found["workers"])
            or "none alive",
            "isolation": found["isolation"]["level"],
            "disk free": gibibytes(found["disk_free_bytes"]),
        }
    )
    pending = found.get("pending_activation")
    if pending:
        show(f"pending    {describe(pending)}")
        for line in blocking_lines(pending):
            show(line)
    show()
    show_stage_rows(found["stages"])
    for code, count in (found.get("parked") or {}).items():
        show(f"on hold: {count} with {printable(code)}. See `switchgear runs list --status parked`.")
    show_problems(found["warnings"], found)


def show_stage_rows(stages: list[dict[str, Any]]) -> None:
    """Print one row per stage: module, status, and who serves instead."""
    show_table(
        ("stage", "selected", "now", "why"),
        [
            (
                stage["stage_id"],
                stage.get("selected"),
                serving(stage),
                (stage.get("why") or {}).get("summary") if stage["serves"] != "selected" else "",
            )
            for stage in stages
        ],
        empty="No stage yet.",
    )


def show_missing(modules: list[dict[str, Any]]) -> None:
    """Print the modules that cannot be used, each with the line that repairs it."""
    for module in modules:
        why = module.get("why") or {}
        show(f"{module['id']} ({module['stage_id'] or 'stage unknown'}): {printable(why.get('summary'))}")
        for action in why.get("next_actions") or ():
            show(f"  {action_line(action)}")


def show_problems(problems: Iterable[str], status: Mapping[str, Any] | None) -> None:
    """Print what needs attention, and below what stops work the commands that help."""
    ways_out = {printable(stop["summary"]): stop["next_actions"] for stop in (status or {}).get("stops", ())}
    for problem in map(printable, problems):
        show(f"! {problem}")
        for action in ways_out.get(problem, ()):
            show(f"  {action_line(action)}")


def show_doctor(found: Mapping[str, Any]) -> None:
    """Print settings with their origin, readiness, isolation, missing modules, and what needs attention."""
    if found["settings"]:
        show_table(
            ("setting", "value", "from"), [(one["name"], one["value"], one["origin"]) for one in found["settings"]]
        )
        show()
    for check in found.get("ready") or ():
        show(f"{'ok ' if check['ok'] else 'NOT'} {check['name']}")
        show_why(check.get("why"), "    ")
    status = found.get("status")
    if status:
        show()
        show(f"isolation {status['isolation']['level']}")
        for measure in status["isolation"]["measures"]:
            reason = f": {printable(measure['why'])}" if measure.get("why") else ""
            show(f"  {'yes' if measure['is_available'] else 'no '} {measure['name']}{reason}")
        show()
        show_stage_rows(status["stages"])
    if found.get("modules"):
        show("\nModules that cannot be used:")
        show_missing(found["modules"])
    show_problems(found["problems"], status)


def gibibytes(count: int) -> str:
    """Return bytes in GiB."""
    return f"{count / 1024**3:.1f} GiB"


def _worker(worker: dict[str, Any], level: str) -> str:
    """Where it is, which queues it serves, and its isolation where that is not the level of whoever was asked."""
    queues = f", {', '.join(worker['queues'])} only" if worker["queues"] else ""
    isolation = f", isolation {worker['isolation']}" if worker["isolation"] not in ("", level) else ""
    return f"{worker['id']} on {printable(worker['host'])}{queues}{isolation}"
