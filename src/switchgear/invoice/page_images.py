"""Pictures of pages for text recognition: scans are rendered, image files are read. Source: INVOICES.md (ocr)."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pypdfium2
from PIL import Image, ImageFilter, ImageMath, ImageOps, ImageSequence

from switchgear.invoice.flate_bombs import refuse_bomb
from switchgear.invoice.page_words import refused_by_pdfium
from switchgear.invoice.types import Kind, Media, Page, Pages, Word
from switchgear.sdk import Blob, InputRejected, Limits, NotApplicable

#: Resolution in dots per inch that text recognition wants.
DPI: Final = 300
_POINTS: Final = 72.0
#: Longer side of A4 in points; assumed for a picture that does not say how large it is.
_LONG_SIDE: Final = 842.0
#: Sizes in points that a real sheet of paper has.
_PAPER: Final = (200.0, 2000.0)
#: Pixels that make one when the paper behind the print is looked for, and the grey above which it is even.
_SHRINK: Final = 8
_EVEN: Final = 235
#: Darkest grey that counts as ink, and the share of ink below which a page is blank.
_INK: Final = 160
_BLANK_SHARE: Final = 0.0001


class PageImage(NamedTuple):
    """A page as a grey picture; `scale` is points per pixel."""

    number: int
    width: float
    height: float
    scale: float
    picture: Any

    @property
    def blank(self) -> bool:
        """Whether the page has hardly any ink."""
        histogram = self.picture.reduce(2).histogram()  # a speck of one pixel fades, a stroke stays
        return bool(sum(histogram[:_INK]) <= sum(histogram) * _BLANK_SHARE)

    def page(self, words: tuple[Word, ...]) -> Page:
        """The recognised page."""
        blank = not words and self.blank
        return Page(number=self.number, width=self.width, height=self.height, words=words, scan=True, blank=blank)

    def word(self, text: str, box: tuple[float, float, float, float], confidence: float) -> Word:
        """A word from its box in pixels, kept inside the page."""
        x0, top, x1, bottom = (side * self.scale for side in box)
        return Word(
            text=text,
            x0=round(min(max(0.0, x0), self.width), 2),
            top=round(min(max(0.0, top), self.height), 2),
            x1=round(min(max(0.0, x1), self.width), 2),
            bottom=round(min(max(0.0, bottom), self.height), 2),
            confidence=round(min(1.0, max(0.0, confidence)), 3),
        )


def require_scans(kind: Kind, pages: Pages | None) -> None:
    """Raise `NotApplicable` when the document has no page that is a scan."""
    if kind.media not in (Media.IMAGE, Media.PDF):
        raise NotApplicable(f"a document of kind {kind.media} has no images of pages")
    if kind.media is Media.PDF and pages is not None and not any(page.scan for page in pages.pages):
        raise NotApplicable("no page is a scan")


def recognised(pages: list[Page]) -> Pages:
    """The recognised pages.

    Raises:
        InputRejected: `no_text` when a page is neither blank nor has a word: the picture is at fault, not the module.
    """
    mute = [str(page.number) for page in pages if not page.words and not page.blank]
    if mute:
        where = f"page {mute[0]}" if len(mute) == 1 else f"pages {', '.join(mute[:10])}"
        raise InputRejected(
            "no_text",
            f"No text was recognised on {where}. Send a sharper scan, or the pages of the invoice alone.",
        )
    return Pages(pages=tuple(pages))


def page_images(blob: Blob, kind: Kind, pages: Pages | None, limits: Limits) -> Iterator[PageImage]:
    """Give a picture of every page that is a scan, one at a time.

    Raises:
        InputRejected: `pixels` or `pages` when a limit is exceeded, `corrupt` when it cannot be opened.
    """
    if kind.media is Media.IMAGE:
        yield from _image_file(blob, limits)
    else:
        wanted = None if pages is None else [page.number for page in pages.pages if page.scan]
        yield from _pdf(blob, wanted, limits)


def _pdf(blob: Blob, wanted: list[int] | None, limits: Limits) -> Iterator[PageImage]:
    with blob.open() as stream:
        data = stream.read()
    refuse_bomb(data, limits)
    try:
        with pypdfium2.PdfDocument(data) as document:
            numbers = wanted if wanted is not None else list(range(1, len(document) + 1))
            if len(numbers) > limits.max_pages:
                raise InputRejected("pages", f"The PDF has {len(numbers)} scanned pages, over the limit.")
            for number in numbers:
                yield _rendered(document[number - 1], number, limits)
    except pypdfium2.PdfiumError as error:
        raise refused_by_pdfium(error) from error


def _rendered(page: Any, number: int, limits: Limits) -> PageImage:
    width, height = page.get_size()
    _refuse_pixels(width * DPI / _POINTS, height * DPI / _POINTS, limits)
    picture = page.render(scale=DPI / _POINTS, grayscale=True).to_pil().convert("L")
    page.close()
    return PageImage(number, width, height, _POINTS / DPI, even_light(picture))


def _image_file(blob: Blob, limits: Limits) -> Iterator[PageImage]:
    try:
        with blob.open() as stream, Image.open(stream, formats=["PNG", "JPEG", "TIFF"]) as image:
            for number, frame in enumerate(ImageSequence.Iterator(image), start=1):
                if number > limits.max_pages:
                    raise InputRejected("pages", "The image has more pages than the limit.")
                _refuse_pixels(*frame.size, limits)
                resolution = _number(frame.info.get("dpi"))
                picture = ImageOps.exif_transpose(frame)
                if picture.mode in ("RGBA", "LA", "P"):  # transparent means paper
                    paper = Image.new("RGBA", picture.size, "white")
                    picture = Image.alpha_composite(paper, picture.convert("RGBA"))
                yield _sized(number, picture.convert("L"), resolution)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputRejected("pixels", "The image has more pixels than the limit.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InputRejected("corrupt", "The image cannot be read to its end. Send an intact copy.") from error


def _sized(number: int, picture: Any, resolution: float) -> PageImage:
    """Give the picture its size in points, and enough pixels for small print."""
    longer = max(picture.size)
    scale = _POINTS / resolution if resolution else 0.0
    if not _PAPER[0] <= longer * scale <= _PAPER[1]:
        scale = _LONG_SIDE / longer
    width, height = picture.size[0] * scale, picture.size[1] * scale
    factor = DPI * scale / _POINTS
    if 1.2 < factor <= 4:
        picture = picture.resize((round(picture.size[0] * factor), round(picture.size[1] * factor)), 3)  # bicubic
        scale /= factor
    return PageImage(number, width, height, scale, even_light(picture))


def even_light(picture: Any) -> Any:
    """Divide a grey picture by its paper, so that a shadow over a photographed page does not count as ink."""
    small = picture.resize((max(1, picture.size[0] // _SHRINK), max(1, picture.size[1] // _SHRINK)), 4)  # box average
    paper = small.filter(ImageFilter.MaxFilter(5)).filter(ImageFilter.GaussianBlur(4)).resize(picture.size, 2)
    if paper.getextrema()[0] > _EVEN:
        return picture  # already white all over
    return ImageMath.lambda_eval(
        lambda of: of["convert"](of["min"](of["picture"] * 255 / of["max"](of["paper"], 1), 255), "L"),
        picture=picture,
        paper=paper,
    )


def _number(resolution: Any) -> float:
    value = resolution[0] if isinstance(resolution, tuple) else resolution
    try:
        return float(value or 0)
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0


def _refuse_pixels(width: float, height: float, limits: Limits) -> None:
    if width * height > limits.max_pixels:
        raise InputRejected(
            "pixels", f"A page would have {round(width * height)} pixels; the limit is {limits.max_pixels}."
        )
