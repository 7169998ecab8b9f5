"""Codes that say what kind of invoice a document is. Source: UNTDID 1001 as EN 16931 takes it (BT-3, BR-CL-01)."""

from typing import Final

from switchgear.invoice.types import InvoiceType

CREDIT_NOTES: Final = frozenset(map(str, (81, 83, 261, 262, 296, 308, 381, 396, 420, 458, 502, 503, 532)))
# fmt: off
INVOICES: Final = frozenset(map(str, (
    71, 80, 82, 84, 102, 130, 202, 203, 204, 211, 218, 219, 295, 325, 326, 331, 380, 382, 383, 384, 385, 386, 387, 388,
    389, 390, 393, 394, 395, 456, 457, 471, 472, 473, 500, 501, 527, 553, 575, 623, 633, 751, 780, 817, 870, 875, 876,
    877, 935,
)))
# fmt: on
#: Announces an invoice; nothing is owed for it yet.
PRO_FORMA: Final = "325"


def type_of(code: str) -> InvoiceType:
    """Tell credit notes from invoices; an unknown code counts as an invoice, which validation then names."""
    return InvoiceType.CREDIT_NOTE if code in CREDIT_NOTES else InvoiceType.INVOICE
