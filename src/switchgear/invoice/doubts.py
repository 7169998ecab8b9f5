"""What an extractor is not sure of, and why: the value stays as read, its confidence falls to where a person is asked.

A doubt is told as a finding of the candidate. The joiner passes it on with the field that it concerns, and the review
gives it as the reason.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from switchgear.invoice.amounts import NUMBER, decimals_of, normalize, open_mark
from switchgear.invoice.page_signs import may_be_month_first, names_invoice, other_kind
from switchgear.invoice.types import Fact, Finding, InvoiceFields, Totals

CODE: Final = "extract.doubt"
#: The page calls itself another kind of document, which is told although an XML says what the invoice is.
KIND: Final = "extract.kind"
#: Most confidence that a doubted field keeps; `review_below` begins above it.
UNSURE: Final = 0.5
#: Highest share of the net total that a tax has anywhere.
HIGHEST_TAX: Final = Decimal("0.35")
_CENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Doubt:
    """A field, by its JSON pointer, and why it is doubtful."""

    pointer: str
    reason: str
    code: str = CODE


def doubted(fields: InvoiceFields, doubts: Iterable[Doubt]) -> tuple[InvoiceFields, tuple[Finding, ...]]:
    """Lower the confidence of each doubted field that was found, and say why."""
    findings: dict[tuple[str, str], Finding] = {}
    for doubt in doubts:
        if fact_at(fields, doubt.pointer) is None:
            continue
        fields = _lowered(fields, doubt.pointer.strip("/").split("/"))
        findings[doubt.pointer, doubt.reason] = Finding(
            code=doubt.code, severity="warning", message=doubt.reason, pointer=doubt.pointer
        )
    return fields, tuple(findings.values())


def fact_at(fields: InvoiceFields, pointer: str) -> Fact[Any] | None:
    """The fact at a pointer such as `/totals/gross`; None when it was not found."""
    found: Any = fields
    for name in pointer.strip("/").split("/"):
        found = getattr(found, name, None)
    return found if isinstance(found, Fact) else None


def _lowered(node: Any, names: list[str]) -> Any:
    child = getattr(node, names[0])
    if len(names) > 1:
        changed = _lowered(child, names[1:])
    else:
        changed = child.model_copy(update={"confidence": min(child.confidence, UNSURE)})
    return node.model_copy(update={names[0]: changed})


def passed_on(findings: Iterable[Finding], structured: InvoiceFields) -> tuple[Finding, ...]:
    """The doubts that still concern the invoice: not those about a field that the XML states, but for the kind."""
    return tuple(
        finding
        for finding in findings
        if finding.code == KIND or finding.pointer is None or fact_at(structured, finding.pointer) is None
    )


def reasons_for(findings: Iterable[Finding], pointer: str) -> list[str]:
    """Why the field at *pointer* is doubtful."""
    return [finding.message for finding in findings if finding.code in (CODE, KIND) and finding.pointer == pointer]


# --- kind and date --------------------------------------------------------------------------------------------------


def kind_doubts(lines: Sequence[str]) -> list[Doubt]:
    """A page that is no invoice by its heading, or that has no word for one: its number is then not that of one."""
    heading = other_kind(lines)
    if heading is not None:
        return [Doubt("/number", f"the heading {heading[:60]!r} names another kind of document", KIND)]
    if not names_invoice(lines):
        return [Doubt("/number", "no word for an invoice or a credit note stands on the page")]
    return []


def date_doubts(fields: InvoiceFields, lines: Sequence[str], *, american: bool) -> list[Doubt]:
    """An issue date that may be month first on a page with American signs; the value stays day first."""
    evidence = fields.issue_date.evidence if fields.issue_date is not None else None
    text = (evidence.text or "") if evidence is not None else ""
    if american or not may_be_month_first(text, lines):
        return []
    return [Doubt("/issue_date", f"{text[:30]} may have its month first: the page is in English and in dollars")]


# --- parties --------------------------------------------------------------------------------------------------------


def unshown_seller(name: str) -> Doubt:
    """The seller was chosen by the form or the place of its name alone."""
    return Doubt("/seller/name", f"nothing but its form and place shows that {name[:60]} sold; it may have bought")


# --- totals ---------------------------------------------------------------------------------------------------------


def plausible_tax(net: Decimal, tax: Decimal) -> bool:
    """Whether a tax can be one on *net*: none at all, or of the same sign and not more than any rate gives."""
    return tax == 0 or ((tax > 0) == (net > 0) and abs(tax) <= abs(net) * HIGHEST_TAX)


def open_amounts(
    fields: InvoiceFields,
    shown: str | None,
    *,
    english: bool,
    exact: Collection[tuple[str | None, str | None]] = (),
) -> list[Doubt]:
    """Totals with three digits behind their only mark, where nothing settles that these are thousands.

    Args:
        fields: What was found.
        shown: The decimal mark that the document's other numbers show; None when they do not.
        english: Whether the document's words are English, where a comma groups; elsewhere a point does.
        exact: Sheet and address of cells that hold numbers, not text.
    """
    currency = fields.currency.value if fields.currency is not None else None
    for fact in (fields.totals.gross, fields.totals.net, fields.totals.tax):
        evidence = fact.evidence if fact is not None else None
        if evidence is None or (evidence.sheet, evidence.address) in exact:
            continue
        for match in NUMBER.finditer(normalize(evidence.text or "")):
            mark = open_mark(match["digits"])
            if mark is not None and not _is_settled(mark, shown, currency, english=english):
                return [Doubt("/totals/gross", f"{match['digits']} may mean thousands or three decimals")]
    return []


def _is_settled(mark: str, shown: str | None, currency: str | None, *, english: bool) -> bool:
    three = currency is not None and decimals_of(currency) == len("000")
    if shown is not None:
        return three if mark == shown else True
    return currency is not None and not three and english == (mark == ",")


def contradicting_totals(totals: Totals) -> list[Doubt]:
    """Net, tax and total that do not add up, or a difference of net and total that no rate explains."""
    net, tax, gross = totals.net, totals.tax, totals.gross
    if net is None or gross is None:
        return []
    if tax is not None and abs(net.value + tax.value - gross.value) > _CENT:
        reason = f"the page states net {net.value}, tax {tax.value} and total {gross.value}, which do not add up"
        return [Doubt("/totals/gross", reason)]
    if tax is None and not plausible_tax(net.value, gross.value - net.value):
        return [Doubt("/totals/gross", f"no tax explains why the total is {gross.value} and the net {net.value}")]
    return []
