"""Decides by rules whether an invoice goes on or waits for a person. Source: INVOICES.md (review)."""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from switchgear.invoice import doubts, rules
from switchgear.invoice.decisions import (
    OTHER_DOCUMENTS,
    STRICT_FROM,
    decided,
    other_documents,
    page_contradicts,
    sentences,
    worth_telling,
)
from switchgear.invoice.types import Invoice, ReviewDecision, Verdict
from switchgear.sdk import Context, InputRejected, Module, ModuleSettings, NeedsReview, module


@module(
    stage="review",
    contract="invoice-review@1",
    version="1.0.0",
    guarantees={"decision_names_its_person"},
    min_isolation="L0",
)
class ReviewRules(Module):
    """Accepts, or puts the document on hold: verdict invalid, same number with other content, unsure or missing field,
    or a page that demands another amount or another account than the XML, which stand nowhere on it.

    The same inputs, settings and earlier results always give the same decision. An `incomplete` verdict is accepted and
    flagged, and so is another document that states the same amounts, dates, account and buyer, a page that says
    something else of a critical field than the XML, and an XML that calls itself a copy.
    """

    class Settings(ModuleSettings):
        """Thresholds of the review."""

        review_below: float = Field(
            0.6,
            ge=0,
            le=STRICT_FROM,
            description="A critical field with a lower confidence needs a person, 0 to 0.75. "
            "Whoever wants more selects review-strict.",
        )
        on_review: Literal["park", "accept", "fail"] = Field(
            "park",
            description="What happens when a person is needed: hold the document, accept it flagged, or fail the run.",
        )

    settings: Settings

    def run(self, invoice: Invoice, verdict: Verdict, ctx: Context) -> ReviewDecision:
        """Return the decision.

        Raises:
            NeedsReview: A person has to decide (`on_review` is `park`), or decided without knowing of another document.
            InputRejected: A person would have to decide and `on_review` is `fail`; code `review`.
        """
        if (decision := decided(invoice, ctx)) is not None:
            return decision
        reasons = [*_verdict_reasons(verdict), *_field_reasons(invoice, self.settings.review_below)]
        demanded, told = page_contradicts(invoice, verdict)
        told += worth_telling(verdict)
        others = other_documents(invoice, ctx)
        reasons += [*demanded, *sentences({name: named for name, named in others.items() if named})]
        if not reasons:
            return _accepted(verdict, others, told)
        reasons += [*told, *sentences({name: named for name, named in others.items() if not named})]
        if self.settings.on_review == "accept":
            return ReviewDecision(outcome="accepted_flagged", reasons=tuple(reasons))
        sentence = f"A person has to look at this invoice: {'; '.join(reasons)}."
        if self.settings.on_review == "fail":
            raise InputRejected("review", sentence)
        raise NeedsReview(sentence, facts=_facts(invoice, verdict, reasons, list(others)))


def _accepted(verdict: Verdict, others: Iterable[str], told: list[str]) -> ReviewDecision:
    flags = [f"not checked: {', '.join(verdict.layers_skipped)}"] if verdict.status == "incomplete" else []
    flags += [*told, *(f"document {document_id} states the same" for document_id in others)]
    return ReviewDecision(outcome="accepted_flagged" if flags else "accepted", reasons=tuple(flags))


def _verdict_reasons(verdict: Verdict) -> list[str]:
    if verdict.status != "invalid":
        return []
    errors = [finding for finding in verdict.findings if finding.severity == "error"]
    return [f"{finding.code}: {finding.message.rstrip('.')}" for finding in errors] or ["the invoice is invalid"]


def _field_reasons(invoice: Invoice, threshold: float) -> list[str]:
    reasons = []
    for name, fact in rules.critical_facts(invoice).items():
        if fact is None:
            reasons.append(f"the {name} is missing")
        elif fact.confidence < threshold:
            why = "; ".join(doubts.reasons_for(invoice.findings, rules.CRITICAL_FIELDS[name]))
            reasons.append(
                f"the {name} is unsure ({fact.confidence:.2f}, needed {threshold:.2f})" + (f": {why}" if why else "")
            )
    return reasons


def _facts(invoice: Invoice, verdict: Verdict, reasons: list[str], others: list[str]) -> dict[str, Any]:
    fields = {
        name: None if fact is None else {"value": str(fact.value), "confidence": fact.confidence, "source": fact.source}
        for name, fact in rules.critical_facts(invoice).items()
    }
    return {
        "reasons": reasons,
        "verdict": verdict.status,
        "critical_fields": fields,
        OTHER_DOCUMENTS: others,
    }
