"""The validator with rules of our own: no rule engine, milliseconds. Source: INVOICES.md."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from schwifty import IBAN
from schwifty.exceptions import SchwiftyException

from switchgear.invoice import rules
from switchgear.invoice.amounts import NUMBER, amount_of, currency_codes, decimal_mark, normalize
from switchgear.invoice.types import Fact, Finding, Invoice, InvoiceFields, Pages, Structured, Verdict
from switchgear.modules.validate_native.vat_ids import check_vat_id
from switchgear.sdk import Blob, Module, Requires, module

RULE_SET: Final = "switchgear-native 1.2"
_SHORTEST_NUMBER: Final = 3


@module(
    stage="validate",
    contract="invoice-validate@1",
    version="1.0.0",
    guarantees={"skipped_layers_make_incomplete", "errors_make_invalid", "rule_set_named"},
    requires=Requires(packages=("schwifty>=2024.11", "babel>=2.16"), install="pip install switchgear"),
    min_isolation="L1",  # schwifty loads its bank registry: 0.2 s and 30 MB that the server need not carry
)
class ValidateNative(Module):
    """Runs six layers and says which ones it could not run.

    `mandatory` (BR-02..07, 14, 16, BR-CL-01, 04, tests, pro forma invoices, overlong numbers and names, and
    what the XML states but nobody can read, or contradicts), `sums` (BR-CO-10..13, 15, 16), `vat` (BR-CO-14, 17 and
    the sum of taxable amounts), `dates`, `check_digits` (IBAN and VAT ids; warnings, samples often invent them) and
    `page` (the XML's number, totals and account stand on the page). The first five need the invoice alone, or what was
    read of its XML, and always run. `page` concerns PDF documents with XML: it is skipped, and the verdict
    `incomplete`, when such a document comes without pages or its pages have no words. For an XML file there is no page
    to compare with, so nothing is skipped.

    The verdict is `invalid` when a finding is an error, else `incomplete` when a layer was skipped, else `valid`.
    """

    def run(self, invoice: Invoice, blob: Blob, structured: Structured | None, pages: Pages | None) -> Verdict:
        """Return the verdict with every finding."""
        findings = rules.apply((*rules.MANDATORY, *rules.SUMS, *rules.VAT, *rules.DATES), invoice)
        findings += [*known_currency(invoice), *rules.unread(structured), *rules.adjustment_totals(structured)]
        findings += check_digits(invoice)
        ran, skipped = ["mandatory", "sums", "vat", "dates", "check_digits"], []
        if structured is not None and is_pdf(blob):
            if pages is not None and pages.has_text:
                findings += against_page(structured.fields, pages)
                ran.append(rules.PAGE_LAYER)
            else:
                skipped.append(rules.PAGE_LAYER)
        wrong = any(finding.severity == "error" for finding in findings)
        return Verdict(
            status="invalid" if wrong else "incomplete" if skipped else "valid",
            findings=tuple(findings),
            layers_run=tuple(ran),
            layers_skipped=tuple(skipped),
            rule_set=RULE_SET,
        )


def is_pdf(blob: Blob) -> bool:
    """Whether the document has pages to compare with: its first kilobyte holds the PDF mark."""
    with blob.open() as file:
        return b"%PDF-" in file.read(1024)


# --- what was stated ------------------------------------------------------------------------------------------------


def known_currency(fields: InvoiceFields) -> list[Finding]:
    """BR-CL-04: the currency is a code of ISO 4217, also one that is out of use."""
    currency = fields.currency
    if currency is None or not currency.value or currency.value in currency_codes():
        return []
    return [_error("BR-CL-04", f"{currency.value[:20]} is no currency code of ISO 4217.", "/currency")]


# --- check digits ---------------------------------------------------------------------------------------------------


def check_digits(fields: InvoiceFields) -> list[Finding]:
    """Warnings for an IBAN or VAT id whose structure or check digits are wrong; unknown countries pass."""
    findings: list[Finding] = []
    iban = fields.payment.iban
    if iban is not None:
        try:
            IBAN(iban.value)
        except SchwiftyException as error:
            message = f"The account ending in {iban.value[-4:].strip()} is no valid IBAN: {error}."
            findings.append(_warning("NAT-IBAN", message, "/payment/iban"))
    for side, party in (("seller", fields.seller), ("buyer", fields.buyer)):
        reason = check_vat_id(party.vat_id.value) if party.vat_id is not None else None
        if reason:
            message = f"The {side}'s VAT id is not valid: {reason}."
            findings.append(_warning("NAT-VAT-ID", message, f"/{side}/vat_id"))
    return findings


def _error(code: str, message: str, pointer: str | None = None) -> Finding:
    return Finding(code=code, severity="error", message=message, pointer=pointer)


def _warning(code: str, message: str, pointer: str) -> Finding:
    return Finding(code=code, severity="warning", message=message, pointer=pointer)


# --- XML against page -----------------------------------------------------------------------------------------------


def against_page(fields: InvoiceFields, pages: Pages) -> list[Finding]:
    """Warnings for a number, a total or an account of the XML that stands nowhere on the pages."""
    lines = [normalize(" ".join(word.text for word in line)) for page in pages.pages for line in page.lines()]
    findings: list[Finding] = []
    joined = re.sub(r"[\W_]", "", "".join(lines)).casefold()
    if fields.number is not None:
        wanted = re.sub(r"[\W_]", "", fields.number.value).casefold()
        if len(wanted) >= _SHORTEST_NUMBER and wanted not in joined:
            message = f"The XML's invoice number {fields.number.value[:60]} stands nowhere on the pages."
            findings.append(_warning("NAT-PAGE-NUMBER", message, "/number"))
    iban = fields.payment.iban
    if iban is not None and re.sub(r"[\W_]", "", iban.value).casefold() not in joined:
        message = f"The XML's account ending in {iban.value[-4:].strip()} stands nowhere on the pages."
        findings.append(_warning("NAT-PAGE-IBAN", message, "/payment/iban"))
    seen = _amounts(lines)
    for name, fact in _totals(fields):
        if abs(fact.value) not in seen:
            message = f"The XML's {name} total {fact.value} stands nowhere on the pages."
            findings.append(_warning("NAT-PAGE-TOTAL", message, f"/totals/{name}"))
    return findings


def _totals(fields: InvoiceFields) -> Iterator[tuple[str, Fact[Decimal]]]:
    totals = fields.totals
    gross, payable = totals.gross, totals.payable
    if gross is not None and payable is not None and payable.value == gross.value:
        payable = None  # said once
    for name, fact in (("net", totals.net), ("tax", totals.tax), ("gross", gross), ("payable", payable)):
        # a zero is often left out on the page, and finding one proves nothing
        if fact is not None and fact.value:
            yield name, fact


def _amounts(lines: list[str]) -> set[Decimal]:
    """Absolute values of all numbers on the pages, read with the document's own decimal mark."""
    mark = decimal_mark(lines)
    found = (amount_of(match, mark) for line in lines for match in NUMBER.finditer(line))
    return {abs(value) for value in found if value is not None}
