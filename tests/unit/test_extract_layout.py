"""The layout search on made-up invoices in six languages, and what it refuses to guess."""

import time
from decimal import Decimal
from typing import Any

import pytest

from switchgear.invoice.testing import cells, pages
from switchgear.invoice.types import Candidate, Cells, InvoiceType, Kind, Media, Pages
from switchgear.modules.extract_layout import ExtractLayout
from switchgear.modules.extract_text import ExtractText
from switchgear.sdk import InputRejected

FRENCH = """\
Boulangerie Martin SARL
12 rue de la Paix
75002 Paris
N° TVA : FR40303265045

Facturé à :
Café du Port

Facture N° : F-2023-118
Date de facture : 3 février 2023
Date d'échéance : 05/03/2023

Désignation              Quantité    Prix unitaire    Montant HT
Pain de campagne         100         2,50             250,00
Brioche                  40          5,00             200,00

Total HT                                              450,00 €
TVA 5,5 %                                             24,75 €
Total TTC                                             474,75 €
IBAN FR76 3000 6000 0112 3456 7890 189"""

ITALIAN = """\
Officine Verdi S.r.l.
Via Roma 1
20121 Milano
Partita IVA IT00743110157

Fattura n. 88/2022
Data fattura: 15/11/2022
Cliente: Rossi SpA

Descrizione              Quantità     Prezzo      Importo
Riparazione              2            150,00      300,00

Imponibile                                        300,00
IVA 22%                                           66,00
Totale fattura                                    366,00 EUR"""

SPANISH = """\
Talleres Pérez S.L.
Calle Mayor 5
28013 Madrid

Factura Nº: A-0042
Fecha de factura: 01/06/2021
Vencimiento: 30/06/2021

Descripción              Cantidad     Precio      Importe
Revisión                 1            1.000,00    1.000,00

Base imponible                                    1.000,00 €
IVA 21%                                           210,00 €
Total factura                                     1.210,00 €"""

DUTCH = """\
De Vries B.V.
Kerkstraat 3
1017 AB Amsterdam
BTW nummer: NL004495445B01

Factuurnummer: 20230015
Factuurdatum: 1 maart 2023
Vervaldatum: 31-03-2023

Omschrijving             Aantal       Prijs       Bedrag
Advies                   10           75,00       750,00

Subtotaal                                         750,00
BTW 21%                                           157,50
Totaal incl. BTW                                  EUR 907,50"""

AMERICAN = """\
Northwind Traders Inc.
500 Pine St
Seattle, WA 98101

Invoice Number: NW-7781
Invoice Date: 12/31/2023
Due Date: 01/30/2024

Description              Qty          Unit Price  Amount
Consulting               8            125.00      1,000.00

Subtotal                                          $1,000.00
Sales Tax 10%                                     $100.00
Total                                             $1,100.00"""

SWISS = """\
Alpen Technik AG
Bahnhofstrasse 7
8001 Zürich

Rechnung Nr. 2024-55
Datum: 09.01.2024

Beschreibung             Menge        Preis       Betrag
Wartung                  1            12'500.00   12'500.00

Total exkl. MwSt                                  CHF 12'500.00
MwSt 8.1%                                         CHF 1'012.50
Total inkl. MwSt                                  CHF 13'512.50"""

CREDIT_NOTE = """\
Musterwerk GmbH
Werkstraße 1
50667 Köln

Gutschrift
Gutschrift-Nr: G-17
Belegdatum: 05.03.2018

Nettobetrag                                       -100,00 EUR
MwSt 19%                                          -19,00 EUR
Gesamtbetrag                                      -119,00 EUR"""

TABLE = [
    (FRENCH, "Boulangerie Martin SARL", "F-2023-118", "2023-02-03", "2023-03-05", "EUR", "450.00 24.75 474.75", 2),
    (ITALIAN, "Officine Verdi S.r.l.", "88/2022", "2022-11-15", "None", "EUR", "300.00 66.00 366.00", 1),
    (SPANISH, "Talleres Pérez S.L.", "A-0042", "2021-06-01", "2021-06-30", "EUR", "1000.00 210.00 1210.00", 1),
    (DUTCH, "De Vries B.V.", "20230015", "2023-03-01", "2023-03-31", "EUR", "750.00 157.50 907.50", 1),
    (AMERICAN, "Northwind Traders Inc.", "NW-7781", "2023-12-31", "2024-01-30", "USD", "1000.00 100.00 1100.00", 1),
    (SWISS, "Alpen Technik AG", "2024-55", "2024-01-09", "None", "CHF", "12500.00 1012.50 13512.50", 1),
    (CREDIT_NOTE, "Musterwerk GmbH", "G-17", "2018-03-05", "None", "EUR", "-100.00 -19.00 -119.00", 0),
]


