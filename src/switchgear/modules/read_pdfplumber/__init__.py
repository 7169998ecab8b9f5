"""`read-pdfplumber`: words with boxes through pdfplumber and pdfminer, pure Python. Source: INVOICES.md (read)."""

import io
import logging
from typing import Any

import pdfplumber
from pdfminer.pdfdocument import PDFPasswordIncorrect
from pdfplumber.utils.exceptions import MalformedPDFException, PdfminerException
from pydantic import Field

from switchgear.invoice.types import Kind, Media, Page, Pages, Word
from switchgear.sdk import (
    Blob,
    Context,
    InputRejected,
    Module,
    ModuleSettings,
    NotApplicable,
    Requires,
    module,
)


@module(
    stage="read",
    contract="invoice-read@1",
    version="1.0.0",
    guarantees={"pages_counted", "boxes_in_page"},
    requires=Requires(packages=("pdfplumber>=0.11",), memory_mb=512),
)
class ReadPdfplumber(Module):
    """Reads the text of a PDF, thirty times slower than PDFium but without native code."""

    class Settings(ModuleSettings):
        """What makes a page a scan."""

        scan_words: int = Field(5, ge=0, le=1000, description="A page with at most so many words can be a scan.")
        scan_image_share: float = Field(
            0.5, ge=0, le=1, description="It is one when images cover at least this share of it."
        )

    settings: Settings

    def run(self, blob: Blob, kind: Kind, ctx: Context) -> Pages:
        """Read every page, in the order of the document."""
        if kind.media is not Media.PDF:
            raise NotApplicable(f"a document of kind {kind.media} has no pages with text")
        logging.getLogger("pdfminer").setLevel(logging.ERROR)  # it warns about every oddity of a readable file
        try:
            with blob.open() as stream, pdfplumber.open(io.BytesIO(stream.read())) as document:
                if len(document.pages) > ctx.limits.max_pages:
                    raise InputRejected("pages", f"The PDF has {len(document.pages)} pages, over the limit.")
                return Pages(pages=tuple(self._page(page, number) for number, page in enumerate(document.pages, 1)))
        except InputRejected:
            raise
        except PDFPasswordIncorrect as error:
            raise InputRejected("encrypted", "The PDF needs a password to be read.") from error
        except (PdfminerException, MalformedPDFException) as error:
            if error.args and isinstance(error.args[0], PDFPasswordIncorrect):
                raise InputRejected("encrypted", "The PDF needs a password to be read.") from error
            raise InputRejected("corrupt", "The PDF cannot be read. Send an intact copy.") from error

    def _page(self, page: Any, number: int) -> Page:
        width, height = float(page.width), float(page.height)
        left, top = float(page.bbox[0]), float(page.bbox[1])
        words = tuple(
            word
            for item in page.extract_words(x_tolerance_ratio=0.15)
            if (word := _word(item, left, top, width, height))
        )
        largest = max((float(image["width"]) * float(image["height"]) for image in page.images), default=0.0)
        objects = bool(page.images or page.rects or page.curves or page.lines)
        covered = len(words) <= self.settings.scan_words and largest >= self.settings.scan_image_share * width * height
        page.close()
        return Page(
            number=number,
            width=width,
            height=height,
            words=words,
            scan=objects and (not words or (covered and largest > 0)),
            blank=not words and not objects,
        )


def _word(item: dict[str, Any], left: float, top: float, width: float, height: float) -> Word | None:
    x0, x1 = float(item["x0"]) - left, float(item["x1"]) - left
    y0, y1 = float(item["top"]) - top, float(item["bottom"]) - top
    text = str(item["text"]).strip()
    if not text or x1 < 0 or y1 < 0 or x0 > width or y0 > height:
        return None  # nothing, or outside of what a person sees
    return Word(text=text, x0=max(0.0, x0), top=max(0.0, y0), x1=min(width, x1), bottom=min(height, y1))
