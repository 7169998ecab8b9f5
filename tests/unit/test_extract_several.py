"""Files that hold more than one invoice: their values are never mixed and delivered as those of one."""

from __future__ import annotations

from typing import Any

import pytest

from factories.extraction import extracted, invoice_page, outcome, sums
from switchgear.invoice.testing import cells, pages
from switchgear.invoice.types import Cells
from switchgear.modules.extract_layout import ExtractLayout
from switchgear.modules.extract_text import ExtractText
from switchgear.sdk import InputRejected

BOTH = pytest.mark.parametrize("module", [ExtractLayout, ExtractText])
SECOND = invoice_page(number="Rechnungsnummer: 2024-18", totals=sums("200,00", "38,00", "238,00"))
NUMBERS = "the page names several invoice numbers: 2024-17, 2024-18"


@BOTH
@pytest.mark.parametrize(
    "texts",
    [
        pytest.param([invoice_page(), SECOND], id="on two pages"),
        pytest.param([SECOND, invoice_page()], id="the other way round"),
        pytest.param([f"{invoice_page()}\n\n{SECOND}"], id="on one page"),
    ],
)
def test_two_invoices_in_one_pdf_are_held(module: Any, texts: list[str]) -> None:
    _, why = outcome(extracted(pages(*texts), module))
    assert "the number is unsure (0.50, needed 0.60): the page names several invoice numbers" in why
    assert "the gross total is unsure" in why


@BOTH
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Rechnungsnummer: 2024-1", "Rechnungsnummer: 2024-12"),
        ("Invoice #: 2024-17", "Invoice #: 2024-18"),
        ("Beleg-Nr.: 2024-17", "Beleg-Nr.: 2024-18"),
    ],
)
def test_monthly_bills_with_one_amount_are_told_apart_by_their_numbers(module: Any, one: str, other: str) -> None:
    _, why = outcome(extracted(pages(invoice_page(number=one), invoice_page(number=other)), module))
    assert "the page names several invoice numbers" in why


@BOTH
@pytest.mark.parametrize(
    "foot",
    [
        pytest.param("Bitte geben Sie die Rechnungsnummer 2024-17 an.", id="the same number again"),
        pytest.param("Rechnungsnummer: 2024 - 17", id="written otherwise"),
        pytest.param("Bestellnummer: 4711\nKundennummer: 815", id="other numbers"),
        pytest.param("Diese Rechnung ersetzt die Rechnungsnummer 2023-99.", id="another invoice in a sentence"),
    ],
)
def test_one_invoice_that_names_other_numbers_is_none_of_several(module: Any, foot: str) -> None:
    assert outcome(extracted(pages(invoice_page(foot=foot)), module))[1] == ""


@BOTH
def test_a_credit_note_names_the_invoice_that_it_corrects(module: Any) -> None:
    page = invoice_page(title="Gutschrift", number="Gutschriftsnummer: G-4711\nRechnungsnummer: 2024-17")
    candidate = extracted(pages(page), module)
    assert all("several" not in finding.message for finding in candidate.findings)


@BOTH
def test_a_copy_of_another_invoice_behind_the_invoice_is_seen_by_its_sums(module: Any) -> None:
    copy = "Anlage: Kopie einer alten Rechnung\n\n" + sums("1.000,00", "190,00", "1.190,00")
    _, why = outcome(extracted(pages(invoice_page(), copy), module))
    assert "the gross total is unsure (0.50, needed 0.60): the page states other totals as well" in why


@BOTH
def test_sums_of_each_rate_are_no_other_totals(module: Any) -> None:
    rates = (
        "Nettobetrag   200,00\nUSt. 7 %   14,00\nGesamtbetrag   214,00\n\n"
        "Nettobetrag   100,00\nUSt. 19 %   19,00\nGesamtbetrag   119,00\n\n"
    )
    page = invoice_page(totals=rates + "Nettobetrag   300,00\nUmsatzsteuer   33,00\nGesamtbetrag   333,00 EUR")
    invoice, why = outcome(extracted(pages(page), module))
    assert why == ""
    assert str(invoice.totals.gross and invoice.totals.gross.value) == "333.00"


@pytest.mark.parametrize(
    "more",
    [
        pytest.param("Bereits gezahlt   -50,00 EUR\nZahlbetrag   69,00 EUR", id="prepaid"),
        pytest.param("Gesamtbetrag in USD   130,00 USD", id="another currency"),
        pytest.param("Gesamtbetrag abzüglich 2 % Skonto   116,62 EUR", id="less a discount"),
        pytest.param("Gesamtbetrag netto   100,00 EUR", id="the net total"),
    ],
)
def test_amounts_that_explain_each_other_are_no_doubt(more: str) -> None:
    page = invoice_page(totals=sums("100,00", "19,00", "119,00") + "\n" + more)
    invoice, why = outcome(extracted(pages(page)))
    assert why == ""
    assert str(invoice.totals.gross and invoice.totals.gross.value) == "119.00"


