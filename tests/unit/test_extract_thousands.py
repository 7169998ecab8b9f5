"""Amounts with three digits behind their only mark: thousands, unless the document shows otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from factories.extraction import extracted, invoice_page, outcome, sums
from switchgear.invoice.testing import cells, pages
from switchgear.modules.extract_layout import ExtractLayout
from switchgear.modules.extract_text import ExtractText

BOTH = pytest.mark.parametrize("module", [ExtractLayout, ExtractText])
ENGLISH = {
    "head": "Acme Ltd\n1 High Street\nLondon\nVAT No: GB123456789",
    "buyer": "Bill to:\nCustomer Ltd\n2 Low Street\nLeeds",
    "title": "INVOICE",
    "number": "Invoice No: 2024-17",
    "date": "Invoice Date: 2024-05-14",
    "foot": "IBAN: GB82WEST12345698765432",
}


def english(net: str, tax: str, gross: str, currency: str = "USD") -> str:
    totals = f"Subtotal   {net} {currency}\nVAT   {tax} {currency}\nTotal   {gross} {currency}"
    return invoice_page(**ENGLISH, totals=totals)


@BOTH
@pytest.mark.parametrize(
    ("net", "tax", "gross", "value"),
    [
        pytest.param("10,000", "2,000", "12,000", 12000, id="all with a group"),
        pytest.param("1,000", "200", "1,200", 1200, id="the tax without"),
        pytest.param("1,234", "0", "1,234", 1234, id="no tax"),
        pytest.param("1,000", "200.50", "1,200.50", 1200.5, id="cents beside it"),
    ],
)
def test_thousands_on_an_english_page(module: Any, net: str, tax: str, gross: str, value: float) -> None:
    invoice, why = outcome(extracted(pages(english(net, tax, gross)), module))
    assert why == ""
    assert invoice.totals.gross is not None
    assert float(invoice.totals.gross.value) == value


@BOTH
def test_thousands_on_a_german_page(module: Any) -> None:
    invoice, why = outcome(extracted(pages(invoice_page(totals=sums("1.000", "190", "1.190"))), module))
    assert why == ""
    assert invoice.totals.gross is not None
    assert int(invoice.totals.gross.value) == 1190


@BOTH
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(invoice_page(totals=sums("1,000", "190", "1,190")), id="a German page with the other mark"),
        pytest.param(english("1.000", "200", "1.200"), id="an English page with the other mark"),
        pytest.param(english("1,000", "200", "1,200", "KWD"), id="a currency with three decimals"),
        pytest.param(
            invoice_page(totals=sums("1,000", "0,190", "1,190")), id="a page that uses the mark for decimals elsewhere"
        ),
    ],
)
def test_what_stays_ambiguous_is_unsure(module: Any, page: str) -> None:
    assert "the gross total is unsure" in outcome(extracted(pages(page), module))[1]


def test_three_decimals_are_read_where_the_currency_has_them_and_the_page_shows_them() -> None:
    invoice, why = outcome(extracted(pages(english("1.234", "0.235", "1.469", "KWD"))))
    assert why == ""
    assert str(invoice.totals.gross and invoice.totals.gross.value) == "1.469"


def test_a_quantity_may_have_three_decimals() -> None:
    page = invoice_page(
        title="Rechnung\n\nBeschreibung   Menge   Einzelpreis   Betrag\nKabel   1,500   2,00   3,00",
        totals=sums("3,00", "0,57", "3,57"),
    )
    (line,) = extracted(pages(page)).fields.lines
    assert str(line.quantity and line.quantity.value) == "1.500"


def flat(net: str, tax: str, gross: str, currency: str = "USD") -> dict[str, str]:
    headings = ("Invoice Number", "Issue Date", "Seller", "Currency", "Quantity", "Net Total", "VAT Total",
                "Grand Total")  # fmt: skip
    values = ("S5", "2024-05-01", "Foo Ltd", currency, "1.500", net, tax, gross)
    rows = zip("ABCDEFGH", headings, values, strict=True)
    return {f"{column}{line}": text for column, *pair in rows for line, text in enumerate(pair, start=1)}


@BOTH
def test_thousands_in_a_sheet_of_text(module: Any) -> None:
    invoice, why = outcome(extracted(cells(flat("10,000", "2,000", "12,000")), module))
    assert why == ""
    assert invoice.totals.gross is not None
    assert int(invoice.totals.gross.value) == 12000


def test_a_number_of_a_sheet_is_taken_as_it_is() -> None:
    fields = extracted(cells(flat("1.125", "0.225", "1.350"))).fields
    assert str(fields.totals.gross and fields.totals.gross.value) == "1.350"
