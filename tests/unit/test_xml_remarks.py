"""An e-invoice that calls itself a test or a copy, or does not say what it is, is not delivered as any other."""

from pathlib import Path
from typing import Any

import pytest

import switchgear.invoice
from switchgear.invoice.testing import blob, xml_kind
from switchgear.invoice.types import Invoice, Structured, Syntax, Verdict
from switchgear.modules.parse_einvoice import ParseEinvoice
from switchgear.modules.parse_eu_einvoice import ParseEuEinvoice
from switchgear.modules.review_rules import ReviewRules
from switchgear.modules.review_strict import ReviewStrict
from switchgear.modules.validate_basic import ValidateBasic
from switchgear.modules.validate_native import ValidateNative
from switchgear.sdk import NeedsReview
from switchgear.sdk.testing import FakeContext

DEMO = Path(switchgear.invoice.__file__).parent / "samples"
UBL = (DEMO / "xrechnung-ubl.xml").read_text(encoding="utf-8")
CII = (DEMO / "xrechnung-cii.xml").read_text(encoding="utf-8")
CREDIT_NOTE = (Path(__file__).parent.parent / "samples" / "ubl-credit-note.xml").read_text(encoding="utf-8")
TYPE = "<cbc:InvoiceTypeCode>380</cbc:InvoiceTypeCode>"


def indicated(name: str, value: str) -> str:
    """The CII sample with an indicator."""
    place = "ExchangedDocumentContext" if name == "TestIndicator" else "ExchangedDocument"
    said = f"<ram:{name}><udt:Indicator>{value}</udt:Indicator></ram:{name}>"
    return CII.replace(f"<rsm:{place}>", f"<rsm:{place}>{said}", 1)


def copied(value: str) -> str:
    return UBL.replace("<cbc:ID>", f"<cbc:CopyIndicator>{value}</cbc:CopyIndicator><cbc:ID>", 1)


def parsed(text: str) -> list[Structured]:
    syntax = Syntax.CII if text.count("CrossIndustryInvoice") else Syntax.UBL_INVOICE
    syntax = Syntax.UBL_CREDIT_NOTE if text is CREDIT_NOTE else syntax
    return [parser().run(blob(text), xml_kind(syntax), FakeContext()) for parser in (ParseEinvoice, ParseEuEinvoice)]


def verdicts(text: str) -> list[tuple[Invoice, Verdict]]:
    return [
        (invoice, verdict)
        for found in parsed(text)
        for invoice in (Invoice(**dict(found.fields)),)
        for verdict in (
            ValidateNative().run(invoice, blob(b"<x/>"), found, None),
            ValidateBasic().run(invoice, found),
        )
    ]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (indicated("TestIndicator", "true"), "NAT-XML-TEST"),
        (indicated("TestIndicator", " 1 "), "NAT-XML-TEST"),
        (UBL.replace(TYPE, "<cbc:InvoiceTypeCode/>"), "BR-04"),
        (UBL.replace(TYPE, ""), "BR-04"),
        (CII.replace("<ram:TypeCode>380<", "<ram:TypeCode> <", 1), "BR-04"),
    ],
)
def test_a_test_and_a_document_without_a_type_are_errors(text: str, code: str) -> None:
    assert text not in (UBL, CII)
    for _, verdict in verdicts(text):
        assert [item.code for item in verdict.findings if item.severity == "error"] == [code]


@pytest.mark.parametrize("review", [ReviewRules, ReviewStrict])
@pytest.mark.parametrize("text", [copied("true"), indicated("CopyIndicator", "true")])
def test_a_copy_is_accepted_with_a_flag(text: str, review: Any) -> None:
    module = review()
    module.settings = review.Settings()
    for invoice, verdict in verdicts(text):
        decision = module.run(invoice, verdict, FakeContext())
        assert decision.outcome == "accepted_flagged"
        assert "the XML says that this is a copy" in "; ".join(decision.reasons)
        wrong = verdict.model_copy(update={"status": "invalid"})
        with pytest.raises(NeedsReview, match="a copy"):
            module.run(invoice, wrong, FakeContext())


@pytest.mark.parametrize(
    "text",
    [UBL, CII, CREDIT_NOTE, copied("false"), indicated("TestIndicator", "false"), indicated("CopyIndicator", "0")],
)
def test_nothing_is_said_of_any_other(text: str) -> None:
    assert [found.remarks for found in parsed(text)] == [(), ()]
