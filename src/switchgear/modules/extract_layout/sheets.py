"""Sheets whose first row names the fields and whose further rows repeat them, one row for each invoice line."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from switchgear.invoice import rules
from switchgear.invoice.amounts import parse_amount, parse_currency, parse_date
from switchgear.invoice.types import Cell, Fact, InvoiceFields, Line, Party, Payment, Totals
from switchgear.modules.extract_layout.document import Document
from switchgear.modules.extract_layout.grid import Row, Token, fact
from switchgear.modules.extract_layout.labels import column_index, label_index
from switchgear.sdk import InputRejected

_FEWEST_FIELDS: Final = 4
_HEADER_FIELDS: Final = (
    "number", "issue_date", "due_date", "currency", "net", "tax", "gross", "seller", "buyer", "vat_id", "buyer_vat_id",
    "iban",
)  # fmt: skip
_WEAK: Final = {"number_weak": "number", "issue_date_weak": "issue_date", "gross_weak": "gross", "net_weak": "net"}
_LINE_COLUMNS: Final = ("description", "quantity", "net_price", "net_amount", "vat_rate", "unit")
_MONEY: Final = frozenset({"net", "tax", "gross", "net_amount"})

Columns = Mapping[str, int]


def read_flat(document: Document) -> InvoiceFields | None:
    """Read a flat table; None when no row is such a heading.

    Raises:
        InputRejected: `several_invoices` when rows of another invoice follow: one document is one invoice.
    """
    for number, row in enumerate(document.rows):
        if not row.tokens or row.tokens[0].cell is None:
            return None
        header, lines = _columns(row, document.languages)
        if len(header) >= _FEWEST_FIELDS and "number" in header and number + 1 < len(document.rows):
            body = [_cells(other) for other in document.rows[number + 1 :]]
            return _read(document, body, header, lines)
    return None


def _cells(row: Row) -> dict[int, Cell]:
    return {token.cell.column: token.cell for token in row.tokens if token.cell is not None}


def _columns(row: Row, languages: tuple[str, ...]) -> tuple[Columns, Columns]:
    header: dict[str, int] = {}
    lines: dict[str, int] = {}
    index, columns = label_index(languages), column_index()
    for start, end in row.segments:
        cell = row.tokens[start].cell
        if cell is None:
            continue
        joined = "".join(row.norms[start:end])
        fields = [_WEAK.get(name, name) for name in index.get(joined, ())]
        # an id of the seller and an amount of tax share the word VAT; a column of ids says so
        chosen = next((name for name in _prefer_tax(fields) if name in _HEADER_FIELDS and name not in header), None)
        column = columns.get(joined)
        if column in _LINE_COLUMNS and (chosen is None or column not in ("vat_rate", "net_amount")):
            lines.setdefault(str(column), cell.column)
        elif chosen is not None:
            header[chosen] = cell.column
        elif column in _LINE_COLUMNS:
            lines.setdefault(str(column), cell.column)
    return header, lines


def _prefer_tax(fields: Sequence[str]) -> list[str]:
    return sorted(fields, key=lambda name: name == "vat_id" and "tax" in fields)


def _read(document: Document, body: Sequence[dict[int, Cell]], header: Columns, lines: Columns) -> InvoiceFields | None:
    first = next((cells for cells in body if header["number"] in cells), None)
    if first is None:
        return None
    number = first[header["number"]].value
    others = dict.fromkeys(
        cells[header["number"]].value
        for cells in body
        if header["number"] in cells and len(cells.keys() & set(header.values())) >= _FEWEST_FIELDS
    )
    if others.keys() - {number}:
        raise several_invoices([number, *(other for other in others if other != number)])
    rows = [cells for cells in body if cells.get(header["number"]) is None or cells[header["number"]].value == number]
    whole = [cells for cells in rows if len(cells.keys() & set(header.values())) >= _FEWEST_FIELDS]
    refuse_other_content([_head(_Reader(document, cells, header)) for cells in whole])
    head = _head(_Reader(document, first, header))
    return head.model_copy(
        update={"lines": tuple(_line(document, c, lines) for c in rows if any(n in c for n in lines.values()))}
    )


def _head(get: "_Reader") -> InvoiceFields:
    return InvoiceFields(
        number=get.text("number"),
        issue_date=get.date("issue_date"),
        due_date=get.date("due_date"),
        currency=get.currency("currency"),
        seller=Party(name=get.text("seller"), vat_id=get.text("vat_id")),
        buyer=Party(name=get.text("buyer"), vat_id=get.text("buyer_vat_id")),
        payment=Payment(iban=get.text("iban")),
        totals=Totals(net=get.amount("net"), tax=get.amount("tax"), gross=get.amount("gross")),
    )


def _line(document: Document, cells: dict[int, Cell], lines: Columns) -> Line:
    get = _Reader(document, cells, lines)
    return Line(
        description=get.text("description"),
        quantity=get.amount("quantity"),
        unit=get.text("unit"),
        net_price=get.amount("net_price"),
        vat_rate=get.amount("vat_rate"),
        net_amount=get.amount("net_amount"),
    )


def several_invoices(numbers: Sequence[str]) -> InputRejected:
    """What is raised for a sheet or workbook with more than one invoice."""
    named = ", ".join(number[:40] for number in numbers[:5])
    return InputRejected(
        "several_invoices", f"The file holds {len(numbers)} invoices: {named}. Send a file for each of them."
    )


def refuse_other_content(invoices: Sequence[InvoiceFields]) -> None:
    """Rows or sheets with one number are one invoice only while they state the same.

    Raises:
        InputRejected: `several_invoices` when they differ in the seller, the currency or the total.
    """
    for name in ("seller name", "currency", "gross total"):
        facts = [rules.critical_facts(fields)[name] for fields in invoices]
        values = list(dict.fromkeys(str(fact.value)[:40] for fact in facts if fact is not None))
        if len(values) > 1:
            number = next((str(fields.number.value) for fields in invoices if fields.number is not None), "")
            raise InputRejected(
                "several_invoices",
                f"The file holds more than one invoice {number[:40]} or contradicts itself; "
                f"{name.removesuffix(' name')}: {', '.join(values[:5])}. Send a file for each invoice, "
                "with what concerns all of it the same in each row.",
            )


class _Reader:
    """Reads the cells of one row by field name; a cell that does not fit its field gives nothing."""

    def __init__(self, document: Document, cells: Mapping[int, Cell], columns: Columns) -> None:
        self._document = document
        self._cells = cells
        self._columns = columns

    def _cell(self, name: str) -> Cell | None:
        column = self._columns.get(name)
        return None if column is None else self._cells.get(column)

    def text(self, name: str) -> Fact[Any] | None:
        """The cell as text."""
        cell = self._cell(name)
        return None if cell is None else _fact(cell.value.strip(), cell)

    def date(self, name: str) -> Fact[Any] | None:
        """The cell as a date."""
        cell = self._cell(name)
        if cell is None:
            return None
        value = parse_date(cell.value, american=self._document.american, languages=self._document.languages)
        return None if value is None else _fact(value, cell)

    def amount(self, name: str) -> Fact[Any] | None:
        """The cell as a number; totals have thousands where the sheet does not show its decimal mark."""
        cell = self._cell(name)
        if cell is None:
            return None
        mark = self._document.shown_mark if name in _MONEY else self._document.mark
        value: Decimal | None = parse_amount(cell.value, "." if cell.type == "number" else mark)
        return None if value is None else _fact(value, cell)

    def currency(self, name: str) -> Fact[Any] | None:
        """The cell as a currency."""
        cell = self._cell(name)
        code = None if cell is None else parse_currency(cell.value)
        return None if cell is None or code is None else _fact(code, cell)


def _fact(value: Any, cell: Cell) -> Fact[Any]:
    return fact(value, [Token(cell.value, 0, 0, 0, 0, 1, 1.0, "sheet", cell)], 0.98)
