"""`switchgear serve`, `worker`, `migrate`, `status`, `doctor`."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from switchgear.interface.cli.client import connect
from switchgear.interface.cli.errors import CommandFailed, Exit
from switchgear.interface.cli.instance_location import require_instance, settings_here
from switchgear.interface.cli.output import AsJson, print_json, printable, say, show
from switchgear.interface.cli.status_page import show_doctor, show_status

app = typer.Typer()

_REFRESH_S = 1.0


@app.command("serve", epilog="Example: switchgear serve --port 8500")
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 unless set.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 8420 unless set, 0 takes a free one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Serve the API and run documents, until stopped. Makes the instance when there is none."""
    from switchgear.interface.cli.server_process import run_server

    run_server(settings_here({"host": host, "port": port}), as_json=as_json)


@app.command("worker", epilog="Example: switchgear worker --queues default,ocr --concurrency 4")
def worker(
    queues: Annotated[str | None, typer.Option(help="Work queues to serve, with commas; all unless set.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Runs at the same time; the cores unless set.")] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Port for /metrics, /livez, /readyz; none unless set, 0 takes a free one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Carry runs of an instance without serving its API, until stopped.

    Any number may work on one database, on PostgreSQL on other machines too: they share the instance's settings, its
    documents (ARTIFACTS_DIR) and the installed modules. SIGTERM finishes what is at work or hands it back.
    """
    from switchgear.interface.cli.worker_process import run_worker

    require_instance()
    settings = settings_here({"queues": queues, "workers": concurrency, "metrics_port": metrics_port})
    run_worker(settings, as_json=as_json)


@app.command("migrate", epilog="Example: switchgear migrate")
def migrate(as_json: AsJson = False) -> None:
    """Bring the database to this version's schema; `serve` does it too.

    With QUEUE_BACKEND=procrastinate that includes the tables of procrastinate; with another backend it stops keeping
    jobs there.
    """
    settings = require_instance()
    from switchgear.core import job_schema, migrations
    from switchgear.sdk.errors import SwitchgearError

    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        before, after = migrations.upgrade(settings.database_url), migrations.head()
        if settings.queue_backend == "procrastinate":
            job_schema.install(settings.database_url)
        else:
            job_schema.remove(settings.database_url)
    except SwitchgearError as error:
        raise CommandFailed(str(error)) from error
    except OSError as error:
        raise CommandFailed(f"{settings.home} cannot be written: {error.strerror}.") from error
    if as_json:
        print_json({"before": before, "after": after})
    elif before == after:
        show(f"The database is at the newest schema, {after}.")
    else:
        show(f"The database went from schema {before or 'nothing'} to {after}.")


@app.command("status", epilog="Example: switchgear status --watch")
def status(
    watch: Annotated[bool, typer.Option("--watch", help="Look again each second, until stopped.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the instance at a glance: version, stages, what waits, what needs attention."""
    with connect() as api:
        while True:
            found = api.get("/status")
            if as_json:
                print_json(found)
            else:
                if watch:
                    typer.echo("\x1b[H\x1b[2J" if _on_terminal() else "", nl=False)
                show_status(found, api.where)
            if not watch:
                break
            time.sleep(_REFRESH_S)


def _on_terminal() -> bool:
    import sys

    return sys.stdout.isatty()


@app.command("doctor", epilog="Example: switchgear doctor")
def doctor(as_json: AsJson = False) -> None:
    """Check settings, database, modules and isolation, and say what to repair. Exit code 1 when something stops work.

    What a fallback covers is a warning. Without a server of this instance, nothing is said to wait for one.
    """
    import os

    settings: list[dict[str, str]] = []
    if not os.environ.get("SWITCHGEAR_URL"):
        settings = [
            {"name": view.name, "value": view.value, "origin": view.origin} for view in require_instance().views()
        ]
    found: dict[str, Any] = {"settings": settings, "problems": [], "stops": []}
    try:
        with connect() as api:
            found["where"] = api.where
            found["ready"] = _readiness(api)
            found["status"] = api.get("/status")
            found["modules"] = [one for one in api.list("/modules") if one["status"] in ("unavailable", "disabled")]
            found["stops"] = _stops(found["ready"], found["status"], in_process=api.in_process)
    except CommandFailed as error:
        if error.exit_code == Exit.WRONG_USE:
            raise
        found["problems"].append(error.message)
        found["stops"].append(error.message)
    found["problems"] += [printable(text) for text in (found.get("status") or {}).get("warnings") or ()]
    if as_json:
        print_json(found)
    else:
        show_doctor(found)
    if found["problems"] and not as_json:
        say(f"{len(found['problems'])} to look at; {len(found['stops']) or 'nothing'} stops work.")
    if found["stops"]:
        raise typer.Exit(Exit.FAILED)


def _stops(ready: list[dict[str, Any]], status: dict[str, Any], *, in_process: bool) -> list[str]:
    """Sentences about what stops work; that this process itself carries no documents is none of them."""
    checks = [f"{check['name']}: {(check.get('why') or {}).get('summary')}" for check in ready if not check["ok"]]
    waits = "waiting.worker" if in_process else None
    return checks + [printable(why["summary"]) for why in status["stops"] if why["code"] != waits]


def _readiness(api: Any) -> list[dict[str, Any]]:
    from switchgear.interface.cli.errors import ProblemAnswer

    try:
        answer = api.raw("GET", "//readyz", params={"verbose": "true"}).json()
    except ProblemAnswer as refused:
        answer = refused.problem or {}
    checks: list[dict[str, Any]] = answer.get("checks") or []
    return checks
