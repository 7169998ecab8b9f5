"""Accepts an invoice that leaves no doubt, asks a person about any other. Source: INVOICES.md (review), ADR 0013."""

from pydantic import Field

from switchgear.invoice import rules
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
from switchgear.sdk import Context, Module, ModuleSettings, NeedsReview, module


@module(
    stage="review",
    contract="invoice-review@1",
    version="1.0.0",
    guarantees={"decision_names_its_person"},
    min_isolation="L0",
)
class ReviewStrict(Module):
    """Stands in for `review-rules`: accepts fewer invoices, with its defaults never one that those rules hold.

    Another document with the same supplier and number is a doubt, unless it states the same amounts, dates, account
    and buyer, and so is a page that demands another amount or account than the XML. One that says something else of
    another critical field is a flag.
    """

    class Settings(ModuleSettings):
        """How sure is sure enough."""

        accept_from: float = Field(
            STRICT_FROM, ge=0, le=1, description="Each critical field needs at least this confidence, 0 to 1."
        )

    settings: Settings

    def run(self, invoice: Invoice, verdict: Verdict, ctx: Context) -> ReviewDecision:
        """Return the decision.

        Raises:
            NeedsReview: There is a doubt and nobody has decided yet, or decided without knowing of another document.
        """
        if (decision := decided(invoice, ctx)) is not None:
            return decision
        others = other_documents(invoice, ctx)
        demanded, told = page_contradicts(invoice, verdict)
        told += worth_telling(verdict)
        doubts = [*_verdict_doubts(verdict), *self._field_doubts(invoice), *demanded]
        doubts += sentences({name: named for name, named in others.items() if named})
        if doubts:
            doubts += [*told, *sentences({name: named for name, named in others.items() if not named})]
            raise NeedsReview(
                f"A person has to look at this invoice: {'; '.join(doubts)}.",
                facts={"reasons": doubts, "verdict": verdict.status, OTHER_DOCUMENTS: list(others)},
            )
        flags = [f"not checked: {', '.join(verdict.layers_skipped)}"] if verdict.status == "incomplete" else []
        flags += [*told, *(f"document {item} says the same" for item in others)]
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
