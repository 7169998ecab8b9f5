"""What an extractor is not sure of: the value is kept as read, and a person sees it before it is delivered."""

from __future__ import annotations

from typing import Any

import pytest

from factories.extraction import extracted, invoice_page, outcome, sums
from switchgear.invoice.testing import pages
from switchgear.modules.extract_layout import ExtractLayout
from switchgear.modules.extract_text import ExtractText
from switchgear.modules.reconcile_arithmetic import ReconcileArithmetic
from switchgear.modules.reconcile_priority import ReconcilePriority

BOTH = pytest.mark.parametrize("module", [ExtractLayout, ExtractText])


@BOTH
def test_an_invoice_without_a_doubt_is_accepted(module: Any) -> None:
    candidate = extracted(pages(invoice_page()), module)
    assert candidate.findings == ()
    assert outcome(candidate)[1] == ""


# --- totals that contradict each other ------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("net", "tax", "gross"),
    [
        pytest.param("100,00", "19,00", "1.119,00", id="a digit too many"),
        pytest.param("1.000,00", "190,00", "1.910,00", id="digits exchanged"),
        pytest.param("1.000,00", "190,00", "1.109,00", id="digits exchanged, plausible"),
        pytest.param("500,00", "95,00", "5.950,00", id="another power of ten"),
        pytest.param("1.000,00", "19,00", "119,00", id="more net than in all"),
    ],
)
def test_totals_that_do_not_add_up_are_kept_and_held(module: Any, net: str, tax: str, gross: str) -> None:
    candidate = extracted(pages(invoice_page(totals=sums(net, tax, gross))), module)
    invoice, why = outcome(candidate)
    stated = [amount.replace(".", "").replace(",", ".") for amount in (net, tax, gross)]
    totals = invoice.totals
    assert [str(fact.value) for fact in (totals.net, totals.tax, totals.gross) if fact is not None] == stated
    assert totals.tax is not None
    assert totals.tax.source == "text"
    assert "BR-CO-15" in why
    assert "the gross total is unsure (0.50, needed 0.60): the page states" in why


@BOTH
def test_a_tax_that_no_rate_explains_is_not_derived_in_silence(module: Any) -> None:
    page = invoice_page(totals="Nettobetrag   100,00 EUR\nGesamtbetrag   1.119,00 EUR")
    assert "the gross total is unsure" in outcome(extracted(pages(page), module))[1]


@BOTH
def test_a_missing_tax_is_derived_where_it_is_plausible(module: Any) -> None:
    page = invoice_page(totals="Nettobetrag   100,00 EUR\nGesamtbetrag   119,00 EUR")
    invoice, why = outcome(extracted(pages(page), module))
    assert why == ""
    assert invoice.totals.tax is not None
    assert (str(invoice.totals.tax.value), invoice.totals.tax.source) == ("19.00", "derived")


@BOTH
def test_a_total_that_is_stated_otherwise_than_the_sums_is_unsure(module: Any) -> None:
    """The sum stands on the page as well, but without the label of a total."""
    page = invoice_page(totals=sums("100,00", "19,00", "1.119,00"), foot="Bitte zahlen Sie 119,00 EUR")
    assert "the gross total is unsure" in outcome(extracted(pages(page), module))[1]


@BOTH
def test_an_amount_to_pay_is_not_derived_over_the_stated_one(module: Any) -> None:
    page = invoice_page(totals=sums("100,00", "19,00", "119,00") + "\nZahlbetrag   124,00 EUR")
    invoice, why = outcome(extracted(pages(page), module))
    assert invoice.totals.payable is not None
    assert str(invoice.totals.payable.value) == "124.00"
    assert "BR-CO-16" in why


def test_both_joiners_tell_the_doubt_on_to_the_review() -> None:
    candidate = extracted(pages(invoice_page(totals=sums("100,00", "19,00", "1.119,00"))))
    assert [finding.pointer for finding in candidate.findings] == ["/totals/gross"]
    for reconcile in (ReconcileArithmetic, ReconcilePriority):
        invoice, why = outcome(candidate, reconcile)
        assert [finding.code for finding in invoice.findings] == ["extract.doubt"]
        assert "the page states net 100.00, tax 19.00 and total 1119.00" in why


@BOTH
def test_two_labelled_amounts_in_one_line_keep_their_labels(module: Any) -> None:
    totals = "Exclusief BTW   593,36 EUR   Subtotaal   717,97 EUR\nBTW 21%   124,61 EUR\nTotaal   717,97 EUR"
    invoice, why = outcome(extracted(pages(invoice_page(totals=totals)), module))
    assert why == ""
    assert str(invoice.totals.net and invoice.totals.net.value) == "593.36"
