"""`switchgear`: the command line. It speaks REST, like everybody else. Source: INTERFACES 3.

This file imports the standard library only, so that `switchgear --help` answers before anything heavy is loaded;
`app.py` builds the commands.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

#: Every word that may follow `switchgear`, in groups, with its line of help; `app.py` takes its help from here.
COMMANDS: Final[Mapping[str, Mapping[str, str]]] = {
    "Start": {
        "demo": "Show everything in a minute: real invoices, a failing module, a swap, a rollback.",
        "init": "Write switchgear.toml and pipeline.yaml for an instance of your own.",
        "serve": "Serve the API and run documents.",
        "worker": "Carry runs beside the server, here or on another machine.",
        "status": "Show the instance at a glance.",
        "doctor": "Check settings, database, modules and isolation, and say what to repair.",
        "migrate": "Bring the database to this version's schema.",
    },
    "Documents": {
        "ingest": "Send documents or whole folders.",
        "watch": "Send what is put into a folder, until stopped.",
        "documents": "List documents, show invoices, end reviews.",
        "runs": "List runs, explain them, retry or cancel them.",
    },
    "Pipeline": {
        "config": "Versions of the module configuration: show, change, activate, roll back.",
        "activations": "Changes under way: list, watch, cancel, switch now.",
        "modules": "What is installed, what is missing, and trying a module out.",
        "stages": "The stages of the pipeline and who can do them.",
        "contracts": "What each stage promises.",
    },
    "Administration": {
        "backup": "Save the whole instance while it works.",
        "restore": "Bring a backup back into an empty home.",
        "prune": "Remove what has been kept long enough.",
        "audit": "Who changed what, when and why; verify the trail.",
        "tokens": "Credentials of people and systems.",
        "version": "Print the version.",
        "completion": "Print the completion script of a shell.",
    },
}

_EXAMPLES: Final = """\
Examples:
  switchgear demo
  switchgear init billing && cd billing && switchgear serve
  switchgear ingest invoices/ --wait
  switchgear config set read=read-pdfplumber -m "Try the other reader" --activate
  switchgear runs why RUN

Every command has --help and --json. Exit codes: 0 done, 1 failed or differs, 2 wrong use."""


def root_help() -> str:
    """Return what `switchgear --help` prints."""
    width = max(len(name) for names in COMMANDS.values() for name in names) + 2
    lines = ["Usage: switchgear COMMAND [ARGS]...", ""]
    lines += ["Document ingestion whose every stage can be swapped, protected and isolated while it runs.", ""]
    for title, names in COMMANDS.items():
        lines.append(f"{title}:")
        lines += [f"  {name:<{width}}{text}" for name, text in names.items()]
        lines.append("")
    return "\n".join([*lines, _EXAMPLES])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code; entry point `switchgear`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    completing = "_SWITCHGEAR_COMPLETE" in os.environ
    if words in ([], ["--help"], ["-h"]) and not completing:
        print(root_help())
        raise SystemExit(0)
    if words == ["--version"]:
        words = ["version"]
    from switchgear.interface.cli.app import run

    raise SystemExit(run(words))
