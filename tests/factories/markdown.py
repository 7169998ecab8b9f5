"""Code blocks of the documentation, so that tests can run what a reader would copy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^(`{3,})(\w*)\s*$")
_FILE = re.compile(r"^<!-- file: (\S+) -->$")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: The file it stands in.
        line: Where it begins.
        language: The word behind the fence.
        text: Its content.
        file: Name of the file that the reader is to write, if the line before the block says so.
    """

    page: Path
    line: int
    language: str
    text: str
    file: str | None = None

    @property
    def place(self) -> str:
        """`docs/page.md:12`."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every page for readers."""
    named = [ROOT / name for name in ("README.md", "CHANGELOG.md", "THIRD_PARTY.md")]
    return [*named, *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "specs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        if fence is None:
            number += 1
            continue
        end = next(i for i in range(number + 1, len(lines)) if lines[i].strip() == fence[1])
        before = next((line for line in reversed(lines[:number]) if line.strip()), "")
        named = _FILE.match(before)
        text = "\n".join(lines[number + 1 : end]) + "\n"
        yield Block(page, number + 1, fence[2], text, named[1] if named else None)
        number = end + 1


@dataclass(frozen=True)
class Step:
    """One command of a transcript and the lines that it is said to print."""

    command: str
    expected: tuple[str, ...]


def steps(block: Block) -> list[Step]:
    """The commands of a `console` block: lines behind `$ `, continued by a backslash, each with its output."""
    found: list[tuple[str, list[str]]] = []
    continues = False
    for line in block.text.splitlines():
        if continues:
            found[-1] = (found[-1][0][:-1] + line.removeprefix("> ").strip(), [])
        elif line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
        continues = bool(found) and not found[-1][1] and found[-1][0].endswith("\\")
    return [Step(command, tuple(output)) for command, output in found]