PDF = Kind(media=Media.PDF, media_type="application/pdf")
SHEET = Kind(media=Media.SHEET, media_type="text/csv", sheet_format="csv")


def extracted(given: Pages, module: Any = ExtractLayout, **settings: Any) -> Candidate:
    made = module()
    made.settings = module.Settings(**settings)
    candidate = made.run(pages=given, scanned=None, cells=None, kind=PDF)
    assert isinstance(candidate, Candidate)
    return candidate


def text(value: Any) -> str:
    return str(None if value is None else value.value)


@pytest.mark.parametrize("module", [ExtractLayout, ExtractText])
@pytest.mark.parametrize(("page", "seller", "number", "issued", "due", "currency", "sums", "lines"), TABLE)
def test_an_invoice_is_read_in_each_language(
    module: Any, page: str, seller: str, number: str, issued: str, due: str, currency: str, sums: str, lines: int
) -> None:
    fields = extracted(pages(page), module).fields
    totals = fields.totals
    assert (text(fields.seller.name), text(fields.number), text(fields.issue_date), text(fields.due_date)) == (
        seller, number, issued, due,
    )  # fmt: skip
    assert text(fields.currency) == currency
    assert " ".join(text(fact) for fact in (totals.net, totals.tax, totals.gross)) == sums
    assert len(fields.lines) == lines


@pytest.mark.parametrize("module", [ExtractLayout, ExtractText])
def test_a_credit_note_keeps_its_sign_and_its_type(module: Any) -> None:
    fields = extracted(pages(CREDIT_NOTE), module).fields
    assert fields.type is not None
    assert fields.type.value is InvoiceType.CREDIT_NOTE
    assert fields.totals.gross is not None
    assert fields.totals.gross.value == Decimal("-119.00")


def test_sums_that_close_are_surer_than_a_lone_total() -> None:
    whole = extracted(pages("Rechnungsnummer: 17\nNetto 100,00\nMwSt 19,00\nGesamtbetrag 119,00")).fields.totals.gross
    lone = extracted(pages("Rechnungsnummer: 17\nGesamtbetrag 119,00")).fields.totals.gross
    assert whole is not None
    assert lone is not None
    assert whole.confidence > lone.confidence


def test_tax_of_two_rates_without_their_sum_is_derived() -> None:
    page = "Rechnungsnummer: 17\nNetto 200,00\nMwSt 19% 19,00\nMwSt 7% 7,00\nBrutto 226,00"
    totals = extracted(pages(page)).fields.totals
    assert totals.tax is not None
    assert (totals.tax.value, totals.tax.source, totals.tax.evidence) == (Decimal("26.00"), "derived", None)


def test_amounts_without_labels_are_not_taken_because_they_happen_to_add_up() -> None:
    page = "Rechnungsnummer: 17\nA 100,00\nB 19,00\nC 119,00"
    assert extracted(pages(page)).fields.totals.gross is None


def test_a_vat_breakdown_is_read_when_it_adds_up() -> None:
    page = "Rechnungsnummer: 17\nUSt 7% 100,00 7,00\nUSt 19% 200,00 38,00\nNetto 300,00\nSumme USt 45,00\nBrutto 345,00"
    found = extracted(pages(page)).fields.vat
    assert [(text(group.rate), text(group.taxable), text(group.tax)) for group in found] == [
        ("7", "100.00", "7.00"),
        ("19", "200.00", "38.00"),
    ]


def test_the_order_number_and_the_delivery_date_are_not_the_invoices() -> None:
    page = "Bestellnummer: 4711\nLieferdatum: 01.02.2020\nRechnungsnummer: 99\nRechnungsdatum: 03.02.2020"
    fields = extracted(pages(page)).fields
    assert (text(fields.number), text(fields.issue_date)) == ("99", "2020-02-03")


def test_the_buyers_vat_id_is_not_the_sellers() -> None:
    page = "Invoice No: 17\nYour VAT ID: DE427984273\nVAT ID: DE202526944\nTotal 5.00"
    fields = extracted(pages(page)).fields
    assert (text(fields.seller.vat_id), text(fields.buyer.vat_id)) == ("DE202526944", "DE427984273")


def test_a_due_date_before_the_issue_date_is_dropped() -> None:
    page = "Rechnungsnummer: 17\nRechnungsdatum: 05.03.2020\nFällig am: 01.03.2020"
    assert extracted(pages(page)).fields.due_date is None


def test_an_ambiguous_slash_date_is_less_sure() -> None:
    clear = extracted(pages("Invoice No: 17\nInvoice Date: 20/03/2023")).fields.issue_date
    unclear = extracted(pages("Invoice No: 17\nInvoice Date: 03/04/2023")).fields.issue_date
    assert clear is not None
    assert unclear is not None
    assert clear.confidence > unclear.confidence
    assert text(unclear) == "2023-04-03"


