"""Pages and sheets for the extraction, and what becomes of what was found up to the review."""

from __future__ import annotations

from typing import Any

from switchgear.invoice.testing import blob
from switchgear.invoice.types import Candidate, Cells, Invoice, Kind, Media, Pages
from switchgear.modules.extract_layout import ExtractLayout
from switchgear.modules.reconcile_arithmetic import ReconcileArithmetic
from switchgear.modules.review_rules import ReviewRules
from switchgear.modules.validate_native import ValidateNative
from switchgear.sdk import NeedsReview
from switchgear.sdk.testing import FakeContext

PDF = Kind(media=Media.PDF, media_type="application/pdf")
SHEET = Kind(media=Media.SHEET, media_type="text/csv", sheet_format="csv")


def extracted(given: Pages | Cells, module: Any = ExtractLayout) -> Candidate:
    made = module()
    made.settings = module.Settings()
    if isinstance(given, Cells):
        found = made.run(pages=None, scanned=None, cells=given, kind=SHEET)
    else:
        found = made.run(pages=given, scanned=None, cells=None, kind=PDF)
    assert isinstance(found, Candidate)
    return found


def outcome(candidate: Candidate, reconcile: Any = ReconcileArithmetic) -> tuple[Invoice, str]:
    """What becomes of it: the joined invoice, and why a person is asked; an empty text when nobody is."""
    invoice = reconcile().run(structured=None, candidate=candidate)
    verdict = ValidateNative().run(invoice, blob("%PDF-"), None, None)
    review = ReviewRules()
    review.settings = ReviewRules.Settings()
    try:
        review.run(invoice, verdict, FakeContext())
    except NeedsReview as held:
        return invoice, str(held)
    return invoice, ""


def invoice_page(**changes: str) -> str:
    """A letter of a company to another one; *changes* replace its parts."""
    parts = {
        "head": "Muster Handel GmbH\nHauptstr. 1\n12345 Berlin\nUSt-IdNr.: DE123456789",
        "buyer": "Rechnungsempfänger:\nKunde AG\nKaufweg 3\n10115 Berlin",
        "title": "Rechnung",
        "number": "Rechnungsnummer: 2024-17",
        "date": "Rechnungsdatum: 14.04.2024",
        "totals": "Nettobetrag   100,00 EUR\nUSt. 19 %   19,00 EUR\nGesamtbetrag   119,00 EUR",
        "foot": "IBAN: DE02120300000000202051",
    }
    return "\n\n".join(text for text in (parts | changes).values() if text)


def sums(net: str, tax: str, gross: str) -> str:
    return f"Nettobetrag   {net} EUR\nUSt. 19 %   {tax} EUR\nGesamtbetrag   {gross} EUR"
