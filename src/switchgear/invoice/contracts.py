"""The ten capability contracts of the invoice pipeline, and what each one promises.

Every guarantee is a pure, bounded check that the engine runs on each output. Source: INVOICES.md, DESIGN 3, T010.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from switchgear.invoice.types import (
    Candidate,
    Cells,
    Evidence,
    Fact,
    Invoice,
    InvoiceFields,
    Kind,
    Media,
    Page,
    Pages,
    Receipts,
    ReviewDecision,
    Structured,
    Verdict,
)
from switchgear.sdk import Blob, Contract

Inputs = Mapping[str, Any]

#: Points that a box may stick out of its page: glyphs are rounded, and a descender may cross the edge.
PAGE_MARGIN: Final = 2.0
#: Values that a check looks at; a longer output is checked up to here, so that every check stays bounded.
MOST_CHECKED: Final = 20_000


def facts(value: BaseModel) -> Iterator[tuple[str, Fact[Any]]]:
    """Give every fact in *value* with its JSON pointer, depth first."""
    yield from _facts(value, "")


def _facts(value: Any, pointer: str) -> Iterator[tuple[str, Fact[Any]]]:
    if isinstance(value, Fact):
        yield pointer, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _facts(getattr(value, name), f"{pointer}/{name}")
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _facts(item, f"{pointer}/{index}")


# --- which documents concern a stage ---------------------------------------------------------------------------------


def concerns_read(inputs: Inputs) -> str | None:
    """Only a PDF has pages with text to read."""
    kind: Kind = inputs["kind"]
    return None if kind.media is Media.PDF else f"a document of kind {kind.media} has no pages with text"


def concerns_tabulate(inputs: Inputs) -> str | None:
    """Only a spreadsheet has cells."""
    kind: Kind = inputs["kind"]
    return None if kind.media is Media.SHEET else f"a document of kind {kind.media} has no cells"


def concerns_ocr(inputs: Inputs) -> str | None:
    """Only an image, or a page flagged as a scan, needs its text recognised."""
    kind: Kind = inputs["kind"]
    pages: Pages | None = inputs.get("pages")
    if kind.media is Media.IMAGE:
        return None
    if kind.media is not Media.PDF:
        return f"a document of kind {kind.media} has no images of pages"
    if pages is not None and not any(page.scan for page in pages.pages):
        return "no page is a scan"
    return None


def concerns_parse(inputs: Inputs) -> str | None:
    """Only a document with e-invoice XML can be parsed."""
    kind: Kind = inputs["kind"]
    return None if kind.syntax is not None else "the document carries no e-invoice XML"


def concerns_extract(inputs: Inputs) -> str | None:
    """There must be at least one word or cell."""
    cells: Cells | None = inputs.get("cells")
    readable = [pages for pages in (inputs.get("pages"), inputs.get("scanned")) if pages is not None]
    if (cells is not None and cells.cells) or any(pages.has_text for pages in readable):
        return None
    return "no page has text and no cell has a value"


# --- guarantees ------------------------------------------------------------------------------------------------------


def syntax_fits_media(inputs: Inputs, output: Kind) -> str | None:
    """An e-invoice syntax is only named for XML and PDF, a sheet format only for sheets."""
    if output.syntax is not None and output.media not in (Media.XML, Media.PDF):
        return f"a document of kind {output.media} cannot carry {output.syntax}"
    if (output.sheet_format is not None) != (output.media is Media.SHEET):
        return f"sheet_format {output.sheet_format!r} does not fit a document of kind {output.media}"
    return None


def pages_counted(inputs: Inputs, output: Pages) -> str | None:
    """Pages are numbered from 1 without gaps, as many as the document has."""
    numbers = [page.number for page in output.pages]
    if numbers != list(range(1, len(numbers) + 1)):
        return f"pages are numbered {numbers[:10]}, not from 1 without gaps"
    kind: Kind | None = inputs.get("kind")
    if kind is not None and kind.page_count is not None and kind.page_count != len(numbers):
        return f"the document has {kind.page_count} pages, the output {len(numbers)}"
    return None


def boxes_in_page(inputs: Inputs, output: Pages) -> str | None:
    """Every word's box has its corners in order and lies on its page."""
    left = MOST_CHECKED
    for page in output.pages:
        for word in page.words[:left]:
            ordered = word.x0 <= word.x1 and word.top <= word.bottom
            inside = (
                word.x0 >= -PAGE_MARGIN
                and word.top >= -PAGE_MARGIN
                and word.x1 <= page.width + PAGE_MARGIN
                and word.bottom <= page.height + PAGE_MARGIN
            )
            if not (ordered and inside):
                return f"a word on page {page.number} has a box outside of the page"
        left = max(0, left - len(page.words))
    return None


