"""Dates such as 04/05/2024: day first, and unsure where the page may be American."""

from __future__ import annotations

from typing import Any

import pytest

from factories.extraction import extracted, invoice_page, outcome
from switchgear.invoice.testing import cells, pages
from switchgear.modules.extract_layout import ExtractLayout
from switchgear.modules.extract_text import ExtractText

BOTH = pytest.mark.parametrize("module", [ExtractLayout, ExtractText])

ENGLISH = {
    "head": "Acme Inc.\n1 High Street\nBoston, MA 02101\ninfo@acme.example",
    "buyer": "Bill to:\nCustomer Ltd",
    "title": "INVOICE",
    "number": "Invoice No: 2024-17",
    "foot": "",
}
USD = "Subtotal   100.00 USD\nTax   0.00 USD\nTotal   100.00 USD"


@BOTH
@pytest.mark.parametrize("day", ["04/05/2024", "4/5/2024", "04-05-2024"])
@pytest.mark.parametrize("totals", [USD, USD.replace(" USD", "").replace("   ", "   $")])
def test_an_ambiguous_date_on_a_page_with_american_signs_is_unsure(module: Any, day: str, totals: str) -> None:
    page = invoice_page(**ENGLISH, date=f"Invoice Date: {day}", totals=totals)
    invoice, why = outcome(extracted(pages(page), module))
    assert "the issue date is unsure (0.50, needed 0.60)" in why
    assert str(invoice.issue_date and invoice.issue_date.value) == "2024-05-04"


@BOTH
@pytest.mark.parametrize(
    ("day", "totals"),
    [
        pytest.param("04/05/2024", USD.replace("USD", "GBP"), id="pounds"),
        pytest.param("04/25/2024", USD, id="month first"),
        pytest.param("25/04/2024", USD, id="day first"),
        pytest.param("05/05/2024", USD, id="the same either way"),
        pytest.param("2024-05-04", USD, id="ISO"),
        pytest.param("04.05.2024", USD, id="dots"),
    ],
)
def test_other_dates_stay_sure(module: Any, day: str, totals: str) -> None:
    page = invoice_page(**ENGLISH, date=f"Invoice Date: {day}", totals=totals)
    assert outcome(extracted(pages(page), module))[1] == ""


def test_an_ambiguous_date_of_a_flat_sheet_in_dollars_is_unsure() -> None:
    heads = ("invoice_number", "issue_date", "seller_name", "currency", "gross_total")
    values = ("S6", "04/05/2024", "Foo Inc", "USD", "100")
    given = cells(
        {f"{c}{n}": t for c, *pair in zip("ABCDE", heads, values, strict=True) for n, t in enumerate(pair, 1)}
    )
    assert "the issue date is unsure" in outcome(extracted(given))[1]
