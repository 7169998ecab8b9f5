"""From the library's plain dictionaries to facts; the table says at which path each value stands in UBL and in CII."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any, Final

from lxml import etree

from switchgear.invoice.amounts import plain_decimal, unit_price
from switchgear.invoice.type_codes import type_of
from switchgear.invoice.types import (
    Address,
    Evidence,
    Fact,
    InvoiceFields,
    Line,
    Party,
    Payment,
    Syntax,
    Totals,
    VatBreakdown,
)

_MODULE: Final = "parse-eu-einvoice"
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?:T.*|Z|[+-]\d{2}:\d{2})?", re.ASCII)

_DOCUMENT: Final = "ExchangedDocument"
_TRADE: Final = "SupplyChainTradeTransaction"
_AGREEMENT: Final = f"{_TRADE}/ApplicableHeaderTradeAgreement"
_SETTLEMENT: Final = f"{_TRADE}/ApplicableHeaderTradeSettlement"
_SUMS: Final = f"{_SETTLEMENT}/SpecifiedTradeSettlementHeaderMonetarySummation"
_MEANS: Final = f"{_SETTLEMENT}/SpecifiedTradeSettlementPaymentMeans"
_TERMS: Final = f"{_SETTLEMENT}/SpecifiedTradePaymentTerms"
_ITEM: Final = f"{_TRADE}/IncludedSupplyChainTradeLineItem"
_UBL_LINE: Final = "{line}"

#: name -> (path in UBL, path in CII), below the root. `{line}` is InvoiceLine or CreditNoteLine.
_PATHS: Final[Mapping[str, tuple[str, str]]] = {
    "customization_id": ("CustomizationID", "ExchangedDocumentContext/GuidelineSpecifiedDocumentContextParameter/ID"),
    "type": ("{type}", f"{_DOCUMENT}/TypeCode"),
    "number": ("ID", f"{_DOCUMENT}/ID"),
    "issue_date": ("IssueDate", f"{_DOCUMENT}/IssueDateTime/DateTimeString"),
    "due_date": ("DueDate", f"{_TERMS}/DueDateDateTime/DateTimeString"),
    "currency": ("DocumentCurrencyCode", f"{_SETTLEMENT}/InvoiceCurrencyCode"),
    "iban": ("PaymentMeans/PayeeFinancialAccount/ID", f"{_MEANS}/PayeePartyCreditorFinancialAccount/IBANID"),
    "reference": ("PaymentMeans/PaymentID", f"{_SETTLEMENT}/PaymentReference"),
    "line_total": ("LegalMonetaryTotal/LineExtensionAmount", f"{_SUMS}/LineTotalAmount"),
    "allowance_total": ("LegalMonetaryTotal/AllowanceTotalAmount", f"{_SUMS}/AllowanceTotalAmount"),
    "charge_total": ("LegalMonetaryTotal/ChargeTotalAmount", f"{_SUMS}/ChargeTotalAmount"),
    "tax_exclusive": ("LegalMonetaryTotal/TaxExclusiveAmount", f"{_SUMS}/TaxBasisTotalAmount"),
    "tax_total": ("TaxTotal/TaxAmount", f"{_SUMS}/TaxTotalAmount"),
    "tax_inclusive": ("LegalMonetaryTotal/TaxInclusiveAmount", f"{_SUMS}/GrandTotalAmount"),
    "prepaid": ("LegalMonetaryTotal/PrepaidAmount", f"{_SUMS}/TotalPrepaidAmount"),
    "rounding": ("LegalMonetaryTotal/PayableRoundingAmount", f"{_SUMS}/RoundingAmount"),
    "payable": ("LegalMonetaryTotal/PayableAmount", f"{_SUMS}/DuePayableAmount"),
}
_PARTY: Final[Mapping[str, tuple[str, str]]] = {
    "name": ("PartyLegalEntity/RegistrationName", "Name"),
    "vat_id": ("PartyTaxScheme/CompanyID", "SpecifiedTaxRegistration/ID"),
    "tax_registration_id": ("PartyTaxScheme/CompanyID", "SpecifiedTaxRegistration/ID"),
    "address": ("PostalAddress", "PostalTradeAddress"),
    "line1": ("PostalAddress/StreetName", "PostalTradeAddress/LineOne"),
    "city": ("PostalAddress/CityName", "PostalTradeAddress/CityName"),
    "postal_code": ("PostalAddress/PostalZone", "PostalTradeAddress/PostcodeCode"),
    "country": ("PostalAddress/Country/IdentificationCode", "PostalTradeAddress/CountryID"),
}
_GROUP: Final[Mapping[str, tuple[str, str]]] = {
    "category": ("TaxCategory/ID", "CategoryCode"),
    "rate": ("TaxCategory/Percent", "RateApplicablePercent"),
    "taxable": ("TaxableAmount", "BasisAmount"),
    "tax": ("TaxAmount", "CalculatedAmount"),
}
_LINE: Final[Mapping[str, tuple[str, str]]] = {
    "id": ("ID", "AssociatedDocumentLineDocument/LineID"),
    "name": ("Item/Name", "SpecifiedTradeProduct/Name"),
    "quantity": ("{quantity}", "SpecifiedLineTradeDelivery/BilledQuantity"),
    "unit": ("{quantity}", "SpecifiedLineTradeDelivery/BilledQuantity"),
    "price": ("Price/PriceAmount", "SpecifiedLineTradeAgreement/NetPriceProductTradePrice/ChargeAmount"),
    "base_quantity": ("Price/BaseQuantity", "SpecifiedLineTradeAgreement/NetPriceProductTradePrice/BasisQuantity"),
    "vat_rate": (
        "Item/ClassifiedTaxCategory/Percent",
        "SpecifiedLineTradeSettlement/ApplicableTradeTax/RateApplicablePercent",
    ),
    "vat_category": ("Item/ClassifiedTaxCategory/ID", "SpecifiedLineTradeSettlement/ApplicableTradeTax/CategoryCode"),
    "net_amount": (
        "LineExtensionAmount",
        "SpecifiedLineTradeSettlement/SpecifiedTradeSettlementLineMonetarySummation/LineTotalAmount",
    ),
}
_PLACES: Final[Mapping[str, tuple[str, str]]] = {
    "seller": ("AccountingSupplierParty/Party", f"{_AGREEMENT}/SellerTradeParty"),
    "buyer": ("AccountingCustomerParty/Party", f"{_AGREEMENT}/BuyerTradeParty"),
    "vat": ("TaxTotal/TaxSubtotal", f"{_SETTLEMENT}/ApplicableTradeTax"),
    "lines": (_UBL_LINE, _ITEM),
}
_ROOTS: Final = {
    Syntax.UBL_INVOICE: "Invoice",
    Syntax.UBL_CREDIT_NOTE: "CreditNote",
    Syntax.CII: "CrossIndustryInvoice",
}
_NAMES: Final = {
    Syntax.UBL_INVOICE: {"line": "InvoiceLine", "quantity": "InvoicedQuantity", "type": "InvoiceTypeCode"},
    Syntax.UBL_CREDIT_NOTE: {"line": "CreditNoteLine", "quantity": "CreditedQuantity", "type": "CreditNoteTypeCode"},
    Syntax.CII: {},
}

Record = Mapping[str, Any]


def leaf_paths(root: etree._Element) -> Iterator[str]:
    """Paths, without positions and each once, of elements with text and no children."""
    seen: set[str] = set()
    stack: list[tuple[etree._Element, str]] = [(root, f"/{etree.QName(root).localname}")]
    while stack:
        element, path = stack.pop()
        children = [child for child in element if isinstance(child.tag, str)]
        if not children and (element.text or "").strip() and path not in seen:
            seen.add(path)
            yield path
        stack += [(child, f"{path}/{etree.QName(child).localname}") for child in reversed(children)]


class Mapper:
    """Makes facts for one syntax; `paths` are those that it can read, `unreadable` those of values that were none."""

    def __init__(self, syntax: Syntax) -> None:
        self._column = 1 if syntax is Syntax.CII else 0
        self._root = f"/{_ROOTS[syntax]}"
        self._names = _NAMES[syntax]
        self.unreadable: list[str] = []
        self.paths = {self._path("", name, _PATHS) for name in _PATHS}
        for place, table in (("seller", _PARTY), ("buyer", _PARTY), ("vat", _GROUP), ("lines", _LINE)):
            self.paths |= {self._path(self._place(place), name, table) for name in table}

    def _place(self, name: str, index: int | None = None) -> str:
        where = _PLACES[name][self._column].format(**self._names)
        return f"/{where}" if index is None else f"/{where}[{index}]"

    def _path(self, place: str, name: str, table: Mapping[str, tuple[str, str]]) -> str:
        return f"{self._root}{place}/{table[name][self._column].format(**self._names)}"

    def fields(self, model: Record) -> InvoiceFields:
        """All fields of the library's *model*."""
        payment, totals = model.get("payment") or {}, model.get("totals") or {}
        accounts = [account.get("iban") or account.get("account_id") for account in payment.get("credit_transfers", [])]
        money = {name: self._make(totals, name, _PATHS, "", plain_decimal) for name in totals if name in _PATHS}
        account = {
            "iban": next((value for value in accounts if value), None),
            "reference": payment.get("remittance_info"),
        }
        return InvoiceFields(
            type=self._make(model, "type", _PATHS, "", type_of),
            number=self._make(model, "number", _PATHS, "", str),
            issue_date=self._make(model, "issue_date", _PATHS, "", day_of),
            due_date=self._make(model, "due_date", _PATHS, "", day_of),
            currency=self._make(model, "currency", _PATHS, "", str),
            seller=self._party(model.get("seller") or {}, "seller"),
            buyer=self._party(model.get("buyer") or {}, "buyer"),
            payment=Payment(
                iban=self._make(account, "iban", _PATHS, "", str),
                reference=self._make(account, "reference", _PATHS, "", str),
            ),
            lines=tuple(self._line(line, index) for index, line in enumerate(model.get("lines") or [], 1)),
            vat=tuple(self._group(group, index) for index, group in enumerate(model.get("vat_breakdown") or [], 1)),
            totals=Totals(
                lines=money.get("line_total"),
                allowances=money.get("allowance_total"),
                charges=money.get("charge_total"),
                net=money.get("tax_exclusive"),
                tax=money.get("tax_total"),
                gross=money.get("tax_inclusive"),
                prepaid=money.get("prepaid"),
                rounding=money.get("rounding"),
                payable=money.get("payable"),
            ),
        )

    def _make(
        self,
        record: Record,
        name: str,
        table: Mapping[str, tuple[str, str]],
        place: str,
        convert: Callable[[str], Any],
    ) -> Any:
        text = " ".join(str(record.get(name) or "").split())
        value = convert(text) if text else None
        path = self._path(place, name, table)
        if value is None:
            if text:  # it stands there and is none
                self.unreadable.append(path)
            return None
        evidence = Evidence(path=path, text=text[:200])
        return Fact(value=value, source="xml", evidence=evidence, module=_MODULE)

    def _party(self, record: Record, who: str) -> Party:
        place = self._place(who)
        address = record.get("address") or {}
        where = Address(
            street=address.get("line1"),
            city=address.get("city"),
            postal_code=address.get("postal_code"),
            country=address.get("country"),
        )
        name = self._make(record, "name", _PARTY, place, str)
        found = {"address": "given"} if where != Address() else {}
        return Party(
            name=name,
            legal_name=name,
            vat_id=self._make(record, "vat_id", _PARTY, place, str),
            tax_number=self._make(record, "tax_registration_id", _PARTY, place, str),
            address=self._make(found, "address", _PARTY, place, lambda _: where),
        )

    def _group(self, record: Record, index: int) -> VatBreakdown:
        place = self._place("vat", index)
        return VatBreakdown(
            category=self._make(record, "category", _GROUP, place, str),
            rate=self._make(record, "rate", _GROUP, place, plain_decimal),
            taxable=self._make(record, "taxable", _GROUP, place, plain_decimal),
            tax=self._make(record, "tax", _GROUP, place, plain_decimal),
        )

    def _line(self, record: Record, index: int) -> Line:
        place = self._place("lines", index)
        price = self._make(record, "price", _LINE, place, plain_decimal)
        per = plain_decimal(str(record.get("base_quantity") or "1"))
        if price is not None and per is not None and per not in (0, 1):
            value = unit_price(price.value, per)
            price = None if value is None else price.model_copy(update={"value": value})
        return Line(
            id=record.get("id"),
            description=self._make(record, "name", _LINE, place, str),
            quantity=self._make(record, "quantity", _LINE, place, plain_decimal),
            unit=self._make(record, "unit", _LINE, place, str),
            net_price=price,
            vat_rate=self._make(record, "vat_rate", _LINE, place, plain_decimal),
            vat_category=self._make(record, "vat_category", _LINE, place, str),
            net_amount=self._make(record, "net_amount", _LINE, place, plain_decimal),
        )


def day_of(text: str) -> date | None:
    """A calendar day in ISO form, or None."""
    try:
        return date.fromisoformat(text[:10]) if _DAY.fullmatch(text) else None
    except ValueError:
        return None
