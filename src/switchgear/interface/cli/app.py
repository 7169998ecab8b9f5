"""Builds the commands from one file per noun, and turns every refusal into a sentence and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer
import typer.main
from typer._completion_classes import completion_init  # what `add_completion` calls; we print the script ourselves

from switchgear.interface.cli import (
    COMMANDS,
    activations,
    audit,
    backup,
    config,
    contracts,
    demo,
    documents,
    ingest,
    instance,
    modules,
    prune,
    runs,
    serve,
    stages,
    tokens,
)
from switchgear.interface.cli.errors import CommandFailed, Exit
from switchgear.interface.cli.output import problem_lines, say

_NOUNS = {
    "documents": documents.app,
    "runs": runs.app,
    "config": config.app,
    "activations": activations.app,
    "modules": modules.app,
    "stages": stages.app,
    "contracts": contracts.app,
    "audit": audit.app,
    "tokens": tokens.app,
}
_VERBS = (demo.app, instance.app, serve.app, ingest.app, backup.app, prune.app)

#: The whole command tree; `switchgear --help` itself is printed by `main` without building it.
app = typer.Typer(
    name="switchgear",
    help="Document ingestion whose every stage can be swapped, protected and isolated while it runs.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for _verbs in _VERBS:
    app.registered_commands += _verbs.registered_commands
for _names in COMMANDS.values():
    for _name, _text in _names.items():
        if _name in _NOUNS:
            app.add_typer(_NOUNS[_name], name=_name, help=_text, no_args_is_help=True)


def run(words: Sequence[str]) -> int:
    """Run one command and return its exit code; nothing that can be foreseen ends in a traceback."""
    completion_init()
    try:
        ended = typer.main.get_command(app).main(
            args=list(words), prog_name="switchgear", complete_var="_SWITCHGEAR_COMPLETE", standalone_mode=False
        )
        return ended if isinstance(ended, int) else Exit.DONE
    except typer.TyperException as error:
        return _refuse(error, as_json="--json" in words)
    except typer.Abort:
        return Exit.FAILED
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else Exit.DONE if ended.code is None else Exit.FAILED
    except CommandFailed as error:
        _explain(error, as_json="--json" in words)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return Exit.FAILED
    except OSError as error:
        if error.filename is None:
            raise
        sentence = f"{error.filename}: {error.strerror}. Check the path and its permissions, then try again."
        _explain(CommandFailed(sentence), as_json="--json" in words)
        return Exit.FAILED


def _refuse(error: typer.TyperException, *, as_json: bool) -> int:
    """Say how a command line does not fit; of a value, what is wanted, in place of the words of the library."""
    if isinstance(error, typer.BadParameter) and error.__cause__ is not None:
        error.message = f"{_wanted(error.__cause__)}."
    if as_json:
        _explain(CommandFailed(error.format_message()), as_json=True)
        return error.exit_code
    error.show()  # type: ignore[attr-defined]  # all that are raised here can
    example = getattr(getattr(error, "cmd", None), "epilog", None)
    if example and isinstance(error, typer.BadParameter):
        say(example)
    return error.exit_code


def _wanted(refusal: BaseException) -> str:
    from pydantic import ValidationError

    from switchgear.domain.wanted_values import wanted_of

    if not isinstance(refusal, ValidationError):
        return "does not fit"
    [first, *_] = refusal.errors(include_input=False, include_url=False)
    if first["type"].startswith("datetime"):
        return "must be a time, such as 2027-01-31 or 2027-01-31T12:00"  # local, unlike those of REST
    said = str((first.get("ctx") or {}).get("error", ""))
    _, is_choice, choices = said.partition(" is not one of ")  # the words of typer, with the value before them
    if is_choice:
        return f"must be one of: {choices.replace(chr(39), '').rstrip('.')}"
    return wanted_of(first["type"], first.get("ctx")) or "does not fit"


def _explain(error: CommandFailed, *, as_json: bool) -> None:
    if as_json:
        import json

        say(json.dumps(error.problem if error.problem is not None else {"detail": error.message}, ensure_ascii=False))
        return
    for line in problem_lines(error.problem) if error.problem is not None else error.message.splitlines():
        say(line)
