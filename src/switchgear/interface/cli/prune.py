"""`switchgear prune`: removes now what the sweep removes once an hour. Source: INTERFACES 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from switchgear.interface.cli.errors import CommandFailed
from switchgear.interface.cli.instance_location import require_instance
from switchgear.interface.cli.output import AsJson, Message, print_json, say, show_table

if TYPE_CHECKING:
    from switchgear.core.settings import Settings
    from switchgear.ingestion.retention import Pruned

app = typer.Typer()

_WHAT: Final = {
    "outputs": "large outputs",
    "originals": "originals of documents",
    "records": "documents with runs and results",
    "files": "files that nothing names",
}


@app.command("prune", epilog="Example: switchgear prune --dry-run")
def prune(
    message: Message = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what has been kept as long as RETENTION_*_DAYS say, and files that nothing names.

    Days count from the end of a document's last run. Nothing is taken from a document of which a run waits, runs or is
    on hold; the audit trail and configurations are never touched. The server does the same once an hour.
    """
    settings = require_instance()
    import asyncio

    from switchgear.sdk.errors import SwitchgearError

    try:
        pruned = asyncio.run(_prune(settings, message, dry_run))
    except SwitchgearError as error:
        raise CommandFailed(error.message) from error
    days = {
        "outputs": settings.retention_artifacts_days,
        "originals": settings.retention_documents_days,
        "records": settings.retention_runs_days,
    }
    if as_json:
        print_json({"dry_run": dry_run, "days": days, **pruned.as_json()})
        return
    rows = []
    for kind, amount in pruned.amounts.items():
        age = "" if kind == "files" else f"{days[kind]} days" if days[kind] else "for ever"
        rows.append((_WHAT[kind], age, amount.count, amount.size_bytes))
    show_table(("what", "kept", "would be removed" if dry_run else "removed", "bytes"), rows)
    if dry_run:
        say("Nothing was removed. Without --dry-run it is.")


async def _prune(settings: Settings, message: str, dry_run: bool) -> Pruned:
    from switchgear.bootstrap import build
    from switchgear.core import migrations
    from switchgear.core.access_service import LOCAL_ADMIN
    from switchgear.core.logging import configure_logging
    from switchgear.domain.access import Actor, Role

    if not migrations.check(settings.database_url):
        raise CommandFailed("The database has an older schema than this version. Run `switchgear migrate` first.")
    application = build(settings, with_worker=False)
    configure_logging(level="error", redact=application.secrets.redact)
    await application.database.start()
    try:
        if dry_run:
            return await application.retention.preview()
        return await application.retention.prune(by=Actor(LOCAL_ADMIN, Role.ADMIN), message=message)
    finally:
        await application.database.close()
