"""Business rules over an invoice that need no library: mandatory fields, sums, VAT, dates.

Each rule is a small function that gives findings; a rule whose terms are absent says nothing. Rule names follow
EN 16931 where the rule is theirs. Amounts may differ by a tolerance; credit notes keep the sign they are written
with, so every rule holds for them unchanged. Source: INVOICES.md (validate).
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from switchgear.invoice import type_codes
from switchgear.invoice.amounts import share_of
from switchgear.invoice.types import Fact, Finding, InvoiceFields, Kind, Remark, Severity, Structured, Syntax
from switchgear.sdk import InputRejected, NotApplicable

#: Largest difference of a sum, in units of the currency.
TOLERANCE: Final = Decimal("0.01")
#: The same where several rounded amounts are added up, or a rate is applied.
ROUNDING_TOLERANCE: Final = Decimal("0.02")
#: Findings of one kind that are listed; a person has seen enough then.
_MOST_FINDINGS: Final = 20
_LONGEST_TERM: Final = timedelta(days=730)
#: Days outside are mistakes of reading or of writing, whatever day it is today.
_FIRST_DAY, _LAST_DAY = date(1970, 1, 1), date(2099, 12, 31)
#: Signs that an invoice number, and a name, may have; more is no number and no name.
_LONGEST_NUMBER, _LONGEST_NAME = 200, 1000

#: Layer of a validation that compares the XML with the pages, and how the codes of its findings begin.
PAGE_LAYER: Final = "page"
PAGE_CODES: Final = "NAT-PAGE-"

#: What is said of an e-invoice for what it says of itself.
COPY: Final = "NAT-XML-COPY"
_REMARKS: Final[Mapping[Remark, Finding]] = {
    "test": Finding(
        code="NAT-XML-TEST",
        severity="error",
        message="The XML says that this is a test document: nothing is to be booked or paid for it.",
    ),
    "copy": Finding(code=COPY, severity="warning", message="The XML says that this is a copy of an invoice."),
    "no_type": Finding(
        code="BR-04", severity="error", message="The XML does not say what type of document it is.", pointer="/type"
    ),
}
#: Languages in which the totals of allowances and charges are those of what is listed.
_LISTS_ADJUSTMENTS: Final = (Syntax.UBL_INVOICE, Syntax.UBL_CREDIT_NOTE, Syntax.CII, Syntax.ZUGFERD_1)

Rule = Callable[[InvoiceFields], list[Finding]]

#: The fields without which nobody can pay or book an invoice: name -> JSON pointer.
CRITICAL_FIELDS: Final[Mapping[str, str]] = {
    "seller name": "/seller/name",
    "number": "/number",
    "issue date": "/issue_date",
    "currency": "/currency",
    "gross total": "/totals/gross",
}


def critical_facts(fields: InvoiceFields) -> dict[str, Fact[Any] | None]:
    """The critical fields by name, in the order of `CRITICAL_FIELDS`; absent ones are None."""
    facts = (fields.seller.name, fields.number, fields.issue_date, fields.currency, fields.totals.gross)
    return dict(zip(CRITICAL_FIELDS, facts, strict=True))


def nothing_found(kind: Kind) -> InputRejected | NotApplicable:
    """What an extractor raises when nothing was found: the document is at fault, not the module."""
    if kind.syntax is not None:
        return NotApplicable("the page says nothing of what the e-invoice says")
    return InputRejected(
        "no_invoice",
        "No field of an invoice was found in the text of this document. Check that it is an invoice; a better scan, "
        "or the file that it was made from, may be read.",
    )


def comes_from_xml(fields: InvoiceFields) -> bool:
    """Whether the invoice claims to be structured: its number was read from XML."""
    return fields.number is not None and fields.number.source == "xml"


def _amount(fact: Fact[Decimal] | None) -> Decimal | None:
    return None if fact is None else fact.value


def _finding(code: str, message: str, pointer: str, severity: Severity = "error") -> Finding:
    return Finding(code=code, severity=severity, message=message, pointer=pointer)


def _compare(
    code: str, what: str, stated: Decimal, computed: Decimal, pointer: str, tolerance: Decimal = TOLERANCE
) -> list[Finding]:
    if abs(stated - computed) <= tolerance:
        return []
    return [_finding(code, f"{what}: stated {stated}, computed {computed}, difference {stated - computed}.", pointer)]


# --- mandatory fields -----------------------------------------------------------------------------------------------


def mandatory_fields(fields: InvoiceFields) -> list[Finding]:
    """BR-02, 03, 05, 06, 14: critical fields (errors). BR-07, 16: buyer and lines (warnings: minimal profiles)."""
    codes = ("BR-06", "BR-02", "BR-03", "BR-05", "BR-14")
    findings = [
        _finding(code, f"The invoice has no {name}.", CRITICAL_FIELDS[name])
        for code, (name, fact) in zip(codes, critical_facts(fields).items(), strict=True)
        if fact is None or fact.value == ""
    ]
    if fields.buyer.name is None:
        findings.append(_finding("BR-07", "The invoice names no buyer.", "/buyer/name", "warning"))
    if not fields.lines:
        findings.append(_finding("BR-16", "The invoice has no lines.", "/lines", "warning"))
    return findings


def text_lengths(fields: InvoiceFields) -> list[Finding]:
    """The number and the names are short enough to be one: a whole page that was taken for a number is not."""
    texts = (
        ("invoice number", fields.number, "/number", _LONGEST_NUMBER),
        ("seller name", fields.seller.name, "/seller/name", _LONGEST_NAME),
        ("buyer name", fields.buyer.name, "/buyer/name", _LONGEST_NAME),
    )
    return [
        _finding(
            "NAT-TEXT-LENGTH", f"The {name} has {len(fact.value):,} signs, at most {most:,} are sensible.", pointer
        )
        for name, fact, pointer, most in texts
        if fact is not None and len(fact.value) > most
    ]


def known_type(fields: InvoiceFields) -> list[Finding]:
    """BR-CL-01: the type code of the XML is one of UNTDID 1001; a pro forma invoice is not to be booked or paid."""
    evidence = fields.type.evidence if fields.type is not None else None
    if evidence is None or not (evidence.path or "").endswith("TypeCode"):
        return []
    code = evidence.text or ""
    if code == type_codes.PRO_FORMA:
        message = f"The XML's type code {code} says pro forma invoice: nothing is to be booked or paid for it yet."
        return [_finding("NAT-TYPE-PRO-FORMA", message, "/type")]
    if code in type_codes.INVOICES or code in type_codes.CREDIT_NOTES:
        return []
    return [_finding("BR-CL-01", f"The XML's type code {code[:20]} is none of an invoice or a credit note.", "/type")]


# --- what the XML states ----------------------------------------------------------------------------------------------


def unread(structured: Structured | None) -> list[Finding]:
    """Errors for what the XML states but is no number or no day, what it contradicts, and invoices passed over.

    And what it says of itself: a test and a document without a type are errors, a copy is a warning.
    """
    if structured is None:
        return []
    findings = [
        Finding(
            code="NAT-XML-VALUE",
            severity="error",
            message=f"What the XML has at {path} is no number or no calendar day, or has elements inside it.",
        )
        for path in structured.unreadable[:_MOST_FINDINGS]
    ]
    findings += [
        Finding(
            code="NAT-XML-CONTRADICTED",
            severity="error",
            message=f"The XML states another value beside {path}, or it in another currency.",
        )
        for path in structured.contradicted[:_MOST_FINDINGS]
    ]
    if others := structured.passed_over:
        names = ", ".join(name[:80] for name in others[:5])
        message = f"The PDF carries further e-invoices, with other content or unreadable: {names}."
        findings.append(Finding(code="NAT-XML-SEVERAL", severity="error", message=message))
    return findings + [_REMARKS[remark] for remark in structured.remarks]


# --- sums -----------------------------------------------------------------------------------------------------------


def sum_of_lines(fields: InvoiceFields) -> list[Finding]:
    """BR-CO-10: sum of line net amounts = total of the lines, when every line has an amount."""
    stated = _amount(fields.totals.lines)
    amounts = [line.net_amount.value for line in fields.lines if line.net_amount is not None]
    if stated is None or not amounts or len(amounts) < len(fields.lines):
        return []
    return _compare(
        "BR-CO-10", "Sum of line net amounts", stated, sum(amounts, Decimal(0)), "/totals/lines", ROUNDING_TOLERANCE
    )


def adjustment_totals(structured: Structured | None) -> list[Finding]:
    """BR-CO-11, BR-CO-12: allowances and charges on the whole document add up to their totals; none is zero.

    ZUGFeRD 1.0 lists none in its smallest profile, and its corrections have negative totals of positive amounts.
    """
    if structured is None or structured.syntax not in _LISTS_ADJUSTMENTS:
        return []
    totals = structured.fields.totals
    findings: list[Finding] = []
    for code, name, total, listed in (
        ("BR-CO-11", "allowances", totals.allowances, structured.allowances),
        ("BR-CO-12", "charges", totals.charges, structured.charges),
    ):
        stated, computed = _amount(total) or Decimal(0), sum(listed, Decimal(0))
        if structured.syntax is Syntax.ZUGFERD_1:
            stated = abs(stated) if listed else Decimal(0)
        findings += _compare(code, f"Sum of {name}", stated, computed, f"/totals/{name}")
    return findings


def net_total(fields: InvoiceFields) -> list[Finding]:
    """BR-CO-13: net = lines - allowances + charges."""
    totals = fields.totals
    lines, net = _amount(totals.lines), _amount(totals.net)
    if lines is None or net is None:
        return []
    computed = lines - (_amount(totals.allowances) or Decimal(0)) + (_amount(totals.charges) or Decimal(0))
    return _compare("BR-CO-13", "Total without VAT", net, computed, "/totals/net")


def tax_total(fields: InvoiceFields) -> list[Finding]:
    """BR-CO-14: total VAT = sum of the VAT breakdown's tax amounts."""
    stated = _amount(fields.totals.tax)
    parts = [group.tax.value for group in fields.vat if group.tax is not None]
    if stated is None or not parts or len(parts) < len(fields.vat):
        return []
    return _compare("BR-CO-14", "Total VAT", stated, sum(parts, Decimal(0)), "/totals/tax", ROUNDING_TOLERANCE)


