"""Every command of INTERFACES 3 is there, says what it does with an example, and nothing else is."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from switchgear.interface import cli
from switchgear.interface.cli.app import app, run

#: INTERFACES 3, minus what this release leaves out.
COMMANDS = {
    "": "init demo serve worker migrate doctor status backup restore prune version completion ingest watch",
    "documents": "list show get invoice release reject",
    "config": "list show create validate diff set activate rollback history export",
    "activations": "list watch cancel switch",
    "modules": "list show enable disable rescan breaker try",
    "stages": "list show",
    "contracts": "list show compare",
    "runs": "list show why retry cancel",
    "audit": "list tail export verify",
    "tokens": "create list revoke",
}
LEFT_OUT = ("modules new", "modules check", "modules test", "documents correct", "runs prune")


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    nested = getattr(command, "commands", None)
    if nested is None:
        yield path, command
        return
    for name, inner in nested.items():
        yield from leaves(inner, (*path, name))


TREE = dict(leaves(typer.main.get_command(app)))
EXPECTED = {tuple(f"{noun} {verb}".split()) for noun, verbs in COMMANDS.items() for verb in verbs.split()}


def test_the_commands_are_those_of_the_interface() -> None:
    assert set(TREE) == EXPECTED


@pytest.mark.parametrize("path", sorted(EXPECTED), ids=" ".join)
def test_every_command_explains_itself_with_an_example_and_offers_json(path: tuple[str, ...]) -> None:
    command = TREE[path]
    assert command.help
    assert command.epilog.startswith("Example: ")
    assert " ".join(("switchgear", *path)) in command.epilog
    assert "--json" in {option for parameter in command.params for option in parameter.opts}


def test_the_first_help_names_every_word_that_may_follow(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    named = [name for names in cli.COMMANDS.values() for name in names]
    assert set(named) == {path[0] for path in EXPECTED}
    assert all(f"\n  {name} " in shown for name in named)


@pytest.mark.parametrize("words", LEFT_OUT)
def test_what_is_left_out_is_refused_as_unknown(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words.split()) == 2
    assert "No such command" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(EXPECTED), ids=" ".join)
def test_an_unknown_option_is_wrong_use(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*path, "--no-such-option"]) == 2
    assert "No such option" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("modules breaker upper-text ajar", "'state': must be one of: forced_open, disabled, closed"),
        ("runs retry --since yesterday", "'--since': must be a time, such as 2027-01-31 or 2027-01-31T12:00"),
        ("runs retry --until 2027-31-01", "'--until': must be a time, such as 2027-01-31 or 2027-01-31T12:00"),
        ("runs list --limit many", "'--limit': must be a whole number"),
        ("runs list --limit 0", "'--limit': must be at least 1"),
        ("audit tail -n 500", "'--lines' / '-n': must be at most 200"),
        ("config activate v1 --max-wait long", "'--max-wait': must be a number"),
        ("serve --port web", "'--port': must be a whole number"),
    ],
)
def test_a_value_that_does_not_fit_is_told_what_is_wanted_and_an_example(
    words: str, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words.split()) == 2
    said = capsys.readouterr().err
    assert f"Error: Invalid value for {wanted}." in said
    assert f"Example: switchgear {words.split()[0]}" in said
    assert "Input" not in said


def test_help_comes_before_anything_heavy_is_imported() -> None:
    code = (
        "import sys\nfrom switchgear.interface.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'typer', 'rich', 'httpx2', 'pydantic', 'fastapi', 'sqlalchemy'} & set(sys.modules)))"
    )
    began = time.perf_counter()
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.perf_counter() - began < 1.5  # ten times what is promised
    assert ended.stdout.splitlines()[-1] == "[]"


def test_building_every_command_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom switchgear.interface.cli import app\n"
        "print(sorted({'rich', 'httpx2', 'pydantic', 'fastapi', 'sqlalchemy', 'yaml'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_an_instance_on_sqlite_loads_no_driver_of_another_database() -> None:
    code = (
        "import sys, switchgear.bootstrap, switchgear.interface.server\n"
        "from switchgear.core.database import Database\nDatabase('sqlite:///none.db')\n"
        "print([name for name in sys.modules if name.startswith('psycopg')])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_the_completion_script_asks_this_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert "_SWITCHGEAR_COMPLETE=complete_bash" in script
    assert run(["completion", "tcsh"]) == 2


def test_completion_completes_commands() -> None:
    variables = {"_SWITCHGEAR_COMPLETE": "complete_bash", "COMP_WORDS": "switchgear conf", "COMP_CWORD": "1"}
    code = "from switchgear.interface.cli import main; main([])"
    ended = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)
    assert "config" in ended.stdout.split()
