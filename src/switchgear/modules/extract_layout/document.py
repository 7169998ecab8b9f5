"""A document prepared for the search: rows, labels, numbers, and how it writes numbers and dates."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property

from switchgear.invoice.amounts import (
    NUMBER,
    DecimalMark,
    amount_of,
    beside_currency,
    document_mark,
    month_first,
    normalize,
)
from switchgear.modules.extract_layout.grid import Hit, Row, Token, below, find_hits, right_of
from switchgear.modules.extract_layout.labels import label_index


@dataclass(frozen=True, slots=True)
class Amount:
    """A number in a row; `money` when it is written like an amount (two decimals, or a currency beside it)."""

    value: Decimal
    tokens: tuple[Token, ...]
    row: int
    start: int
    end: int
    money: bool


@dataclass(frozen=True)
class Document:
    """Everything the field searches need; made once."""

    rows: Sequence[Row]
    hits: Sequence[Hit]
    languages: tuple[str, ...]
    mark: DecimalMark
    #: The mark that its own numbers show; None when they do not.
    shown_mark: DecimalMark | None
    american: bool
    hits_by_row: dict[int, list[Hit]] = field(default_factory=dict)
    amounts_by_row: dict[int, list[Amount]] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Sequence[Row], languages: tuple[str, ...]) -> "Document":
        """Find labels and numbers in *rows*; a document that does not show its decimal mark has its language's."""
        texts = [row.text for row in rows]
        hits = find_hits(rows, label_index(languages))
        mark, shown = document_mark(texts, languages[0])
        document = cls(rows, hits, languages, mark, shown, month_first(texts))
        for hit in hits:
            document.hits_by_row.setdefault(hit.row, []).append(hit)
        for number, row in enumerate(rows):
            document.amounts_by_row[number] = list(_amounts(row, number, mark, shown))
        return document

    def of_field(self, *names: str) -> Iterator[tuple[str, Hit]]:
        """Hits of the fields *names*, in document order, with the field that they stand for."""
        for hit in self.hits:
            for name in names:
                if name in hit.fields:
                    yield name, hit
                    break

    def right(self, hit: Hit) -> list[Token]:
        """Tokens beside the label; see `right_of`."""
        return right_of(self.rows, self.hits_by_row[hit.row], hit)

    def below(self, hit: Hit, most: int = 2) -> list[list[Token]]:
        """Groups of tokens under the label; see `below`."""
        return below(self.rows, hit, most)

    @cached_property
    def texts(self) -> list[str]:
        """The rows as text; what stands apart is two spaces apart."""
        return [
            "  ".join(" ".join(token.text for token in row.tokens[start:end]) for start, end in row.segments)
            for row in self.rows
        ]

    def amounts(self) -> Iterator[Amount]:
        """Every number of the document, row by row."""
        for amounts in self.amounts_by_row.values():
            yield from amounts


def _amounts(row: Row, number: int, mark: DecimalMark, shown: DecimalMark | None) -> Iterator[Amount]:
    for start, end in row.segments:
        cell = row.tokens[start].cell
        if cell is not None and cell.type in ("date", "boolean"):
            continue
        text, offsets = _joined(row, start, end)
        for match in NUMBER.finditer(text):
            if re.match(r"\s?%", text[match.end() :]):
                continue
            exact = cell is not None and cell.type == "number"
            beside = beside_currency(text, match.start(), match.end())
            value = amount_of(match, "." if exact else shown if beside else mark)
            if value is None:
                continue
            covered = [
                index for index, (left, right) in offsets.items() if left < match.end() and right > match.start()
            ]
            exponent = value.as_tuple().exponent
            money = exact or exponent == -2 or ",-" in match[0] or beside
            yield Amount(value, tuple(row.tokens[i] for i in covered), number, covered[0], covered[-1] + 1, money)


def _joined(row: Row, start: int, end: int) -> tuple[str, dict[int, tuple[int, int]]]:
    """The text of a group with each token's span; words that do not touch are two spaces apart (no digit grouping)."""
    text, offsets = "", {}
    for index in range(start, end):
        token = row.tokens[index]
        if index > start:
            gap = token.x0 - row.tokens[index - 1].x1
            text += " " if token.cell is not None or gap < 0.4 * (token.bottom - token.top) else "  "
        offsets[index] = (len(text), len(text) + len(token.text))
        text += normalize(token.text)
    return text, offsets
