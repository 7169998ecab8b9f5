"""Reading the Italian FatturaPA. Net and tax totals are not in the document: they are the sums of its VAT summary."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

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
from switchgear.sdk import InputRejected

#: TipoDocumento of credit notes.
_CREDIT_NOTES: Final = frozenset(("TD04", "TD08"))


def read_fatturapa(tree: Tree) -> tuple[str | None, InvoiceFields]:
    """Give the transmission format and the fields.

    Raises:
        InputRejected: The file holds several invoices.
    """
    bodies = tree.each(tree.root, "FatturaElettronicaBody")
    if len(bodies) > 1:
        raise InputRejected(
            "several_invoices", f"The file holds {len(bodies)} invoices; send each in a file of its own."
        )
    header, body = tree.part(tree.root, "FatturaElettronicaHeader"), bodies[0] if bodies else None
    general = tree.part(body, "DatiGenerali/DatiGeneraliDocumento")
    goods = tree.part(body, "DatiBeniServizi")
    vat = tuple(_group(tree, group) for group in tree.each(goods, "DatiRiepilogo"))
    payment = tree.part(body, "DatiPagamento/DettaglioPagamento")
    fields = InvoiceFields(
        type=_type(tree, general),
        number=tree.text(general, "Numero"),
        issue_date=tree.day(general, "Data"),
        due_date=tree.day(payment, "DataScadenzaPagamento"),
        currency=tree.text(general, "Divisa"),
        seller=_party(tree, tree.part(header, "CedentePrestatore")),
        buyer=_party(tree, tree.part(header, "CessionarioCommittente")),
        payment=Payment(iban=tree.text(payment, "IBAN"), reference=tree.text(payment, "CodicePagamento")),
        lines=tuple(_line(tree, line) for line in tree.each(goods, "DettaglioLinee")),
        vat=vat,
        totals=_totals(tree, general, payment, vat),
    )
    return tree.raw(header, "DatiTrasmissione/FormatoTrasmissione"), fields


def _type(tree: Tree, general: Element | None) -> Fact[InvoiceType] | None:
    code = tree.first(general, "TipoDocumento")
    if code is None:
        return None
    credit = (code.text or "").strip() in _CREDIT_NOTES
    return tree.fact(code, InvoiceType.CREDIT_NOTE if credit else InvoiceType.INVOICE)


def _party(tree: Tree, party: Element | None) -> Party:
    data = tree.part(party, "DatiAnagrafici")
    if data is None:
        return Party()
    name = tree.text(data, "Anagrafica/Denominazione") or _person(tree, data)
    country, code = tree.raw(data, "IdFiscaleIVA/IdPaese"), tree.part(data, "IdFiscaleIVA/IdCodice")
    number = tree.raw(data, "IdFiscaleIVA/IdCodice") or ""
    vat_id = number if country is None or number.startswith(country) else f"{country}{number}"
    return Party(
        name=name,
        legal_name=name,
        vat_id=tree.fact(code, vat_id) if code is not None and vat_id else None,
        tax_number=tree.text(data, "CodiceFiscale"),
        address=tree.address(tree.part(party, "Sede"), "Indirizzo", "Comune", "CAP", "Nazione"),
    )


def _person(tree: Tree, data: Element) -> Fact[str] | None:
    first, last = tree.raw(data, "Anagrafica/Nome"), tree.first(data, "Anagrafica/Cognome")
    return None if last is None else tree.fact(last, f"{first or ''} {(last.text or '').strip()}".strip())


def _line(tree: Tree, line: Element) -> Line:
    return Line(
        id=tree.raw(line, "NumeroLinea"),
        description=tree.text(line, "Descrizione"),
        quantity=tree.amount(line, "Quantita"),
        unit=tree.text(line, "UnitaMisura"),
        net_price=tree.amount(line, "PrezzoUnitario"),
        vat_rate=tree.amount(line, "AliquotaIVA"),
        vat_category=tree.text(line, "Natura"),
        net_amount=tree.amount(line, "PrezzoTotale"),
    )


def _group(tree: Tree, group: Element) -> VatBreakdown:
    return VatBreakdown(
        category=tree.text(group, "Natura"),
        rate=tree.amount(group, "AliquotaIVA"),
        taxable=tree.amount(group, "ImponibileImporto"),
        tax=tree.amount(group, "Imposta"),
    )


def _totals(tree: Tree, general: Element | None, payment: Element | None, vat: tuple[VatBreakdown, ...]) -> Totals:
    net, tax = _sum(tree, (group.taxable for group in vat)), _sum(tree, (group.tax for group in vat))
    stated = tree.amount(general, "ImportoTotaleDocumento")
    return Totals(
        net=net,
        tax=tax,
        gross=stated or _sum(tree, (net, tax)),
        rounding=tree.amount(general, "Arrotondamento"),
        payable=tree.amount(payment, "ImportoPagamento"),
    )


def _sum(tree: Tree, amounts: Iterable[Fact[Any] | None]) -> Fact[Decimal] | None:
    values = [amount.value for amount in amounts if amount is not None]
    return tree.derived(sum(values, Decimal(0))) if values else None
