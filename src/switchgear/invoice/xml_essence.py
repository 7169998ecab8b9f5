"""What two e-invoice XMLs of one document must agree on, whatever their languages. Source: INVOICES.md (parse)."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Final

from lxml import etree

from switchgear.invoice.amounts import plain_decimal
from switchgear.invoice.types import Syntax
from switchgear.invoice.xml_places import elements_at

#: What is said under one name, in order; several where the document lists several.
Essence = Mapping[str, tuple[object, ...]]

_TRADE: Final = "SupplyChainTradeTransaction"
_SETTLEMENT: Final = f"{_TRADE}/ApplicableHeaderTradeSettlement"
_SUMS: Final = f"{_SETTLEMENT}/SpecifiedTradeSettlementHeaderMonetarySummation"
_ACCOUNT: Final = f"{_SETTLEMENT}/SpecifiedTradeSettlementPaymentMeans/PayeePartyCreditorFinancialAccount"
_LINE_SUMS: Final = "SpecifiedLineTradeSettlement/SpecifiedTradeSettlementLineMonetarySummation"
_SUPPLIER: Final = "AccountingSupplierParty/Party"

_UBL: Final[Mapping[str, tuple[str, ...]]] = {
    "number": ("ID",),
    "type": ("InvoiceTypeCode",),
    "issue date": ("IssueDate",),
    "due date": ("DueDate",),
    "currency": ("DocumentCurrencyCode",),
    "seller": (f"{_SUPPLIER}/PartyLegalEntity/RegistrationName", f"{_SUPPLIER}/PartyName/Name"),
    "account": ("PaymentMeans/PayeeFinancialAccount/ID",),
    "net amount": ("LegalMonetaryTotal/TaxExclusiveAmount",),
    "gross amount": ("LegalMonetaryTotal/TaxInclusiveAmount",),
    "payable amount": ("LegalMonetaryTotal/PayableAmount",),
    "line amount": ("InvoiceLine/LineExtensionAmount",),
}
_CII: Final[Mapping[str, tuple[str, ...]]] = {
    "number": ("ExchangedDocument/ID",),
    "type": ("ExchangedDocument/TypeCode",),
    "issue date": ("ExchangedDocument/IssueDateTime/DateTimeString",),
    "due date": (f"{_SETTLEMENT}/SpecifiedTradePaymentTerms/DueDateDateTime/DateTimeString",),
    "currency": (f"{_SETTLEMENT}/InvoiceCurrencyCode",),
    "seller": (f"{_TRADE}/ApplicableHeaderTradeAgreement/SellerTradeParty/Name",),
    "account": (f"{_ACCOUNT}/IBANID", f"{_ACCOUNT}/ProprietaryID"),
    "net amount": (f"{_SUMS}/TaxBasisTotalAmount",),
    "gross amount": (f"{_SUMS}/GrandTotalAmount",),
    "payable amount": (f"{_SUMS}/DuePayableAmount",),
    "line amount": (f"{_TRADE}/IncludedSupplyChainTradeLineItem/{_LINE_SUMS}/LineTotalAmount",),
}
_GENERAL: Final = "FatturaElettronicaBody/DatiGenerali/DatiGeneraliDocumento"
_FATTURA: Final[Mapping[str, tuple[str, ...]]] = {
    "number": (f"{_GENERAL}/Numero",),
    "issue date": (f"{_GENERAL}/Data",),
    "currency": (f"{_GENERAL}/Divisa",),
    "account": ("FatturaElettronicaBody/DatiPagamento/DettaglioPagamento/IBAN",),
    "gross amount": (f"{_GENERAL}/ImportoTotaleDocumento",),
    "line amount": ("FatturaElettronicaBody/DatiBeniServizi/DettaglioLinee/PrezzoTotale",),
}
_PATHS: Final[Mapping[Syntax, Mapping[str, tuple[str, ...]]]] = {
    Syntax.UBL_INVOICE: _UBL,
    Syntax.UBL_CREDIT_NOTE: _UBL,
    Syntax.CII: _CII,
    Syntax.ZUGFERD_1: _CII,
    Syntax.FATTURAPA: _FATTURA,
}


def essence(root: etree._Element, syntax: Syntax) -> Essence:
    """What the e-invoice says of each that it states; of several paths the first that has a value counts."""
    found: dict[str, tuple[object, ...]] = {}
    for name, paths in _PATHS[syntax].items():
        for path in paths:
            texts = [text for element in elements_at(root, path) if (text := (element.text or "").strip())]
            if texts:
                found[name] = tuple(sorted((_PLAIN[name.rpartition(" ")[2]](text) for text in texts), key=str))
                break
    return found


def agree(one: Essence, other: Essence) -> bool:
    """Whether both say the same wherever both say something: smaller profiles leave much out."""
    return all(one[name] == other[name] for name in one.keys() & other.keys())


def _amount(text: str) -> object:
    value = plain_decimal(text)
    return text if value is None else value.normalize()


def _day(text: str) -> str:
    return re.sub(r"\D", "", text)[:8]


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", text).casefold())


_PLAIN: Final[Mapping[str, Callable[[str], object]]] = {
    "number": str,
    "type": str,
    "date": _day,
    "currency": str,
    "seller": _letters,
    "account": _letters,
    "amount": _amount,
}
