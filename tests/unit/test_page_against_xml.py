"""A page that says something else than its XML: who is told, and when a person decides. ADR 0020."""

from decimal import Decimal
from typing import Any

import pytest

from switchgear.invoice import doubts
from switchgear.invoice.rules import CRITICAL_FIELDS
from switchgear.invoice.testing import blob, fact, pages, sample_invoice, sample_verdict
from switchgear.invoice.types import (
    Candidate,
    Finding,
    Invoice,
    InvoiceFields,
    Party,
    Payment,
    ReviewDecision,
    Structured,
    Syntax,
    Totals,
    Verdict,
)
from switchgear.modules.reconcile_arithmetic import ReconcileArithmetic
from switchgear.modules.reconcile_priority import ReconcilePriority
from switchgear.modules.review_rules import ReviewRules
from switchgear.modules.review_strict import ReviewStrict
from switchgear.modules.validate_native import ValidateNative
from switchgear.sdk import NeedsReview
from switchgear.sdk.testing import FakeContext

REVIEWS = [ReviewRules, ReviewStrict]
RECONCILERS = [ReconcileArithmetic, ReconcilePriority]
OTHER_ACCOUNT = "DE02120300000000202051"
PAGE = """Musterwerk GmbH
Rechnung 2024-0017
Netto 150,00  USt 28,50  Gesamt 178,50
IBAN DE89 3704 0044 0532 0130 00"""


def both(page: dict[str, Any], reconcile: Any = ReconcileArithmetic) -> Invoice:
    """The joined invoice of the sample as XML and *page*."""
    xml, read = sample_invoice(), sample_invoice(**page)
    joined = reconcile().run(Structured(syntax=Syntax.CII, fields=xml), Candidate(fields=read, confidence=1))
    assert isinstance(joined, Invoice)
    return joined


def reviewed(review: Any, invoice: Invoice, verdict: Verdict) -> ReviewDecision:
    module = review()
    module.settings = review.Settings()
    decision = module.run(invoice, verdict, FakeContext())
    assert isinstance(decision, ReviewDecision)
    return decision


def held(review: Any, invoice: Invoice, verdict: Verdict) -> str:
    with pytest.raises(NeedsReview) as caught:
        reviewed(review, invoice, verdict)
    return str(caught.value)


def verdict_on(text: str, invoice: Invoice) -> Verdict:
    """What `validate-native` says of the sample with a page of *text*."""
    xml = Structured(syntax=Syntax.CII, fields=sample_invoice())
    return ValidateNative().run(invoice, blob(b"%PDF-1.7"), xml, pages(text))


def account(iban: str, confidence: float = 0.95) -> dict[str, Any]:
    return {"payment": Payment(iban=fact(iban, "text", confidence=confidence))}


def total(gross: str, confidence: float = 0.95) -> dict[str, Any]:
    return {"totals": Totals(gross=fact(Decimal(gross), "text", confidence=confidence))}


def number(text: str, confidence: float = 0.95) -> dict[str, Any]:
    return {"number": fact(text, "text", confidence=confidence)}


@pytest.mark.parametrize("reconcile", RECONCILERS)
def test_each_reconciler_names_disagreements_and_how_sure_the_page_is(reconcile: Any) -> None:
    (found,) = both(number("Q-99", 0.7), reconcile).findings
    assert (found.code, found.pointer, found.confidence) == ("reconcile.disagrees", "/number", 0.7)


def test_a_name_that_contains_the_other_is_worth_knowing_but_no_warning() -> None:
    (found,) = both({"seller": Party(name=fact("Lieferant 17 MUSTERWERK GMBH", "text"))}).findings
    assert (found.pointer, found.severity) == ("/seller/name", "info")


@pytest.mark.parametrize("review", REVIEWS)
@pytest.mark.parametrize(
    ("page", "said"),
    [
        (number("Q-99"), "number: the XML says 2024-0017, the page Q-99"),
        ({"currency": fact("USD", "text")}, "currency: the XML says EUR, the page USD"),
        (
            {"seller": Party(name=fact("Mallory Ltd", "text"))},
            "seller name: the XML says Musterwerk GmbH, the page Mal",
        ),
    ],
)
def test_a_disagreement_in_a_critical_value_is_accepted_with_a_flag(review: Any, page: Any, said: str) -> None:
    decision = reviewed(review, both(page), sample_verdict())
    assert decision.outcome == "accepted_flagged"
    assert said in "; ".join(decision.reasons)


