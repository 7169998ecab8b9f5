"""Opening PDF files that nobody vouches for, and finding the e-invoice XML inside. Source: INVOICES.md."""

import logging
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, NamedTuple

import pypdf
import pypdf.errors
from lxml import etree
from pypdf.generic import NullObject

from switchgear.invoice.page_words import password_needed
from switchgear.invoice.safe_xml import begins_as_invoice, read_xml, syntax_of
from switchgear.invoice.types import Kind, Media, Syntax
from switchgear.invoice.xml_essence import Essence, agree, essence
from switchgear.sdk import Blob, InputRejected, Limits

#: An order is no invoice; what it is, is read from its pages.
_ORDER: Final = "order-x.xml"
#: Names that the standards give to the invoice, best first; only an order of looking, the content decides.
_USUAL_NAMES: Final = ("factur-x.xml", "xrechnung.xml", "zugferd-invoice.xml", _ORDER)
#: A file cut off in the middle has no end mark near its end; some writers append a little after it.
_TAIL: Final = 4096
_MOST_ATTACHMENTS: Final = 200
#: Nodes of the tree of their names; far below what Python can nest.
_MOST_NODES: Final = 400

logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns about every oddity of a readable file


class EmbeddedInvoice(NamedTuple):
    """An e-invoice inside a PDF."""

    name: str
    syntax: Syntax
    data: bytes
    passed_over: tuple[str, ...] = ()  #: attachments that are e-invoices with other content, or unreadable


def refuse_truncated(data: bytes) -> None:
    """Raise `InputRejected("truncated")` when the end of the file is missing."""
    end = data.rfind(b"%%EOF")
    if end < 0 or (len(data) - end > _TAIL and b" obj" in data[end:]):
        raise InputRejected("truncated", "The PDF ends in the middle: its end mark is missing. Send a complete copy.")


