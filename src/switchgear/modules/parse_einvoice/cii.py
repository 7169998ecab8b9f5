"""Reading UN/CEFACT Cross Industry Invoices (Factur-X, ZUGFeRD 2, XRechnung) and their ancestor ZUGFeRD 1.0.

ZUGFeRD 1.0 has the same tree under other names; each path is given as a pair, the current name first.
"""

from typing import Final

from switchgear.invoice.type_codes import type_of
from switchgear.invoice.types import (
    Fact,
    InvoiceFields,
    InvoiceType,
    Line,
    Party,
    Payment,
    Totals,
    VatBreakdown,
)
from switchgear.modules.parse_einvoice.tree import Element, Tree

_TRADE: Final = ("SupplyChainTradeTransaction", "SpecifiedSupplyChainTradeTransaction")
_DOCUMENT: Final = ("ExchangedDocument", "HeaderExchangedDocument")
_AGREEMENT: Final = ("ApplicableHeaderTradeAgreement", "ApplicableSupplyChainTradeAgreement")
_SETTLEMENT: Final = ("ApplicableHeaderTradeSettlement", "ApplicableSupplyChainTradeSettlement")
_SUMS: Final = ("SpecifiedTradeSettlementHeaderMonetarySummation", "SpecifiedTradeSettlementMonetarySummation")
_LINE_AGREEMENT: Final = ("SpecifiedLineTradeAgreement", "SpecifiedSupplyChainTradeAgreement")
_LINE_DELIVERY: Final = ("SpecifiedLineTradeDelivery", "SpecifiedSupplyChainTradeDelivery")
_LINE_SETTLEMENT: Final = ("SpecifiedLineTradeSettlement", "SpecifiedSupplyChainTradeSettlement")
_LINE_SUMS: Final = ("SpecifiedTradeSettlementLineMonetarySummation", "SpecifiedTradeSettlementMonetarySummation")
_RATE: Final = ("RateApplicablePercent", "ApplicablePercent")


def read_cii(tree: Tree) -> tuple[str | None, InvoiceFields]:
    """Give the guideline id and the fields."""
    root = tree.root
    trade, document = tree.part(root, *_TRADE), tree.part(root, *_DOCUMENT)
    agreement, settlement = tree.part(trade, *_AGREEMENT), tree.part(trade, *_SETTLEMENT)
    currency = tree.text(settlement, "InvoiceCurrencyCode")
    fields = InvoiceFields(
        type=_type(tree, document),
        number=tree.text(document, "ID"),
        issue_date=tree.day(document, "IssueDateTime/DateTimeString", "IssueDateTime/DateTime"),
        due_date=tree.day(
            settlement,
            "SpecifiedTradePaymentTerms/DueDateDateTime/DateTimeString",
            "SpecifiedTradePaymentTerms/DueDateDateTime/DateTime",
        ),
        currency=currency,
        seller=_party(tree, tree.part(agreement, "SellerTradeParty")),
        buyer=_party(tree, tree.part(agreement, "BuyerTradeParty")),
        payment=_payment(tree, settlement),
        lines=tuple(_line(tree, line) for line in _items(tree, trade)),
        vat=tuple(_group(tree, group) for group in tree.each(settlement, "ApplicableTradeTax")),
        totals=_totals(tree, tree.part(settlement, *_SUMS), currency.value if currency else None),
    )
    context = tree.part(root, "ExchangedDocumentContext", "SpecifiedExchangedDocumentContext")
    return tree.raw(context, "GuidelineSpecifiedDocumentContextParameter/ID"), fields


def _items(tree: Tree, trade: Element | None) -> list[Element]:
    """The lines that are items; ZUGFeRD 1.0 carries pure notes as lines too."""
    return [line for line in tree.each(trade, "IncludedSupplyChainTradeLineItem") if _is_item(tree, line)]


