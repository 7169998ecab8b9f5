"""What the review modules share: other documents with one supplier and number, and what a person decided.

Source: INVOICES.md (review).
"""

from collections.abc import Mapping
from typing import Final, Literal

from switchgear.invoice.other_content import differences
from switchgear.invoice.types import Invoice, ReviewDecision
from switchgear.sdk import Context, NeedsReview

#: From here on `review-strict` accepts unless told otherwise; `review-rules` asks for no more, so that what stands in
#: for it is never laxer. ADR 0013
STRICT_FROM: Final = 0.75
#: Fact of a hold: ids of the documents that the person who decides is told of.
OTHER_DOCUMENTS: Final = "other_documents"


def other_documents(invoice: Invoice, ctx: Context) -> Mapping[str, list[str]]:
    """Return the documents with the same supplier and number, by id, with the names of what each states differently."""
    others = (item for item in ctx.earlier if item.document_id != ctx.document_id)
    return {item.document_id: differences(invoice, item.result) for item in others}


def sentences(others: Mapping[str, list[str]]) -> list[str]:
    """What a person is told of each."""
    return [
        f"document {name} has the same supplier and number, but other content: {', '.join(named)}"
        if named
        else f"document {name} states the same"
        for name, named in others.items()
    ]


def decided(invoice: Invoice, ctx: Context) -> ReviewDecision | None:
    """Return what a person decided, None when nobody has.

    Raises:
        NeedsReview: The document was released by somebody who was not told of a document with the same supplier and
            number: it came after the hold, and both would be delivered.
    """
    decision = ctx.decision
    if decision is None:
        return None
    others = other_documents(invoice, ctx)
    untold = {name: others[name] for name in others if name not in (decision.facts.get(OTHER_DOCUMENTS) or ())}
    if decision.action == "release" and untold:
        reasons = sentences(untold)
        raise NeedsReview(
            "There are others with the same supplier and number of which whoever released this one was not told: "
            f"{'; '.join(reasons)}. Release it once more to deliver it as well, or reject it.",
            facts={"reasons": reasons, OTHER_DOCUMENTS: list(others)},
        )
    outcome: Literal["released", "rejected"] = "released" if decision.action == "release" else "rejected"
    return ReviewDecision(outcome=outcome, reasons=(decision.message,), actor=decision.actor)
