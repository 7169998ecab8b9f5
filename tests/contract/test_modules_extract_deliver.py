"""The conformance suite on the built-in modules of the later stages."""

from pathlib import Path
from typing import Any

import pytest

from switchgear.invoice.testing import blob, cells, pages, sample_invoice, sample_verdict
from switchgear.invoice.types import Candidate, Cells, Kind, Media, Pages, ReviewDecision, Structured, Syntax
from switchgear.modules.deliver_files import DeliverFiles
from switchgear.modules.deliver_spool import DeliverSpool
from switchgear.modules.extract_layout import ExtractLayout
from switchgear.modules.extract_text import ExtractText
from switchgear.modules.reconcile_arithmetic import ReconcileArithmetic
from switchgear.modules.reconcile_priority import ReconcilePriority
from switchgear.modules.review_always import ReviewAlways
from switchgear.modules.review_rules import ReviewRules
from switchgear.modules.review_strict import ReviewStrict
from switchgear.modules.validate_basic import ValidateBasic
from switchgear.modules.validate_native import ValidateNative
from switchgear.sdk import Decision, InputRejected
from switchgear.sdk.testing import FakeContext, ModuleContractTests

GERMAN = pages(
    """\
Musterwerk GmbH
Werkstraße 1
50667 Köln

Rechnungsnummer: 2024-0017        Rechnungsdatum: 05.03.2024
USt-IdNr: DE136695976             IBAN: DE89 3704 0044 0532 0130 00

Pos    Beschreibung            Menge     Einzelpreis     Betrag
1      Trennblätter            10        5,00            50,00
2      Aktenschrank            1         100,00          100,00

Summe netto                                              150,00 EUR
zzgl. MwSt 19%                                           28,50 EUR
Gesamtbetrag                                             178,50 EUR
Zahlbar bis 04.04.2024"""
)
SHEET = cells(
    {
        "A1": "Supplier", "B1": "Invoice No", "C1": "Invoice Date", "D1": "Currency", "E1": "Net", "F1": "VAT",
        "G1": "Total", "H1": "Item", "I1": "Qty", "J1": "Unit Price", "K1": "Amount",
        "A2": "Global Supplies Ltd.", "B2": "47110818", "C2": "2018-10-31", "D2": "EUR", "E2": "300", "F2": "57",
        "G2": "357", "H2": "Waste", "I2": "4", "J2": "100", "K2": "400",
        "A3": "Global Supplies Ltd.", "B3": "47110818", "C3": "2018-10-31", "D3": "EUR", "E3": "300", "F3": "57",
        "G3": "357", "H3": "Return", "I3": "-1", "J3": "100", "K3": "-100",
    }
)  # fmt: skip
LETTER = pages("Dear Sir or Madam,\nthank you for the kind words of 5 March 2024.\nYours, Reader Publishing Ltd.")
A_PDF = Kind(media=Media.PDF, media_type="application/pdf")
A_SHEET = Kind(media=Media.SHEET, media_type="text/csv", sheet_format="csv")
INVOICE = sample_invoice()
XML = Structured(syntax=Syntax.CII, fields=INVOICE)
PAGE = Candidate(fields=INVOICE, confidence=0.9)
ACCEPTED = ReviewDecision(outcome="accepted")
REJECTED = ReviewDecision(outcome="rejected", actor="ada", reasons=("not ours",))
PDF, NO_PDF = blob(b"%PDF-1.7\n"), blob(b"<Invoice/>")


class TestExtractLayout(ModuleContractTests):
    module = ExtractLayout
    samples = [{"pages": GERMAN, "kind": A_PDF}, {"cells": SHEET, "kind": A_SHEET}, {"scanned": GERMAN, "kind": A_PDF}]
    rejected = [{"pages": LETTER, "kind": A_PDF}]
    not_applicable = [{"pages": LETTER, "kind": A_PDF.model_copy(update={"syntax": Syntax.CII})}]


class TestExtractText(ModuleContractTests):
    module = ExtractText
    samples = [{"pages": GERMAN, "kind": A_PDF}, {"cells": SHEET, "kind": A_SHEET}, {"scanned": GERMAN, "kind": A_PDF}]
    rejected = [{"pages": LETTER, "kind": A_PDF}]
    not_applicable = [{"pages": LETTER, "kind": A_PDF.model_copy(update={"syntax": Syntax.CII})}]


class TestReconcileArithmetic(ModuleContractTests):
    module = ReconcileArithmetic
    samples = [{"structured": XML}, {"candidate": PAGE}, {"structured": XML, "candidate": PAGE}]


