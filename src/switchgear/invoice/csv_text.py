"""Text files as tables: which encoding, which delimiter, which rows. Source: INVOICES.md (tabulate)."""

import csv
import io
from collections import Counter
from typing import Final

#: Tried in this order; a text that fits several columns with two of them is taken with the one that fits most rows.
_DELIMITERS: Final = (";", "\t", ",", "|")
#: Prose has commas too: a comma must make the same columns nearly everywhere.
_LEAST_SHARE: Final = {";": 0.5, "\t": 0.5, ",": 0.9, "|": 0.9}
_SAMPLE_ROWS: Final = 200
_CONTROL: Final = frozenset(chr(code) for code in range(32)) - frozenset("\t\n\r\f")


def decode_text(data: bytes) -> str | None:
    """Decode as UTF-8, UTF-16 with its mark, or Windows-1252; None when it is no text."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings: tuple[str, ...] = ("utf-16",)
    else:
        encodings = ("utf-8-sig", "cp1252", "latin-1")
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return None if _CONTROL.intersection(text[:100_000]) else text
    return None


def delimiter_of(text: str) -> str | None:
    """Find the delimiter of a table with at least two columns and two rows, or None when it is no table."""
    best: tuple[float, int, str] | None = None
    for delimiter in _DELIMITERS:
        counts = Counter(len(row) for row in _sample(text, delimiter) if any(field.strip() for field in row))
        total = sum(counts.values())
        if total < 2:
            continue
        columns = max(counts, key=lambda width: (counts[width] if width > 1 else 0, width))
        share = counts[columns] / total
        if columns < 2 or share < _LEAST_SHARE[delimiter] or (delimiter == "," and columns == 2 and total < 4):
            continue
        if best is None or (share, columns) > best[:2]:
            best = (share, columns, delimiter)
    return best[2] if best else None


def _sample(text: str, delimiter: str) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text[:200_000]), delimiter=delimiter):
            rows.append(row)
            if len(rows) >= _SAMPLE_ROWS:
                break
    except csv.Error:
        return []
    return rows


def rows_of(text: str, delimiter: str) -> list[list[str]]:
    """Split the whole text into rows of fields.

    Raises:
        csv.Error: A field is longer than the reader's limit or has a stray line end.
    """
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
