"""Sheets whose first row names the fields: what their columns hold below it, for telling one invoice from several."""

from collections.abc import Iterator, Sequence
from typing import Final

from switchgear.modules.extract_text.lines import Line, Part
from switchgear.modules.extract_text.patterns import PATTERNS, pattern

_FEWEST_FIELDS: Final = 4


def column_values(lines: Sequence[Line], field: str, languages: tuple[str, ...]) -> list[str]:
    """The different values below the heading of *field*, in a sheet with such a row of headings."""
    for number, line in enumerate(lines):
        if line.made or line.parts[0].source != "sheet":
            continue
        heads = [part for part in line.parts if _heads(part, languages)]
        column = next((part for part in heads if pattern(field, languages).fullmatch(part.text)), None)
        if column is not None and len(heads) >= _FEWEST_FIELDS:
            return list(dict.fromkeys(_below(lines[number + 1 :], column)))
    return []


def _heads(part: Part, languages: tuple[str, ...]) -> bool:
    return any(pattern(field, languages).fullmatch(part.text) for field in PATTERNS)


def _below(lines: Sequence[Line], column: Part) -> Iterator[str]:
    for line in lines:
        if line.made or line.parts[0].evidence.sheet != column.evidence.sheet or len(line.parts) < _FEWEST_FIELDS:
            continue  # a line of a footer has few cells
        yield from (part.text for part in line.parts if part.left == column.left)
