"""Where an e-invoice states each value once: tables of what the parsers read, for each language.

An element that is named here may stand several times where the standards let it; what the tables name below it is one
value there. Paths are without namespaces, since the root has decided the language, and have the current names.
Source: EN 16931-3, the schemas of UBL 2.1, Factur-X and FatturaPA.
"""

from collections.abc import Mapping
from functools import cache
from typing import Final

from lxml import etree

from switchgear.invoice.types import Syntax

Element = etree._Element
#: Where -> what stands once there; a name with a slash at its end holds other elements, the others hold text alone.
Table = Mapping[str, tuple[str, ...]]


def _below(place: str, table: Table) -> dict[str, tuple[str, ...]]:
    return {f"{place}/{scope}".rstrip("/"): names for scope, names in table.items()}


_UBL_PARTY: Final[Table] = {
    "": ("Party/",),
    "Party": ("PartyLegalEntity/RegistrationName", "PartyName/Name", "PostalAddress/"),
    "Party/PostalAddress": ("StreetName", "CityName", "PostalZone", "Country/"),
    "Party/PostalAddress/Country": ("IdentificationCode",),
    "Party/PartyTaxScheme": ("CompanyID", "TaxScheme/ID"),
}
_UBL_LINE: Final[Table] = {
    "": ("ID", "InvoicedQuantity", "LineExtensionAmount", "Price/", "Item/"),
    "Price": ("PriceAmount", "BaseQuantity"),
    "Item": ("Name", "ClassifiedTaxCategory/ID", "ClassifiedTaxCategory/Percent"),
}
_UBL: Final[Table] = {
    "": (
        "ID",
        "IssueDate",
        "DueDate",
        "InvoiceTypeCode",
        "DocumentCurrencyCode",
        "AccountingSupplierParty/",
        "AccountingCustomerParty/",
        "LegalMonetaryTotal/",
    ),
    "AllowanceCharge": ("ChargeIndicator", "Amount"),
    **_below("AccountingSupplierParty", _UBL_PARTY),
    **_below("AccountingCustomerParty", _UBL_PARTY),
    "PaymentMeans": ("PaymentDueDate", "PaymentID", "PayeeFinancialAccount/"),
    "PaymentMeans/PayeeFinancialAccount": ("ID",),
    "PaymentTerms": ("PaymentDueDate",),
    "TaxTotal": ("TaxAmount",),
    "TaxTotal/TaxSubtotal": ("TaxableAmount", "TaxAmount", "TaxCategory/"),
    "TaxTotal/TaxSubtotal/TaxCategory": ("ID", "Percent"),
    "LegalMonetaryTotal": (
        "LineExtensionAmount",
        "AllowanceTotalAmount",
        "ChargeTotalAmount",
        "TaxExclusiveAmount",
        "TaxInclusiveAmount",
        "PrepaidAmount",
        "PayableRoundingAmount",
        "PayableAmount",
    ),
    **_below("InvoiceLine", _UBL_LINE),
}