def test_missing_critical_fields_lower_the_confidence() -> None:
    full = extracted(pages(FRENCH)).confidence
    part = extracted(pages("Facture N° : F-1")).confidence
    assert full > 0.7
    assert part < 0.5


def test_a_language_that_is_not_set_is_not_read() -> None:
    assert extracted(pages(FRENCH), languages=("fr",)).fields.totals.gross is not None
    assert extracted(pages(FRENCH), languages=("nl",)).fields.totals.gross is None


def test_an_unsure_word_of_ocr_makes_an_unsure_field() -> None:
    page = pages("Rechnungsnummer: 17").pages[0]
    words = tuple(word.model_copy(update={"confidence": 0.4}) for word in page.words)
    unsure = Pages(pages=(page.model_copy(update={"words": words}),))
    module = ExtractLayout()
    module.settings = ExtractLayout.Settings()
    number = module.run(pages=None, scanned=unsure, cells=None, kind=PDF).fields.number
    assert number is not None
    assert number.source == "ocr"
    assert number.confidence < 0.4


def test_the_best_sheet_of_a_workbook_is_read() -> None:
    noise = cells({"A1": "Code", "B1": "Name", "A2": "380", "B2": "Invoice"}, sheet="Types")
    form = cells({"A1": "Acme Ltd.", "A3": "Invoice No", "B3": "A-9", "A4": "Total", "B4": "12.50"}, sheet="Form")
    both = noise.model_copy(update={"cells": noise.cells + form.cells, "sheets": ("Types", "Form")})
    module = ExtractLayout()
    module.settings = ExtractLayout.Settings()
    fields = module.run(pages=None, scanned=None, cells=both, kind=SHEET).fields
    assert text(fields.number) == "A-9"
    assert fields.number is not None
    assert fields.number.evidence is not None
    assert (fields.number.evidence.sheet, fields.number.evidence.address) == ("Form", "B3")


@pytest.mark.parametrize("module", [ExtractLayout, ExtractText])
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            "Rechnung " + "1" * 100_000 + "\nUSt-IdNr " + "A" * 100_000 + "12345\nTotal 5,00", id="endless words"
        ),
        pytest.param(
            "\n".join(f"Netto {i * 7},01   MwSt {i},13   Brutto {i * 9},55" for i in range(1, 400)), id="many totals"
        ),
    ],
)
def test_hostile_text_takes_bounded_time(module: Any, page: str) -> None:
    started = time.process_time()
    extracted(pages(page), module)
    assert time.process_time() - started < 20


HEADINGS = ("Supplier", "Invoice No", "Invoice Date", "Currency", "Net", "VAT", "Total")


def table(*rows: tuple[str, ...], sheet: str = "Sheet1") -> Cells:
    """A flat sheet with the usual headings."""
    return cells(
        {
            f"{'ABCDEFG'[column]}{line}": value
            for line, row in enumerate((HEADINGS, *rows), start=1)
            for column, value in enumerate(row)
            if value
        },
        sheet=sheet,
    )


def read_table(given: Cells) -> Candidate:
    module = ExtractLayout()
    module.settings = ExtractLayout.Settings()
    return module.run(pages=None, scanned=None, cells=given, kind=SHEET)


FIRST = ("A GmbH", "N1", "2024-01-02", "EUR", "100", "19", "119")


def test_a_sheet_with_several_invoices_is_rejected_and_names_them() -> None:
    with pytest.raises(InputRejected) as raised:
        read_table(table(FIRST, ("B GmbH", "N2", "2024-01-03", "EUR", "10", "1.90", "11.90")))
    assert (raised.value.reason_code, raised.value.message) == (
        "several_invoices",
        "The file holds 2 invoices: N1, N2. Send a file for each of them.",
    )


def test_a_footer_below_the_numbers_is_no_further_invoice() -> None:
    fields = read_table(table(FIRST, ("", "Total", "", "", "", "", "119"))).fields
    assert text(fields.number) == "N1"


def test_a_workbook_with_an_invoice_on_each_sheet_is_rejected() -> None:
    one, other = table(FIRST), table(("B GmbH", "N2", "2024-01-03", "EUR", "10", "1.90", "11.90"), sheet="Sheet2")
    both = one.model_copy(update={"cells": one.cells + other.cells, "sheets": ("Sheet1", "Sheet2")})
    with pytest.raises(InputRejected, match="2 invoices: N1, N2"):
        read_table(both)
    copy = table(FIRST, sheet="Sheet2")
    twice = one.model_copy(update={"cells": one.cells + copy.cells, "sheets": ("Sheet1", "Sheet2")})
    assert text(read_table(twice).fields.number) == "N1"
