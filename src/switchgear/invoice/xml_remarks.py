"""What an e-invoice says of itself: that it is a test or a copy; and that it does not say what type it is."""

from collections.abc import Mapping
from typing import Final

from lxml import etree

from switchgear.invoice.types import Remark, Syntax
from switchgear.invoice.xml_places import elements_at

_YES: Final = ("true", "1")
_TEST: Final = "ExchangedDocumentContext/TestIndicator/Indicator"
_COPY: Final = "ExchangedDocument/CopyIndicator/Indicator"
_TYPE: Final = "ExchangedDocument/TypeCode"
#: Where each is said; a credit note of UBL has its type in its name.
_PLACES: Final[Mapping[Syntax, Mapping[Remark, str]]] = {
    Syntax.UBL_INVOICE: {"copy": "CopyIndicator", "no_type": "InvoiceTypeCode"},
    Syntax.UBL_CREDIT_NOTE: {"copy": "CopyIndicator"},
    Syntax.CII: {"test": _TEST, "copy": _COPY, "no_type": _TYPE},
    Syntax.ZUGFERD_1: {"test": _TEST, "copy": _COPY, "no_type": _TYPE},
    Syntax.FATTURAPA: {"no_type": "FatturaElettronicaBody/DatiGenerali/DatiGeneraliDocumento/TipoDocumento"},
}


def remarks(root: etree._Element, syntax: Syntax) -> tuple[Remark, ...]:
    """Which of the remarks hold for the document."""
    found: list[Remark] = []
    for remark, path in _PLACES[syntax].items():
        texts = [(element.text or "").strip().lower() for element in elements_at(root, path)]
        if not any(texts) if remark == "no_type" else any(text in _YES for text in texts):
            found.append(remark)
    return tuple(found)