def _is_item(tree: Tree, line: Element) -> bool:
    settlement = tree.part(line, *_LINE_SETTLEMENT)
    return line.find("SpecifiedTradeProduct") is not None or (settlement is not None and len(settlement) > 0)


def _type(tree: Tree, document: Element | None) -> Fact[InvoiceType] | None:
    code = tree.first(document, "TypeCode")
    if code is None:
        return None
    return tree.fact(code, type_of((code.text or "").strip()))


def _party(tree: Tree, party: Element | None) -> Party:
    if party is None:
        return Party()
    name = tree.text(party, "Name")
    return Party(
        name=name or tree.text(party, "SpecifiedLegalOrganization/TradingBusinessName"),
        legal_name=name,
        vat_id=tree.text(party, "SpecifiedTaxRegistration/ID[@schemeID='VA']"),
        tax_number=tree.text(party, "SpecifiedTaxRegistration/ID[@schemeID='FC']"),
        address=tree.address(
            tree.part(party, "PostalTradeAddress"), "LineOne", "CityName", "PostcodeCode", "CountryID"
        ),
    )


def _payment(tree: Tree, settlement: Element | None) -> Payment:
    account = "SpecifiedTradeSettlementPaymentMeans/PayeePartyCreditorFinancialAccount"
    return Payment(
        iban=tree.text(settlement, f"{account}/IBANID", f"{account}/ProprietaryID"),
        reference=tree.text(settlement, "PaymentReference"),
    )


def _line(tree: Tree, line: Element) -> Line:
    agreement, delivery = tree.part(line, *_LINE_AGREEMENT), tree.part(line, *_LINE_DELIVERY)
    settlement, product = tree.part(line, *_LINE_SETTLEMENT), tree.part(line, "SpecifiedTradeProduct")
    counted = tree.part(delivery, "BilledQuantity")
    unit = counted.get("unitCode") if counted is not None else None
    tax = tree.part(settlement, "ApplicableTradeTax")
    price = tree.part(agreement, "NetPriceProductTradePrice")
    return Line(
        id=tree.raw(line, "AssociatedDocumentLineDocument/LineID"),
        description=tree.text(product, "Name", "Description")
        or tree.text(line, "AssociatedDocumentLineDocument/IncludedNote/Content"),
        quantity=tree.amount(delivery, "BilledQuantity"),
        unit=tree.fact(counted, unit) if counted is not None and unit else None,
        net_price=tree.price(tree.amount(price, "ChargeAmount"), tree.first(price, "BasisQuantity")),
        vat_rate=tree.amount(tax, *_RATE),
        vat_category=tree.text(tax, "CategoryCode"),
        net_amount=tree.amount(tree.part(settlement, *_LINE_SUMS), "LineTotalAmount"),
    )


def _group(tree: Tree, group: Element) -> VatBreakdown:
    return VatBreakdown(
        category=tree.text(group, "CategoryCode"),
        rate=tree.amount(group, *_RATE),
        taxable=tree.amount(group, "BasisAmount"),
        tax=tree.amount(group, "CalculatedAmount"),
    )


def _totals(tree: Tree, sums: Element | None, currency: str | None) -> Totals:
    own = f"TaxTotalAmount[@currencyID='{currency}']" if currency and currency.isalnum() else "TaxTotalAmount"
    return Totals(
        lines=tree.amount(sums, "LineTotalAmount"),
        allowances=tree.amount(sums, "AllowanceTotalAmount"),
        charges=tree.amount(sums, "ChargeTotalAmount"),
        net=tree.amount(sums, "TaxBasisTotalAmount"),
        tax=tree.amount(sums, own, "TaxTotalAmount"),
        gross=tree.amount(sums, "GrandTotalAmount"),
        prepaid=tree.amount(sums, "TotalPrepaidAmount"),
        rounding=tree.amount(sums, "RoundingAmount"),
        payable=tree.amount(sums, "DuePayableAmount"),
    )