_CII_PARTY: Final[Table] = {
    "": ("Name", "SpecifiedLegalOrganization/TradingBusinessName", "PostalTradeAddress/"),
    "SpecifiedTaxRegistration": ("ID",),
    "PostalTradeAddress": ("LineOne", "CityName", "PostcodeCode", "CountryID"),
}
_CII_LINE: Final[Table] = {
    "": (
        "AssociatedDocumentLineDocument/LineID",
        "SpecifiedTradeProduct/",
        "SpecifiedLineTradeAgreement/",
        "SpecifiedLineTradeDelivery/",
        "SpecifiedLineTradeSettlement/",
    ),
    "SpecifiedTradeProduct": ("Name",),
    "SpecifiedLineTradeAgreement": ("NetPriceProductTradePrice/",),
    "SpecifiedLineTradeAgreement/NetPriceProductTradePrice": ("ChargeAmount", "BasisQuantity"),
    "SpecifiedLineTradeDelivery": ("BilledQuantity",),
    "SpecifiedLineTradeSettlement": ("SpecifiedTradeSettlementLineMonetarySummation/",),
    "SpecifiedLineTradeSettlement/SpecifiedTradeSettlementLineMonetarySummation": ("LineTotalAmount",),
    "SpecifiedLineTradeSettlement/ApplicableTradeTax": ("CategoryCode", "RateApplicablePercent"),
}
_CII_SETTLEMENT: Final[Table] = {
    "": ("InvoiceCurrencyCode", "PaymentReference", "SpecifiedTradeSettlementHeaderMonetarySummation/"),
    "SpecifiedTradeAllowanceCharge": ("ChargeIndicator/", "ActualAmount"),
    "SpecifiedTradeAllowanceCharge/ChargeIndicator": ("Indicator",),
    "SpecifiedLogisticsServiceCharge": ("AppliedAmount",),
    "SpecifiedTradePaymentTerms": ("DueDateDateTime/",),
    "SpecifiedTradePaymentTerms/DueDateDateTime": ("DateTimeString", "DateTime"),
    "SpecifiedTradeSettlementPaymentMeans": ("PayeePartyCreditorFinancialAccount/",),
    "SpecifiedTradeSettlementPaymentMeans/PayeePartyCreditorFinancialAccount": ("IBANID", "ProprietaryID"),
    "ApplicableTradeTax": ("CalculatedAmount", "BasisAmount", "CategoryCode", "RateApplicablePercent"),
    "SpecifiedTradeSettlementHeaderMonetarySummation": (
        "LineTotalAmount",
        "AllowanceTotalAmount",
        "ChargeTotalAmount",
        "TaxBasisTotalAmount",
        "TaxTotalAmount",
        "GrandTotalAmount",
        "TotalPrepaidAmount",
        "RoundingAmount",
        "DuePayableAmount",
    ),
}
_TRADE: Final = "SupplyChainTradeTransaction"
_AGREEMENT: Final = f"{_TRADE}/ApplicableHeaderTradeAgreement"
SETTLEMENT: Final = f"{_TRADE}/ApplicableHeaderTradeSettlement"
_CII: Final[Table] = {
    "": ("ExchangedDocument/", f"{_TRADE}/"),
    "ExchangedDocument": ("ID", "TypeCode", "IssueDateTime/"),
    "ExchangedDocument/IssueDateTime": ("DateTimeString", "DateTime"),
    _TRADE: ("ApplicableHeaderTradeAgreement/", "ApplicableHeaderTradeSettlement/"),
    _AGREEMENT: ("SellerTradeParty/", "BuyerTradeParty/"),
    **_below(f"{_AGREEMENT}/SellerTradeParty", _CII_PARTY),
    **_below(f"{_AGREEMENT}/BuyerTradeParty", _CII_PARTY),
    **_below(SETTLEMENT, _CII_SETTLEMENT),
    **_below(f"{_TRADE}/IncludedSupplyChainTradeLineItem", _CII_LINE),
}
_FATTURA_PARTY: Final[Table] = {
    "": ("DatiAnagrafici/", "Sede/"),
    "DatiAnagrafici": (
        "IdFiscaleIVA/IdPaese",
        "IdFiscaleIVA/IdCodice",
        "CodiceFiscale",
        "Anagrafica/Denominazione",
        "Anagrafica/Nome",
        "Anagrafica/Cognome",
    ),
    "Sede": ("Indirizzo", "CAP", "Comune", "Nazione"),
}
_GOODS: Final = "FatturaElettronicaBody/DatiBeniServizi"
_FATTURA: Final[Table] = {
    "": ("FatturaElettronicaHeader/",),
    "FatturaElettronicaHeader": ("CedentePrestatore/", "CessionarioCommittente/"),
    **_below("FatturaElettronicaHeader/CedentePrestatore", _FATTURA_PARTY),
    **_below("FatturaElettronicaHeader/CessionarioCommittente", _FATTURA_PARTY),
    "FatturaElettronicaBody": ("DatiGenerali/", "DatiBeniServizi/"),
    "FatturaElettronicaBody/DatiGenerali": ("DatiGeneraliDocumento/",),
    "FatturaElettronicaBody/DatiGenerali/DatiGeneraliDocumento": (
        "TipoDocumento",
        "Divisa",
        "Data",
        "Numero",
        "ImportoTotaleDocumento",
        "Arrotondamento",
    ),
    "FatturaElettronicaBody/DatiPagamento/DettaglioPagamento": (
        "DataScadenzaPagamento",
        "ImportoPagamento",
        "IBAN",
        "CodicePagamento",
    ),
    f"{_GOODS}/DettaglioLinee": (
        "NumeroLinea",
        "Descrizione",
        "Quantita",
        "UnitaMisura",
        "PrezzoUnitario",
        "PrezzoTotale",
        "AliquotaIVA",
        "Natura",
    ),
    f"{_GOODS}/DatiRiepilogo": ("AliquotaIVA", "Natura", "ImponibileImporto", "Imposta"),
}

