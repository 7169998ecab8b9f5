"""What the bytes of a document are. Decided from the content alone: the file name is never asked.

`signature` names a medium from the first bytes; `inspect` opens it, says what it is exactly, or rejects it with a
sentence for the person who sent it. Source: INVOICES.md (classify), RELIABILITY (hostile documents).
"""

import io
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from PIL import Image, UnidentifiedImageError

from switchgear.invoice.archives import inspect_archive, inspect_compound
from switchgear.invoice.csv_text import decode_text, delimiter_of
from switchgear.invoice.flate_bombs import refuse_bomb
from switchgear.invoice.pdf_files import count_pages, embedded_invoice, open_pdf, refuse_truncated
from switchgear.invoice.safe_xml import read_xml, syntax_of
from switchgear.invoice.types import Kind, Media
from switchgear.sdk import InputRejected, Limits


class Form(StrEnum):
    """The outer form of the bytes, before they are opened."""

    PDF = "PDF"
    ARCHIVE = "ZIP archive"
    COMPOUND = "OLE2 compound file"
    IMAGE = "image"
    XML = "XML"
    HTML = "web page"
    PROGRAM = "program"
    EMAIL = "e-mail"
    TEXT = "text"
    UNKNOWN = "unknown"


_SIGNATURES: Final[tuple[tuple[bytes, Form], ...]] = (
    (b"PK\x03\x04", Form.ARCHIVE),
    (b"PK\x05\x06", Form.ARCHIVE),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Form.COMPOUND),
    (b"\x89PNG\r\n\x1a\n", Form.IMAGE),
    (b"\xff\xd8\xff", Form.IMAGE),
    (b"II*\x00", Form.IMAGE),
    (b"MM\x00*", Form.IMAGE),
    (b"\x7fELF", Form.PROGRAM),
    (b"MZ\x90\x00", Form.PROGRAM),
)
#: A PDF may have a little in front of its mark.
_PDF_HEAD: Final = 1024
_HEADER_LINE: Final = re.compile(rb"^([A-Za-z][A-Za-z0-9-]{1,40}):[ \t]?")
_MAIL_HEADERS: Final = frozenset(
    b"from to subject date received return-path message-id mime-version content-type delivered-to".split()
)
_IMAGE_TYPES: Final = {"PNG": "image/png", "JPEG": "image/jpeg", "TIFF": "image/tiff"}
_IMAGE_ENDS: Final = {"PNG": b"IEND", "JPEG": b"\xff\xd9"}


def signature(data: bytes) -> Form:
    """Name the outer form of *data* from its first bytes."""
    if b"%PDF-" in data[:_PDF_HEAD]:
        return Form.PDF
    for mark, form in _SIGNATURES:
        if data.startswith(mark):
            return form
    start = data[:4096].removeprefix(b"\xef\xbb\xbf").replace(b"\0", b"").lstrip(b"\xff\xfe \t\r\n")[:200].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return Form.HTML
    if start.startswith(b"<"):
        return Form.XML
    if _is_mail(data[:4096]):
        return Form.EMAIL
    return Form.TEXT if decode_text(data) is not None else Form.UNKNOWN


def _is_mail(head: bytes) -> bool:
    known = 0
    for line in head.splitlines()[:40]:
        match = _HEADER_LINE.match(line)
        if match is None:
            if line[:1] in (b" ", b"\t") and known:
                continue  # a folded header line
            break
        known += match[1].lower() in _MAIL_HEADERS
    return known >= 2


def inspect(form: Form, data: bytes, limits: Limits, *, looks_like: str = "") -> Kind:
    """Open *data* as *form* and say what it is.

    Args:
        form: From `signature` or a library.
        data: The whole document.
        limits: Bounds; exceeding one rejects the document.
        looks_like: A media type that a library suggests, for the sentence about an unsupported file.

    Raises:
        InputRejected: Nobody can process it; the message says why and what to send instead.
    """
    if not data:
        raise InputRejected("empty", "The file is empty (0 bytes). Send it again.")
    if form in _INSPECTORS:
        return _INSPECTORS[form](data, limits)
    what = f" It looks like {looks_like}." if looks_like else ""
    raise InputRejected("unsupported", f"The file is none of the supported kinds.{what} {SUPPORTED}")


