"""Reading UBL 2.1 invoices and credit notes (EN 16931 binding, XRechnung, Peppol)."""

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


def read_ubl(tree: Tree) -> tuple[str | None, InvoiceFields]:
    """Give the customization id and the fields of an invoice or credit note."""
    root = tree.root
    currency = tree.text(root, "DocumentCurrencyCode")
    tax = _tax_total(tree, currency.value if currency else None)
    means = tree.each(root, "PaymentMeans")
    fields = InvoiceFields(
        type=_type(tree),
        number=tree.text(root, "ID"),
        issue_date=tree.day(root, "IssueDate"),
        due_date=tree.day(root, "DueDate", "PaymentMeans/PaymentDueDate", "PaymentTerms/PaymentDueDate"),
        currency=currency,
        seller=_party(tree, tree.part(root, "AccountingSupplierParty/Party")),
        buyer=_party(tree, tree.part(root, "AccountingCustomerParty/Party")),
        payment=Payment(
            iban=next((iban for mean in means if (iban := tree.text(mean, "PayeeFinancialAccount/ID"))), None),
            reference=next((reference for mean in means if (reference := tree.text(mean, "PaymentID"))), None),
        ),
        lines=tuple(_line(tree, line) for line in tree.each(root, "InvoiceLine", "CreditNoteLine")),
        vat=tuple(_group(tree, group) for group in tree.each(tax, "TaxSubtotal")),
        totals=_totals(tree, tax),
    )
    return tree.raw(root, "CustomizationID"), fields


def _type(tree: Tree) -> Fact[InvoiceType]:
    code = tree.first(tree.root, "InvoiceTypeCode", "CreditNoteTypeCode")
    stated = InvoiceType.INVOICE if code is None else type_of((code.text or "").strip())
    value = InvoiceType.CREDIT_NOTE if tree.root.tag == "CreditNote" else stated
    return tree.fact(code if code is not None else tree.root, value)


def _tax_total(tree: Tree, currency: str | None) -> Element | None:
    """The total in the document's currency; a second one may state the VAT in the seller's accounting currency."""
    totals = tree.each(tree.root, "TaxTotal")
    for total in totals:
        amount = tree.part(total, "TaxAmount")
        if amount is not None and amount.get("currencyID") == currency:
            return total
    return totals[0] if totals else None


def _party(tree: Tree, party: Element | None) -> Party:
    if party is None:
        return Party()
    legal = tree.text(party, "PartyLegalEntity/RegistrationName")
    schemes = tree.each(party, "PartyTaxScheme")
    vat = [scheme for scheme in schemes if (tree.raw(scheme, "TaxScheme/ID") or "").upper() == "VAT"]
    other = [scheme for scheme in schemes if scheme not in vat]
    return Party(
        name=legal or tree.text(party, "PartyName/Name"),
        legal_name=legal,
        vat_id=next((value for scheme in vat if (value := tree.text(scheme, "CompanyID"))), None),
        tax_number=next((value for scheme in other if (value := tree.text(scheme, "CompanyID"))), None),
        address=tree.address(
            tree.part(party, "PostalAddress"), "StreetName", "CityName", "PostalZone", "Country/IdentificationCode"
        ),
    )


def _line(tree: Tree, line: Element) -> Line:
    quantity = tree.amount(line, "InvoicedQuantity", "CreditedQuantity")
    counted = tree.part(line, "InvoicedQuantity", "CreditedQuantity")
    unit = counted.get("unitCode") if counted is not None else None
    price = tree.amount(line, "Price/PriceAmount")
    category = tree.part(line, "Item/ClassifiedTaxCategory")
    return Line(
        id=tree.raw(line, "ID"),
        description=tree.text(line, "Item/Name", "Item/Description"),
        quantity=quantity,
        unit=tree.fact(counted, unit) if counted is not None and unit else None,
        net_price=tree.price(price, tree.first(line, "Price/BaseQuantity")),
        vat_rate=tree.amount(category, "Percent"),
        vat_category=tree.text(category, "ID"),
        net_amount=tree.amount(line, "LineExtensionAmount"),
    )


def _group(tree: Tree, group: Element) -> VatBreakdown:
    return VatBreakdown(
        category=tree.text(group, "TaxCategory/ID"),
        rate=tree.amount(group, "TaxCategory/Percent"),
        taxable=tree.amount(group, "TaxableAmount"),
        tax=tree.amount(group, "TaxAmount"),
    )


def _totals(tree: Tree, tax: Element | None) -> Totals:
    total = tree.part(tree.root, "LegalMonetaryTotal")
    return Totals(
        lines=tree.amount(total, "LineExtensionAmount"),
        allowances=tree.amount(total, "AllowanceTotalAmount"),
        charges=tree.amount(total, "ChargeTotalAmount"),
        net=tree.amount(total, "TaxExclusiveAmount"),
        tax=tree.amount(tax, "TaxAmount"),
        gross=tree.amount(total, "TaxInclusiveAmount"),
        prepaid=tree.amount(total, "PrepaidAmount"),
        rounding=tree.amount(total, "PayableRoundingAmount"),
        payable=tree.amount(total, "PayableAmount"),
    )
