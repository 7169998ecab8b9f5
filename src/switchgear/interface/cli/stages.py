"""`switchgear stages`: the steps of the pipeline, who serves them, and who could."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from switchgear.interface.cli.client import connect
from switchgear.interface.cli.output import (
    AsJson,
    limit_words,
    pairs,
    print_json,
    show,
    show_fields,
    show_table,
    show_why,
)

app = typer.Typer()


@app.command("list", epilog="Example: switchgear stages list")
def list_stages(as_json: AsJson = False) -> None:
    """List the stages in their order, with the module that serves each now."""
    with connect() as api:
        stages = api.list("/stages")
    if as_json:
        print_json(stages)
        return
    show_table(
        ("order", "stage", "required", "contract", "selected", "fallback", "now"),
        [
            (
                stage["order"],
                stage["id"],
                "yes" if stage["required"] else "no",
                stage["contract"],
                (stage.get("selection") or {}).get("module_id"),
                ", ".join(step["module_id"] for step in (stage.get("fallback_policy") or {}).get("chain", ())),
                serving(stage),
            )
            for stage in stages
        ],
    )


def serving(stage: dict[str, Any]) -> str:
    """Return who serves a stage now, in words."""
    module = stage.get("serving_module_id") or stage.get("module_id")
    if stage["serves"] == "selected":
        return "ok"
    if stage["serves"] == "fallback":
        return f"fallback {module}"
    return "not selected" if stage["serves"] == "not_selected" else "nobody"


@app.command("show", epilog="Example: switchgear stages show extract")
def show_stage(stage_id: Annotated[str, typer.Argument(metavar="STAGE")], as_json: AsJson = False) -> None:
    """Show one stage: its contract, its selection and chain, and every module that can do it."""
    with connect() as api:
        stage = api.get(f"/stages/{stage_id}")
    if as_json:
        print_json(stage)
        return
    selection = stage.get("selection") or {}
    policy = stage.get("fallback_policy") or {}
    show_fields(
        {
            "stage": stage["id"],
            "order": stage["order"],
            "required": "yes" if stage["required"] else "no",
            "contract": stage["contract"],
            "selected": selection.get("module_id"),
            "settings": pairs(selection.get("settings") or {}),
            "limits": limit_words({**stage["limits"], **(selection.get("limits") or {})}),
            "now": stage.get("message") or serving(stage),
            "then": policy.get("then"),
            "budget_s": policy.get("budget_s"),
        }
    )
    for step in policy.get("chain") or ():
        threshold = f", below {step['threshold']}" if step.get("threshold") is not None else ""
        show(f"fallback {step['module_id']} on {', '.join(step['on'])}{threshold}")
    show()
    _show_candidates(stage["candidates"])


def _show_candidates(candidates: list[dict[str, Any]]) -> None:
    """Print every module that may be selected, whether it fits, and why it cannot be used."""
    show_table(
        ("module", "version", "status", "fits", "reason"),
        [
            (
                candidate["module_id"],
                candidate["version"],
                candidate["status"],
                candidate["compatibility"],
                "; ".join(candidate["reasons"]),
            )
            for candidate in candidates
        ],
        empty="No installed module does this stage.",
    )
    for candidate in candidates:
        show_why(candidate.get("why"), f"{candidate['module_id']}: ")
