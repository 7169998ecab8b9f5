"""Turning the values of a sheet into cells as a person would read them. Source: INVOICES.md (tabulate)."""

import csv
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field

from switchgear.invoice.csv_text import decode_text, delimiter_of, rows_of
from switchgear.invoice.types import Cell, Cells, Kind, Media
from switchgear.sdk import Blob, InputRejected, ModuleSettings, NotApplicable

CellType = Literal["text", "number", "date", "boolean"]
#: Name of the only sheet of a text file.
CSV_SHEET = "csv"
#: Longest value of one cell, in signs; the rest is cut off.
_LONGEST = 32_767


class SheetSettings(ModuleSettings):
    """Bounds of a sheet."""

    max_cells: int = Field(100_000, ge=1, le=1_000_000, description="A document with more cells is rejected.")


def address(row: int, column: int) -> str:
    """Name a place such as B7; row and column count from 1."""
    letters = ""
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return f"{letters}{row}"


def cell(sheet: str, row: int, column: int, value: Any) -> Cell | None:
    """Make a cell, or None when it is empty."""
    kind, text = _as_read(value)
    text = text.replace("\0", "").strip()[:_LONGEST]
    if not text:
        return None
    return Cell(sheet=sheet, row=row, column=column, address=address(row, column), type=kind, value=text)


def _as_read(value: Any) -> tuple[CellType, str]:
    if value is None:
        return "text", ""
    if isinstance(value, bool):
        return "boolean", "true" if value else "false"
    if isinstance(value, int | float | Decimal):
        return "number", plain_number(value)
    if isinstance(value, datetime):
        midnight = value.time() == time(0)
        return "date", value.date().isoformat() if midnight else value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, date):
        return "date", value.isoformat()
    if isinstance(value, time | timedelta):
        return "text", str(value)
    return "text", str(value)


def plain_number(value: float | Decimal) -> str:
    """Write a number in plain decimal notation: 20 for 20.0, 0.1 for 0.1, never an exponent.

    Sheets store binary fractions; fifteen digits are what a spreadsheet shows.
    """
    number = value if isinstance(value, Decimal) else Decimal(f"{value:.15g}" if isinstance(value, float) else value)
    if not number.is_finite():
        return str(value)
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def sheet_bytes(blob: Blob, kind: Kind) -> bytes:
    """Return the document; raises `NotApplicable` when it is no sheet."""
    if kind.media is not Media.SHEET:
        raise NotApplicable(f"a document of kind {kind.media} has no cells")
    with blob.open() as stream:
        return stream.read()


def not_intact() -> InputRejected:
    """The refusal of a workbook that the library cannot make sense of."""
    return InputRejected("corrupt", "The sheet cannot be opened. Send an intact copy.")


def cells_of(sheets: Iterable[tuple[str, Iterable[Iterable[Any]]]], most: int) -> Cells:
    """Make cells from names of sheets and their rows of values; empty ones are left out.

    Raises:
        InputRejected: `cells` when there are more than *most*.
    """
    names: list[str] = []
    found: list[Cell] = []
    for name, rows in sheets:
        names.append(name)
        for made in _filled(name, rows):
            if len(found) == most:
                raise InputRejected("cells", f"The sheet has more than {most} cells, the limit.")
            found.append(made)
    return Cells(cells=tuple(found), sheets=tuple(names))


def _filled(sheet: str, rows: Iterable[Iterable[Any]]) -> Iterator[Cell]:
    for row, values in enumerate(rows, start=1):
        for column, value in enumerate(values, start=1):
            if made := cell(sheet, row, column, value):
                yield made


def csv_cells(data: bytes, most: int) -> Cells:
    """Read a text file with columns; values stay as written, since only the reader knows the language.

    Raises:
        InputRejected: `corrupt` when it is no table, `cells` when it is too large.
    """
    text = decode_text(data)
    delimiter = delimiter_of(text) if text is not None else None
    if text is None or delimiter is None:
        raise InputRejected("corrupt", "The text file has no columns. Save it as CSV and send it again.")
    try:
        rows = rows_of(text, delimiter)
    except csv.Error as error:
        raise InputRejected("corrupt", "The CSV has a field that is too long or not closed.") from error
    return cells_of([(CSV_SHEET, rows)], most)
