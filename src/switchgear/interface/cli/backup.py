"""`switchgear backup` and `restore`: an instance saved while it works, and brought back. Source: INTERFACES 3."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from switchgear.interface.cli.errors import CommandFailed, Exit
from switchgear.interface.cli.instance_location import require_instance, settings_here
from switchgear.interface.cli.output import AsJson, moment, print_json, progress, say, show

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from switchgear.ingestion.backup import Manifest

app = typer.Typer()

_SHOWN: Final = 5


@app.command("backup", epilog="Example: switchgear backup /mnt/backups/2027-01-31")
def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the backup: empty, or not there yet.")],
    as_json: AsJson = False,
) -> None:
    """Save the database, the documents and the large outputs, while the server works.

    The database is saved as it is at one moment, with every file that it names. Not part of it are secrets,
    switchgear.toml, and what modules delivered to files. On PostgreSQL the files are saved, and the command for
    `pg_dump` is printed. Exit code 1 when files are missing or damaged in the instance itself; the rest is saved.
    """
    settings = require_instance()
    from switchgear.ingestion.backup import save

    saved = _done(save(settings, folder.absolute(), progress))
    manifest = saved.manifest
    if as_json:
        print_json(
            {"folder": str(saved.folder), "complete": True, **_plain(manifest), "dump_command": saved.dump_command}
        )
    else:
        show(f"Saved {_contents(manifest)} into {saved.folder}")
        show(f"Audit head {manifest.audit_head}")
        if manifest.audit_fault:
            show(f"The audit trail is NOT whole: {manifest.audit_fault}")
    if saved.dump_command:
        _say_dump(saved.dump_command, has_dump=manifest.database_sha256 is not None)
    if manifest.lacking:
        say(f"Missing or damaged in this instance, so not in the backup: {_some(manifest.lacking)}.")
    if manifest.lacking or manifest.audit_fault:
        raise typer.Exit(Exit.FAILED)


@app.command("restore", epilog="Example: switchgear restore /mnt/backups/2027-01-31")
def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a backup.")], as_json: AsJson = False
) -> None:
    """Bring a backup back into an empty home, and check all of it on the way.

    Digests, the audit trail and its end are compared with what the backup says; an older database is migrated, a newer
    one refused. Tokens work as before, except HOME/admin.token, which is made anew. On PostgreSQL load the dump first.
    """
    settings = settings_here()
    from switchgear.ingestion.backup import restore as bring_back
    from switchgear.interface.cli.server_process import prepare_home

    prepare_home(settings.home)
    restored = _done(bring_back(folder.absolute(), settings, progress))
    manifest = restored.manifest
    if as_json:
        found = _plain(manifest) | {"files": restored.files, "lacking": list(restored.lacking)}
        print_json(
            {
                "home": str(restored.home),
                "token_file": str(restored.token_file),
                "schema_before": restored.schema_before,
                "audit_note": restored.audit_note,
                **found,
            }
        )
        return
    show(f"Restored {_contents(manifest)} into {restored.home}")
    show(f"Saved at {moment(manifest.created_at.isoformat())} by Switchgear {manifest.switchgear}")
    show(restored.audit_note or f"The audit trail is whole and holds the saved head {manifest.audit_head}")
    show(f"A new admin token stands in {restored.token_file}")
    if restored.lacking:
        show(
            f"Lost before the backup was made, or not in it: {_some(restored.lacking)}. Runs that need them go on hold."
        )
    say("Start it with `switchgear serve`. Make sure that the old server does not run any more: both would deliver.")


def _done(work: Coroutine[Any, Any, Any]) -> Any:
    """Run it to its end; every refusal is a sentence."""
    import asyncio

    from switchgear.sdk.errors import SwitchgearError

    try:
        return asyncio.run(work)
    except SwitchgearError as error:
        raise CommandFailed(error.message) from error


def _plain(manifest: Manifest) -> dict[str, Any]:
    plain: dict[str, Any] = manifest.model_dump(mode="json")
    return plain


def _contents(manifest: Manifest) -> str:
    names = ("documents", "runs", "configurations", "files")
    words = (f"{manifest.counts[name]} {name if manifest.counts[name] != 1 else name[:-1]}" for name in names)
    return f"{', '.join(words)} ({manifest.counts['bytes']} bytes)"


def _say_dump(command: str, *, has_dump: bool) -> None:
    if has_dump:
        say("The dump of the database that was in the folder is part of the backup.")
        return
    say("The database is on PostgreSQL and is NOT in this backup. Save it with:")
    say(f"  {command}")
    say("Files of documents that are sent between the two are missing then. To have all, dump into the folder first.")


def _some(digests: tuple[str, ...]) -> str:
    more = f" and {len(digests) - _SHOWN} more" if len(digests) > _SHOWN else ""
    return ", ".join(digests[:_SHOWN]) + more
