"""Pages that are no invoice, by their heading or because no word says that they are one."""

from __future__ import annotations

from typing import Any

import pytest

from factories.extraction import extracted, invoice_page, outcome
from switchgear.invoice.page_signs import names_invoice, other_kind
from switchgear.invoice.testing import pages
from switchgear.modules.extract_layout import ExtractLayout
from switchgear.modules.extract_text import ExtractText

BOTH = pytest.mark.parametrize("module", [ExtractLayout, ExtractText])
OTHERS = [
    "Mahnung zur Rechnung", "2. MAHNUNG", "Letzte Mahnung", "Zahlungserinnerung", "Proforma-Rechnung",
    "Pro-forma-Rechnung Nr. 5", "Kontoauszug offene Posten", "LIEFERSCHEIN", "Angebot", "Auftragsbestätigung",
    "Payment Reminder", "Final notice", "Pro Forma Invoice", "PROFORMA INVOICE", "Statement of Account",
    "Delivery Note", "Packing slip", "Quotation", "Order Confirmation", "Purchase Order",
    "Rappel de paiement", "Lettre de relance", "Mise en demeure", "Facture proforma", "Relevé de compte",
    "Bon de livraison", "Devis", "Sollecito di pagamento", "Fattura proforma", "Preventivo",
    "Betr.: Mahnung", "Betreff: 2. Mahnung zu unserer Rechnung", "Rechnung L03 - 1. Mahnung", "Mahnstufe 2",
    "Ihre Rechnung L02 - Zahlungserinnerung", "Offene-Posten-Liste", "Subject: Payment reminder",
    "Invoice L05 - Final reminder", "Overdue invoice reminder", "PAST DUE NOTICE", "Customer Statement",
    "Deuxième relance", "Objet : relance facture",
    "Factura proforma", "Albarán", "Presupuesto", "Aanmaning", "Betalingsherinnering", "Pakbon", "Offerte",
]  # fmt: skip


@BOTH
@pytest.mark.parametrize("heading", OTHERS)
def test_a_page_whose_heading_names_another_kind_is_held(module: Any, heading: str) -> None:
    invoice, why = outcome(extracted(pages(invoice_page(title=heading)), module))
    assert invoice.type is None
    assert "the number is unsure (0.50, needed 0.60): the heading" in why


@BOTH
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"title": "Rechnung\n\nLieferschein: 4711\nAngebot: 17"}, id="references with a value"),
        pytest.param({"title": "Rechnung\n\nLieferschein   4711"}, id="a reference in columns"),
        pytest.param({"title": "Rechnung\n\nAngebot"}, id="below the title"),
        pytest.param({"title": ""}, id="no title, but a label of an invoice number"),
        pytest.param({"foot": "Nach der zweiten Mahnung berechnen wir Gebühren."}, id="a word in a sentence"),
        pytest.param({"title": "Handelsrechnung Nr. 2024-17"}, id="a compound"),
    ],
)
def test_an_invoice_that_names_other_documents_is_one(module: Any, changes: dict[str, str]) -> None:
    assert outcome(extracted(pages(invoice_page(**changes)), module))[1] == ""


@BOTH
def test_a_page_without_any_word_for_an_invoice_is_held(module: Any) -> None:
    page = invoice_page(
        buyer="Kunde:\nKunde AG\nKaufweg 3\n10115 Berlin",
        title="",
        number="Document No: 2024-17",
        date="Datum: 14.04.2024",
    )
    assert "no word for an invoice" in outcome(extracted(pages(page), module))[1]


@pytest.mark.parametrize("word", ["Faktura", "Fatura", "Lasku", "Számla", "Räkning", "Račun", "Τιμολόγιο", "Счет"])
def test_words_for_an_invoice_are_known_in_languages_that_are_not_read(word: str) -> None:
    assert names_invoice([word])


@pytest.mark.parametrize(
    "name",
    ["Mahnung & Inkasso Software GmbH", "Statement Furniture Ltd", "Rappel Sécurité SARL", "Angebot AG"],
)
def test_a_company_that_is_called_so_sends_invoices(name: str) -> None:
    assert other_kind([name, "Musterweg 1", "Rechnung"]) is None


def test_a_reminder_of_an_order_is_none_of_a_payment() -> None:
    assert other_kind(["Rappel de votre commande 4711", "Facture"]) is None


def test_a_heading_counts_only_above_the_title() -> None:
    assert other_kind(["Muster GmbH", "Mahnung", "Rechnung"]) == "Mahnung"
    assert other_kind(["Muster GmbH", "Rechnung", "Mahnung"]) is None
