"""Invoice numbers of several parts: taken whole, or doubted when it is not sure where they end."""

from __future__ import annotations

from typing import Any

import pytest

from factories.extraction import extracted, invoice_page, outcome
from switchgear.invoice.testing import pages
from switchgear.modules.extract_layout import ExtractLayout
from switchgear.modules.extract_text import ExtractText

BOTH = pytest.mark.parametrize("module", [ExtractLayout, ExtractText])


@BOTH
@pytest.mark.parametrize(
    "number",
    ["2024 / 17", "2024/ 17", "2024 /17", "2024 - 17", "Z 13 / 2024", "RE 2024/17", "2024 / A17 / 3", "2024-17"],
)
def test_a_number_of_several_parts_is_taken_whole(module: Any, number: str) -> None:
    invoice, why = outcome(extracted(pages(invoice_page(number=f"Rechnungsnummer: {number}")), module))
    assert why == ""
    assert str(invoice.number and invoice.number.value) == number


@BOTH
@pytest.mark.parametrize("number", ["2024-05 17", "2024 0017", "RE 2024 17"])
def test_a_number_that_may_go_on_is_unsure(module: Any, number: str) -> None:
    _, why = outcome(extracted(pages(invoice_page(number=f"Rechnungsnummer: {number}")), module))
    assert "the number is unsure (0.50, needed 0.60): it may go on" in why


@BOTH
@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(" vom 14.04.2024", id="a date with a word"),
        pytest.param(" 14.04.2024", id="a date"),
        pytest.param(" / 14.04.2024", id="a date behind a stroke"),
        pytest.param("      4711", id="another column"),
        pytest.param(" 119,00 EUR", id="an amount"),
        pytest.param(" Kundennummer: 815", id="another label"),
    ],
)
def test_what_stands_behind_a_number_is_no_part_of_it(module: Any, behind: str) -> None:
    page = invoice_page(number=f"Rechnungsnummer: 2024-17{behind}")
    invoice, why = outcome(extracted(pages(page), module))
    assert why == ""
    assert str(invoice.number and invoice.number.value) == "2024-17"
