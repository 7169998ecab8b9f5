"""Pages and cells as lines of text in which every span leads back to words or a cell."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from switchgear.invoice.amounts import normalize
from switchgear.invoice.types import Cells, Evidence, Fact, Page, Pages

MODULE_ID: Final = "extract-text"
#: Between columns; patterns take two or more spaces for a gap.
GAP: Final = "   "


@dataclass(frozen=True, slots=True)
class Part:
    """A word or a cell: its text and where it stands."""

    text: str
    evidence: Evidence
    confidence: float
    source: Literal["text", "ocr", "sheet"]
    left: float
    right: float
    exact: bool = False  #: a cell that holds a number, not text


@dataclass(frozen=True, slots=True)
class Line:
    """One line; `spans` are the start and end of each part in `text`. `made` marks a heading joined with its value."""

    text: str
    parts: tuple[Part, ...]
    spans: tuple[tuple[int, int], ...]
    made: bool = False

    def fact(self, value: Any, start: int, end: int, confidence: float) -> Fact[Any]:
        """A fact that points to the parts between *start* and *end* of the text."""
        used = [
            part for part, (left, right) in zip(self.parts, self.spans, strict=True) if left < end and right > start
        ]
        first = used[0]
        evidence = first.evidence.model_copy(update={"text": self.text[start:end].strip()[:200]})
        boxes = [part.evidence.box for part in used if part.evidence.box is not None]
        if boxes:
            x0s, tops, x1s, bottoms = zip(*boxes, strict=True)
            evidence = evidence.model_copy(update={"box": (min(x0s), min(tops), max(x1s), max(bottoms))})
        sure = round(confidence * min(part.confidence for part in used), 3)
        return Fact[Any](value=value, confidence=sure, source=first.source, evidence=evidence, module=MODULE_ID)

    @property
    def groups(self) -> list[tuple[int, int]]:
        """Start and end in the text of each group of parts between wide gaps."""
        return [match.span() for match in re.finditer(r"\S+(?: \S+)*", self.text)]

    def extent(self, start: int, end: int) -> tuple[float, float]:
        """Left and right edge of the parts between *start* and *end*."""
        used = [
            part for part, (left, right) in zip(self.parts, self.spans, strict=True) if left < end and right > start
        ]
        return min(part.left for part in used), max(part.right for part in used)


def make_line(parts: Sequence[tuple[str, Part]], *, made: bool = False) -> Line:
    """Join parts, each with the space before it."""
    text, spans = "", []
    for space, part in parts:
        text += space if text else ""
        spans.append((len(text), len(text) + len(part.text)))
        text += part.text
    return Line(text, tuple(part for _, part in parts), tuple(spans), made)


def lines_of(pages: Pages | None, scanned: Pages | None, cells: Cells | None) -> list[Line]:
    """All lines, page by page, then sheet by sheet; headings joined with the values below them follow their line."""
    plain: list[Line] = []
    recognised = {page.number: page for page in scanned.pages} if scanned is not None else {}
    own = {page.number: page for page in pages.pages} if pages is not None else {}
    for number in sorted(own.keys() | recognised.keys()):
        page = own.get(number)
        if page is not None and page.words:
            plain += _page_lines(page, "text")
        elif number in recognised:
            plain += _page_lines(recognised[number], "ocr")
    if cells is not None:
        plain += _cell_lines(cells)
    return [line for index in range(len(plain)) for line in (plain[index], *_joined_with_below(plain, index))]


def _page_lines(page: Page, source: Literal["text", "ocr"]) -> Iterator[Line]:
    for words in page.lines():
        parts: list[tuple[str, Part]] = []
        for index, word in enumerate(words):
            box = (word.x0, word.top, word.x1, word.bottom)
            part = Part(
                normalize(word.text), Evidence(page=page.number, box=box), word.confidence, source, word.x0, word.x1
            )
            wide = index > 0 and word.x0 - words[index - 1].x1 > max(6.0, 0.9 * (word.bottom - word.top))
            parts.append((GAP if wide else " ", part))
        yield make_line(parts)


def _cell_lines(cells: Cells) -> Iterator[Line]:
    rows: dict[tuple[str, int], list[tuple[str, Part]]] = {}
    for cell in cells.cells:
        evidence = Evidence(sheet=cell.sheet, address=cell.address)
        text = re.sub(r"\s+", " ", normalize(cell.value)).strip()
        part = Part(text, evidence, 1.0, "sheet", cell.column * 100.0, cell.column * 100.0 + 90, cell.type == "number")
        rows.setdefault((cell.sheet, cell.row), []).append((GAP, part))
    for parts in rows.values():
        yield make_line(parts)


def _joined_with_below(lines: Sequence[Line], index: int) -> Iterator[Line]:
    """For a row of headings without digits, each heading with the value under it, as a line of its own."""
    line = lines[index]
    if index + 1 >= len(lines) or re.search(r"\d{2}", line.text) or len(line.groups) < 2:
        return
    below = lines[index + 1]
    for start, end in line.groups:
        left, right = line.extent(start, end)
        for other_start, other_end in below.groups:
            other_left, other_right = below.extent(other_start, other_end)
            if other_left <= right + 3 and other_right >= left - 3:
                yield make_line([*_cut(line, start, end), *_cut(below, other_start, other_end, gap=True)], made=True)
                break


def _cut(line: Line, start: int, end: int, *, gap: bool = False) -> list[tuple[str, Part]]:
    used = [part for part, (left, right) in zip(line.parts, line.spans, strict=True) if left < end and right > start]
    return [(GAP if gap and index == 0 else " ", part) for index, part in enumerate(used)]
