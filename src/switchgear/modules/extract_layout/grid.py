"""Words and cells as one plane of tokens in rows, and the search for values beside and below labels."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

from switchgear.invoice.types import Cell, Cells, Evidence, Fact, Page, Pages
from switchgear.modules.extract_layout.labels import norm

MODULE_ID: Final = "extract-layout"
_LONGEST_LABEL: Final = 7
_CELL_WIDTH: Final = 100.0
_CELL_HEIGHT: Final = 10.0
#: Where a word holds a label and its value: after a colon, a number sign, an equals sign.
_GLUED: Final = re.compile(r"(?<=[:#=])(?=[^\s:#=/])|(?<=[^\W\d])(?=:[^\s/])")


@dataclass(frozen=True, slots=True)
class Token:
    """One word with its place; a word of a cell has the cell, its box is made up."""

    text: str
    x0: float
    top: float
    x1: float
    bottom: float
    page: int
    confidence: float = 1.0
    source: Literal["text", "ocr", "sheet"] = "text"
    cell: Cell | None = None

    @property
    def norm(self) -> str:
        """Letters and digits for comparing."""
        return norm(self.text)


@dataclass(frozen=True)
class Row:
    """One line of tokens from left to right."""

    tokens: tuple[Token, ...]
    page: int

    @property
    def text(self) -> str:
        """The whole line."""
        return " ".join(token.text for token in self.tokens)

    @cached_property
    def norms(self) -> tuple[str, ...]:
        """Normal form of each token."""
        return tuple(token.norm for token in self.tokens)

    @cached_property
    def segments(self) -> tuple[tuple[int, int], ...]:
        """Start and end of each group of tokens without a wide gap; each cell is one."""
        groups: list[tuple[int, int]] = []
        start = 0
        for index in range(1, len(self.tokens) + 1):
            if index == len(self.tokens) or is_gap(self.tokens[index - 1], self.tokens[index]):
                groups.append((start, index))
                start = index
        return tuple(groups)

    def segment_of(self, index: int) -> tuple[int, int]:
        """The group that the token at *index* belongs to."""
        return next(group for group in self.segments if group[0] <= index < group[1])

    @property
    def top(self) -> float:
        """Upper edge of the first token."""
        return self.tokens[0].top


def is_gap(left: Token, right: Token) -> bool:
    """Whether two neighbours belong to different groups: a wide space, or another cell."""
    if left.cell is not None or right.cell is not None:
        return left.cell is not right.cell
    # boxes of recognised words are tight: their height is less than the size of the face
    factor = 1.4 if left.source == "ocr" else 0.9
    return right.x0 - left.x1 > max(6.0, factor * max(left.bottom - left.top, right.bottom - right.top))


@dataclass(frozen=True, slots=True)
class Hit:
    """A label: the fields it may stand for, where it is."""

    fields: tuple[str, ...]
    row: int
    start: int
    end: int


# --- making rows ----------------------------------------------------------------------------------------------------


def rows_of_pages(pages: Pages | None, scanned: Pages | None) -> list[Row]:
    """All lines of the document; a page without words of its own is taken from the recognised ones."""
    recognised = {page.number: page for page in scanned.pages} if scanned is not None else {}
    own = {page.number: page for page in pages.pages} if pages is not None else {}
    rows: list[Row] = []
    for number in sorted(own.keys() | recognised.keys()):
        page, source = own.get(number), "text"
        if (page is None or not page.words) and number in recognised:
            page, source = recognised[number], "ocr"
        if page is not None:
            rows += _rows_of_page(page, source)
    return rows


def _rows_of_page(page: Page, source: Any) -> Iterator[Row]:
    for line in page.lines():
        tokens: list[Token] = []
        for word in line:
            parts = [part for part in _GLUED.split(word.text) if part]
            width = (word.x1 - word.x0) / max(1, len(word.text))
            left = word.x0
            for part in parts:
                right = left + width * len(part)
                tokens.append(Token(part, left, word.top, right, word.bottom, page.number, word.confidence, source))
                left = right
        if tokens:
            yield Row(tuple(tokens), page.number)


def rows_of_sheet(cells: Cells, sheet: str) -> list[Row]:
    """The rows of one sheet, each cell split into its words."""
    by_row: dict[int, list[Token]] = {}
    for cell in cells.cells:
        if cell.sheet != sheet:
            continue
        left, top = cell.column * _CELL_WIDTH, cell.row * _CELL_HEIGHT
        for part in [piece for word in cell.value.split() for piece in _GLUED.split(word) if piece]:
            token = Token(part, left, top, left + 1, top + 8, 1, 1.0, "sheet", cell)
            by_row.setdefault(cell.row, []).append(token)
            left += 1
    return [Row(tuple(by_row[number]), 1) for number in sorted(by_row)]


# --- labels ---------------------------------------------------------------------------------------------------------


def find_hits(rows: Sequence[Row], index: Mapping[str, tuple[str, ...]]) -> list[Hit]:
    """Every label in the document; of overlapping ones the longest, so that "Order date" is no "date"."""
    hits: list[Hit] = []
    for number, row in enumerate(rows):
        position = 0
        while position < len(row.tokens):
            found = _longest(row, position, index)
            if found is None:
                position += 1
            else:
                hits.append(Hit(found[1], number, position, found[0]))
                position = found[0]
    return hits


def _longest(row: Row, start: int, index: Mapping[str, tuple[str, ...]]) -> tuple[int, tuple[str, ...]] | None:
    if not row.norms[start]:
        return None
    best: tuple[int, tuple[str, ...]] | None = None
    joined = ""
    limit = row.segment_of(start)[1]
    for end in range(start, min(limit, start + _LONGEST_LABEL)):
        joined += row.norms[end]
        known = joined if joined in index else joined.rstrip("#")
        if known in index and row.norms[end]:
            best = (end + 1, index[known])
        if row.tokens[end].text.endswith(":"):
            break
    return best


def right_of(rows: Sequence[Row], hits_in_row: Sequence[Hit], hit: Hit) -> list[Token]:
    """The tokens of the same line after the label, up to the next label that begins a group or follows a value."""
    row = rows[hit.row]
    end = len(row.tokens)
    for other in hits_in_row:
        if other.start >= hit.end and (other.start, other.start) != (hit.end, hit.start):
            begins_group = row.segment_of(other.start)[0] == other.start
            if begins_group:
                end = min(end, other.start)
    return list(row.tokens[hit.end : end])


def below(rows: Sequence[Row], hit: Hit, most: int = 2) -> list[list[Token]]:
    """Up to *most* groups under the label on the same page, nearest first; each is a list of tokens."""
    row = rows[hit.row]
    first, last = row.tokens[hit.start], row.tokens[hit.end - 1]
    height = max(4.0, first.bottom - first.top)
    found: list[list[Token]] = []
    previous = first.bottom
    for number in range(hit.row + 1, min(len(rows), hit.row + 1 + 4 * most)):
        other = rows[number]
        if other.page != row.page or other.top - previous > 2.5 * height or len(found) >= most:
            break
        for start, end in other.segments:
            left, right = other.tokens[start].x0, other.tokens[end - 1].x1
            if first.cell is not None:
                overlaps = other.tokens[start].cell is not None and _same_column(first, other.tokens[start])
            else:
                overlaps = left <= last.x1 + 3 and right >= first.x0 - 3
            if overlaps:
                found.append(list(other.tokens[start:end]))
                previous = other.tokens[start].bottom
                break
    return found


def _same_column(first: Token, second: Token) -> bool:
    return first.cell is not None and second.cell is not None and first.cell.column == second.cell.column


# --- facts ----------------------------------------------------------------------------------------------------------


def fact(value: Any, tokens: Sequence[Token], confidence: float) -> Fact[Any]:
    """A fact that points to *tokens*; a token that OCR was unsure of lowers the confidence."""
    first = tokens[0]
    text = " ".join(token.text for token in tokens)[:200]
    if first.cell is not None:
        evidence = Evidence(sheet=first.cell.sheet, address=first.cell.address, text=text)
    else:
        same = [token for token in tokens if token.page == first.page]
        box = (
            min(token.x0 for token in same),
            min(token.top for token in same),
            max(token.x1 for token in same),
            max(token.bottom for token in same),
        )
        evidence = Evidence(page=first.page, box=box, text=text)
    least = min(token.confidence for token in tokens)
    return Fact[Any](
        value=value,
        confidence=round(max(0.0, min(1.0, confidence * least)), 3),
        source=first.source,
        evidence=evidence,
        module=MODULE_ID,
    )
