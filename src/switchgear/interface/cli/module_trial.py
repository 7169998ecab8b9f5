"""`modules try`: one document through a temporary instance of its own, with one module replaced.

The temporary instance has its own database, folder and token, the same pipeline, and the active configuration's
content with that one selection.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from switchgear.interface.cli import config_changes
from switchgear.interface.cli.client import Api, application_here
from switchgear.interface.cli.errors import CommandFailed, ProblemAnswer
from switchgear.interface.cli.instance_location import admin_token, settings_here

if TYPE_CHECKING:
    from switchgear.core.settings import Settings


def run_trial(content: dict[str, Any], module: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Run *file* under *content*, which selects *module*; return the run, and the invoice when one came out.

    Raises:
        CommandFailed: The module cannot be used here or does not fit the stage, or the temporary instance cannot start.
    """
    with tempfile.TemporaryDirectory(prefix="switchgear-try-") as folder, asyncio.Runner() as runner:
        return runner.run(_run(temporary_settings(Path(folder)), runner, module["id"], content, file))


def trial_content(
    active: Mapping[str, Any], module: Mapping[str, Any], is_ordered: config_changes.IsOrdered
) -> dict[str, Any]:
    """Return the active content with *module* selected for its stage, as a full REST body."""
    assignment = config_changes.Assignment((module["stage_id"],), module["id"])
    change = config_changes.apply(active, [assignment], lambda _: module["settings_schema"], is_ordered)
    selections = {item["stage_id"]: item for item in [*active["selections"], *change.selections]}
    policies = {item["stage_id"]: item for item in [*active["fallback_policies"], *change.fallback_policies]}
    return {
        "selections": list(selections.values()),
        "fallback_policies": [_without_none(policy) for policy in policies.values()],
        "message": f"Trial of {module['id']}",
    }


def _without_none(policy: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in policy.items() if value is not None}
    kept["chain"] = [{k: v for k, v in step.items() if v is not None} for step in policy.get("chain") or ()]
    return kept


def temporary_settings(folder: Path) -> Settings:
    """Return the settings of the temporary instance: those of the one here, with nothing that it keeps."""
    here = settings_here()
    return settings_here(
        {
            "home": str(folder),
            "database_url": f"sqlite:///{folder / 'switchgear.db'}",
            "artifacts_dir": str(folder / "artifacts"),
            "queue_backend": "builtin",
            "secrets_dirs": os.pathsep.join(str(one) for one in here.secrets_dirs),
            "auto_configure": False,
            "workers": 1,
            "min_free_bytes": 0,
            "source": (),
            "log_level": "error",
        }
    )


async def _run(
    settings: Settings, runner: asyncio.Runner, module_id: str, content: dict[str, Any], file: Path
) -> dict[str, Any]:
    async with application_here(settings, carry_runs=True, token=lambda: admin_token(settings.home)) as client:
        api = Api(client, runner, "the temporary instance", in_process=True)
        _refuse_unavailable((await api.send("GET", f"/modules/{module_id}")).json())
        created = (await api.send("POST", "/configurations", json=content)).json()
        path = f"/configurations/{created['id']}/activate"
        activation = (await api.send("POST", path, json={"accept_degraded": True})).json()
        while activation["is_pending"]:
            activation = (await api.send("GET", f"/activations/{activation['id']}", params={"wait": 10})).json()
        if activation["state"] != "applied":
            raise CommandFailed(str((activation.get("why") or {}).get("summary") or "The module could not be warmed."))
        accepted = await api.upload(file)
        run = accepted["run"]
        while run["status"] in ("queued", "running"):
            run = (await api.send("GET", f"/runs/{run['id']}", params={"wait": 30})).json()
        _forget(run)
        return {"run": run, "invoice": await _invoice(api, accepted["document"]["id"])}


def _refuse_unavailable(module: Mapping[str, Any]) -> None:
    """Stop before a fallback would serve in the place of the module that is to be tried."""
    why = module.get("why")
    if module["status"] != "unavailable" or why is None:
        return
    detail = f"{module['id']} cannot be used here, so nothing was tried: {why['summary']} [{why['code']}]"
    problem = {"code": why["code"], "detail": detail, "next_actions": why["next_actions"]}
    raise CommandFailed(detail, problem=problem)


def _forget(run: Mapping[str, Any]) -> None:
    """Leave out what can be done with the run and its document: they end with the temporary instance."""
    if why := run.get("why"):
        gone = (run["id"], run["document_id"])
        kept = [action for action in why["next_actions"] if not any(one in str(action) for one in gone)]
        why["next_actions"] = kept


async def _invoice(api: Api, document_id: str) -> Any:
    try:
        return (await api.send("GET", f"/documents/{document_id}/invoice")).json()
    except ProblemAnswer:
        return None  # the run did not get so far; its reason says why
