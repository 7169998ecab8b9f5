"""What an invoice is, and every value that passes between the stages of the invoice pipeline.

Terms follow EN 16931 (seller, buyer, VAT breakdown, totals). Amounts are signed Decimals, never floats. Every field
carries value, confidence, source, evidence and the module that gave it. Source: INVOICES.md, T007.
"""

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")


class Value(BaseModel):
    """Base of the pipeline's values: frozen; undeclared fields are dropped at the stage border."""

    model_config = ConfigDict(frozen=True, extra="ignore")


# --- classify -------------------------------------------------------------------------------------------------------


class Media(StrEnum):
    """What the bytes are, decided from the content alone."""

    PDF = "pdf"
    XML = "xml"
    IMAGE = "image"
    SHEET = "sheet"
    EMAIL = "email"
    ZIP = "zip"


class Syntax(StrEnum):
    """Language of an e-invoice."""

    UBL_INVOICE = "ubl-invoice"
    UBL_CREDIT_NOTE = "ubl-credit-note"
    CII = "cii"
    ZUGFERD_1 = "zugferd-1"
    FATTURAPA = "fatturapa"


class Kind(Value):
    """Output of `classify`."""

    media: Media
    media_type: str = Field(description="IANA media type of the content, such as application/pdf")
    syntax: Syntax | None = Field(None, description="Set for e-invoice XML, and for a PDF that embeds one")
    embedded_name: str | None = Field(None, description="Name of the XML attachment inside a PDF")
    sheet_format: Literal["xlsx", "xls", "ods", "csv"] | None = None
    page_count: int | None = Field(None, ge=0)


# --- read, ocr ------------------------------------------------------------------------------------------------------


class Word(Value):
    """One word; the box is in points from the top left corner of the page."""

    text: str
    x0: float
    top: float
    x1: float
    bottom: float
    confidence: float = Field(1.0, ge=0, le=1)


class Page(Value):
    """One page; words are in reading order. `scan` marks a page that is an image without text."""

    number: int = Field(ge=1)
    width: float
    height: float
    words: tuple[Word, ...] = ()
    scan: bool = False
    blank: bool = False

    def lines(self) -> list[list[Word]]:
        """Group the words into lines from top to bottom, each from left to right."""
        rows: list[list[Word]] = []
        for word in sorted(self.words, key=lambda item: ((item.top + item.bottom) / 2, item.x0)):
            middle = (word.top + word.bottom) / 2
            if rows and rows[-1][0].top <= middle <= rows[-1][0].bottom:
                rows[-1].append(word)
            else:
                rows.append([word])
        return [sorted(row, key=lambda item: item.x0) for row in rows]


class Pages(Value):
    """Output of `read`, and (as `scanned`) of `ocr`."""

    pages: tuple[Page, ...]

    @property
    def has_text(self) -> bool:
        """Whether any page has a word."""
        return any(page.words for page in self.pages)


# --- tabulate -------------------------------------------------------------------------------------------------------


class Cell(Value):
    """One cell; row and column count from 1, `address` is like B7. The value is text as a person would read it,
    with numbers in plain decimal notation and dates in ISO format."""

    sheet: str
    row: int = Field(ge=1)
    column: int = Field(ge=1)
    address: str
    type: Literal["text", "number", "date", "boolean"] = "text"
    value: str


class Cells(Value):
    """Output of `tabulate`: every cell that is not empty, sheet by sheet, row by row."""

    cells: tuple[Cell, ...]
    sheets: tuple[str, ...]


# --- the invoice ----------------------------------------------------------------------------------------------------

Source = Literal["xml", "text", "ocr", "sheet", "llm", "derived", "human"]


class Evidence(Value):
    """Where a value was read: an XML path, a box on a page, or a cell; at least one is set unless it was derived."""

    path: str | None = None
    page: int | None = None
    box: tuple[float, float, float, float] | None = Field(None, description="x0, top, x1, bottom in points")
    sheet: str | None = None
    address: str | None = None
    text: str | None = Field(None, description="The words or the cell as they stand in the document, at most 200 signs")


class Fact(Value, Generic[T]):
    """A value with where it comes from and how sure that is."""

    value: T
    confidence: float = Field(1.0, ge=0, le=1)
    source: Source
    evidence: Evidence | None = None
    module: str = Field("", description="Id of the module that gave the value")


class InvoiceType(StrEnum):
    """Invoice or credit note; amounts keep their sign as written in the document."""

    INVOICE = "invoice"
    CREDIT_NOTE = "credit_note"


class Address(Value):
    """Postal address; `country` is an ISO 3166 alpha-2 code."""

    street: str | None = None
    city: str | None = None
    postal_code: str | None = None
    country: str | None = None


class Party(Value):
    """Seller or buyer."""

    name: Fact[str] | None = None
    legal_name: Fact[str] | None = None
    vat_id: Fact[str] | None = None
    tax_number: Fact[str] | None = None
    address: Fact[Address] | None = None


