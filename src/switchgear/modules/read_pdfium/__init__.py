"""`read-pdfium`: words with boxes through PDFium. Source: INVOICES.md (read)."""

import math
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import pypdfium2
from pydantic import Field
from pypdfium2 import raw

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

#: PDFium's sign for a hyphen at a line end, and what it gives for a glyph without a meaning.
_HYPHENS: Final = frozenset((0x02, 0xFFFE))
#: Sine of the angle up to which text counts as running from left to right.
_SLANT: Final = 0.5
_IMAGE: Final = 3  # FPDF_PAGEOBJ_IMAGE

Box = tuple[float, float, float, float]


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
        with blob.open() as stream:
            data = stream.read()
        try:
            document = pypdfium2.PdfDocument(data)
            if len(document) > ctx.limits.max_pages:
                raise InputRejected("pages", f"The PDF has {len(document)} pages, over the limit.")
            return Pages(pages=tuple(self._page(document[index], index + 1) for index in range(len(document))))
        except pypdfium2.PdfiumError as error:
            if "password" in str(error).lower():
                raise InputRejected("encrypted", "The PDF needs a password to be read.") from error
            raise InputRejected("corrupt", "The PDF cannot be opened. Send an intact copy.") from error

    def _page(self, page: Any, number: int) -> Page:
        width, height = page.get_size()
        words = tuple(_words(page, width, height))
        objects, share = _objects(page, width * height)
        no_text = not words and objects > 0
        covered = len(words) <= self.settings.scan_words and objects > 0 and share >= self.settings.scan_image_share
        page.close()
        return Page(
            number=number,
            width=width,
            height=height,
            words=words,
            scan=no_text or covered,
            blank=not words and objects == 0,
        )


def _objects(page: Any, area: float) -> tuple[int, float]:
    """Count the page's objects, and say which share of the page its largest image covers."""
    count, largest = 0, 0.0
    for item in page.get_objects(max_depth=3):
        count += 1
        if item.type == _IMAGE:
            left, bottom, right, top = item.get_bounds()
            largest = max(largest, (right - left) * (top - bottom))
    return count, largest / area if area else 0.0


def _words(page: Any, width: float, height: float) -> Iterator[Word]:
    """Join glyphs to words: a space, a line end, a gap or a jump ends one."""
    word: list[_Glyph] = []
    for glyph in _glyphs(page):
        if glyph is None or (word and _apart(word[-1], glyph)):
            if word:
                yield from _word(word, width, height)
            word = []
        if glyph is not None:
            word.append(glyph)
    if word:
        yield from _word(word, width, height)


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


def _word(glyphs: list[_Glyph], width: float, height: float) -> Iterator[Word]:
    x0, top = min(item.box[0] for item in glyphs), min(item.box[1] for item in glyphs)
    x1, bottom = max(item.box[2] for item in glyphs), max(item.box[3] for item in glyphs)
    if x1 < 0 or bottom < 0 or x0 > width or top > height:
        return  # outside of what a person sees
    text = "".join(item.text for item in glyphs).strip()
    if text:
        yield Word(
            text=text,
            x0=round(max(0.0, x0), 2),
            top=round(max(0.0, top), 2),
            x1=round(min(width, x1), 2),
            bottom=round(min(height, bottom), 2),
        )


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
    x0, y0, x1, y1 = page.get_cropbox()
    turns: dict[int, Callable[[float, float, float, float], Box]] = {
        0: lambda left, bottom, right, top: (left - x0, y1 - top, right - x0, y1 - bottom),
        90: lambda left, bottom, right, top: (bottom - y0, left - x0, top - y0, right - x0),
        180: lambda left, bottom, right, top: (x1 - right, bottom - y0, x1 - left, top - y0),
        270: lambda left, bottom, right, top: (y1 - top, x1 - right, y1 - bottom, x1 - left),
    }
    return turns[page.get_rotation() % 360]
