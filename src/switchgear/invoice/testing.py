"""Small builders of the pipeline's values, for tests of modules.

`pages("Invoice #A17")` and `cells({"A1": "Number"})` make inputs by hand, `sample_invoice()` a complete valid one.
Source: STYLE 3 and 4.
"""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from switchgear.invoice.types import (
    Address,
    Cell,
    Cells,
    Evidence,
    Fact,
    Invoice,
    InvoiceType,
    Kind,
    Line,
    Media,
    Page,
    Pages,
    Party,
    Payment,
    Source,
    Syntax,
    Totals,
    VatBreakdown,
    Verdict,
    Word,
)
from switchgear.sdk import Blob

#: A4 in points.
WIDTH, HEIGHT = 595.0, 842.0
_ADDRESS = re.compile(r"^([A-Z]+)(\d+)$")


def page(text: str, number: int = 1, *, scan: bool = False) -> Page:
    """Set *text* in a typewriter face on one A4 page: 6 points a sign, 14 points a line, from (50, 50)."""
    words: list[Word] = []
    for row, line in enumerate(text.splitlines()):
        top = 50.0 + 14 * row
        for match in re.finditer(r"\S+", line):
            x0, x1 = 50.0 + 6 * match.start(), 50.0 + 6 * match.end()
            words.append(Word(text=match.group(), x0=x0, top=top, x1=min(x1, WIDTH), bottom=top + 10))
    return Page(number=number, width=WIDTH, height=HEIGHT, words=tuple(words), scan=scan, blank=not words and not scan)


def pages(*texts: str) -> Pages:
    """One page of words for each text; columns are made with spaces."""
    return Pages(pages=tuple(page(text, number) for number, text in enumerate(texts, start=1)))


def cells(values: Mapping[str, str], sheet: str = "Sheet1") -> Cells:
    """Cells from `{"A1": "Number", "B1": "2024-001"}`; numbers and ISO dates get their type."""
    made: list[Cell] = []
    for address, value in values.items():
        match = _ADDRESS.match(address)
        if match is None:
            raise ValueError(f"{address!r} is not an address such as B7")
        column = 0
        for letter in match[1]:
            column = column * 26 + ord(letter) - 64
        kind = "number" if re.fullmatch(r"-?\d+(\.\d+)?", value) else "text"
        kind = "date" if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value) else kind
        made.append(
            Cell.model_validate(
                {
                    "sheet": sheet,
                    "row": int(match[2]),
                    "column": column,
                    "address": address,
                    "type": kind,
                    "value": value,
                }
            )
        )
    made.sort(key=lambda cell: (cell.row, cell.column))
    return Cells(cells=tuple(made), sheets=(sheet,))


def kind(media: Media = Media.PDF, **fields: Any) -> Kind:
    """A `Kind`; the media type follows from the medium."""
    types = {
        Media.PDF: "application/pdf",
        Media.XML: "application/xml",
        Media.IMAGE: "image/png",
        Media.SHEET: "text/csv",
        Media.EMAIL: "message/rfc822",
        Media.ZIP: "application/zip",
    }
    return Kind.model_validate({"media": media, "media_type": types[media], **fields})


def xml_kind(syntax: Syntax) -> Kind:
    """A `Kind` of an e-invoice XML."""
    return kind(Media.XML, syntax=syntax)


def blob(data: bytes | str | Path, name: str = "") -> Blob:
    """A document from bytes, text or a file."""
    if isinstance(data, Path):
        return Blob.from_bytes(data.read_bytes(), file_name=name or data.name)
    return Blob.from_bytes(data.encode() if isinstance(data, str) else data, file_name=name)


def fact(value: Any, source: Source = "xml", path: str = "/Invoice", confidence: float = 1.0) -> Fact[Any]:
    """A value with its evidence."""
    return Fact(value=value, source=source, confidence=confidence, evidence=Evidence(path=path), module="test")


def sample_line(number: str, name: str, quantity: str, price: str, net: str, rate: str = "19") -> Line:
    """One invoice line; amounts are decimal text."""
    return Line(
        id=number,
        description=fact(name),
        quantity=fact(Decimal(quantity)),
        unit=fact("C62"),
        net_price=fact(Decimal(price)),
        vat_rate=fact(Decimal(rate)),
        vat_category=fact("S"),
        net_amount=fact(Decimal(net)),
    )


def sample_vat(taxable: str, tax: str, rate: str = "19") -> VatBreakdown:
    """One group of the VAT breakdown; amounts are decimal text."""
    return VatBreakdown(
        category=fact("S"), rate=fact(Decimal(rate)), taxable=fact(Decimal(taxable)), tax=fact(Decimal(tax))
    )


def sample_invoice(**changes: Any) -> Invoice:
    """A complete and valid German invoice of 150.00 net, 28.50 VAT, 178.50 gross; *changes* replace fields."""
    fields: dict[str, Any] = {
        "type": fact(InvoiceType.INVOICE),
        "number": fact("2024-0017"),
        "issue_date": fact(date(2024, 3, 5)),
        "due_date": fact(date(2024, 4, 4)),
        "currency": fact("EUR"),
        "seller": Party(
            name=fact("Musterwerk GmbH"),
            legal_name=fact("Musterwerk GmbH"),
            vat_id=fact("DE136695976"),
            address=fact(Address(street="Werkstraße 1", city="Köln", postal_code="50667", country="DE")),
        ),
        "buyer": Party(
            name=fact("Kundin AG"),
            address=fact(Address(street="Am Markt 2", city="Bonn", postal_code="53111", country="DE")),
        ),
        "payment": Payment(iban=fact("DE89370400440532013000"), reference=fact("2024-0017")),
        "lines": (
            sample_line("1", "Trennblätter A4", "10", "5.00", "50.00"),
            sample_line("2", "Aktenschrank", "1", "100.00", "100.00"),
        ),
        "vat": (sample_vat("150.00", "28.50"),),
        "totals": Totals(
            lines=fact(Decimal("150.00")),
            net=fact(Decimal("150.00")),
            tax=fact(Decimal("28.50")),
            gross=fact(Decimal("178.50")),
            payable=fact(Decimal("178.50")),
        ),
    }
    return Invoice.model_validate({**fields, **changes})


def sample_verdict(status: str = "valid") -> Verdict:
    """A verdict of the native rules."""
    findings = [{"code": "BR-CO-15", "severity": "error", "message": "gross is not net + tax"}]
    return Verdict.model_validate(
        {
            "status": status,
            "findings": findings if status == "invalid" else [],
            "layers_run": ["arithmetic"],
            "layers_skipped": ["page"] if status == "incomplete" else [],
            "rule_set": "test 1",
        }
    )
