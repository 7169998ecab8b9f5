"""An invoice that was sent before is a copy only while it sends the same money to the same account."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from switchgear.invoice.other_content import differences
from switchgear.invoice.testing import fact, sample_invoice, sample_verdict
from switchgear.modules.review_rules import ReviewRules
from switchgear.modules.review_strict import ReviewStrict
from switchgear.sdk import Earlier, NeedsReview
from switchgear.sdk.testing import FakeContext


def totals(**values: str) -> dict[str, Any]:
    """Net, tax and gross of the sample, with *values*."""
    return {
        name: fact(Decimal(value))
        for name, value in {"net": "100.00", "tax": "19.00", "gross": "119.00", **values}.items()
    }


def lines(*amounts: str, source: Any = "xml") -> list[dict[str, Any]]:
    return [{"net_amount": fact(Decimal(amount), source)} for amount in amounts]


IBAN = "DE79 0000 0000 0012 3456 78"


@pytest.mark.parametrize(
    ("now", "before", "named"),
    [
        ({"payment": {"iban": fact(IBAN)}}, {"payment": {"iban": fact("DE89370400440532013000")}}, ["IBAN"]),
        ({"payment": {"iban": fact(IBAN)}}, {"payment": {"iban": fact(IBAN.replace(" ", "").lower())}}, []),
        ({"payment": {"iban": fact(IBAN)}}, {"payment": {}}, []),
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
        ({"lines": lines("60.00", "40.00")}, {"lines": lines("100.00", source="ocr")}, []),
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
        "type", "issue date", "currency", "net total", "tax total", "gross total", "amount to pay",
    ]  # fmt: skip
