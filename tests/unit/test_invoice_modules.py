"""What the later stages decide: which source wins, what is skipped, who is asked."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from switchgear.invoice.decisions import STRICT_FROM
from switchgear.invoice.testing import blob, fact, pages, sample_invoice, sample_verdict
from switchgear.invoice.types import (
    Candidate,
    Invoice,
    InvoiceFields,
    Party,
    ReviewDecision,
    Structured,
    Syntax,
    Totals,
    VatBreakdown,
    Verdict,
)
from switchgear.modules.reconcile_arithmetic import ReconcileArithmetic
from switchgear.modules.reconcile_priority import ReconcilePriority
from switchgear.modules.review_always import ReviewAlways
from switchgear.modules.review_rules import ReviewRules
from switchgear.modules.review_strict import ReviewStrict
from switchgear.modules.validate_basic import ValidateBasic
from switchgear.modules.validate_native import ValidateNative
from switchgear.sdk import Decision, Earlier, InputRejected, NeedsReview
from switchgear.sdk.testing import FakeContext


def totals(**values: str) -> Totals:
    return Totals(**{name: fact(Decimal(value)) for name, value in values.items()})


# --- reconcile ------------------------------------------------------------------------------------------------------


def reconciled(xml: InvoiceFields | None, page: InvoiceFields | None) -> Invoice:
    return ReconcileArithmetic().run(
        None if xml is None else Structured(syntax=Syntax.CII, fields=xml),
        None if page is None else Candidate(fields=page, confidence=1),
    )


def test_the_xml_wins_and_each_disagreement_is_a_finding() -> None:
    page = sample_invoice(number=fact("9999", "text"), currency=fact("USD", "text"))
    invoice = reconciled(sample_invoice(), page)
    assert invoice.number is not None
    assert invoice.number.value == "2024-0017"
    assert [(f.code, f.severity, f.pointer) for f in invoice.findings] == [
        ("reconcile.disagrees", "warning", "/number"),
        ("reconcile.disagrees", "warning", "/currency"),
    ]


def test_values_that_mean_the_same_do_not_disagree() -> None:
    page = sample_invoice(
        number=fact("2024 0017", "text"), seller=Party(name=fact("MUSTERWERK  GmbH", "text")), totals=totals(net="150")
    )
    assert reconciled(sample_invoice(), page).findings == ()


def test_the_page_fills_what_the_xml_lacks() -> None:
    invoice = reconciled(
        sample_invoice(due_date=None, lines=()), sample_invoice(due_date=fact(date(2024, 5, 1), "text"))
    )
    assert invoice.due_date is not None
    assert (invoice.due_date.value, invoice.due_date.source) == (date(2024, 5, 1), "text")
    assert len(invoice.lines) == 2


def test_a_total_of_the_page_that_breaks_the_sums_fills_no_gap() -> None:
    xml = sample_invoice(totals=totals(net="150.00", tax="28.50", gross="178.50", payable="178.50"))
    page = sample_invoice(totals=totals(prepaid="50.00"))
    assert reconciled(xml, page).totals.prepaid is None


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"net": "150.00", "tax": "28.50"}, "gross", "178.50"),
        ({"gross": "178.50", "tax": "28.50"}, "net", "150.00"),
        ({"gross": "178.50", "net": "150.00"}, "tax", "28.50"),
        ({"gross": "-178.50", "net": "-150.00"}, "tax", "-28.50"),
        ({"gross": "178.50", "prepaid": "100.00", "net": "150.00"}, "payable", "78.50"),
    ],
)
def test_a_missing_total_is_derived_and_says_so(given: dict[str, str], name: str, value: str) -> None:
    derived = getattr(reconciled(None, InvoiceFields(totals=totals(**given))).totals, name)
    assert (derived.value, derived.source, derived.evidence) == (Decimal(value), "derived", None)


def test_a_derived_total_is_as_sure_as_its_least_sure_term() -> None:
    fields = InvoiceFields(totals=Totals(net=fact(Decimal(1), confidence=0.4), tax=fact(Decimal(1), confidence=0.9)))
    gross = reconciled(None, fields).totals.gross
    assert gross is not None
    assert gross.confidence == 0.4


def test_totals_follow_from_the_vat_breakdown() -> None:
    groups = tuple(
        VatBreakdown(taxable=fact(Decimal(base)), tax=fact(Decimal(tax)))
        for base, tax in (("100", "19"), ("50", "3.50"))
    )
    found = reconciled(None, InvoiceFields(vat=groups)).totals
    assert [str(item and item.value) for item in (found.net, found.tax, found.gross)] == ["150", "22.50", "172.50"]


def test_priority_takes_fields_whole_and_computes_nothing() -> None:
    xml = Structured(syntax=Syntax.CII, fields=InvoiceFields(number=fact("X1"), totals=totals(net="1.00", tax="0.19")))
    page = Candidate(fields=sample_invoice(), confidence=1)
    invoice = ReconcilePriority().run(xml, page)
    assert invoice.number is not None
    assert invoice.number.value == "X1"
    assert invoice.totals.gross is None
    assert invoice.currency == sample_invoice().currency


# --- validate -------------------------------------------------------------------------------------------------------

PDF, XML_FILE = blob(b"%PDF-1.4\n"), blob(b"<Invoice/>")
PAGE_TEXT = "Rechnung 2024-0017\nSumme 150,00\nMwSt 28,50\nGesamt 178,50\nIBAN DE89 3704 0044 0532 0130 00"


def test_what_the_xml_states_but_nobody_can_read_is_an_error_although_it_could_be_computed() -> None:
    structured = Structured(syntax=Syntax.UBL_INVOICE, fields=sample_invoice(), unreadable=("/Invoice/DueDate",) * 30)
    verdict = ValidateNative().run(sample_invoice(), XML_FILE, structured, None)
    assert verdict.status == "invalid"
    assert {(found.code, found.message) for found in verdict.findings} == {
        (
            "NAT-XML-VALUE",
            "What the XML has at /Invoice/DueDate is no number or no calendar day, or has elements inside it.",
        )
    }
    assert len(verdict.findings) == 20


def both(structured: Structured) -> list[Verdict]:
    """What the validator and the one that stands in for it say of a sound invoice that was read so.
    IBAN DE89 3704 0044 0532 0130 00"""
    return [
        ValidateNative().run(sample_invoice(), XML_FILE, structured, None),
        ValidateBasic().run(sample_invoice(), structured),
    ]


def test_what_cannot_be_an_invoice_number_is_an_error_for_both() -> None:
    overlong = sample_invoice(number=fact("9" * 201))
    for verdict in (ValidateNative().run(overlong, XML_FILE, None, None), ValidateBasic().run(overlong, None)):
        assert (verdict.status, [found.code for found in verdict.findings]) == ("invalid", ["NAT-TEXT-LENGTH"])


def test_what_the_xml_contradicts_is_an_error() -> None:
    path = "/Invoice/LegalMonetaryTotal/PayableAmount[1]"
    structured = Structured(syntax=Syntax.UBL_INVOICE, fields=sample_invoice(), contradicted=(path,))
    for verdict in both(structured):
        assert (verdict.status, [found.code for found in verdict.findings]) == ("invalid", ["NAT-XML-CONTRADICTED"])


def test_further_e_invoices_in_a_pdf_are_named() -> None:
    structured = Structured(syntax=Syntax.UBL_INVOICE, fields=sample_invoice(), passed_over=("b.xml", "c.xml"))
    [found], [other] = (verdict.findings for verdict in both(structured))
    assert found == other
    assert (found.code, found.severity) == ("NAT-XML-SEVERAL", "error")
    assert found.message == "The PDF carries further e-invoices, with other content or unreadable: b.xml, c.xml."


@pytest.mark.parametrize(("code", "found"), [("EUR", []), ("DEM", []), ("XXQ", ["BR-CL-04"]), ("eur", ["BR-CL-04"])])
def test_a_currency_is_one_of_iso_4217(code: str, found: list[str]) -> None:
    verdict = validated(sample_invoice().model_copy(update={"currency": fact(code)}))

    assert [finding.code for finding in verdict.findings] == found


def validated(invoice: Invoice, document: Any = XML_FILE, page: str | None = None, xml: bool = True) -> Verdict:
    structured = Structured(syntax=Syntax.CII, fields=invoice) if xml else None
    return ValidateNative().run(invoice, document, structured, None if page is None else pages(page))


def test_an_xml_file_has_no_page_and_nothing_is_skipped() -> None:
    verdict = validated(sample_invoice())
    assert (verdict.status, verdict.layers_skipped, verdict.findings) == ("valid", (), ())


def test_a_pdf_with_xml_is_compared_with_its_page() -> None:
    verdict = validated(sample_invoice(), PDF, PAGE_TEXT)
    assert verdict.status == "valid"
    assert "page" in verdict.layers_run
    assert verdict.findings == ()


def test_another_total_on_the_page_is_a_warning() -> None:
    verdict = validated(sample_invoice(), PDF, PAGE_TEXT.replace("178,50", "187,50").replace("0017", "0018"))
    assert [(f.code, f.severity) for f in verdict.findings] == [
        ("NAT-PAGE-NUMBER", "warning"),
        ("NAT-PAGE-TOTAL", "warning"),
    ]
    assert verdict.status == "valid"


@pytest.mark.parametrize("page", [None, ""])
def test_a_pdf_whose_page_was_not_read_is_incomplete(page: str | None) -> None:
    verdict = validated(sample_invoice(), PDF, page)
    assert (verdict.status, verdict.layers_skipped) == ("incomplete", ("page",))


def test_a_wrong_sum_is_invalid_and_stays_so_when_a_layer_was_skipped() -> None:
    wrong = sample_invoice(totals=totals(net="150.00", tax="28.50", gross="200.00"))
    assert validated(wrong).status == "invalid"
    assert validated(wrong, PDF).status == "invalid"


def test_wrong_check_digits_are_warnings() -> None:
    invoice = sample_invoice(
        payment={"iban": fact("DE89370400440532013001")}, seller=Party(name=fact("A"), vat_id=fact("DE123456789"))
    )
    verdict = validated(invoice)
    assert [f.code for f in verdict.findings] == ["NAT-IBAN", "NAT-VAT-ID"]
    assert verdict.status == "valid"


def test_the_basic_validator_never_calls_an_invoice_valid() -> None:
    verdict = ValidateBasic().run(sample_invoice(), None)
    assert verdict.status == "incomplete"
    assert set(verdict.layers_skipped) == {"mandatory", "vat", "check_digits", "page"}


# --- review ---------------------------------------------------------------------------------------------------------


def reviewed(invoice: Invoice, verdict: Verdict, ctx: FakeContext | None = None, **settings: Any) -> ReviewDecision:
    review = ReviewRules()
    review.settings = ReviewRules.Settings(**settings)
    return review.run(invoice, verdict, ctx or FakeContext())


def earlier(document_id: str = "doc_other", **changes: Any) -> Earlier:
    return Earlier(document_id=document_id, result=sample_invoice(**changes).model_dump(mode="json"))


def test_a_valid_and_sure_invoice_is_accepted() -> None:
    assert reviewed(sample_invoice(), sample_verdict()).outcome == "accepted"


def test_an_incomplete_verdict_is_accepted_and_flagged() -> None:
    decision = reviewed(sample_invoice(), sample_verdict("incomplete"))
    assert (decision.outcome, decision.reasons) == ("accepted_flagged", ("not checked: page",))


@pytest.mark.parametrize(
    ("invoice", "verdict", "ctx", "reason"),
    [
        (sample_invoice(), sample_verdict("invalid"), FakeContext(), "BR-CO-15: gross is not net"),
        (sample_invoice(number=None), sample_verdict(), FakeContext(), "the number is missing"),
        (sample_invoice(seller=Party()), sample_verdict(), FakeContext(), "the seller name is missing"),
        (
            sample_invoice(issue_date=fact(date(2024, 1, 1), confidence=0.59)),
            sample_verdict(),
            FakeContext(),
            "the issue date is unsure (0.59, needed 0.60)",
        ),
        (
            sample_invoice(),
            sample_verdict(),
            FakeContext(earlier=[earlier(totals=totals(gross="999.00"))]),
            "doc_other has the same supplier and number, but other content: net total, tax total, gross total",
        ),
    ],
)
def test_a_person_is_asked(invoice: Invoice, verdict: Verdict, ctx: FakeContext, reason: str) -> None:
    with pytest.raises(NeedsReview) as raised:
        reviewed(invoice, verdict, ctx)
    assert reason in raised.value.message
    assert json.loads(json.dumps(raised.value.facts)) == raised.value.facts
    assert reviewed(invoice, verdict, ctx, on_review="accept").outcome == "accepted_flagged"
    with pytest.raises(InputRejected, match="A person has to look"):
        reviewed(invoice, verdict, ctx, on_review="fail")


def test_the_threshold_is_a_setting() -> None:
    unsure = sample_invoice(number=fact("1", confidence=0.3))
    assert reviewed(unsure, sample_verdict(), review_below=0.3).outcome == "accepted"


def test_the_same_content_again_is_flagged_and_the_same_document_is_not() -> None:
    same = sample_invoice(number=fact("2024-0017", "ocr", confidence=0.9))
    assert reviewed(same, sample_verdict(), FakeContext(earlier=[earlier()])).outcome == "accepted_flagged"
    own = FakeContext(document_id="doc_1", earlier=[earlier("doc_1", totals=totals(gross="999.00"))])
    assert reviewed(sample_invoice(), sample_verdict(), own).outcome == "accepted"


@pytest.mark.parametrize("module", [ReviewRules, ReviewStrict, ReviewAlways])
@pytest.mark.parametrize(("action", "outcome"), [("release", "released"), ("reject", "rejected")])
def test_a_persons_decision_stands(module: Any, action: Any, outcome: str) -> None:
    review = module()
    review.settings = module.Settings()
    ctx = FakeContext(decision=Decision(action=action, actor="ada", message="looked at it"))
    decision = review.run(sample_invoice(number=None), sample_verdict("invalid"), ctx)
    assert (decision.outcome, decision.actor, decision.reasons) == (outcome, "ada", ("looked at it",))


def test_review_always_asks_first() -> None:
    with pytest.raises(NeedsReview, match="release or reject"):
        ReviewAlways().run(sample_invoice(), sample_verdict(), FakeContext())


@pytest.mark.parametrize(("status", "outcome"), [("valid", "accepted"), ("incomplete", "accepted_flagged")])
def test_the_strict_review_accepts_what_leaves_no_doubt(status: Any, outcome: str) -> None:
    review = ReviewStrict()
    review.settings = ReviewStrict.Settings()
    assert review.run(sample_invoice(), sample_verdict(status), FakeContext()).outcome == outcome


@pytest.mark.parametrize(
    ("invoice", "verdict", "ctx", "reason"),
    [
        (sample_invoice(), sample_verdict("invalid"), FakeContext(), "the verdict is invalid"),
        (sample_invoice(number=None), sample_verdict(), FakeContext(), "the number is missing"),
        (
            sample_invoice(number=fact("1", confidence=0.74)),
            sample_verdict(),
            FakeContext(),
            "the number is not sure enough (0.74, needed 0.75)",
        ),
        (
            sample_invoice(),
            sample_verdict(),
            FakeContext(earlier=[earlier(totals=totals(payable="999.00"))]),
            "document doc_other has the same supplier and number, but other content: net total, tax",
        ),
        (
            sample_invoice(),
            sample_verdict(),
            FakeContext(earlier=[Earlier(document_id="doc_other", result={"made": "by another version"})]),
            "document doc_other has the same supplier and number, but other content",
        ),
    ],
)
def test_the_strict_review_asks_about_any_doubt(
    invoice: Invoice, verdict: Verdict, ctx: FakeContext, reason: str
) -> None:
    review = ReviewStrict()
    review.settings = ReviewStrict.Settings()
    with pytest.raises(NeedsReview) as raised:
        review.run(invoice, verdict, ctx)
    assert reason in raised.value.message
    assert json.loads(json.dumps(raised.value.facts)) == raised.value.facts


def test_the_strict_review_flags_a_document_that_says_the_same() -> None:
    review = ReviewStrict()
    review.settings = ReviewStrict.Settings()
    decision = review.run(sample_invoice(), sample_verdict(), FakeContext(earlier=[earlier()]))
    assert (decision.outcome, decision.reasons) == ("accepted_flagged", ("document doc_other says the same",))


@given(
    confidence=st.floats(0, 1),
    status=st.sampled_from(["valid", "invalid", "incomplete"]),
    others=st.lists(st.sampled_from(["10.00", "119.00"]), max_size=2),
    review_below=st.floats(0, STRICT_FROM),
)
def test_the_strict_review_accepts_nothing_that_the_rules_would_not(
    confidence: float, status: Any, others: list[str], review_below: float
) -> None:
    invoice = sample_invoice(number=fact("2024-0017", confidence=confidence))
    ctx = FakeContext(
        earlier=[earlier(f"doc_{place}", totals=totals(gross=gross)) for place, gross in enumerate(others)]
    )
    review = ReviewStrict()
    review.settings = ReviewStrict.Settings()
    try:
        review.run(invoice, sample_verdict(status), ctx)
    except NeedsReview:
        return
    by_rules = reviewed(invoice, sample_verdict(status), ctx, review_below=review_below)
    assert by_rules.outcome in ("accepted", "accepted_flagged")


def test_the_rules_never_ask_for_more_than_what_stands_in_for_them() -> None:
    with pytest.raises(ValidationError, match=r"less than or equal to 0[.]75"):
        ReviewRules.Settings(review_below=0.8)