def gross_total(fields: InvoiceFields) -> list[Finding]:
    """BR-CO-15: gross = net + VAT."""
    totals = fields.totals
    net, tax, gross = _amount(totals.net), _amount(totals.tax), _amount(totals.gross)
    if net is None or tax is None or gross is None:
        return []
    return _compare("BR-CO-15", "Total with VAT", gross, net + tax, "/totals/gross")


def payable_total(fields: InvoiceFields) -> list[Finding]:
    """BR-CO-16: payable = gross - prepaid + rounding."""
    totals = fields.totals
    gross, payable = _amount(totals.gross), _amount(totals.payable)
    if gross is None or payable is None:
        return []
    computed = gross - (_amount(totals.prepaid) or Decimal(0)) + (_amount(totals.rounding) or Decimal(0))
    return _compare("BR-CO-16", "Amount due", payable, computed, "/totals/payable")


# --- VAT breakdown --------------------------------------------------------------------------------------------------


def vat_by_rate(fields: InvoiceFields) -> list[Finding]:
    """BR-CO-17: VAT of a group = taxable amount x rate, rounded to cents.

    The official rule allows a difference of less than one unit (some currencies round to whole ones): below that a
    difference is a warning, from one unit on an error.
    """
    findings: list[Finding] = []
    for index, group in enumerate(fields.vat):
        taxable, rate, tax = _amount(group.taxable), _amount(group.rate), _amount(group.tax)
        if taxable is None or rate is None or tax is None:
            continue
        computed = share_of(taxable, rate)
        found = _compare("BR-CO-17", f"VAT at {rate} %", tax, computed, f"/vat/{index}/tax", ROUNDING_TOLERANCE)
        if abs(tax - computed) < 1:
            found = [finding.model_copy(update={"severity": "warning"}) for finding in found]
        findings += found
    return findings