#: One product of ZUGFeRD 1.0 may have a name in each of several languages.
_ZUGFERD_1: Final = {scope: names for scope, names in _CII.items() if not scope.endswith("/SpecifiedTradeProduct")}

PLACES: Final[Mapping[Syntax, Table]] = {
    Syntax.UBL_INVOICE: _UBL,
    Syntax.UBL_CREDIT_NOTE: _UBL,
    Syntax.CII: _CII,
    Syntax.ZUGFERD_1: _ZUGFERD_1,
    Syntax.FATTURAPA: _FATTURA,
}
#: Where the currency of the document stands.
CURRENCIES: Final[Mapping[Syntax, str]] = {
    Syntax.UBL_INVOICE: "DocumentCurrencyCode",
    Syntax.UBL_CREDIT_NOTE: "DocumentCurrencyCode",
    Syntax.CII: f"{SETTLEMENT}/InvoiceCurrencyCode",
    Syntax.ZUGFERD_1: f"{SETTLEMENT}/InvoiceCurrencyCode",
    Syntax.FATTURAPA: "FatturaElettronicaBody/DatiGenerali/DatiGeneraliDocumento/Divisa",
}
#: What else an element is called, where a parser reads it under both names: in ZUGFeRD 1.0, and in credit notes.
_ALSO_CALLED: Final = {
    "ExchangedDocumentContext": "SpecifiedExchangedDocumentContext",
    "ExchangedDocument": "HeaderExchangedDocument",
    _TRADE: "SpecifiedSupplyChainTradeTransaction",
    "ApplicableHeaderTradeAgreement": "ApplicableSupplyChainTradeAgreement",
    "ApplicableHeaderTradeSettlement": "ApplicableSupplyChainTradeSettlement",
    "SpecifiedTradeSettlementHeaderMonetarySummation": "SpecifiedTradeSettlementMonetarySummation",
    "SpecifiedLineTradeAgreement": "SpecifiedSupplyChainTradeAgreement",
    "SpecifiedLineTradeDelivery": "SpecifiedSupplyChainTradeDelivery",
    "SpecifiedLineTradeSettlement": "SpecifiedSupplyChainTradeSettlement",
    "SpecifiedTradeSettlementLineMonetarySummation": "SpecifiedTradeSettlementMonetarySummation",
    "RateApplicablePercent": "ApplicablePercent",
    "InvoiceTypeCode": "CreditNoteTypeCode",
    "InvoiceLine": "CreditNoteLine",
    "InvoicedQuantity": "CreditedQuantity",
}


def elements_at(parent: Element, path: str) -> list[Element]:
    """The elements at *path* below *parent*, in whatever namespace and under either name."""
    found = [parent]
    for names in _steps(path):
        found = [child for element in found for child in element.iterchildren(*names)]
    return found


@cache
def _steps(path: str) -> tuple[tuple[str, ...], ...]:
    steps = [name for name in path.split("/") if name]
    return tuple(tuple(f"{{*}}{also}" for also in (name, _ALSO_CALLED.get(name)) if also) for name in steps)


def text_at(parent: Element, path: str) -> str:
    """The text of the first element at *path* that has any; empty when there is none."""
    return next((text for element in elements_at(parent, path) if (text := (element.text or "").strip())), "")
