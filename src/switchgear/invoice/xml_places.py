"""Where an e-invoice states each value once: tables of what the parsers read, for each language.

An element that is named here may stand several times where the standards let it; what the tables name below it is one
value there. Paths are without namespaces, since the root has decided the language. Source: EN 16931-3, the schemas of
UBL 2.1, Factur-X and FatturaPA.
"""

from collections.abc import Mapping
from typing import Final

from switchgear.invoice.types import Syntax

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
    "": ("ID", "InvoicedQuantity", "CreditedQuantity", "LineExtensionAmount", "Price/", "Item/"),
    "Price": ("PriceAmount", "BaseQuantity"),
    "Item": ("Name", "ClassifiedTaxCategory/ID", "ClassifiedTaxCategory/Percent"),
}
_UBL: Final[Table] = {
    "": (
        "ID",
        "IssueDate",
        "DueDate",
        "InvoiceTypeCode",
        "CreditNoteTypeCode",
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
    **_below("CreditNoteLine", _UBL_LINE),
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
#: What ZUGFeRD 1.0 calls the same elements.
_OLD_NAMES: Final = {
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
}


def old_names(path: str) -> str:
    """The path of CII as ZUGFeRD 1.0 writes it."""
    return "/".join(_OLD_NAMES.get(name, name) for name in path.split("/"))


def _older(table: Table) -> Table:
    """The table for ZUGFeRD 1.0, where the name of a product may stand in several languages."""
    found = {old_names(scope): tuple(old_names(name) for name in names) for scope, names in table.items()}
    return {scope: names for scope, names in found.items() if not scope.endswith("/SpecifiedTradeProduct")}


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

PLACES: Final[Mapping[Syntax, Table]] = {
    Syntax.UBL_INVOICE: _UBL,
    Syntax.UBL_CREDIT_NOTE: _UBL,
    Syntax.CII: _CII,
    Syntax.ZUGFERD_1: _older(_CII),
    Syntax.FATTURAPA: _FATTURA,
}
#: Where the currency of the document stands.
CURRENCIES: Final[Mapping[Syntax, str]] = {
    Syntax.UBL_INVOICE: "DocumentCurrencyCode",
    Syntax.UBL_CREDIT_NOTE: "DocumentCurrencyCode",
    Syntax.CII: f"{SETTLEMENT}/InvoiceCurrencyCode",
    Syntax.ZUGFERD_1: old_names(f"{SETTLEMENT}/InvoiceCurrencyCode"),
    Syntax.FATTURAPA: "FatturaElettronicaBody/DatiGenerali/DatiGeneraliDocumento/Divisa",
}
