"""Accounts that are debited are the buyer's, not those to pay to."""

from __future__ import annotations

from typing import Any

import pytest

from factories.extraction import extracted, invoice_page
from switchgear.invoice.testing import pages
from switchgear.modules.extract_layout import ExtractLayout
from switchgear.modules.extract_text import ExtractText

BOTH = pytest.mark.parametrize("module", [ExtractLayout, ExtractText])


@BOTH
@pytest.mark.parametrize(
    "foot",
    [
        "Wir buchen ab von Ihrem Konto IBAN DE02120300000000202051",
        "Der Betrag wird von Ihrem Konto eingezogen:\nIBAN: DE02120300000000202051",
        "Lastschrift von Konto IBAN DE02120300000000202051",
        "We will debit your account IBAN DE02120300000000202051",
        "Prélèvement sur votre compte IBAN DE02120300000000202051",
        "Addebito sul Vs. conto IBAN DE02120300000000202051",
        "Automatische incasso van uw rekening IBAN DE02120300000000202051",
    ],
)
def test_the_account_that_is_debited_is_not_the_sellers(module: Any, foot: str) -> None:
    assert extracted(pages(invoice_page(foot=foot)), module).fields.payment.iban is None


@BOTH
def test_the_account_to_pay_to_is_the_sellers(module: Any) -> None:
    page = invoice_page(foot="Bitte überweisen Sie auf unser Konto IBAN DE02120300000000202051")
    iban = extracted(pages(page), module).fields.payment.iban
    assert str(iban and iban.value) == "DE02120300000000202051"
