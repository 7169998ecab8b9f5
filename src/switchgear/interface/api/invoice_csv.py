"""A result as a table: one row for each line, header fields repeated; no cell is read as a formula. Source: I31.

Works on the result's JSON, so that results of any age can be shown. Columns are those of the delivered files.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from typing import Any, Final

#: Column -> JSON path in the result, of header and of line.
_HEADER: Final[Mapping[str, tuple[str, ...]]] = {
    "type": ("type",),
    "number": ("number",),
    "issue_date": ("issue_date",),
    "due_date": ("due_date",),
    "currency": ("currency",),
    "seller_name": ("seller", "name"),
    "seller_vat_id": ("seller", "vat_id"),
    "buyer_name": ("buyer", "name"),
    "buyer_vat_id": ("buyer", "vat_id"),
    "iban": ("payment", "iban"),
    "payment_reference": ("payment", "reference"),
    "net_total": ("totals", "net"),
    "tax_total": ("totals", "tax"),
    "gross_total": ("totals", "gross"),
    "prepaid": ("totals", "prepaid"),
    "payable": ("totals", "payable"),
}
_LINE: Final[Mapping[str, tuple[str, ...]]] = {
    "line_description": ("description",),
    "line_quantity": ("quantity",),
    "line_unit": ("unit",),
    "line_net_price": ("net_price",),
    "line_vat_rate": ("vat_rate",),
    "line_net_amount": ("net_amount",),
}
#: Columns that hold amounts: a leading minus is a sign there, not a formula.
_AMOUNTS: Final = frozenset(
    {"net_total", "tax_total", "gross_total", "prepaid", "payable"}
    | {"line_quantity", "line_net_price", "line_vat_rate", "line_net_amount"}
)
COLUMNS: Final = ("document_id", *_HEADER, "line_number", *_LINE)
#: Before signs that make a spreadsheet program read a cell as a formula; some programs end a cell at ; or a tab.
_FORMULA: Final = re.compile(r"^(?=[=+\-@\t\r\n])|(?<=[;\t])(?=\s*[=+\-@])")


def as_csv(result: Any, document_id: str) -> bytes:
    """The result as CSV: UTF-8, comma, CRLF; one row when there is no line."""
    source = result if isinstance(result, Mapping) else {}
    header = {"document_id": document_id, **_cells(source, _HEADER)}
    lines = [line for line in source.get("lines") or () if isinstance(line, Mapping)]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, restval="")
    writer.writeheader()
    for number, line in enumerate(lines, start=1):
        writer.writerow({**header, "line_number": str(number), **_cells(line, _LINE)})
    if not lines:
        writer.writerow(header)
    return buffer.getvalue().encode()


def _cells(source: Mapping[str, Any], columns: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {name: _cell(_value(source, path), is_amount=name in _AMOUNTS) for name, path in columns.items()}


def _value(source: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = source
    for key in (*path, "value"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _cell(value: Any, *, is_amount: bool) -> str:
    text = "" if value is None else str(value)
    return text if is_amount and _is_number(text) else _FORMULA.sub("'", text)


def _is_number(text: str) -> bool:
    digits = text.removeprefix("-").replace(".", "", 1)
    return digits.isascii() and digits.isdigit()