class Payment(Value):
    """How to pay."""

    iban: Fact[str] | None = None
    reference: Fact[str] | None = None


class Line(Value):
    """One invoice line."""

    id: str | None = None
    description: Fact[str] | None = None
    quantity: Fact[Decimal] | None = None
    unit: Fact[str] | None = None
    net_price: Fact[Decimal] | None = None
    vat_rate: Fact[Decimal] | None = Field(None, description="Per cent")
    vat_category: Fact[str] | None = None
    net_amount: Fact[Decimal] | None = None


class VatBreakdown(Value):
    """One group of the VAT breakdown; the rate is in per cent."""

    category: Fact[str] | None = None
    rate: Fact[Decimal] | None = None
    taxable: Fact[Decimal] | None = None
    tax: Fact[Decimal] | None = None


class Totals(Value):
    """Document totals. `lines` is the sum of line net amounts; net = lines - allowances + charges."""

    lines: Fact[Decimal] | None = None
    allowances: Fact[Decimal] | None = None
    charges: Fact[Decimal] | None = None
    net: Fact[Decimal] | None = None
    tax: Fact[Decimal] | None = None
    gross: Fact[Decimal] | None = None
    prepaid: Fact[Decimal] | None = None
    rounding: Fact[Decimal] | None = None
    payable: Fact[Decimal] | None = None


class InvoiceFields(Value):
    """The content of an invoice, as far as it was found."""

    type: Fact[InvoiceType] | None = None
    number: Fact[str] | None = None
    issue_date: Fact[date] | None = None
    due_date: Fact[date] | None = None
    currency: Fact[str] | None = Field(None, description="ISO 4217 code")
    seller: Party = Party()
    buyer: Party = Party()
    payment: Payment = Payment()
    lines: tuple[Line, ...] = ()
    vat: tuple[VatBreakdown, ...] = ()
    totals: Totals = Totals()


# --- parse, extract -------------------------------------------------------------------------------------------------


Remark = Literal["test", "copy", "no_type"]


class Structured(Value):
    """Output of `parse`: what the embedded or attached XML says."""

    syntax: Syntax
    profile: str | None = Field(None, description="The document's guideline or customization id")
    fields: InvoiceFields
    unmapped: tuple[str, ...] = Field((), description="Paths of XML elements that were not read, at most 200")
    unreadable: tuple[str, ...] = Field(
        (),
        description="Paths of XML elements whose text is no number or no calendar day, or has elements inside, "
        "at most 600",
    )
    contradicted: tuple[str, ...] = Field(
        (), description="Paths of XML elements that another one contradicts, or in another currency, at most 200"
    )
    passed_over: tuple[str, ...] = Field(
        (), description="Names of further e-invoices in the PDF, with other content or unreadable"
    )
    allowances: tuple[Decimal, ...] = Field((), description="Amounts of the allowances on the whole document")
    charges: tuple[Decimal, ...] = Field((), description="Amounts of the charges on the whole document")
    remarks: tuple[Remark, ...] = Field(
        (), description="That the XML calls itself a test or a copy, or does not say what type of document it is"
    )


Severity = Literal["error", "warning", "info"]


class Finding(Value):
    """One thing that is wrong or worth knowing; `pointer` is a JSON pointer into the invoice."""

    code: str
    severity: Severity
    message: str
    pointer: str | None = None
    confidence: float | None = Field(
        None, ge=0, le=1, description="How sure the reading of the page is that the finding rests on"
    )


class Candidate(Value):
    """Output of `extract`: what was found on the pages or in the cells."""

    fields: InvoiceFields
    confidence: float = Field(ge=0, le=1, description="Least confidence of the critical fields that were found")
    findings: tuple[Finding, ...] = Field((), description="Why fields are doubtful, each with its pointer")


# --- reconcile, validate, review, deliver ---------------------------------------------------------------------------


class Invoice(InvoiceFields):
    """Output of `reconcile`, and the run's result."""

    findings: tuple[Finding, ...] = Field((), description="Disagreements of the sources, and what is doubtful")


class Verdict(Value):
    """Output of `validate`. A layer that was skipped is listed and makes the verdict `incomplete`."""

    status: Literal["valid", "invalid", "incomplete"]
    findings: tuple[Finding, ...] = ()
    layers_run: tuple[str, ...] = ()
    layers_skipped: tuple[str, ...] = ()
    rule_set: str = Field("", description="Name and version of the rules that ran")


class ReviewDecision(Value):
    """Output of `review`."""

    outcome: Literal["accepted", "accepted_flagged", "released", "rejected"]
    reasons: tuple[str, ...] = ()
    actor: str | None = Field(None, description="Who decided, when a person did")


class Receipt(Value):
    """One delivered or kept result."""

    target: str
    key: str = Field(description="The delivery key: the same again gives the old receipt")
    location: str
    status: Literal["delivered", "spooled", "withheld"]
    supersedes: str | None = None


class Receipts(Value):
    """Output of `deliver`."""

    receipts: tuple[Receipt, ...]
