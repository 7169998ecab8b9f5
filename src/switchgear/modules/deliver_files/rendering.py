"""An invoice as JSON and as CSV. The forms are described in docs/reference; fields are only ever added."""

import csv
import io
import json
import re
from decimal import Decimal
from typing import Any, Final

from switchgear.invoice.types import Fact, Invoice, Line, ReviewDecision, Verdict

#: Before signs that make a spreadsheet program read a cell as a formula; some programs end a cell at ; or a tab.
_FORMULA: Final = re.compile(r"^(?=[=+\-@\t\r\n])|(?<=[;\t])(?=\s*[=+\-@])")
CSV_COLUMNS: Final = (
    "document_id", "type", "number", "issue_date", "due_date", "currency", "seller_name", "seller_vat_id",
    "buyer_name", "buyer_vat_id", "iban", "payment_reference", "net_total", "tax_total", "gross_total", "prepaid",
    "payable", "line_number", "line_description", "line_quantity", "line_unit", "line_net_price", "line_vat_rate",
    "line_net_amount",
)  # fmt: skip


def render_json(invoice: Invoice, verdict: Verdict, decision: ReviewDecision, document_id: str) -> bytes:
    """The invoice with every value's confidence, source and evidence, and what validation and review said."""
    content: dict[str, Any] = {
        "document_id": document_id,
        "invoice": invoice.model_dump(mode="json", exclude_none=True),
        "verdict": verdict.model_dump(mode="json"),
        "decision": decision.model_dump(mode="json"),
    }
    return (json.dumps(content, ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode()


def render_csv(invoice: Invoice, document_id: str) -> bytes:
    """One row per invoice line, the header fields repeated (one row when there is no line); UTF-8, comma, CRLF."""
    header = _header(invoice, document_id)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, CSV_COLUMNS, restval="")
    writer.writeheader()
    for number, line in enumerate(invoice.lines, start=1):
        row = header | _line(line, number)
        writer.writerow({name: escape_cell(value) for name, value in row.items()})
    if not invoice.lines:
        writer.writerow({name: escape_cell(value) for name, value in header.items()})
    return buffer.getvalue().encode()


def escape_cell(value: Any) -> str:
    """The cell's text; what a spreadsheet would run as a formula gets an apostrophe in front. Amounts stay amounts."""
    if value is None:
        return ""
    text = f"{value:f}" if isinstance(value, Decimal) else str(value)
    if isinstance(value, Decimal | int):
        return text
    return _FORMULA.sub("'", text)


def _value(fact: Fact[Any] | None) -> Any:
    return None if fact is None else fact.value


def _header(invoice: Invoice, document_id: str) -> dict[str, Any]:
    totals = invoice.totals
    return {
        "document_id": document_id,
        "type": _value(invoice.type),
        "number": _value(invoice.number),
        "issue_date": _value(invoice.issue_date),
        "due_date": _value(invoice.due_date),
        "currency": _value(invoice.currency),
        "seller_name": _value(invoice.seller.name),
        "seller_vat_id": _value(invoice.seller.vat_id),
        "buyer_name": _value(invoice.buyer.name),
        "buyer_vat_id": _value(invoice.buyer.vat_id),
        "iban": _value(invoice.payment.iban),
        "payment_reference": _value(invoice.payment.reference),
        "net_total": _value(totals.net),
        "tax_total": _value(totals.tax),
        "gross_total": _value(totals.gross),
        "prepaid": _value(totals.prepaid),
        "payable": _value(totals.payable),
    }


def _line(line: Line, number: int) -> dict[str, Any]:
    return {
        "line_number": number,
        "line_description": _value(line.description),
        "line_quantity": _value(line.quantity),
        "line_unit": _value(line.unit),
        "line_net_price": _value(line.net_price),
        "line_vat_rate": _value(line.vat_rate),
        "line_net_amount": _value(line.net_amount),
    }