def vat_taxable_sum(fields: InvoiceFields) -> list[Finding]:
    """The taxable amounts of the breakdown add up to the net total."""
    net = _amount(fields.totals.net)
    parts = [group.taxable.value for group in fields.vat if group.taxable is not None]
    if net is None or not parts or len(parts) < len(fields.vat):
        return []
    return _compare("NAT-VAT-SUM", "Sum of taxable amounts", net, sum(parts, Decimal(0)), "/vat", ROUNDING_TOLERANCE)


# --- dates ----------------------------------------------------------------------------------------------------------


def dates_of_our_time(fields: InvoiceFields) -> list[Finding]:
    """Issue and due date lie between 1970 and 2099: the year 1 or 9999 is a mistake that a person must see."""
    dates = (("issue", fields.issue_date, "/issue_date"), ("due", fields.due_date, "/due_date"))
    return [
        _finding("NAT-DATE-YEAR", f"The {name} date {fact.value} is not between 1970 and 2099.", pointer)
        for name, fact, pointer in dates
        if fact is not None and not _FIRST_DAY <= fact.value <= _LAST_DAY
    ]


def dates_sensible(fields: InvoiceFields) -> list[Finding]:
    """The due date is not before the issue date and at most two years after; warnings, people do write such dates."""
    issued, due = fields.issue_date, fields.due_date
    if issued is None or due is None:
        return []
    if due.value < issued.value:
        message = f"The due date {due.value} is before the issue date {issued.value}."
        return [_finding("NAT-DATE-ORDER", message, "/due_date", "warning")]
    if due.value - issued.value > _LONGEST_TERM:
        message = f"The due date {due.value} is more than two years after the issue date {issued.value}."
        return [_finding("NAT-DATE-TERM", message, "/due_date", "warning")]
    return []


#: The rules of each layer; a validator names the layers that it ran.
SUMS: Final[tuple[Rule, ...]] = (sum_of_lines, net_total, gross_total, payable_total)
VAT: Final[tuple[Rule, ...]] = (tax_total, vat_by_rate, vat_taxable_sum)
DATES: Final[tuple[Rule, ...]] = (dates_of_our_time, dates_sensible)
SENSE: Final[tuple[Rule, ...]] = (text_lengths, known_type)
MANDATORY: Final[tuple[Rule, ...]] = (mandatory_fields, *SENSE)


def apply(rules: Iterable[Rule], fields: InvoiceFields) -> list[Finding]:
    """Run *rules* in order and join their findings."""
    return [finding for rule in rules for finding in rule(fields)]
