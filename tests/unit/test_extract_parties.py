"""Who sold and who bought: a recipient is not delivered as the seller because only its name has a legal form."""

from __future__ import annotations

from typing import Any

import pytest

from factories.extraction import extracted, invoice_page, outcome
from switchgear.invoice.testing import pages
from switchgear.modules.extract_layout import ExtractLayout
from switchgear.modules.extract_text import ExtractText

BOTH = pytest.mark.parametrize("module", [ExtractLayout, ExtractText])
SELLER = "Muster Handel GmbH\nHauptstr. 1\n12345 Berlin"
BUYER = "Meier AG\nKaufweg 3\n10115 Berlin"
NO_FORM = "Malerbetrieb Schulze\nHauptstr. 1\n12345 Berlin"
ACCOUNT = "IBAN: DE02120300000000202051\nUSt-IdNr.: DE123456789"


def letter(*blocks: str, foot: str = ACCOUNT) -> str:
    return invoice_page(head="\n\n".join(blocks), buyer="", foot=foot)


@BOTH
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(letter(NO_FORM, BUYER), id="a seller without a legal form above"),
        pytest.param(letter(BUYER, NO_FORM), id="a seller without a legal form below"),
        pytest.param(letter("muster handel\nHauptstr. 1\n12345 Berlin", BUYER), id="a seller in small letters"),
        pytest.param(letter("[Muster]\nHauptstr. 1\n12345 Berlin", BUYER), id="a seller in brackets"),
        pytest.param(letter("Hauptstr. 1\n12345 Berlin", BUYER), id="a logo in place of the name"),
        pytest.param(
            letter("Seite 1 von 1\nwww.example.com\nHauptstr. 1\n12345 Berlin", BUYER), id="an address of the web"
        ),
        pytest.param(letter(BUYER), id="one block alone"),
        pytest.param(
            letter(BUYER, foot=f"Geschäftsführer: Max Muster, HRB 1234\n{ACCOUNT}"), id="a seller without name"
        ),
        pytest.param(letter("An\n" + BUYER), id="below An"),
        pytest.param(letter("Rechnung an:\n" + BUYER), id="below Rechnung an"),
        pytest.param(letter("Hauptstr. 1 · 12345 Berlin\n" + BUYER), id="below a line without a name"),
        pytest.param(letter("[Seller name]\nHauptstr. 1\n12345 Berlin", BUYER), id="a street below a label"),
    ],
)
def test_a_recipient_is_never_delivered_as_the_seller(module: Any, page: str) -> None:
    invoice, why = outcome(extracted(pages(page), module))
    assert "the seller name is" in why
    assert invoice.seller.name is None or invoice.seller.name.value != "Hauptstr. 1"


@BOTH
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(letter(SELLER, BUYER), id="a letterhead above the recipient"),
        pytest.param(letter(SELLER, "Herrn\nMax Mustermann\nKaufweg 3\n10115 Berlin"), id="a person as recipient"),
        pytest.param(letter(SELLER + "\ninfo@example.com"), id="with contact data"),
        pytest.param(letter(SELLER, foot="Muster Handel GmbH\n" + ACCOUNT), id="again at the foot"),
        pytest.param(letter(SELLER, foot="www.musterhandel.de\n" + ACCOUNT), id="in the address of the web"),
        pytest.param(letter(SELLER, "Rechnungsempfänger:\n" + BUYER), id="the recipient has a label"),
    ],
)
def test_a_seller_that_more_than_its_legal_form_shows_is_sure(module: Any, page: str) -> None:
    invoice, why = outcome(extracted(pages(page), module))
    assert why == ""
    assert invoice.seller.name is not None
    assert invoice.seller.name.value == "Muster Handel GmbH"


def test_a_sender_line_says_who_sold() -> None:
    page = letter("Malerbetrieb Schulze · Hauptstr. 1 · 12345 Berlin\n" + BUYER)
    invoice, why = outcome(extracted(pages(page)))
    assert why == ""
    assert str(invoice.seller.name and invoice.seller.name.value) == "Malerbetrieb Schulze"


@pytest.mark.parametrize("label", ["An", "Rechnung an:", "Fakturiert an:", "Invoiced to:", "Facturado a:", "Aan"])
def test_the_name_below_a_label_of_the_recipient_is_the_buyer(label: str) -> None:
    fields = extracted(pages(letter(f"{label}\n{BUYER}"))).fields
    assert str(fields.buyer.name and fields.buyer.name.value) == "Meier AG"
