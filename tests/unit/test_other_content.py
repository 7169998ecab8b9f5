"""An invoice that was sent before is a copy only while it sends the same money to the same account."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any, Literal

import pytest

from switchgear.invoice.other_content import differences
from switchgear.invoice.testing import fact, sample_invoice, sample_verdict
from switchgear.modules.review_always import ReviewAlways
from switchgear.modules.review_rules import ReviewRules
from switchgear.modules.review_strict import ReviewStrict
from switchgear.sdk import Decision, Earlier, NeedsReview
from switchgear.sdk.testing import FakeContext


def totals(**values: str) -> dict[str, Any]:
    """Net, tax and gross of the sample, with *values*."""
    return {
        name: fact(Decimal(value))
        for name, value in {"net": "100.00", "tax": "19.00", "gross": "119.00", **values}.items()
    }


def lines(*amounts: str, source: Any = "xml") -> list[dict[str, Any]]:
    return [{"net_amount": fact(Decimal(amount), source)} for amount in amounts]


#: The number was read on a page.
PAGE: dict[str, Any] = {"number": fact("2024-001", "text")}
IBAN = "DE79 0000 0000 0012 3456 78"


@pytest.mark.parametrize(
    ("now", "before", "named"),
    [
        ({"payment": {"iban": fact(IBAN)}}, {"payment": {"iban": fact("DE89370400440532013000")}}, ["IBAN"]),
        ({"payment": {"iban": fact(IBAN)}}, {"payment": {"iban": fact(IBAN.replace(" ", "").lower())}}, []),
        ({"payment": {"iban": fact(IBAN)}}, {"payment": {}}, ["IBAN"]),
        ({"payment": {"iban": fact(IBAN, "text")}}, {"payment": {}}, []),  # the XML of both states none
        ({"due_date": fact(date(2024, 2, 1))}, {"due_date": None}, ["due date"]),
        ({"buyer": {"name": fact("Buyer GmbH")}}, {"buyer": {"name": fact("Other GmbH")}}, ["name of the buyer"]),
        ({"buyer": {"name": fact("Buyer  GmbH")}}, {"buyer": {"name": fact("buyer gmbh")}}, []),
        (
            {"buyer": {"address": fact({"city": "Ulm"})}},
            {"buyer": {"address": fact({"city": "Bonn"})}},
            ["address of the buyer"],
        ),
        ({"buyer": {"vat_id": fact("DE1")}}, {"buyer": {}}, ["VAT id of the buyer"]),
        ({"payment": {"reference": fact("1")}}, {"payment": {"reference": fact("2")}}, ["payment reference"]),
        ({"type": None}, {"type": fact("credit_note")}, ["type"]),
        ({"vat": []}, {"vat": [{"rate": fact(Decimal(7))}]}, ["VAT breakdown"]),
        ({"totals": totals(prepaid="0.00")}, {"totals": totals()}, []),
        ({"due_date": fact(date(2024, 2, 1))}, {"due_date": fact(date(2024, 3, 1))}, ["due date"]),
        ({"totals": totals(payable="119.00")}, {"totals": totals(payable="119.0")}, []),
        ({"totals": totals(payable="119.00")}, {"totals": totals()}, []),
        ({"totals": totals(payable="19.00")}, {"totals": totals()}, ["amount to pay"]),
        ({"totals": totals(payable="119.00")}, {"totals": totals(payable="19.00")}, ["amount to pay"]),
        ({"totals": totals(gross="119.00")}, {"totals": totals(gross="999.00")}, ["gross total", "amount to pay"]),
        ({"buyer": {"vat_id": fact("DE1")}}, {"buyer": {"vat_id": fact("DE2")}}, ["VAT id of the buyer"]),
        ({"currency": fact("EUR")}, {"currency": None}, ["currency"]),
        ({"lines": lines("60.00", "40.00")}, {"lines": lines("40.0", "60")}, []),
        ({"lines": lines("60.00", "40.00")}, {"lines": lines("50.00", "50.00")}, ["lines"]),
        ({"lines": [{"description": fact("Paper")}]}, {"lines": [{"description": fact("Gold")}]}, ["lines"]),
        ({"lines": lines("60.00", "40.00")}, {}, ["lines"]),
        # one of the two was read on a page, where much is missed
        ({**PAGE, "payment": {"iban": fact(IBAN)}}, {"payment": {}}, []),
        ({**PAGE, "payment": {"iban": fact(IBAN)}}, {"payment": {"iban": fact("DE89370400440532013000")}}, ["IBAN"]),
        ({**PAGE, "type": None}, {"type": fact("invoice")}, []),
        ({**PAGE, "type": fact("credit_note")}, {"type": fact("invoice")}, ["type"]),
        ({**PAGE, "buyer": {"vat_id": fact("DE1")}}, {"buyer": {"vat_id": fact("DE2")}}, ["VAT id of the buyer"]),
        ({**PAGE, "buyer": {"name": fact("Buyer")}}, {"buyer": {"name": fact("Other")}}, []),
        ({**PAGE, "lines": lines("60.00", "40.00")}, {"lines": lines("100.00", source="ocr")}, []),
        ({**PAGE, "lines": lines("60.00", "40.00")}, {"lines": lines("50.00", "50.00")}, ["lines"]),
    ],
)
@pytest.mark.parametrize("review", [ReviewRules, ReviewStrict])
def test_what_tells_two_invoices_with_one_number_apart(
    review: Any, now: dict[str, Any], before: dict[str, Any], named: list[str]
) -> None:
    other = Earlier(document_id="doc_other", result=sample_invoice(**before).model_dump(mode="json"))
    assert differences(sample_invoice(**now), other.result) == named

    module = review()
    module.settings = review.Settings()
    context = FakeContext(earlier=[other])
    if not named:
        assert module.run(sample_invoice(**now), sample_verdict(), context).outcome == "accepted_flagged"
        return
    with pytest.raises(NeedsReview, match=f"document doc_other has the same .*: {', '.join(named)}[.]"):
        module.run(sample_invoice(**now), sample_verdict(), context)


def test_a_result_of_another_version_of_the_pipeline_states_nothing() -> None:
    assert differences(sample_invoice(), {"made": "by another version", "lines": "none"}) == [
        "issue date", "currency", "net total", "tax total", "gross total", "amount to pay",
    ]  # fmt: skip


REVIEWS = [ReviewRules, ReviewStrict, ReviewAlways]


def review(module: Any, action: Literal["release", "reject"], told: list[str], *others: Any) -> Any:
    """What *module* says when a person who was told of the documents *told* has decided."""
    reviewer = module()
    reviewer.settings = reviewer.Settings()
    decision = Decision(action=action, actor="ada", message="looked at it", facts={"other_documents": told})
    earlier = [
        Earlier(document_id=f"doc_{number}", result=each.model_dump(mode="json")) for number, each in enumerate(others)
    ]
    return reviewer.run(sample_invoice(), sample_verdict(), FakeContext(decision=decision, earlier=earlier))


@pytest.mark.parametrize("module", REVIEWS)
def test_a_release_holds_again_when_others_came_of_which_the_person_was_not_told(module: Any) -> None:
    other = sample_invoice(due_date=None)
    with pytest.raises(
        NeedsReview,
        match=r"document doc_1 has the same supplier and number, but other content: due date[.] Release it once",
    ) as again:
        review(module, "release", ["doc_0"], other, other)
    with pytest.raises(NeedsReview, match="document doc_0 states the same"):
        review(module, "release", [], sample_invoice())

    told = again.value.facts["other_documents"]
    assert review(module, "release", told, other, other).outcome == "released"
    assert review(module, "reject", [], other).outcome == "rejected"


@pytest.mark.parametrize("module", REVIEWS)
def test_a_hold_tells_of_every_document_with_the_same_supplier_and_number(module: Any) -> None:
    reviewer = module()
    reviewer.settings = reviewer.Settings()
    both = {"same": sample_invoice(), "other": sample_invoice(due_date=None)}
    earlier = [Earlier(document_id=name, result=each.model_dump(mode="json")) for name, each in both.items()]
    with pytest.raises(NeedsReview) as hold:
        reviewer.run(sample_invoice(), sample_verdict(), FakeContext(earlier=earlier))
    assert hold.value.facts["other_documents"] == list(both)
    assert "ocument same states the same" in hold.value.message  # whoever is counted as told can read it
    assert "ocument other has" in hold.value.message
    assert "due date" in hold.value.message