def test_another_total_that_nothing_explains_is_a_doubt() -> None:
    page = invoice_page(totals=sums("100,00", "19,00", "119,00") + "\nGesamtbetrag   619,00 EUR")
    assert "the page states other totals as well: 619.00" in outcome(extracted(pages(page)))[1]


# --- sheets ---------------------------------------------------------------------------------------------------------

HEADINGS = ("Supplier", "Invoice No", "Invoice Date", "Currency", "Net", "VAT", "Total")
FIRST = ("A GmbH", "N1", "2024-01-02", "EUR", "100", "19", "119")


def table(*rows: tuple[str, ...], sheet: str = "Sheet1") -> Cells:
    values = {
        f"{'ABCDEFG'[column]}{line}": value
        for line, row in enumerate((HEADINGS, *rows), start=1)
        for column, value in enumerate(row)
        if value
    }
    return cells(values, sheet=sheet)


@pytest.mark.parametrize(
    ("second", "named"),
    [
        pytest.param(("A GmbH", "N1", "2024-01-02", "EUR", "200", "38", "238"), "gross total: 119, 238", id="totals"),
        pytest.param(("B GmbH", "N1", "2024-01-02", "EUR", "100", "19", "119"), "seller: A GmbH, B GmbH", id="sellers"),
        pytest.param(("A GmbH", "N1", "2024-01-02", "USD", "100", "19", "119"), "currency: EUR, USD", id="currencies"),
    ],
)
def test_rows_of_one_number_with_other_content_are_rejected(second: tuple[str, ...], named: str) -> None:
    with pytest.raises(InputRejected, match=f"N1 .* {named}") as raised:
        extracted(table(FIRST, second))
    assert raised.value.reason_code == "several_invoices"


@pytest.mark.parametrize(
    ("second", "named"),
    [
        pytest.param(("B GmbH", "N2", "2024-01-03", "EUR", "10", "1.90", "11.90"), "N1, N2", id="numbers"),
        pytest.param(("B GmbH", "N1", "2024-01-02", "EUR", "100", "19", "119"), "A GmbH, B GmbH", id="sellers"),
        pytest.param(("A GmbH", "N1", "2024-01-02", "EUR", "200", "38", "238"), "119, 238", id="totals"),
    ],
)
def test_the_fallback_holds_a_sheet_whose_rows_differ(second: tuple[str, ...], named: str) -> None:
    candidate = extracted(table(FIRST, second), ExtractText)
    assert f"the rows of the sheet differ: {named}" in outcome(candidate)[1]
    assert extracted(table(FIRST, FIRST), ExtractText).findings == ()


def test_rows_that_repeat_the_head_or_leave_it_out_are_lines() -> None:
    candidate = extracted(table(FIRST, FIRST, ("", "N1", "", "", "", "", ""), ("Sum", "", "", "", "", "", "238")))
    assert str(candidate.fields.number and candidate.fields.number.value) == "N1"


def two_sheets(second: tuple[str, ...]) -> Cells:
    one, other = table(FIRST), table(second, sheet="Sheet2")
    return one.model_copy(update={"cells": one.cells + other.cells, "sheets": ("Sheet1", "Sheet2")})


def test_two_sheets_with_one_number_and_other_totals_are_rejected() -> None:
    with pytest.raises(InputRejected, match="gross total: 119, 238"):
        extracted(two_sheets(("A GmbH", "N1", "2024-01-02", "EUR", "200", "38", "238")))
    assert extracted(two_sheets(FIRST)).fields.number is not None


@BOTH
def test_two_blocks_of_names_and_values_are_held(module: Any) -> None:
    block = ("Invoice Number|S8{0}", "Date|2024-05-0{1}", "Seller|Foo Ltd", "Net|{2}00.00 EUR", "VAT|{3}.00 EUR",
             "Total|{4}.00 EUR")  # fmt: skip
    rows = [line.format("A", 1, 1, 19, 119).split("|") for line in block]
    rows += [line.format("B", 2, 2, 38, 238).split("|") for line in block]
    columns = zip("AB", zip(*rows, strict=True), strict=True)
    given = cells({f"{column}{line}": text for column, texts in columns for line, text in enumerate(texts, 1)})
    assert "several invoice numbers: S8A, S8B" in outcome(extracted(given, module))[1]
