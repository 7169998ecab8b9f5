"""Accepts an invoice that leaves no doubt, asks a person about any other. Source: INVOICES.md (review), ADR 0013."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field

from switchgear.invoice import rules
from switchgear.invoice.other_content import differences
from switchgear.invoice.types import Invoice, ReviewDecision, Verdict
from switchgear.sdk import Context, Module, ModuleSettings, NeedsReview, module

_ACCEPT_FROM: Final = 0.75


@module(
    stage="review",
    contract="invoice-review@1",
    version="1.0.0",
    guarantees={"decision_names_its_person"},
    min_isolation="L0",
)
class ReviewStrict(Module):
    """Stands in for `review-rules`: accepts fewer invoices, never one that those rules hold by default.

    Another document with the same supplier and number is a doubt, unless it states the same amounts, dates, account
    and buyer.
    """

    class Settings(ModuleSettings):
        """How sure is sure enough."""

        accept_from: float = Field(
            _ACCEPT_FROM, ge=0, le=1, description="Each critical field needs at least this confidence, 0 to 1."
        )

    settings: Settings

    def run(self, invoice: Invoice, verdict: Verdict, ctx: Context) -> ReviewDecision:
        """Return the decision.

        Raises:
            NeedsReview: There is a doubt and nobody has decided yet.
        """
        if ctx.decision is not None:
            outcome: Literal["released", "rejected"] = "released" if ctx.decision.action == "release" else "rejected"
            return ReviewDecision(outcome=outcome, reasons=(ctx.decision.message,), actor=ctx.decision.actor)
        doubts = [*_verdict_doubts(verdict), *self._field_doubts(invoice), *_identity_doubts(invoice, ctx)]
        if doubts:
            raise NeedsReview(
                f"A person has to look at this invoice: {'; '.join(doubts)}.",
                facts={"reasons": doubts, "verdict": verdict.status},
            )
        flags = [f"not checked: {', '.join(verdict.layers_skipped)}"] if verdict.status == "incomplete" else []
        flags += [f"document {item} says the same" for item in _others(ctx)]
        return ReviewDecision(outcome="accepted_flagged" if flags else "accepted", reasons=tuple(flags))

    def _field_doubts(self, invoice: Invoice) -> list[str]:
        doubts = []
        for name, fact in rules.critical_facts(invoice).items():
            if fact is None:
                doubts.append(f"the {name} is missing")
            elif fact.confidence < self.settings.accept_from:
                doubts.append(
                    f"the {name} is not sure enough ({fact.confidence:.2f}, needed {self.settings.accept_from:.2f})"
                )
        return doubts


def _verdict_doubts(verdict: Verdict) -> list[str]:
    return ["the verdict is invalid"] if verdict.status == "invalid" else []


def _others(ctx: Context) -> dict[str, Mapping[str, Any]]:
    return {item.document_id: item.result for item in ctx.earlier if item.document_id != ctx.document_id}


def _identity_doubts(invoice: Invoice, ctx: Context) -> list[str]:
    return [
        f"document {document_id} has the same supplier and number and says something else: {', '.join(named)}"
        for document_id, result in _others(ctx).items()
        if (named := differences(invoice, result))
    ]
