"""Writes docs/reference/ from the code: `python docs/generate.py`; with `--check` it only says what is out of date.

A page that cannot be written completely (a new setting, code or event without a sentence) is an error.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from generator import PAGES

REFERENCE = Path(__file__).resolve().parent / "reference"
NOTE = "<!-- Written by docs/generate.py from the code. Change the code, then run it again. -->\n\n"


def pages() -> dict[str, str]:
    """Return every generated page: file name -> text."""
    return {name: NOTE + re.sub(r"\n{3,}", "\n\n", write()).rstrip() + "\n" for name, write in PAGES.items()}


def outdated() -> list[str]:
    """Name the files that differ from what the code says."""
    return [
        name
        for name, text in pages().items()
        if not (REFERENCE / name).is_file() or (REFERENCE / name).read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str]) -> int:
    """Write or check; return an exit code."""
    if arguments == ["--check"]:
        stale = outdated()
        sys.stdout.write("".join(f"out of date: docs/reference/{name}\n" for name in stale) or "up to date\n")
        return 1 if stale else 0
    REFERENCE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
    sys.stdout.write(f"{len(PAGES)} pages written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