def open_pdf(stream: BinaryIO) -> Any:
    """Open with pypdf; a file with only an owner password is readable and opened.

    Returns:
        A `pypdf.PdfReader`.

    Raises:
        InputRejected: `encrypted` when a password is needed, `corrupt` when it cannot be opened.
    """
    try:
        reader = pypdf.PdfReader(stream, strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise password_needed()
        _ = reader.trailer["/Root"]["/Pages"]  # type: ignore[index]
    except InputRejected:
        raise
    except Exception as error:  # the library raises many kinds for broken files
        raise InputRejected("corrupt", "The PDF cannot be opened. Send an intact copy.") from error
    return reader


def count_pages(reader: Any) -> int | None:
    """Count the pages, or None when the page tree is damaged."""
    try:
        return len(reader.pages)
    except Exception:  # a damaged tree is read by the readers as far as it goes
        return None


def embedded_invoice(reader: Any, limits: Limits) -> EmbeddedInvoice | None:
    """Find the attachment that is an e-invoice; decided by content, the usual names are looked at first.

    Raises:
        InputRejected: `unpacked_size` when the attachments unpack to more than the limit, `corrupt` when their list is
            damaged, and why an e-invoice among them (by its name or its beginning) cannot be read: reading on without
            it would hide what the sender meant.
    """
    try:
        found = sorted(_attachments(reader), key=lambda item: _rank(item[0]))[:_MOST_ATTACHMENTS]
    except Exception as error:  # the library raises many kinds for broken files
        raise InputRejected("corrupt", "The attachments of the PDF are damaged. Send an intact copy.") from error
    left = limits.max_unpacked_bytes
    for place, (name, stream) in enumerate(found):
        data = _unpack(stream, left)
        left -= len(data or b"")
        try:
            read = _read(name, data, limits)
        except InputRejected as error:
            raise InputRejected(error.reason_code, f"The e-invoice inside the PDF: {error.message}") from error
        if data is not None and read is not None:
            syntax, says = read
            return EmbeddedInvoice(name, syntax, data, _further(found[place + 1 :], says, left, limits))
    return None


def _read(name: str, data: bytes | None, limits: Limits) -> tuple[Syntax, Essence] | None:
    """Language and content of an attachment that is an e-invoice, None when it is something else.

    Raises:
        InputRejected: Its name or its beginning says that it is one, and it cannot be read.
    """
    is_named = name.lower() in _USUAL_NAMES
    if data is None or b"<" not in data[:200]:
        if is_named:
            raise InputRejected("corrupt", "It is damaged, empty or no XML. Send an intact copy.")
        return None
    try:
        root = read_xml(data, limits)
    except InputRejected:
        if is_named or begins_as_invoice(data):
            raise
        return None
    syntax = syntax_of(root)
    if syntax is None and is_named and name.lower() != _ORDER:
        what = str(root.tag)[:200]
        raise InputRejected(
            "unsupported", f"Its root element is {what}, none of an e-invoice. Send it with the right one."
        )
    return None if syntax is None else (syntax, essence(root, syntax))


def _further(found: list[tuple[str, Any]], says: Essence, left: int, limits: Limits) -> tuple[str, ...]:
    """Names of e-invoices with other content, or that cannot be read: the document does not depend on them."""
    names = []
    for name, stream in found:
        try:
            data = _unpack(stream, left)
        except InputRejected:
            data = None
        left -= len(data or b"")
        try:
            read = _read(name, data, limits)
        except InputRejected:
            names.append(name)
            continue
        if read is not None and not agree(says, read[1]):
            names.append(name)
    return tuple(names)


def invoice_xml(blob: Blob, kind: Kind, limits: Limits) -> tuple[etree._Element, tuple[str, ...]]:
    """Read the XML of an e-invoice, from the PDF's attachment where it is embedded.

    Returns:
        The root, and the names of further e-invoices in the PDF, with other content or unreadable.

    Raises:
        InputRejected: `corrupt` when it cannot be read; else as `read_xml` and `embedded_invoice` say.
    """
    with blob.open() as stream:
        if kind.media is not Media.PDF:
            return read_xml(stream.read(), limits), ()
        embedded = embedded_invoice(open_pdf(stream), limits)
    if embedded is None:
        raise InputRejected("corrupt", "The e-invoice inside the PDF cannot be read. Send an intact copy.")
    return read_xml(embedded.data, limits), embedded.passed_over


def _rank(name: str) -> tuple[int, str]:
    lowered = name.lower()
    if lowered in _USUAL_NAMES:
        return (_USUAL_NAMES.index(lowered), lowered)
    return (len(_USUAL_NAMES) + (not lowered.endswith(".xml")), lowered)


def _unpack(stream: Any, most: int) -> bytes | None:
    reason = (
        "The attachments of the PDF unpack to more than the limit. Send it with the invoice as the only attachment."
    )
    try:
        data = stream.get_data()
    except pypdf.errors.LimitReachedError as error:  # the library stops at 75 MB by itself
        raise InputRejected("unpacked_size", reason) from error
    except Exception:  # a broken attachment is no invoice
        return None
    if len(data) > most:
        raise InputRejected("unpacked_size", reason)
    return data if isinstance(data, bytes) else None


def _attachments(reader: Any) -> Iterator[tuple[str, Any]]:
    """Give name and stream of every file in the name tree and in the associated files."""
    root = _resolved(reader.trailer["/Root"])
    names = _resolved(_resolved(root.get("/Names", {})).get("/EmbeddedFiles", {}))
    specifications = list(_leaves(names, set()))
    specifications += [_resolved(item) for item in _resolved(root.get("/AF", [])) or []]
    seen: set[int] = set()
    for specification in specifications:
        if not hasattr(specification, "get"):
            continue
        files = _resolved(specification.get("/EF", {}))
        stream = _resolved(files.get("/UF") or files.get("/F")) if hasattr(files, "get") else None
        if stream is None or not hasattr(stream, "get_data") or id(stream) in seen:
            continue
        seen.add(id(stream))
        yield str(_resolved(specification.get("/UF") or specification.get("/F") or "")), stream


def _leaves(node: Any, seen: set[int]) -> Iterator[Any]:
    """Give the values of a name tree; each node is gone through once, since a hostile tree contains itself."""
    node = _resolved(node)
    if id(node) in seen or len(seen) > _MOST_NODES or not hasattr(node, "get"):
        return
    seen.add(id(node))
    pairs = _resolved(node.get("/Names", []))
    for item in list(pairs)[1 : 2 * _MOST_ATTACHMENTS : 2]:
        yield _resolved(item)
    for kid in list(_resolved(node.get("/Kids", [])))[:_MOST_ATTACHMENTS]:
        yield from _leaves(kid, seen)


def _resolved(item: Any) -> Any:
    """Follow a reference; a null stands for an absent entry."""
    found = item.get_object() if hasattr(item, "get_object") else item
    return {} if isinstance(found, NullObject) else found
