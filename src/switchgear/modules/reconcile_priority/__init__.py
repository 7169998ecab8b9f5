"""The simple joiner: structured data field by field, else the candidate; nothing is computed. Source: INVOICES.md."""

from switchgear.invoice import doubts
from switchgear.invoice.disagreements import disagreements
from switchgear.invoice.types import Candidate, Invoice, InvoiceFields, Structured
from switchgear.sdk import Module, module


@module(
    stage="reconcile",
    contract="invoice-reconcile@1",
    version="1.0.0",
    guarantees={"has_content"},
    min_isolation="L0",
)
class ReconcilePriority(Module):
    """Takes each top-level field from the XML when it is there, else from the page. Totals are taken as one block.

    Each disagreement is a finding.
    """

    def run(self, structured: Structured | None, candidate: Candidate | None) -> Invoice:
        """Return the invoice; fields are copied with their own evidence, never mixed within a group."""
        empty = InvoiceFields()
        first = structured.fields if structured is not None else empty
        second = candidate.fields if candidate is not None else empty
        content = {}
        for name in InvoiceFields.model_fields:
            own = getattr(first, name)
            content[name] = getattr(second, name) if own == getattr(empty, name) else own
        findings = disagreements(first, second) if structured is not None and candidate is not None else ()
        if candidate is not None:
            findings += doubts.passed_on(candidate.findings, first)
        return Invoice(**content, findings=findings)
