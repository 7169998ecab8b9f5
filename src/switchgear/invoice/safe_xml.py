"""Reading XML that nobody vouches for: no DOCTYPE, no entities, no network, bounded depth and size.

Source: INVOICES.md (parse promises), RELIABILITY (hostile documents).
"""

import re
from typing import Final

from lxml import etree

from switchgear.invoice.types import Syntax
from switchgear.sdk import InputRejected, Limits

#: (namespace, local name) of a root element -> what it is. Namespace None stands for any.
SYNTAX_BY_ROOT: Final[dict[tuple[str | None, str], Syntax]] = {
    ("urn:oasis:names:specification:ubl:schema:xsd:Invoice-2", "Invoice"): Syntax.UBL_INVOICE,
    ("urn:oasis:names:specification:ubl:schema:xsd:CreditNote-2", "CreditNote"): Syntax.UBL_CREDIT_NOTE,
    ("urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100", "CrossIndustryInvoice"): Syntax.CII,
    ("urn:ferd:CrossIndustryDocument:invoice:1p0", "CrossIndustryDocument"): Syntax.ZUGFERD_1,
    (None, "FatturaElettronica"): Syntax.FATTURAPA,
}

#: Encodings whose markup Python and libxml2 read alike; anything else could hide a DOCTYPE.
_ENCODINGS: Final = re.compile(
    r"^(utf-?8|utf-?16(le|be)?|us-ascii|ascii|iso-?8859-?\d{1,2}|windows-125\d|cp125\d|latin-?1)$"
)
_DECLARED: Final = re.compile(r"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_START_TAG: Final = re.compile(r"<(?:[\w.-]+:)?([A-Za-z_][\w.-]*)")
#: So little at a time that depth is seen here before the parser's own limit of 2048 levels ends it.
_CHUNK: Final = 4 * 1024


def read_xml(data: bytes, limits: Limits) -> etree._Element:
    """Parse *data* and return its root element.

    Raises:
        InputRejected: `rejected_xml` for a DOCTYPE, an unusual encoding or too deep nesting; `corrupt` when it is not
            well-formed; `unpacked_size` when it is too large.
    """
    if len(data) > limits.max_unpacked_bytes:
        raise InputRejected(
            "unpacked_size", f"The XML has {len(data)} bytes; the limit is {limits.max_unpacked_bytes}."
        )
    refuse_doctype(data)
    parser = etree.XMLPullParser(
        events=("start", "end"),
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=True,  # long text nodes (attachments) are fine; depth and size are bounded here
        remove_comments=True,
        remove_pis=True,
    )
    depth = 0
    try:
        for start in range(0, len(data), _CHUNK):
            parser.feed(data[start : start + _CHUNK])
            depth = _follow(parser, depth, limits.max_xml_depth)
        root = parser.close()
    except etree.XMLSyntaxError as error:
        where = f"line {error.lineno}" if error.lineno else "an unknown line"
        raise InputRejected("corrupt", f"The XML is not well-formed at {where}; send a complete copy.") from error
    if root is None:
        raise InputRejected("corrupt", "The XML has no element; send a complete copy.")
    return root


def _follow(parser: etree.XMLPullParser, depth: int, deepest: int) -> int:
    for event, _ in parser.read_events():
        depth += 1 if event == "start" else -1
        if depth > deepest:
            raise InputRejected("rejected_xml", f"The XML is nested deeper than {deepest} levels, the limit.")
    return depth


def refuse_doctype(data: bytes) -> None:
    """Raise `InputRejected("rejected_xml")` when the prolog has a DOCTYPE or an encoding that could hide one."""
    text = _decoded_start(data)
    encoding = _DECLARED.match(text)
    if encoding and not _ENCODINGS.match(encoding[1].lower()):
        raise InputRejected("rejected_xml", "The XML declares an unusual encoding; save it as UTF-8 and send it again.")
    begin = _prolog_end(text)
    if text[begin : begin + 9].upper() == "<!DOCTYPE":
        raise InputRejected(
            "rejected_xml",
            "The XML has a DOCTYPE, which can define entities; e-invoices need none. Send it without the DOCTYPE.",
        )


def begins_as_invoice(data: bytes) -> bool:
    """Whether the first element is named as that of an e-invoice, however the XML goes on."""
    text = _decoded_start(data)
    begin = _prolog_end(text)
    first = _START_TAG.search(text, begin) if text.startswith("<", begin) else None
    return first is not None and first[1] in {name for _, name in SYNTAX_BY_ROOT}


def _prolog_end(text: str) -> int:
    """Where white space, instructions and comments at the beginning end."""
    position = 0
    while True:
        rest = text[position : position + 4]
        if rest[:1].isspace() or rest[:1] == "\ufeff":
            position += 1
        elif rest.startswith("<?"):
            position = _after(text, "?>", position)
        elif rest.startswith("<!--"):
            position = _after(text, "-->", position)
        else:
            return position


def _after(text: str, mark: str, position: int) -> int:
    found = text.find(mark, position)
    return len(text) if found < 0 else found + len(mark)


def _decoded_start(data: bytes) -> str:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else None
    if encoding is None and data[:4] in (b"<\0?\0", b"\0<\0?"):
        encoding = "utf-16-le" if data[:1] == b"<" else "utf-16-be"
    text = data.decode(encoding or "latin-1", errors="replace")
    return text.lstrip("\ufeffï»¿")


def syntax_of(root: etree._Element) -> Syntax | None:
    """Say which e-invoice language *root* belongs to, or None."""
    name = etree.QName(root)
    return SYNTAX_BY_ROOT.get((name.namespace, name.localname)) or SYNTAX_BY_ROOT.get((None, name.localname))
