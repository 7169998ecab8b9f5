"""Joins what the XML says with what was read on the pages, and derives missing totals. Source: INVOICES.md."""

from decimal import Decimal
from typing import Any, Final

from pydantic import BaseModel

from switchgear.invoice import doubts, rules
from switchgear.invoice.disagreements import disagreements
from switchgear.invoice.types import Candidate, Fact, Invoice, InvoiceFields, Structured, Totals
from switchgear.sdk import Module, module

MODULE_ID: Final = "reconcile-arithmetic"
#: A total that follows from others: name -> alternatives of signed terms.
_DERIVATIONS: Final = (
    ("gross", (("+", "net"), ("+", "tax"))),
    ("net", (("+", "gross"), ("-", "tax"))),
    ("tax", (("+", "gross"), ("-", "net"))),
)


@module(
    stage="reconcile",
    contract="invoice-reconcile@1",
    version="1.0.0",
    guarantees={"has_content"},
    min_isolation="L0",
)
class ReconcileArithmetic(Module):
    """Structured data wins, the candidate fills gaps, missing totals are derived, each disagreement is a finding.

    A total from the page only fills a gap of the XML when the sums still hold with it. Derived totals have source
    `derived` and the least confidence of their terms.
    """

    def run(self, structured: Structured | None, candidate: Candidate | None) -> Invoice:
        """Return the joined invoice; at least one input is there (the contract says so)."""
        first = _plain(structured)
        second = _plain(candidate)
        findings = disagreements(first, second) if structured is not None and candidate is not None else ()
        joined = merge(first, second)
        joined = joined.model_copy(update={"totals": derive(joined)})
        content = {name: getattr(joined, name) for name in InvoiceFields.model_fields}
        if candidate is not None:
            findings += doubts.passed_on(candidate.findings, first)
        return Invoice(**content, findings=findings)


def _plain(source: Structured | Candidate | None) -> InvoiceFields:
    """The fields of a source, without what a subclass may add."""
    if source is None:
        return InvoiceFields()
    return InvoiceFields(**{name: getattr(source.fields, name) for name in InvoiceFields.model_fields})


# --- merging --------------------------------------------------------------------------------------------------------


def merge(first: InvoiceFields, second: InvoiceFields) -> InvoiceFields:
    """Take every field of *first*, and of *second* what *first* lacks and its sums allow."""
    joined: InvoiceFields = _fill(first, second, skip={"totals", "vat"})
    joined = joined.model_copy(update={"totals": _fill_totals(joined, second.totals)})
    if not joined.vat and second.vat:
        trial = joined.model_copy(update={"vat": second.vat})
        if not rules.apply(rules.VAT, trial):
            joined = trial
    return joined


def _fill(first: Any, second: Any, skip: set[str]) -> Any:
    changes: dict[str, Any] = {}
    for name in type(second).model_fields:
        own, other = getattr(first, name), getattr(second, name)
        if name in skip or other is None or other == ():
            continue
        if own is None or own == ():
            changes[name] = other
        elif isinstance(own, BaseModel) and not isinstance(own, Fact):
            changes[name] = _fill(own, other, set())
    return first.model_copy(update=changes) if changes else first


def _fill_totals(fields: InvoiceFields, other: Totals) -> Totals:
    before = len(rules.apply(rules.SUMS, fields))
    totals = fields.totals
    trust_all = totals == Totals()
    for name in Totals.model_fields:
        fact = getattr(other, name)
        if fact is None or getattr(totals, name) is not None:
            continue
        trial = totals.model_copy(update={name: fact})
        findings = rules.apply(rules.SUMS, fields.model_copy(update={"totals": trial}))
        if trust_all or len(findings) <= before:
            totals = trial
    return totals


# --- deriving -------------------------------------------------------------------------------------------------------


def derive(fields: InvoiceFields) -> Totals:
    """Add the totals that follow from others: net and tax from the VAT breakdown, each of net, tax, gross, payable."""
    totals = fields.totals
    if fields.vat:
        totals = _derive_sum(totals, "tax", [group.tax for group in fields.vat])
        totals = _derive_sum(totals, "net", [group.taxable for group in fields.vat])
    for name, terms in _DERIVATIONS:
        facts = [getattr(totals, term) for _, term in terms]
        if getattr(totals, name) is None and all(fact is not None for fact in facts):
            signs = [Decimal(f"{sign}1") for sign, _ in terms]
            value = sum((sign * fact.value for sign, fact in zip(signs, facts, strict=True)), Decimal(0))
            totals = totals.model_copy(update={name: _derived(value, facts)})
    if totals.payable is None and totals.gross is not None:
        used = [fact for fact in (totals.gross, totals.prepaid, totals.rounding) if fact is not None]
        prepaid = totals.prepaid.value if totals.prepaid is not None else Decimal(0)
        rounding = totals.rounding.value if totals.rounding is not None else Decimal(0)
        payable = _derived(totals.gross.value - prepaid + rounding, used)
        totals = totals.model_copy(update={"payable": payable})
    return totals


def _derive_sum(totals: Totals, name: str, parts: list[Fact[Decimal] | None]) -> Totals:
    known = [part for part in parts if part is not None]
    if getattr(totals, name) is not None or len(known) < len(parts):
        return totals
    value = sum((part.value for part in known), Decimal(0))
    return totals.model_copy(update={name: _derived(value, known)})


def _derived(value: Decimal, terms: list[Fact[Decimal]]) -> Fact[Decimal]:
    return Fact[Decimal](
        value=value, confidence=min(fact.confidence for fact in terms), source="derived", module=MODULE_ID
    )