def cells_addressed(inputs: Inputs, output: Cells) -> str | None:
    """Every cell has a value, belongs to a named sheet, and no address occurs twice."""
    sheets = set(output.sheets)
    seen: set[tuple[str, str]] = set()
    for cell in output.cells[:MOST_CHECKED]:
        place = (cell.sheet, cell.address)
        if cell.sheet not in sheets:
            return f"cell {cell.address} belongs to a sheet that is not listed"
        if place in seen:
            return f"cell {cell.address} occurs twice"
        if not cell.value:
            return f"cell {cell.address} is listed without a value"
        seen.add(place)
    return None


def every_scan_read(inputs: Inputs, output: Pages) -> str | None:
    """Each page that is a scan has words or is marked blank: an empty success is a failure."""
    pages: Pages | None = inputs.get("pages")
    read: dict[int, Page] = {page.number: page for page in output.pages}
    wanted = [page.number for page in pages.pages if page.scan] if pages is not None else list(read)
    if not wanted:
        return "no page was recognised"
    for number in wanted:
        page = read.get(number)
        if page is None or not (page.words or page.blank):
            return f"page {number} is a scan and has neither words nor the mark blank"
    return None


def not_empty(inputs: Inputs, output: Structured | Candidate) -> str | None:
    """At least one field was found."""
    return None if next(facts(output.fields), None) else "no field was found"


def facts_name_their_path(inputs: Inputs, output: Structured) -> str | None:
    """Every value says at which path of the XML it stands, unless it was derived."""
    for pointer, fact in facts(output.fields):
        if fact.source != "derived" and (fact.evidence is None or not fact.evidence.path):
            return f"{pointer} does not say where in the XML it was read"
    return None


def evidence_points_to_words(inputs: Inputs, output: Candidate) -> str | None:
    """Every value points to words on a page or to a cell that exist; nothing is invented."""
    pages: dict[int, list[Page]] = {}
    for name in ("pages", "scanned"):
        for page in inputs[name].pages if inputs.get(name) is not None else ():
            pages.setdefault(page.number, []).append(page)
    cells: Cells | None = inputs.get("cells")
    addresses = {(cell.sheet, cell.address) for cell in cells.cells} if cells is not None else set()
    for count, (pointer, fact) in enumerate(facts(output.fields)):
        if count >= MOST_CHECKED:
            break
        if fact.source != "derived" and not _evidence_exists(fact.evidence, pages, addresses):
            return f"{pointer} does not point to words or a cell of the document"
    return None


def _evidence_exists(
    evidence: Evidence | None, pages: Mapping[int, list[Page]], addresses: set[tuple[str, str]]
) -> bool:
    if evidence is None:
        return False
    if evidence.address is not None:
        return (evidence.sheet or "", evidence.address) in addresses
    if evidence.page is None or evidence.box is None:
        return False
    x0, top, x1, bottom = evidence.box
    return any(
        word.x0 <= x1 and word.x1 >= x0 and word.top <= bottom and word.bottom >= top
        for page in pages.get(evidence.page, ())
        for word in page.words
    )


def has_content(inputs: Inputs, output: InvoiceFields) -> str | None:
    """The invoice has at least one value: a run never succeeds with an empty one."""
    return None if next(facts(output), None) else "the invoice has no value at all"


def skipped_layers_make_incomplete(inputs: Inputs, output: Verdict) -> str | None:
    """A verdict that left a layer out is never `valid`."""
    if output.layers_skipped and output.status == "valid":
        return f"valid although these layers were skipped: {', '.join(output.layers_skipped)}"
    return None


def errors_make_invalid(inputs: Inputs, output: Verdict) -> str | None:
    """The verdict is `invalid` exactly when a finding is an error."""
    wrong = next((finding.code for finding in output.findings if finding.severity == "error"), None)
    if wrong is not None and output.status != "invalid":
        return f"{output.status} although {wrong} is an error"
    if wrong is None and output.status == "invalid":
        return "invalid although no finding is an error"
    return None


def rule_set_named(inputs: Inputs, output: Verdict) -> str | None:
    """The verdict says which rules ran, and that at least one layer did."""
    return None if output.rule_set and output.layers_run else "the verdict does not name the rules that ran"


def decision_names_its_person(inputs: Inputs, output: ReviewDecision) -> str | None:
    """What a person released or rejected carries who it was."""
    if output.outcome in ("released", "rejected") and not output.actor:
        return f"{output.outcome} without the name of a person"
    return None


