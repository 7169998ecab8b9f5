"""What readers of PDFs have in common: words that lie on the page, and what a scan is. Source: INVOICES.md (read)."""

from collections.abc import Sequence

from pydantic import Field

from switchgear.invoice.flate_bombs import refuse_bomb
from switchgear.invoice.types import Kind, Media, Page, Word
from switchgear.sdk import Blob, InputRejected, Limits, ModuleSettings, NotApplicable

#: Left, top, right, bottom in points from the top left corner of the page.
Box = tuple[float, float, float, float]


class ReadSettings(ModuleSettings):
    """What makes a page a scan."""

    scan_words: int = Field(5, ge=0, le=1000, description="A page with at most so many words can be a scan.")
    scan_image_share: float = Field(
        0.5, ge=0, le=1, description="It is one when an image covers at least this share of it."
    )


def pdf_bytes(blob: Blob, kind: Kind, limits: Limits) -> bytes:
    """Return the document; raises `NotApplicable` when it is no PDF, `InputRejected("unpacked_size")` for a bomb."""
    if kind.media is not Media.PDF:
        raise NotApplicable(f"a document of kind {kind.media} has no pages with text")
    with blob.open() as stream:
        data = stream.read()
    refuse_bomb(data, limits)
    return data


def refuse_too_many_pages(count: int, limits: Limits) -> None:
    """Raise `InputRejected("pages")` when there are more than the limit."""
    if count > limits.max_pages:
        raise InputRejected("pages", f"The PDF has {count} pages, over the limit.")


def password_needed() -> InputRejected:
    """The refusal of a PDF that does not open without a password."""
    return InputRejected("encrypted", "The PDF needs a password to be read. Send a copy without a password.")


def not_intact() -> InputRejected:
    """The refusal of a PDF that the library cannot make sense of."""
    return InputRejected("corrupt", "The PDF cannot be opened. Send an intact copy.")


def refused_by_pdfium(error: Exception) -> InputRejected:
    """The refusal of a PDF that PDFium does not open."""
    return password_needed() if "password" in str(error).lower() else not_intact()


def word_on_page(text: str, box: Box, width: float, height: float) -> Word | None:
    """Make a word that is kept inside the page; None when it is empty or outside of what a person sees."""
    x0, top, x1, bottom = box
    text = text.strip()
    if not text or x1 < 0 or bottom < 0 or x0 > width or top > height:
        return None
    return Word(
        text=text,
        x0=round(max(0.0, x0), 2),
        top=round(max(0.0, top), 2),
        x1=round(min(width, x1), 2),
        bottom=round(min(height, bottom), 2),
    )


def page_of_words(
    number: int,
    size: tuple[float, float],
    words: Sequence[Word],
    settings: ReadSettings,
    *,
    has_objects: bool,
    largest_image: float,
) -> Page:
    """Make a page, and say whether it is a scan or blank.

    Args:
        number: Counted from 1.
        size: Width and height in points.
        words: In reading order.
        settings: What makes it a scan.
        has_objects: Whether anything is drawn on it.
        largest_image: Area of its largest image in square points; 0 without one.
    """
    width, height = size
    is_covered = largest_image > 0 and largest_image >= settings.scan_image_share * width * height
    return Page(
        number=number,
        width=width,
        height=height,
        words=tuple(words),
        scan=has_objects and (not words or (len(words) <= settings.scan_words and is_covered)),
        blank=not words and not has_objects,
    )