class TestReconcilePriority(ModuleContractTests):
    module = ReconcilePriority
    samples = [{"structured": XML}, {"candidate": PAGE}, {"structured": XML, "candidate": PAGE}]


class TestValidateNative(ModuleContractTests):
    module = ValidateNative
    samples = [
        {"invoice": INVOICE, "blob": NO_PDF, "structured": XML},
        {"invoice": INVOICE, "blob": PDF, "structured": XML, "pages": GERMAN},
        {"invoice": INVOICE, "blob": PDF, "structured": XML},
        {"invoice": sample_invoice(number=None), "blob": PDF},
    ]


class TestValidateBasic(ModuleContractTests):
    module = ValidateBasic
    samples = [{"invoice": INVOICE}]


class TestReviewRules(ModuleContractTests):
    module = ReviewRules
    samples = [
        {"invoice": INVOICE, "verdict": sample_verdict()},
        {"invoice": INVOICE, "verdict": sample_verdict("incomplete")},
    ]


class TestReviewStrict(ModuleContractTests):
    module = ReviewStrict
    samples = [
        {"invoice": INVOICE, "verdict": sample_verdict()},
        {"invoice": INVOICE, "verdict": sample_verdict("incomplete")},
    ]


class TestReviewAlways(ModuleContractTests):
    module = ReviewAlways
    samples = [{"invoice": INVOICE, "verdict": sample_verdict()}]

    def context(self) -> FakeContext:
        return FakeContext(decision=Decision(action="release", actor="ada", message="looked at it"))


class _Delivering(ModuleContractTests):
    samples = [
        {"invoice": INVOICE, "verdict": sample_verdict(), "decision": ACCEPTED},
        {"invoice": INVOICE, "verdict": sample_verdict(), "decision": REJECTED},
    ]

    @pytest.fixture(autouse=True)
    def _out(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SWITCHGEAR_OUT", str(tmp_path / "out"))


class TestDeliverFiles(_Delivering):
    module = DeliverFiles


class TestDeliverSpool(_Delivering):
    module = DeliverSpool


@pytest.mark.parametrize("module", [ExtractLayout, ExtractText])
@pytest.mark.parametrize("inputs", [{"pages": GERMAN}, {"scanned": GERMAN}])
def test_both_extractors_read_a_plain_german_invoice(module: Any, inputs: dict[str, Pages | Cells]) -> None:
    fields = extracted(module, **inputs).fields
    assert fields.number is not None
    assert fields.number.value == "2024-0017"
    assert str(fields.issue_date and fields.issue_date.value) == "2024-03-05"
    assert str(fields.due_date and fields.due_date.value) == "2024-04-04"
    assert fields.currency is not None
    assert fields.currency.value == "EUR"
    assert fields.seller.name is not None
    assert fields.seller.name.value == "Musterwerk GmbH"
    assert fields.seller.vat_id is not None
    assert fields.seller.vat_id.value == "DE136695976"
    assert fields.payment.iban is not None
    assert fields.payment.iban.value == "DE89370400440532013000"
    totals = fields.totals
    assert [str(fact and fact.value) for fact in (totals.net, totals.tax, totals.gross)] == [
        "150.00",
        "28.50",
        "178.50",
    ]
    assert [str(line.net_amount and line.net_amount.value) for line in fields.lines] == ["50.00", "100.00"]
    assert {fields.number.source} == {"text" if "pages" in inputs else "ocr"}


@pytest.mark.parametrize("module", [ExtractLayout, ExtractText])
def test_both_extractors_read_a_flat_sheet_and_name_the_cells(module: Any) -> None:
    fields = extracted(module, cells=SHEET).fields
    assert fields.number is not None
    assert fields.number.evidence is not None
    assert fields.number.evidence.address == "B2"
    assert fields.seller.name is not None
    assert fields.seller.name.value == "Global Supplies Ltd."
    assert [str(line.net_amount and line.net_amount.value) for line in fields.lines] == ["400", "-100"]


@pytest.mark.parametrize("module", [ExtractLayout, ExtractText])
def test_text_that_is_no_invoice_is_the_documents_fault_and_said_in_plain_words(module: Any) -> None:
    with pytest.raises(InputRejected, match="No field of an invoice was found") as caught:
        extracted(module, pages=LETTER)
    assert caught.value.reason_code == "no_invoice"


def extracted(module: Any, **inputs: Any) -> Candidate:
    made = module()
    made.settings = module.Settings()
    candidate = made.run(**{"pages": None, "scanned": None, "cells": None, "kind": A_PDF, **inputs})
    assert isinstance(candidate, Candidate)
    return candidate


def module_contract(module: Any) -> Any:
    from switchgear.sdk.testing import contract_of

    return contract_of(module.spec)
