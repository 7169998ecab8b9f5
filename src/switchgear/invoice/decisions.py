"""What the review modules share: other documents of one number, contradicting pages, and what a person decided.

Source: INVOICES.md (review).
"""

from collections.abc import Mapping
from typing import Final, Literal

from switchgear.invoice import disagreements, doubts, rules
from switchgear.invoice.other_content import differences
from switchgear.invoice.types import Finding, Invoice, ReviewDecision, Verdict
from switchgear.sdk import Context, NeedsReview

#: From here on `review-strict` accepts unless told otherwise; `review-rules` asks for no more, so that what stands in
#: for it is never laxer. ADR 0013
STRICT_FROM: Final = 0.75
#: From here on a page says what it was read to say; the same in every review, so that none is laxer. ADR 0020
PAGE_COUNTS_FROM: Final = 0.6
_TOTALS: Final = frozenset(("/totals/gross", "/totals/payable"))
#: What the payer acts on; where the page demands something else, a person decides.
_DEMANDED: Final = _TOTALS | {"/payment/iban"}
#: What is told when the page says something else: pointer -> name.
_TOLD: Final[Mapping[str, str]] = {
    **{pointer: name for name, pointer in rules.CRITICAL_FIELDS.items()},
    "/totals/payable": "amount due",
    "/payment/iban": "account",
}
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


def page_contradicts(invoice: Invoice, verdict: Verdict) -> tuple[list[str], list[str]]:
    """Return what the page says differently of the critical values: what needs a person, and what is only told.

    Another amount or another account needs a person, unless the validation found that of the XML on the pages too.
    """
    said = [finding for finding in invoice.findings if _counts(finding)]
    held = [finding for finding in said if _is_sure(finding) and _is_demanded_only(finding, verdict)]
    told = [_sentence(finding) for finding in said if finding not in held]
    if invoice.number is not None and invoice.number.source == "xml":  # else the number is unsure for that reason
        told += [f"of the page, {item.message}" for item in invoice.findings if item.code == doubts.KIND]
    return [_sentence(finding) for finding in held], told


def worth_telling(verdict: Verdict) -> list[str]:
    """What the validation found that is no error and that whoever gets the invoice has to know."""
    found = (finding.message.rstrip(".") for finding in verdict.findings if finding.code == rules.COPY)
    return [f"{message[0].lower()}{message[1:]}" for message in found]


def _counts(finding: Finding) -> bool:
    # An amount to pay that nothing on the page explains is read with a doubt, and is the most suspicious of all.
    sure = _is_sure(finding, doubts.UNSURE if finding.pointer in _DEMANDED else PAGE_COUNTS_FROM)
    return finding.code == disagreements.CODE and finding.severity != "info" and finding.pointer in _TOLD and sure


def _is_sure(finding: Finding, threshold: float = PAGE_COUNTS_FROM) -> bool:
    return finding.confidence is None or finding.confidence >= threshold


def _is_demanded_only(finding: Finding, verdict: Verdict) -> bool:
    return finding.pointer in _DEMANDED and not _stands_on_pages(finding, verdict)


def _stands_on_pages(finding: Finding, verdict: Verdict) -> bool:
    if rules.PAGE_LAYER not in verdict.layers_run:
        return False
    alike = _TOTALS if finding.pointer in _TOTALS else {finding.pointer}
    return not any(item.code.startswith(rules.PAGE_CODES) and item.pointer in alike for item in verdict.findings)


def _sentence(finding: Finding) -> str:
    what = finding.message.removeprefix(f"{finding.pointer}: ").removesuffix("; the XML counts.")
    return f"the page contradicts the {_TOLD[finding.pointer or '']}: {what}"
