"""Asks a person about every invoice. Source: INVOICES.md (review)."""

from switchgear.invoice import rules
from switchgear.invoice.decisions import OTHER_DOCUMENTS, decided, other_documents, sentences
from switchgear.invoice.types import Invoice, ReviewDecision, Verdict
from switchgear.sdk import Context, Module, NeedsReview, module


@module(
    stage="review",
    contract="invoice-review@1",
    version="1.0.0",
    guarantees={"decision_names_its_person"},
    min_isolation="L0",
)
class ReviewAlways(Module):
    """Puts every document on hold until a person releases or rejects it; then goes on with that decision."""

    def run(self, invoice: Invoice, verdict: Verdict, ctx: Context) -> ReviewDecision:
        """Return what the person decided.

        Raises:
            NeedsReview: Nobody has decided yet, or decided without knowing of another document.
        """
        decision = decided(invoice, ctx)
        if decision is None:
            fields = {
                name: None if fact is None else str(fact.value) for name, fact in rules.critical_facts(invoice).items()
            }
            others = other_documents(invoice, ctx)
            told = "".join(f" {sentence[0].upper()}{sentence[1:]}." for sentence in sentences(others))
            raise NeedsReview(
                f"Every invoice is looked at by a person: release or reject it.{told}",
                facts={
                    "verdict": verdict.status,
                    "critical_fields": fields,
                    OTHER_DOCUMENTS: list(others),
                },
            )
        return decision
