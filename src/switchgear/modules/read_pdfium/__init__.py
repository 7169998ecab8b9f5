"""`read-pdfium`: words with boxes through PDFium. Source: INVOICES.md (read)."""

import math
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, Final, NamedTuple

import pypdfium2
from pypdfium2 import raw

from switchgear.invoice.page_words import (
    Box,
    ReadSettings,
    page_of_words,
    pdf_bytes,
    refuse_too_many_pages,
    refused_by_pdfium,
    word_on_page,
)
from switchgear.invoice.types import Kind, Page, Pages, Word
from switchgear.sdk import Blob, Context, Module, Requires, module

#: PDFium's sign for a hyphen at a line end, and what it gives for a glyph without a meaning.
_HYPHENS: Final = frozenset((0x02, 0xFFFE))
#: Sine of the angle up to which text counts as running from left to right.
_SLANT: Final = 0.5
_IMAGE: Final = 3  # FPDF_PAGEOBJ_IMAGE


class _Glyph(NamedTuple):
    text: str
    box: Box
    upright: bool


@module(
    stage="read",
    contract="invoice-read@1",
    version="1.0.0",
    guarantees={"pages_counted", "boxes_in_page"},
    requires=Requires(packages=("pypdfium2>=5.0",), memory_mb=256),
)
class ReadPdfium(Module):
    """Reads the text of a PDF; a page that is an image without text is flagged as a scan."""

    Settings = ReadSettings
    settings: ReadSettings

    def run(self, blob: Blob, kind: Kind, ctx: Context) -> Pages:
        """Read every page, in the order of the document."""
        data = pdf_bytes(blob, kind, ctx.limits)
        try:
            document = pypdfium2.PdfDocument(data)
            refuse_too_many_pages(len(document), ctx.limits)
            return Pages(pages=tuple(self._page(document[index], index + 1) for index in range(len(document))))
        except pypdfium2.PdfiumError as error:
            raise refused_by_pdfium(error) from error

    def _page(self, page: Any, number: int) -> Page:
        width, height = page.get_size()
        words = tuple(_words(page, width, height))
        has_objects, largest = _objects(page)
        page.close()
        return page_of_words(
            number, (width, height), words, self.settings, has_objects=has_objects, largest_image=largest
        )


def _objects(page: Any) -> tuple[bool, float]:
    """Whether anything is drawn on the page, and the area of its largest image."""
    has_objects, largest = False, 0.0
    for item in page.get_objects(max_depth=3):
        has_objects = True
        if item.type == _IMAGE:
            left, bottom, right, top = item.get_bounds()
            largest = max(largest, (right - left) * (top - bottom))
    return has_objects, largest


def _words(page: Any, width: float, height: float) -> Iterator[Word]:
    """Join glyphs to words: a space, a line end, a gap or a jump ends one."""
    word: list[_Glyph] = []
    for glyph in chain(_glyphs(page), (None,)):
        if word and (glyph is None or _apart(word[-1], glyph)):
            if made := _word(word, width, height):
                yield made
            word = []
        if glyph is not None:
            word.append(glyph)


def _apart(last: _Glyph, glyph: _Glyph) -> bool:
    before, box = last.box, glyph.box
    size = max(before[3] - before[1], box[3] - box[1], 1.0)
    if last.upright != glyph.upright:
        return True
    if not glyph.upright:  # set along the edge of the page: the next glyph is above or below
        size = max(before[2] - before[0], box[2] - box[0], 1.0)
        return abs((before[0] + before[2]) - (box[0] + box[2])) > size * 1.2 or _gap(before, box) > size * 0.15
    other_line = abs((before[1] + before[3]) - (box[1] + box[3])) > size * 1.2
    return other_line or box[0] - before[2] > size * 0.15 or before[0] - box[0] > size


def _gap(before: Box, box: Box) -> float:
    return max(box[1] - before[3], before[1] - box[3])


def _word(glyphs: list[_Glyph], width: float, height: float) -> Word | None:
    x0, top = min(item.box[0] for item in glyphs), min(item.box[1] for item in glyphs)
    x1, bottom = max(item.box[2] for item in glyphs), max(item.box[3] for item in glyphs)
    return word_on_page("".join(item.text for item in glyphs), (x0, top, x1, bottom), width, height)


def _glyphs(page: Any) -> Iterator[_Glyph | None]:
    """Give every glyph with its box from the top left corner; None between words."""
    textpage = page.get_textpage()
    place, turned = _placer(page), math.radians(page.get_rotation())
    rectangle = raw.FS_RECTF()
    for index in range(textpage.count_chars()):
        code = raw.FPDFText_GetUnicode(textpage.raw, index)
        if code in _HYPHENS:
            code = 0x2D
        text = chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else ""
        if not text or text.isspace() or code < 32:
            # PDFium makes up spaces at small gaps; whether a gap parts two words is decided in _apart.
            if raw.FPDFText_IsGenerated(textpage.raw, index) != 1:
                yield None
            continue
        # The loose box has the font's height and the glyph's advance, so that gaps and lines can be compared.
        raw.FPDFText_GetLooseCharBox(textpage.raw, index, rectangle)
        box = place(rectangle.left, rectangle.bottom, rectangle.right, rectangle.top)
        angle = raw.FPDFText_GetCharAngle(textpage.raw, index) - turned
        yield _Glyph(text, box, abs(math.sin(angle)) < _SLANT)
    textpage.close()


def _placer(page: Any) -> Callable[[float, float, float, float], Box]:
    """Turn a box of the page's own space into one from the top left corner of the page as shown."""
    x0, y0, x1, y1 = page.get_bbox()  # PDFium's own: the file's may be in any order, or none
    turns: dict[int, Callable[[float, float, float, float], Box]] = {
        0: lambda left, bottom, right, top: (left - x0, y1 - top, right - x0, y1 - bottom),
        90: lambda left, bottom, right, top: (bottom - y0, left - x0, top - y0, right - x0),
        180: lambda left, bottom, right, top: (x1 - right, bottom - y0, x1 - left, top - y0),
        270: lambda left, bottom, right, top: (y1 - top, x1 - right, y1 - bottom, x1 - left),
    }
    return turns[page.get_rotation() % 360]
