"""Accepts an invoice that leaves no doubt, asks a person about any other. Source: INVOICES.md (review), ADR 0013."""

from typing import Final, Literal

from pydantic import Field

from switchgear.invoice import rules
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

    It compares no content: any other document with the same supplier and number is a doubt, an exact copy too.
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
        doubts = [*_verdict_doubts(verdict), *self._field_doubts(invoice), *_identity_doubts(ctx)]
        if doubts:
            raise NeedsReview(
                f"A person has to look at this invoice: {'; '.join(doubts)}.",
                facts={"reasons": doubts, "verdict": verdict.status},
            )
        if verdict.status == "incomplete":
            flag = f"not checked: {', '.join(verdict.layers_skipped)}"
            return ReviewDecision(outcome="accepted_flagged", reasons=(flag,))
        return ReviewDecision(outcome="accepted")

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


def _identity_doubts(ctx: Context) -> list[str]:
    others = [item.document_id for item in ctx.earlier if item.document_id != ctx.document_id]
    return [f"another document has the same supplier and number: {', '.join(others)}"] if others else []
