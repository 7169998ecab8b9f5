"""`read-pdfplumber`: words with boxes through pdfplumber and pdfminer, pure Python. Source: INVOICES.md (read)."""

import io
import logging
from typing import Any, Final

import pdfplumber
from pdfminer.pdfdocument import PDFPasswordIncorrect
from pdfplumber.utils.exceptions import MalformedPDFException, PdfminerException

from switchgear.invoice.page_words import (
    ReadSettings,
    not_intact,
    page_of_words,
    password_needed,
    pdf_bytes,
    refuse_too_many_pages,
    word_on_page,
)
from switchgear.invoice.types import Kind, Page, Pages, Word
from switchgear.sdk import Blob, Context, Module, Requires, module

#: What the two libraries raise over a broken file: errors of their own, and what Python says to values that are none.
_BROKEN: Final = (PdfminerException, MalformedPDFException, LookupError, TypeError, ValueError)


@module(
    stage="read",
    contract="invoice-read@1",
    version="1.0.0",
    guarantees={"pages_counted", "boxes_in_page"},
    requires=Requires(packages=("pdfplumber>=0.11",), memory_mb=512),
)
class ReadPdfplumber(Module):
    """Reads the text of a PDF, thirty times slower than PDFium but without native code."""

    Settings = ReadSettings
    settings: ReadSettings

    def run(self, blob: Blob, kind: Kind, ctx: Context) -> Pages:
        """Read every page, in the order of the document."""
        data = pdf_bytes(blob, kind, ctx.limits)
        logging.getLogger("pdfminer").setLevel(logging.ERROR)  # it warns about every oddity of a readable file
        try:
            with pdfplumber.open(io.BytesIO(data)) as document:
                refuse_too_many_pages(len(document.pages), ctx.limits)
                return Pages(pages=tuple(self._page(page, number) for number, page in enumerate(document.pages, 1)))
        except PDFPasswordIncorrect as error:
            raise password_needed() from error
        except _BROKEN as error:
            cause = error.args[0] if error.args else None  # pdfplumber wraps whatever went wrong
            if isinstance(cause, MemoryError):
                raise cause from error
            raise (password_needed() if isinstance(cause, PDFPasswordIncorrect) else not_intact()) from error

    def _page(self, page: Any, number: int) -> Page:
        x0, y0, x1, y1 = page.page_obj.mediabox
        page.page_obj.mediabox = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))  # pdfminer wants them in order
        size = float(page.width), float(page.height)
        words = [word for item in page.extract_words(x_tolerance_ratio=0.15) if (word := _word(item, page.bbox, size))]
        largest = max((float(image["width"]) * float(image["height"]) for image in page.images), default=0.0)
        has_objects = bool(page.images or page.rects or page.curves or page.lines)
        page.close()
        return page_of_words(number, size, words, self.settings, has_objects=has_objects, largest_image=largest)


def _word(item: dict[str, Any], page_box: tuple[float, ...], size: tuple[float, float]) -> Word | None:
    left, top = float(page_box[0]), float(page_box[1])
    box = (float(item["x0"]) - left, float(item["top"]) - top, float(item["x1"]) - left, float(item["bottom"]) - top)
    return word_on_page(str(item["text"]), box, *size)