SUPPORTED: Final = "Send a PDF, an e-invoice XML, a PNG, JPEG or TIFF image, or an XLSX, XLS, ODS or CSV sheet."


def _pdf(data: bytes, limits: Limits) -> Kind:
    refuse_truncated(data)
    refuse_bomb(data, limits)
    reader = open_pdf(io.BytesIO(data))
    pages = count_pages(reader)
    if pages == 0:
        raise InputRejected("corrupt", "The PDF has no page. Send an intact copy.")
    if pages is not None and pages > limits.max_pages:
        raise InputRejected("pages", f"The PDF has {pages} pages; the limit is {limits.max_pages}.")
    invoice = embedded_invoice(reader, limits)
    return Kind(
        media=Media.PDF,
        media_type="application/pdf",
        page_count=pages,
        syntax=invoice.syntax if invoice else None,
        embedded_name=invoice.name if invoice else None,
    )


def _xml(data: bytes, limits: Limits) -> Kind:
    root = read_xml(data, limits)
    syntax = syntax_of(root)
    if syntax is None:
        name = str(root.tag)[:200]
        raise InputRejected("unsupported", f"The XML is no e-invoice that is known here: its root element is {name}.")
    return Kind(media=Media.XML, media_type="application/xml", syntax=syntax)


def _image(data: bytes, limits: Limits) -> Kind:
    try:
        with Image.open(io.BytesIO(data), formats=list(_IMAGE_TYPES)) as image:
            name, (width, height) = str(image.format), image.size
            frames = int(getattr(image, "n_frames", 1)) if name == "TIFF" else 1
    except Image.DecompressionBombError as error:
        raise InputRejected("pixels", "The image has more pixels than the limit.") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InputRejected("corrupt", "The image cannot be opened. Send an intact copy.") from error
    if width * height > limits.max_pixels:
        raise InputRejected("pixels", f"The image has {width * height} pixels; the limit is {limits.max_pixels}.")
    if frames > limits.max_pages:
        raise InputRejected("pages", f"The image has {frames} pages; the limit is {limits.max_pages}.")
    if name in _IMAGE_ENDS and _IMAGE_ENDS[name] not in data[-65536:]:
        raise InputRejected("truncated", "The image ends in the middle: its end mark is missing. Send a complete copy.")
    return Kind(media=Media.IMAGE, media_type=_IMAGE_TYPES[name], page_count=frames)


def _html(data: bytes, limits: Limits) -> Kind:
    raise InputRejected("unsupported", f"The file is a web page. {SUPPORTED}")


def _program(data: bytes, limits: Limits) -> Kind:
    raise InputRejected("unsupported", f"The file is a program. {SUPPORTED}")


def _email(data: bytes, limits: Limits) -> Kind:
    raise InputRejected(
        "container_unsupported",
        "The file is an e-mail. It is kept, but e-mails are not opened yet: send its attachments one by one.",
    )


def _text(data: bytes, limits: Limits) -> Kind:
    text = decode_text(data)
    if text is None or delimiter_of(text) is None:
        raise InputRejected("unsupported", f"The file is plain text without columns. {SUPPORTED}")
    return Kind(media=Media.SHEET, media_type="text/csv", sheet_format="csv")


_INSPECTORS: Final[Mapping[Form, Callable[[bytes, Limits], Kind]]] = {
    Form.PDF: _pdf,
    Form.ARCHIVE: inspect_archive,
    Form.COMPOUND: inspect_compound,
    Form.IMAGE: _image,
    Form.XML: _xml,
    Form.HTML: _html,
    Form.PROGRAM: _program,
    Form.EMAIL: _email,
    Form.TEXT: _text,
}
