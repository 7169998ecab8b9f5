"""The documentation says what the code does: reference pages, links, and every block that a reader may copy."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import yaml

from factories.markdown import ROOT, Block, blocks, pages, steps
from switchgear.core.observability import EventName
from switchgear.core.settings import Settings
from switchgear.domain import activation, configuration, run
from switchgear.domain.access import Need, Role
from switchgear.domain.audit import AuditAction
from switchgear.domain.errors import Code
from switchgear.domain.stage import ModuleStatus

REFERENCE = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def generator() -> Iterator[ModuleType]:
    """docs/generate.py as a module."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        yield importlib.import_module("generate")
    finally:
        sys.path.remove(str(ROOT / "docs"))


def test_the_reference_is_what_the_code_says(generator: ModuleType) -> None:
    assert generator.outdated() == [], "run: python docs/generate.py"


def test_no_reference_page_is_left_over(generator: ModuleType) -> None:
    from_generator = importlib.import_module("generator")
    assert {path.name for path in REFERENCE.glob("*.md")} - {"README.md"} == set(from_generator.PAGES)


LISTS: dict[str, list[str]] = {
    "codes.md": [f"### `{each}`" for each in Code],
    "settings.md": [f"| `SWITCHGEAR_{name.upper()}` |" for name in Settings.model_fields if name != "source"],
    "events.md": [f"| `{each}` |" for kind in (EventName, AuditAction) for each in kind],
    "states.md": [
        f"| `{each}` |"
        for kind in (configuration.Status, activation.State, run.RunStatus, run.Outcome, ModuleStatus)
        for each in kind
    ],
    "role-table.md": [*(f"| `{each}` |" for each in Need), *(f" {each} |" for each in Role)],
}


@pytest.mark.parametrize("page", sorted(LISTS))
def test_every_name_is_documented(page: str) -> None:
    text = (REFERENCE / page).read_text(encoding="utf-8")
    assert [name for name in LISTS[page] if name not in text] == []


def test_every_metric_is_documented() -> None:
    from switchgear.core.observability import Metrics

    page = (REFERENCE / "metrics.md").read_text(encoding="utf-8")
    shown = re.findall(r"^# TYPE (\w+)", Metrics().render().decode(), re.MULTILINE)
    assert len(shown) > 10
    assert [name for name in shown if f"| `{name}` |" not in page] == []


def test_every_command_is_documented() -> None:
    page = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    assert [words for words in commands() if f"### `switchgear {words}`" not in page] == []


def test_every_route_is_documented() -> None:
    from switchgear.interface.api.main import api_routes

    page = (REFERENCE / "api.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"### `[A-Z]+ (\S+)`", page))
    assert [route.path for route in api_routes() if route.path not in shown] == []


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_relative_link_leads_somewhere() -> None:
    broken = []
    for page in pages():
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            known = file.exists() and (not anchor or anchor in anchors(file.read_text(encoding="utf-8")))
            if not known:
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_every_page_is_linked_from_another() -> None:
    linked = set()
    for page in pages():
        for target in re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8")):
            file = (page.parent / target).resolve()
            linked |= set(file.glob("*.md")) if file.is_dir() else {file}
    lonely = [str(page.relative_to(ROOT)) for page in pages() if page.name != "README.md" and page not in linked]
    assert lonely == []


def blocks_of(*languages: str) -> list[Block]:
    return [block for page in pages() for block in blocks(page) if block.language in languages]


def ids(block: Block) -> str:
    return block.place


@pytest.mark.parametrize("block", blocks_of("python"), ids=ids)
def test_python_blocks_are_python(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("block", blocks_of("toml", "yaml", "json"), ids=ids)
def test_data_blocks_can_be_read(block: Block) -> None:
    read: dict[str, Any] = {"toml": tomllib.loads, "yaml": yaml.safe_load, "json": json.loads}
    assert read[block.language](block.text)


@pytest.mark.parametrize("block", blocks_of("toml"), ids=ids)
def test_switchgear_toml_blocks_name_real_settings(block: Block) -> None:
    if block.file is None or block.file == "switchgear.toml":
        unknown = set(tomllib.loads(block.text)) - set(Settings.model_fields)
        assert unknown == set()


def commands() -> dict[str, Any]:
    import typer.main

    from switchgear.interface.cli.app import app

    found: dict[str, Any] = {}

    def walk(words: str, command: Any) -> None:
        for name, inner in getattr(command, "commands", {}).items():
            walk(f"{words} {name}".strip(), inner)
        if not hasattr(command, "commands"):
            found[words] = command

    walk("", typer.main.get_command(app))
    return found


def problem_with(words: list[str], known: dict[str, Any]) -> str | None:
    """What is wrong with a command line that begins with `switchgear`."""
    name = next((each for each in (" ".join(words[1:3]), " ".join(words[1:2])) if each in known), None)
    if name is None:
        return f"there is no command {' '.join(words[:3])}"
    options = {spelling for parameter in known[name].params for spelling in parameter.opts}
    rest = words[1 + len(name.split()) :]
    unknown = [word for word in rest if word.startswith("-") and word.partition("=")[0] not in {*options, "--help"}]
    return f"{name} has no option {unknown}" if unknown else None


@pytest.mark.parametrize("block", blocks_of("console"), ids=ids)
def test_console_blocks_use_real_commands(block: Block) -> None:
    known = commands()
    given = steps(block)
    assert given, "a console block needs a line that begins with `$ `"
    problems = []
    for step in given:
        for part in re.split(r"\s+(?:&&|\|)\s+|\s+&$", step.command):
            words = [word for word in shlex.split(part, comments=True) if not re.match(r"[A-Z_]+=", word)]
            if words[:1] == ["switchgear"] and len(words) > 1 and words[1] != "--help":
                problems.append(problem_with(words, known))
    assert [each for each in problems if each] == []


def test_commands_in_running_text_are_real() -> None:
    known = commands()
    wrong = []
    for page in pages():
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for command in re.findall(r"`(switchgear [a-z][^`]*)`", text):
            words = shlex.split(command)
            nouns = {name.split()[0] for name in known}
            if len(words) == 2 and words[1] in nouns:
                continue
            problem = problem_with(words, known)
            if problem:
                wrong.append(f"{page.relative_to(ROOT)}: {command}: {problem}")
    assert wrong == []


def test_every_library_is_named_with_its_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    page = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    names = [re.split(r"[\[<>=!~ ]", each)[0] for each in wanted]
    assert [name for name in names if not re.search(rf"^\| {name} \| .+ \| .+ \|$", page, re.MULTILINE)] == []