@pytest.mark.parametrize("review", REVIEWS)
@pytest.mark.parametrize("page", [account(OTHER_ACCOUNT, 0.5), total("119.00", 0.59)])
def test_another_amount_or_account_of_a_doubtful_page_is_told(review: Any, page: Any) -> None:
    """An amount to pay that nothing on the page explains is read with a doubt, and is the most suspicious of all."""
    decision = reviewed(review, both(page), sample_verdict())
    assert decision.outcome == "accepted_flagged"
    assert "the XML says" in decision.reasons[0]


@pytest.mark.parametrize("review", REVIEWS)
@pytest.mark.parametrize("reconcile", RECONCILERS)
def test_what_kind_of_document_the_page_calls_itself_is_told_although_the_xml_counts(
    review: Any, reconcile: Any
) -> None:
    kind = Finding(code=doubts.KIND, severity="warning", message="the heading 'Mahnung' names another kind of document")
    page = Candidate(fields=InvoiceFields(), confidence=0.9, findings=(kind,))
    xml = Structured(syntax=Syntax.CII, fields=sample_invoice())
    decision = reviewed(review, reconcile().run(xml, page), sample_verdict())
    assert decision.outcome == "accepted_flagged"
    assert "the heading 'Mahnung'" in decision.reasons[0]


@pytest.mark.parametrize("review", REVIEWS)
@pytest.mark.parametrize("page", [number("Q-99", 0.59), account(OTHER_ACCOUNT, 0.49), total("119.00", 0.49)])
def test_a_page_that_is_hard_to_read_contradicts_nobody(review: Any, page: Any) -> None:
    assert reviewed(review, both(page), sample_verdict()).outcome == "accepted"


@pytest.mark.parametrize("review", REVIEWS)
@pytest.mark.parametrize(
    ("page", "text", "said"),
    [
        (account(OTHER_ACCOUNT, 0.6), PAGE.replace("DE89 3704 0044 0532 0130 00", OTHER_ACCOUNT),
         "account: the XML says"),
        (total("119.00", 0.6), PAGE.replace("178,50", "119,00"), "gross total: the XML says 178.50, the page 119.00"),
        ({"totals": Totals(payable=fact(Decimal("119.00"), "text"))}, PAGE.replace("178,50", "119,00"),
         "amount due: the XML says"),
    ],
)  # fmt: skip
def test_a_page_that_demands_another_amount_or_account_needs_a_person(
    review: Any, page: Any, text: str, said: str
) -> None:
    invoice = both(page)
    verdict = verdict_on(text, invoice)
    assert verdict.status == "valid"
    assert said in held(review, invoice, verdict)


@pytest.mark.parametrize("review", REVIEWS)
@pytest.mark.parametrize("page", [account(OTHER_ACCOUNT), total("119.00")])
def test_what_stands_on_the_page_too_is_flagged_and_what_nobody_looked_for_is_held(review: Any, page: Any) -> None:
    invoice = both(page)
    text = f"{PAGE}\nIBAN {OTHER_ACCOUNT}  119,00"
    assert reviewed(review, invoice, verdict_on(text, invoice)).outcome == "accepted_flagged"
    unseen = Verdict(status="incomplete", layers_run=("sums",), layers_skipped=("page",), rule_set="test 1")
    assert "the XML says" in held(review, invoice, unseen)


def test_an_account_of_the_xml_that_stands_nowhere_on_the_pages_is_a_warning() -> None:
    found = verdict_on(PAGE.replace("0130 00", "0130 01"), sample_invoice()).findings
    assert [(item.code, item.severity, item.pointer) for item in found] == [
        ("NAT-PAGE-IBAN", "warning", "/payment/iban")
    ]
    assert verdict_on(PAGE, sample_invoice()).findings == ()


def test_every_critical_field_can_be_flagged() -> None:
    for pointer in CRITICAL_FIELDS.values():
        said = f"{pointer}: the XML says a, the page b; the XML counts."
        finding = Finding(code="reconcile.disagrees", severity="warning", message=said, pointer=pointer, confidence=0.9)
        invoice = sample_invoice(findings=(finding,))
        looked = sample_verdict().model_copy(update={"layers_run": ("page",)})
        assert reviewed(ReviewRules, invoice, looked).outcome == "accepted_flagged"
