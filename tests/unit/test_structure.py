"""The house stays as docs/architecture.md describes it: every file in its room, small, and without loose ends."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "switchgear"
ARCHITECTURE = ROOT / "docs" / "architecture.md"

#: Where Python of the project stands beside its source.
BESIDE_SOURCE = ("tests", "benchmarks", "docs", "tools")
LONGEST_FILE = 400
LONGEST_FUNCTION = 40
NAMES_WITHOUT_MEANING = {"utils", "util", "helpers", "helper", "misc", "stuff"}
#: Tests that the task list names, each under the path that it gives.
SEED_TESTS = {
    "T004": "tests/unit/test_configuration_validation.py",
    "T005": "tests/unit/test_configuration_versioning.py",
    "T006": "tests/unit/test_activation_queue.py",
    "T015": "tests/contract/test_modules_stages_api.py",
    "T016": "tests/contract/test_configurations_api.py",
    "T017": "tests/integration/test_configuration_activation.py",
    "T024": "tests/contract/test_configuration_versions_api.py",
    "T025": "tests/integration/test_configuration_rollback.py",
    "T026": "tests/unit/test_module_swap_validation.py",
    "T030": "tests/unit/test_fallback_policy.py",
    "T031": "tests/integration/test_fallback_handling.py",
    "T032": "tests/unit/test_observability_events.py",
    "T040": "tests/integration/test_configuration_end_to_end.py",
    "T041": "tests/integration/test_configuration_performance.py",
}
#: What belongs to one machine and not to the project.
PRIVATE = {
    "a folder of one machine": re.compile(r"(?<![\w.$}/-])/(?:work|root|Users|home/\w+)/[\w.]"),
    "the address of a package index": re.compile(
        r"pypi\.org|pythonhosted\.org|(?<!\w)--(?:extra-)?index-url|(?<!\w)--find-links|artifactory|/simple/?(?=[\s\"']|$)"
    ),
}


def source_files() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if "__pycache__" not in path.parts)


def rooms_in_the_list() -> list[str]:
    """Paths of the room list: a bullet names a file or, with a slash, a package; deeper bullets are inside it."""
    found: list[str] = []
    folders: list[str] = []
    room = ""
    for line in ARCHITECTURE.read_text(encoding="utf-8").splitlines():
        heading = re.match(r"### `([\w/]*)`", line)
        if heading:
            room = heading[1]
        elif line.startswith("#"):
            room = ""
        bullet = re.match(r"( *)- `([\w.]+/?)`: \S", line)
        if bullet and room:
            depth = len(bullet[1]) // 2
            del folders[depth:]
            path = room.removeprefix("switchgear/") + "".join(folders) + bullet[2]
            found.append(path)
            if bullet[2].endswith("/"):
                folders.append(bullet[2])
    return found


def rooms_on_disk() -> set[str]:
    found = set()
    for path in source_files():
        inside = path.relative_to(SOURCE)
        found.add(f"{inside.parent}/" if path.name == "__init__.py" else str(inside))
    top = {f"{path.name}/" for path in SOURCE.iterdir() if path.is_dir()}
    return found - top - {"./"}


def test_the_room_list_names_every_file_once_and_no_other() -> None:
    listed = rooms_in_the_list()
    twice = sorted({path for path in listed if listed.count(path) > 1})
    assert not twice, f"docs/architecture.md names these twice: {twice}"
    on_disk = rooms_on_disk()
    assert sorted(on_disk - set(listed)) == [], "files without a line in docs/architecture.md"
    assert sorted(set(listed) - on_disk) == [], "lines in docs/architecture.md without a file"


def too_long(paths: list[Path]) -> dict[str, int]:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    return {str(path.relative_to(ROOT)): length for path, length in lengths.items() if length >= LONGEST_FILE}


def test_every_source_file_is_short_enough_to_read() -> None:
    found = too_long(source_files())
    assert not found, f"split these into packages of the same name: {found}"


@pytest.mark.parametrize("folder", BESIDE_SOURCE)
def test_every_file_beside_the_source_is_short_enough_to_read(folder: str) -> None:
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths, f"{folder} has no file that could be too long"
    found = too_long(paths)
    assert not found, f"split these by subject: {found}"


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function with its lines; the docstring, which explains and does nothing, is not counted."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            yield node.name, lines


def test_every_function_is_short_enough_to_read() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {name} has {lines} lines"
        for path in source_files()
        if "versions" not in path.parts
        for name, lines in functions(path)
        if lines >= LONGEST_FUNCTION
    ]
    assert not found, "\n".join(found)


def test_no_file_has_a_name_that_says_nothing() -> None:
    places = [ROOT / name for name in ("src", *BESIDE_SOURCE)]
    named = [path for place in places for path in place.rglob("*.py") if path.stem in NAMES_WITHOUT_MEANING]
    assert not named


def test_every_source_file_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in source_files()
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) and "versions" not in path.parts
    ]
    assert not silent


def test_rows_of_the_orm_stay_with_their_repositories() -> None:
    """Everybody else speaks to the repositories. DESIGN 2"""
    rows = {"switchgear.core.configuration_models", "switchgear.ingestion.run_models"}
    allowed = re.compile(
        r"core/(\w+_repository|audit_trail|configuration_models)(/\w+)?\.py|ingestion/(run_repository/\w+|run_models)\.py"
        r"|alembic/.*"
    )
    strangers = []
    for path in source_files():
        inside = path.relative_to(SOURCE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if rows & set(names) and not allowed.fullmatch(inside):
                strangers.append(inside)
    assert not strangers


@pytest.mark.parametrize("task", sorted(SEED_TESTS))
def test_the_tests_that_the_task_list_names_exist(task: str) -> None:
    path = ROOT / SEED_TESTS[task]
    assert path.is_file(), f"{task} asks for {SEED_TESTS[task]}"
    names = [name for name, _ in functions(path) if name.startswith("test_")]
    assert names, f"{SEED_TESTS[task]} has no test"


def tracked_files() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a checkout: which files belong to the project cannot be told")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name.decode() for name in names.split(b"\0") if name]


def text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, FileNotFoundError):
        return None


def test_no_tracked_file_names_a_machine_or_a_package_index() -> None:
    found = []
    for path in tracked_files():
        text = text_of(path)
        if text is None or path == Path(__file__).resolve():
            continue
        for what, pattern in PRIVATE.items():
            found += [f"{path.relative_to(ROOT)}: {match[0]!r} is {what}" for match in pattern.finditer(text)]
    assert not found, "\n".join(found)
