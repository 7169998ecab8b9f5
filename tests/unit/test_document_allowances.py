"""Allowances and charges on a whole document add up to the totals that the XML states. BR-CO-11, BR-CO-12."""

from decimal import Decimal
from pathlib import Path

import pytest

import switchgear.invoice
from switchgear.invoice.rules import adjustment_totals
from switchgear.invoice.testing import blob, fact, sample_invoice, xml_kind
from switchgear.invoice.types import Invoice, Structured, Syntax, Totals, Verdict
from switchgear.modules.parse_einvoice import ParseEinvoice
from switchgear.modules.parse_eu_einvoice import ParseEuEinvoice
from switchgear.modules.validate_basic import ValidateBasic
from switchgear.modules.validate_native import ValidateNative
from switchgear.sdk.testing import FakeContext

DEMO = Path(switchgear.invoice.__file__).parent / "samples"
UBL = (DEMO / "xrechnung-ubl.xml").read_text(encoding="utf-8")
CII = (DEMO / "xrechnung-cii.xml").read_text(encoding="utf-8")
SUMS = "<ram:SpecifiedTradeSettlementHeaderMonetarySummation>"


def ubl(*adjustments: tuple[str, str], totals: str = "") -> str:
    """The sample with allowances ("false") and charges ("true"), and totals for them."""
    blocks = "".join(
        f"<cac:AllowanceCharge><cbc:ChargeIndicator>{indicator}</cbc:ChargeIndicator>"
        f'<cbc:Amount currencyID="EUR">{amount}</cbc:Amount></cac:AllowanceCharge>'
        for indicator, amount in adjustments
    )
    text = UBL.replace("<cac:TaxTotal>", f"{blocks}<cac:TaxTotal>", 1)
    return text.replace("<cbc:PayableAmount", f"{totals}<cbc:PayableAmount", 1)


def cii(*adjustments: tuple[str, str]) -> str:
    blocks = "".join(
        f"<ram:SpecifiedTradeAllowanceCharge><ram:ChargeIndicator><udt:Indicator>{indicator}</udt:Indicator>"
        f"</ram:ChargeIndicator><ram:ActualAmount>{amount}</ram:ActualAmount></ram:SpecifiedTradeAllowanceCharge>"
        for indicator, amount in adjustments
    )
    carriage = "<ram:AppliedAmount>5</ram:AppliedAmount>"
    carriage = f"<ram:SpecifiedLogisticsServiceCharge>{carriage}</ram:SpecifiedLogisticsServiceCharge>"
    return CII.replace(SUMS, f"{blocks}{carriage}{SUMS}", 1)


def parsed(text: str) -> list[Structured]:
    syntax = Syntax.CII if "CrossIndustryInvoice" in text else Syntax.UBL_INVOICE
    return [parser().run(blob(text), xml_kind(syntax), FakeContext()) for parser in (ParseEinvoice, ParseEuEinvoice)]


def verdicts(found: Structured) -> list[Verdict]:
    invoice = Invoice(**dict(found.fields))
    return [ValidateNative().run(invoice, blob(b"<x/>"), found, None), ValidateBasic().run(invoice, found)]


def errors(text: str) -> set[str]:
    """Codes of the errors; all parsers and validators must agree."""
    said = [
        {finding.code for finding in verdict.findings if finding.severity == "error"}
        for found in parsed(text)
        for verdict in verdicts(found)
    ]
    assert all(codes == said[0] for codes in said)
    return said[0]


def total(name: str, amount: str) -> str:
    return f'<cbc:{name}TotalAmount currencyID="EUR">{amount}</cbc:{name}TotalAmount>'


def test_both_parsers_list_the_adjustments_of_the_whole_document() -> None:
    for found in parsed(ubl(("false", "100"), ("0", "1.50"), ("true", "20"), (" 1 ", "3"))):
        assert found.allowances == (Decimal(100), Decimal("1.50"))
        assert found.charges == (Decimal(20), Decimal(3))
    for found in parsed(cii(("false", "100"), ("true", "20"))):
        assert (found.allowances, found.charges) == ((Decimal(100),), (Decimal(20), Decimal(5)))


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        (UBL, set()),
        (ubl(("false", "100")), {"BR-CO-11"}),
        (ubl(("true", "100")), {"BR-CO-12"}),
        (ubl(("false", "10"), ("false", "5"), totals=total("Allowance", "14.98")), {"BR-CO-11", "BR-CO-13"}),
        (ubl(("false", "10"), ("true", "10"), totals=total("Allowance", "10.00") + total("Charge", "10")), set()),
        (ubl(totals=total("Allowance", "10") + total("Charge", "10")), {"BR-CO-11", "BR-CO-12"}),
        (ubl(("false", "0")), set()),
        (ubl(("maybe", "0")), {"NAT-XML-VALUE"}),
        (ubl(("", "0")), {"NAT-XML-VALUE"}),
        (ubl(("false", "ten")), {"NAT-XML-VALUE"}),
        (cii(("false", "100")), {"BR-CO-11", "BR-CO-12"}),
    ],
)
def test_they_add_up_to_the_totals_of_the_document(text: str, codes: set[str]) -> None:
    assert errors(text) == codes


@pytest.mark.parametrize(
    ("listed", "total", "is_wrong"), [((), "-0.23", False), ((10,), "-10", False), ((10,), "9", True)]
)
def test_in_zugferd_1_a_total_may_stand_alone_and_be_negative(
    listed: tuple[int, ...], total: str, is_wrong: bool
) -> None:
    fields = sample_invoice(totals=Totals(allowances=fact(Decimal(total))))
    found = Structured(syntax=Syntax.ZUGFERD_1, fields=fields, allowances=tuple(map(Decimal, listed)))
    assert [finding.code for finding in adjustment_totals(found)] == ["BR-CO-11"] * is_wrong
