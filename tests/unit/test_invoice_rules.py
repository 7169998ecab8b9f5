"""The native rules, one broken thing at a time, and check digits."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.invoice import rules
from switchgear.invoice.testing import fact, sample_invoice, sample_line
from switchgear.invoice.types import Evidence, Fact, Invoice, InvoiceType, Party, Totals, VatBreakdown
from switchgear.modules.validate_native.vat_ids import check_vat_id

EVERYTHING = (*rules.MANDATORY, *rules.SUMS, *rules.VAT, *rules.DATES)


def totals(**values: str) -> Totals:
    return Totals(**{name: fact(Decimal(value)) for name, value in values.items()})


def typed(code: str, path: str = "/Invoice/InvoiceTypeCode") -> Fact[InvoiceType]:
    """What kind of invoice the code at *path* of the XML says."""
    evidence = Evidence(path=path, text=code)
    return Fact(value=InvoiceType.INVOICE, source="xml", evidence=evidence, module="parse-einvoice")


def codes(rule_set: Sequence[rules.Rule], invoice: Invoice) -> list[str]:
    return [finding.code for finding in rules.apply(rule_set, invoice)]


def test_a_complete_invoice_has_no_finding() -> None:
    assert rules.apply(EVERYTHING, sample_invoice()) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"number": None}, "BR-02"),
        ({"number": fact("")}, "BR-02"),
        ({"issue_date": None}, "BR-03"),
        ({"currency": None}, "BR-05"),
        ({"seller": Party()}, "BR-06"),
        ({"totals": totals(net="150.00", tax="28.50")}, "BR-14"),
        ({"buyer": Party()}, "BR-07"),
        ({"lines": ()}, "BR-16"),
        ({"totals": totals(lines="151.00", net="151.00", tax="28.50", gross="179.50")}, "BR-CO-10"),
        ({"totals": totals(lines="150.00", net="149.00", tax="28.50", gross="177.50")}, "BR-CO-13"),
        ({"totals": totals(net="150.00", tax="28.60", gross="178.60")}, "BR-CO-14"),
        ({"totals": totals(net="150.00", tax="28.50", gross="178.60")}, "BR-CO-15"),
        ({"totals": totals(net="150.00", tax="28.50", gross="178.50", prepaid="50", payable="130")}, "BR-CO-16"),
        ({"due_date": fact(date(2024, 3, 1))}, "NAT-DATE-ORDER"),
        ({"due_date": fact(date(2027, 3, 1))}, "NAT-DATE-TERM"),
        ({"issue_date": fact(date(1, 3, 1)), "due_date": None}, "NAT-DATE-YEAR"),
        ({"issue_date": fact(date(9999, 3, 1)), "due_date": None}, "NAT-DATE-YEAR"),
        ({"due_date": fact(date(9999, 3, 1))}, "NAT-DATE-YEAR"),
        ({"number": fact("9" * 201)}, "NAT-TEXT-LENGTH"),
        ({"seller": Party(name=fact("A" * 1001))}, "NAT-TEXT-LENGTH"),
        ({"buyer": Party(name=fact("A" * 1001))}, "NAT-TEXT-LENGTH"),
        ({"type": typed("999")}, "BR-CL-01"),
        ({"type": typed("325")}, "NAT-TYPE-PRO-FORMA"),
        (
            {"vat": (VatBreakdown(rate=fact(Decimal(7)), taxable=fact(Decimal(150)), tax=fact(Decimal("28.50"))),)},
            "BR-CO-17",
        ),
        (
            {"vat": (VatBreakdown(rate=fact(Decimal(19)), taxable=fact(Decimal(140)), tax=fact(Decimal("26.60"))),)},
            "NAT-VAT-SUM",
        ),
    ],
)
def test_each_rule_finds_its_own_fault(change: dict[str, Any], code: str) -> None:
    assert code in codes(EVERYTHING, sample_invoice(**change))


@pytest.mark.parametrize("code", ["380", "389", "875", "877", "84", "381", "503"])
def test_a_type_of_the_code_list_passes(code: str) -> None:
    assert codes(EVERYTHING, sample_invoice(type=typed(code))) == []


def test_only_a_code_of_the_european_languages_is_looked_up() -> None:
    italian = typed("TD04", "/FatturaElettronica/FatturaElettronicaBody/DatiGenerali/TipoDocumento")
    root = typed("", "/Invoice")  # UBL without a code: the root says what it is
    for kind in (italian, root, fact(InvoiceType.INVOICE)):
        assert codes(EVERYTHING, sample_invoice(type=kind)) == []


def test_what_is_found_does_not_repeat_what_is_too_long() -> None:
    findings = rules.apply(EVERYTHING, sample_invoice(number=fact("9" * 300_000), type=typed("9" * 300)))
    assert max(len(finding.message) for finding in findings) < 200
    assert {finding.severity for finding in findings} == {"error"}


@given(st.dates(date(1970, 1, 1), date(2099, 12, 31)))
def test_a_day_of_our_time_is_no_finding_of_its_own(day: date) -> None:
    assert codes(rules.DATES, sample_invoice(issue_date=fact(day), due_date=None)) == []


def test_buyer_lines_and_dates_are_warnings_and_everything_else_is_an_error() -> None:
    invoice = sample_invoice(buyer=Party(), lines=(), due_date=fact(date(2024, 3, 1)))
    assert {finding.severity for finding in rules.apply(EVERYTHING, invoice)} == {"warning"}
    assert {finding.severity for finding in rules.apply(EVERYTHING, Invoice(lines=invoice.lines))} == {
        "error",
        "warning",
    }


def test_a_cent_is_tolerated_and_two_are_not() -> None:
    assert codes(rules.SUMS, sample_invoice(totals=totals(net="150.00", tax="28.50", gross="178.51"))) == []
    assert codes(rules.SUMS, sample_invoice(totals=totals(net="150.00", tax="28.50", gross="178.52"))) == ["BR-CO-15"]


def test_allowances_charges_prepaid_and_rounding_count() -> None:
    invoice = sample_invoice(
        totals=totals(
            lines="150.00", allowances="20.00", charges="5.00", net="135.00", tax="25.65", gross="160.65",
            prepaid="60.00", rounding="0.35", payable="101.00",
        )
    )  # fmt: skip
    assert codes(rules.SUMS, invoice) == []


def test_a_rule_without_its_terms_says_nothing() -> None:
    assert codes((*rules.SUMS, *rules.VAT, *rules.DATES), Invoice()) == []


def test_a_line_without_an_amount_stops_the_sum_of_lines() -> None:
    lines = (sample_line("1", "A", "1", "1.00", "1.00"), sample_line("2", "B", "1", "1.00", "1.00"))
    open_line = lines[1].model_copy(update={"net_amount": None})
    assert codes(rules.SUMS, sample_invoice(lines=(lines[0], open_line), totals=totals(lines="150.00"))) == []


@given(net=st.decimals(-(10**6), 10**6, places=2), rate=st.sampled_from([0, 7, 19, 21]))
def test_the_rules_hold_for_both_signs(net: Decimal, rate: int) -> None:
    tax = (net * rate / 100).quantize(Decimal("0.01"))
    group = VatBreakdown(rate=fact(Decimal(rate)), taxable=fact(net), tax=fact(tax))
    note = sample_invoice(
        type=fact(InvoiceType.CREDIT_NOTE),
        lines=(sample_line("1", "Return", "1", str(net), str(net), str(rate)),),
        vat=(group,),
        totals=totals(lines=str(net), net=str(net), tax=str(tax), gross=str(net + tax), payable=str(net + tax)),
    )
    assert rules.apply(EVERYTHING, note) == []


@pytest.mark.parametrize(
    "vat_id",
    ["DE136695976", "DE 136 695 976", "ATU13585627", "NL004495445B01", "IT00743110157", "DK13585628", "LU15027442",
     "BE0428759497", "PL8567346215", "FI20774740", "PT501964843", "FR40303265045", "SE556677889901", "GB123456789"],
)  # fmt: skip
def test_a_real_vat_id_passes(vat_id: str) -> None:
    assert check_vat_id(vat_id) is None


@pytest.mark.parametrize(
    ("vat_id", "reason"),
    [
        ("DE123456789", "check digit"),
        ("DE12345618938", "form of DE"),
        ("ATU123456789", "form of AT"),
        ("IT00743110158", "check digit"),
        ("LU15027443", "check digit"),
        ("BE0428759498", "check digit"),
        ("PL8567346216", "check digit"),
    ],
)
def test_a_wrong_vat_id_says_what_is_wrong(vat_id: str, reason: str) -> None:
    assert reason in (check_vat_id(vat_id) or "")


def test_a_vat_id_of_an_unknown_country_passes() -> None:
    assert check_vat_id("XX12") is None


@pytest.mark.parametrize(
    ("tax", "severity"), [("28.52", None), ("28.53", "warning"), ("29.49", "warning"), ("29.50", "error")]
)
def test_vat_by_rate_is_an_error_only_from_one_unit_on(tax: str, severity: str | None) -> None:
    group = VatBreakdown(rate=fact(Decimal(19)), taxable=fact(Decimal(150)), tax=fact(Decimal(tax)))
    found = rules.vat_by_rate(Invoice(vat=(group,)))
    assert [finding.severity for finding in found] == ([] if severity is None else [severity])


_NUMBERS = st.decimals(-(10**15) + 1, 10**15 - 1, places=12)


@given(amount=_NUMBERS, rate=_NUMBERS)
def test_vat_of_any_amount_at_any_rate_can_be_computed(amount: Decimal, rate: Decimal) -> None:
    group = VatBreakdown(rate=fact(rate), taxable=fact(amount), tax=fact(Decimal(1)))
    assert {found.code for found in rules.vat_by_rate(Invoice(vat=(group,)))} <= {"BR-CO-17"}
