"""The commands, from the same tree that parses them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from generator.markdown import cell, code, table
from switchgear.interface.cli import COMMANDS


def cli_page() -> str:
    """Every command with its arguments and options."""
    parts = [
        "# Commands",
        "",
        "Every command has `--help` and `--json`, honours `NO_COLOR`, prints results on standard output and talk on"
        " standard error. Exit codes: 0 done, 1 failed or differs, 2 wrong use; `ingest --wait`: 0 succeeded, 1 failed,"
        " 3 on hold; `config diff`: 0 same, 1 differs, 2 error.",
        "",
        "The commands speak REST: to `SWITCHGEAR_URL` with `SWITCHGEAR_TOKEN`; else to the live server of the instance;"
        " else to the same application in their own process, for the time of the command. The instance is the nearest"
        " `switchgear.toml` upwards, else `SWITCHGEAR_HOME` or `./switchgear-data`.",
        "",
    ]
    for title, names in COMMANDS.items():
        parts += [f"## {title}", ""]
        parts.append(table(("command", "does"), [(code(f"switchgear {name}"), text) for name, text in names.items()]))
        for name in names:
            parts += _command_parts(name)
    return "\n".join(parts)


def commands() -> Iterator[tuple[str, Any]]:
    """Yield each command that can be run: its words and its click command."""
    import typer.main

    from switchgear.interface.cli.app import app

    yield from _below("", typer.main.get_command(app))


def _below(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from _below(f"{words} {name}".strip(), inner)
    else:
        yield words, command


def _command_parts(noun: str) -> list[str]:
    parts: list[str] = []
    for words, command in commands():
        if words.split()[0] != noun:
            continue
        arguments = " ".join(_usage(each) for each in command.params if each.param_type_name == "argument")
        parts += [f"### `switchgear {words}`", ""]
        if arguments:
            parts += [f"`switchgear {words} {arguments}`", ""]
        parts += [inspect.cleandoc(command.help or "").replace("\f", ""), ""]
        if command.epilog:
            parts += [_example(command.epilog), ""]
        rows = [row for each in command.params if (row := _row(command, each)) is not None]
        if rows:
            parts += [table(("option", "means", "default"), rows)]
    return parts


def _usage(argument: Any) -> str:
    name = str(argument.metavar or argument.name.upper()).strip("[]")
    return name if argument.required else f"[{name}]"


def _example(epilog: str) -> str:
    label, _, command = " ".join(epilog.split()).partition(": ")
    return f"{label}: `{command}`" if command else epilog


def _row(command: Any, parameter: Any) -> tuple[str, str, str] | None:
    if parameter.name == "as_json" or getattr(parameter, "hidden", False):
        return None
    help_text = cell(getattr(parameter, "help", "") or "")
    default = parameter.default
    shown = "" if default in (None, False, "", ()) or callable(default) or parameter.required else code(default)
    if parameter.param_type_name == "argument":
        return code(_usage(parameter)), help_text, shown
    value = "" if parameter.is_flag else f" {_value_name(command, parameter)}"
    return ", ".join(code(each + value) for each in parameter.opts), help_text, shown


def _value_name(command: Any, parameter: Any) -> str:
    """The word for an option's value."""
    shown = str(parameter.metavar or parameter.display_type(command.context_class(command))).strip("<>")
    return {"STR": "TEXT", "INT": "NUMBER", "INT RANGE": "NUMBER", "FLOAT": "NUMBER"}.get(shown.upper(), shown.upper())