def every_receipt_has_key(inputs: Inputs, output: Receipts) -> str | None:
    """There is at least one receipt, and each carries its delivery key and place."""
    if not output.receipts:
        return "there is no receipt"
    for receipt in output.receipts:
        if not receipt.key or not receipt.target:
            return f"the receipt for {receipt.target or 'an unnamed target'} has no delivery key"
    return None


# --- what people are to read beside who served ---


def what_is_doubtful(output: Candidate) -> list[str]:
    """Each doubt with the field that it concerns."""
    return [f"{finding.pointer}: {finding.message}" for finding in output.findings]


def what_was_found(output: Verdict) -> list[str]:
    """Each finding with its rule."""
    return [f"{finding.severity} {finding.code}: {finding.message}" for finding in output.findings]


def what_was_flagged(output: ReviewDecision) -> tuple[str, ...]:
    """Why an invoice was accepted with a flag; what a person said stands beside the person."""
    return output.reasons if output.outcome == "accepted_flagged" else ()


def what_was_not_delivered(output: Receipts) -> Iterator[str]:
    """Each result that did not reach its target, and how it does."""
    for receipt in output.receipts:
        if receipt.status == "withheld":
            yield f"Withheld from {receipt.target}: a person rejected the invoice."
        if receipt.status == "spooled":
            yield f"Not delivered to {receipt.target} by this run: kept as {receipt.location}."
    if any(receipt.status == "spooled" for receipt in output.receipts):
        yield "If no later run has, `switchgear runs retry RUN --from deliver` delivers it when the target is back."


def _named(*checks: Any) -> dict[str, Any]:
    return {check.__name__: check for check in checks}


# --- the contracts ---------------------------------------------------------------------------------------------------

CLASSIFY: Final = Contract(
    name="invoice-classify",
    version="1.0",
    inputs={"blob": Blob},
    output_name="kind",
    output=Kind,
    guarantees=_named(syntax_fits_media),
)
READ: Final = Contract(
    name="invoice-read",
    version="1.0",
    inputs={"blob": Blob, "kind": Kind},
    output_name="pages",
    output=Pages,
    guarantees=_named(pages_counted, boxes_in_page),
    applies=concerns_read,
)
TABULATE: Final = Contract(
    name="invoice-tabulate",
    version="1.0",
    inputs={"blob": Blob, "kind": Kind},
    output_name="cells",
    output=Cells,
    guarantees=_named(cells_addressed),
    applies=concerns_tabulate,
)
OCR: Final = Contract(
    name="invoice-ocr",
    version="1.0",
    inputs={"blob": Blob, "kind": Kind, "pages": Pages | None},
    output_name="scanned",
    output=Pages,
    guarantees=_named(every_scan_read, boxes_in_page),
    applies=concerns_ocr,
)
PARSE: Final = Contract(
    name="invoice-parse",
    version="1.0",
    inputs={"blob": Blob, "kind": Kind},
    output_name="structured",
    output=Structured,
    guarantees=_named(not_empty, facts_name_their_path),
    applies=concerns_parse,
)
EXTRACT: Final = Contract(
    name="invoice-extract",
    version="1.0",
    inputs={"pages": Pages | None, "scanned": Pages | None, "cells": Cells | None, "kind": Kind},
    output_name="candidate",
    output=Candidate,
    any_of=(("pages", "scanned", "cells"),),
    guarantees=_named(evidence_points_to_words, not_empty),
    confidence="/confidence",
    applies=concerns_extract,
    notes=what_is_doubtful,
)
RECONCILE: Final = Contract(
    name="invoice-reconcile",
    version="1.0",
    inputs={"structured": Structured | None, "candidate": Candidate | None},
    output_name="invoice",
    output=Invoice,
    any_of=(("structured", "candidate"),),
    guarantees=_named(has_content),
)
VALIDATE: Final = Contract(
    name="invoice-validate",
    version="1.0",
    inputs={"invoice": Invoice, "blob": Blob, "structured": Structured | None, "pages": Pages | None},
    output_name="verdict",
    output=Verdict,
    guarantees=_named(skipped_layers_make_incomplete, errors_make_invalid, rule_set_named),
    notes=what_was_found,
)
REVIEW: Final = Contract(
    name="invoice-review",
    version="1.0",
    inputs={"invoice": Invoice, "verdict": Verdict},
    output_name="decision",
    output=ReviewDecision,
    guarantees=_named(decision_names_its_person),
    notes=what_was_flagged,
)
DELIVER: Final = Contract(
    name="invoice-deliver",
    version="1.0",
    inputs={"invoice": Invoice, "verdict": Verdict, "decision": ReviewDecision},
    output_name="receipts",
    output=Receipts,
    guarantees=_named(every_receipt_has_key),
    effects="external",
    notes=what_was_not_delivered,
)
