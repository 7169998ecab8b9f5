"""Finds invoice fields by the layout of words and cells. Source: INVOICES.md (extract)."""

from collections.abc import Iterable
from typing import Any, Final, Literal

from pydantic import Field

from switchgear.invoice import rules
from switchgear.invoice.doubts import Doubt, date_doubts, doubted, kind_doubts, open_amounts
from switchgear.invoice.page_signs import speaks_english
from switchgear.invoice.several import several_numbers
from switchgear.invoice.types import Candidate, Cells, InvoiceFields, Kind, Pages, Payment, Totals
from switchgear.modules.extract_layout.document import Document
from switchgear.modules.extract_layout.fields import (
    find_currency,
    find_due_date,
    find_iban,
    find_issue_date,
    find_type,
)
from switchgear.modules.extract_layout.grid import Row, rows_of_pages, rows_of_sheet
from switchgear.modules.extract_layout.items import find_lines
from switchgear.modules.extract_layout.numbers import find_number, labelled_numbers
from switchgear.modules.extract_layout.parties import find_parties
from switchgear.modules.extract_layout.sellers import seller_doubts
from switchgear.modules.extract_layout.sheets import read_flat, refuse_other_content, several_invoices
from switchgear.modules.extract_layout.totals import find_totals, find_vat
from switchgear.sdk import Module, ModuleSettings, Requires, module

Language = Literal["de", "en", "fr", "it", "es", "nl"]
#: Each missing critical field takes this part of the confidence away.
_MISSING_COSTS: Final = 0.15


@module(
    stage="extract",
    contract="invoice-extract@1",
    version="1.0.0",
    guarantees={"evidence_points_to_words", "not_empty"},
    requires=Requires(packages=("babel>=2.16", "rapidfuzz>=3.10"), install="pip install switchgear"),
)
class ExtractLayout(Module):
    """Searches labels and takes what stands beside or below them; totals are confirmed by arithmetic.

    Every value points to the words or the cell it was read from; nothing is invented. The candidate's confidence is
    the least one of the critical fields found, lowered for each one missing.
    """

    class Settings(ModuleSettings):
        """Which languages are looked for."""

        languages: tuple[Language, ...] = Field(
            ("de", "en", "fr", "it", "es", "nl"),
            min_length=1,
            max_length=6,
            description="Languages of labels and month names; the first decides how 1.234 is read.",
        )

    settings: Settings

    def run(self, pages: Pages | None, scanned: Pages | None, cells: Cells | None, kind: Kind) -> Candidate:
        """Return what was found; at least one input is there (the contract says so).

        Raises:
            InputRejected: `no_invoice` when nothing was found, `several_invoices` when there are more than one.
            NotApplicable: Nothing was found on the page of an e-invoice, whose XML counts.
        """
        languages: tuple[str, ...] = self.settings.languages
        found: list[Candidate] = []
        if cells is not None:
            found += [candidate_of(rows_of_sheet(cells, sheet), languages) for sheet in cells.sheets]
            numbers = {str(item.fields.number.value): None for item in found if item.fields.number and is_whole(item)}
            if len(numbers) > 1:
                raise several_invoices(list(numbers))
            refuse_other_content([item.fields for item in found if is_whole(item)])
        rows = rows_of_pages(pages, scanned)
        if rows:
            found.append(candidate_of(rows, languages))
        best = max(found, key=lambda item: (critical_count(item.fields), item.confidence), default=_NOTHING)
        if best.fields == InvoiceFields():
            raise rules.nothing_found(kind)
        return best


_NOTHING: Final = Candidate(fields=InvoiceFields(), confidence=0.0)


def is_whole(candidate: Candidate) -> bool:
    """Whether all critical fields were found."""
    return critical_count(candidate.fields) == len(rules.CRITICAL_FIELDS)


def critical_count(fields: InvoiceFields) -> int:
    """How many of the critical fields were found."""
    return sum(fact is not None for fact in rules.critical_facts(fields).values())


def candidate_of(rows: list[Row], languages: tuple[str, ...]) -> Candidate:
    """Search one document, or one sheet of a workbook."""
    if not rows:
        return _NOTHING
    document = Document.of(rows, languages)
    doubts: list[Doubt] = []
    fields = read_flat(document)
    if fields is None:
        fields, doubts = _search(document)
    elif fields.currency is None:
        fields = fields.model_copy(update={"currency": _searched_currency(document)})
    english = speaks_english(document.texts)
    doubts += date_doubts(fields, document.texts, american=document.american)
    doubts += open_amounts(fields, document.shown_mark, english=english, exact=exact_cells(rows))
    fields, findings = doubted(fields, doubts)
    return Candidate(fields=fields, confidence=confidence_of(fields), findings=findings)


def exact_cells(rows: Iterable[Row]) -> frozenset[tuple[str | None, str | None]]:
    """Sheet and address of the cells that hold numbers, which say themselves how they are read."""
    return frozenset(
        (token.cell.sheet, token.cell.address)
        for row in rows
        for token in row.tokens
        if token.cell is not None and token.cell.type == "number"
    )


def _searched_currency(document: Document) -> Any:
    return InvoiceFields(currency=find_currency(document)).currency


def _search(document: Document) -> tuple[InvoiceFields, list[Doubt]]:
    number, doubts = find_number(document)
    totals, more = find_totals(document)
    doubts += more
    if number is None and totals == Totals():
        # names and dates stand on every letter; without a number or an amount they do not make an invoice
        return InvoiceFields(), []
    parties = find_parties(document)
    issued = find_issue_date(document)
    fields = InvoiceFields(
        type=find_type(document),
        number=number,
        issue_date=issued,
        due_date=find_due_date(document, issued.value if issued is not None else None),
        currency=find_currency(document),
        seller=parties.seller,
        buyer=parties.buyer,
        payment=Payment(iban=find_iban(document)),
        lines=find_lines(document),
        vat=find_vat(document, totals),
        totals=totals,
    )
    kind = kind_doubts(document.texts)
    if kind:
        fields = fields.model_copy(update={"type": None})
    return fields, [*doubts, *kind, *seller_doubts(document, parties), *several_numbers(labelled_numbers(document))]


def confidence_of(fields: InvoiceFields) -> float:
    """Least confidence of the critical fields found, lowered for each that is missing."""
    facts = list(rules.critical_facts(fields).values())
    found = [fact.confidence for fact in facts if fact is not None]
    if not found:
        return 0.0
    return round(min(found) * max(0.0, 1 - _MISSING_COSTS * (len(facts) - len(found))), 3)
