"""Whether an e-invoice says anything twice and differently, in another currency, or with elements inside a value.

Both parsers ask here, so that neither is laxer than the other. Source: INVOICES.md (parse).
"""

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from itertools import islice
from typing import Final, NamedTuple

from lxml import etree

from switchgear.invoice.amounts import plain_decimal
from switchgear.invoice.types import Syntax
from switchgear.invoice.xml_places import CURRENCIES, PLACES, elements_at, text_at

Element = etree._Element

_MOST: Final = 200
#: Signs of a day; a time zone may follow.
_DAY: Final = len("2024-02-29")
#: Ends of the names of elements whose text is a number, so that 336.9 and 336.90 say the same.
_NUMBERS: Final = ("Amount", "Percent", "Quantity")
#: The VAT total may stand once more, in the currency of the books.
_VAT_TOTAL: Final = "TaxTotalAmount"


class _Place(NamedTuple):
    """What stands once below its parent."""

    name: str
    holds_others: bool


def contradicted(root: Element, syntax: Syntax) -> tuple[str, ...]:
    """Paths of what stands once in an e-invoice and twice in this one with other content, or in another currency."""
    currency = text_at(root, CURRENCIES[syntax])
    totals = _VatTotals(root, currency)
    found: dict[Element, None] = {}
    for parent, place, elements in _stated(root, syntax):
        own = totals.currency_at(parent)
        groups = _by_currency(elements, own) if place.name == _VAT_TOTAL else (elements,)
        found |= dict.fromkeys(group[0] for group in groups if _differ(group, own))
        if place.name.endswith("Amount") and own:
            found |= dict.fromkeys(_in_another_currency(place, elements, own))
    for group in (*totals.groups(), *_tax_numbers(root)):
        if _differ(group, currency):
            found.setdefault(group[0])
    found |= dict.fromkeys(_due_date_of_no_payment(root))
    return paths_of(islice(found, _MOST))


def mixed(root: Element, syntax: Syntax) -> tuple[str, ...]:
    """Paths of values with elements inside them: which part of their text counts is anybody's guess."""
    found = dict.fromkeys(
        element
        for _, place, elements in _stated(root, syntax)
        if not place.holds_others
        for element in elements
        if len(element)
    )
    return paths_of(islice(found, _MOST))


# --- what stands where ----------------------------------------------------------------------------------------------


def _stated(root: Element, syntax: Syntax) -> Iterator[tuple[Element, _Place, list[Element]]]:
    """Every place of the document: the parent, what stands once below it, and the elements that are not empty there."""
    for scope, names in PLACES[syntax].items():
        places = [_Place(name.rstrip("/"), name.endswith("/")) for name in names]
        for parent in elements_at(root, scope):
            for place in places:
                elements = elements_at(parent, place.name)
                if len(elements) > 1:
                    elements = [element for element in elements if _has_text(element)]
                if elements:
                    yield parent, place, elements


def paths_of(elements: Iterable[Element]) -> tuple[str, ...]:
    """Paths without namespaces; a position where several of one name stand side by side."""
    beside: dict[tuple[Element, str], dict[Element, int]] = {}
    paths: list[str] = []
    for element in elements:
        names: list[str] = []
        at: Element | None = element
        while at is not None:
            parent, name = at.getparent(), _name(at)
            if parent is not None and (parent, name) not in beside:
                same = parent.iterchildren(f"{{*}}{name}")
                beside[parent, name] = {item: number for number, item in enumerate(same, 1)}
            numbers = beside[parent, name] if parent is not None else {}
            names.append(f"{name}[{numbers[at]}]" if len(numbers) > 1 else name)
            at = parent
        paths.append("/" + "/".join(reversed(names)))
    return tuple(dict.fromkeys(paths))


# --- what may stand several times, about different things -------------------------------------------------------------


class _VatTotals:
    """The VAT totals of a UBL document: one in its currency, perhaps one in that of the books."""

    def __init__(self, root: Element, currency: str) -> None:
        self._currency = currency
        self._totals = [total for total in root.iterchildren("{*}TaxTotal") if _has_text(total)]
        self._amounts = [amount for total in self._totals for amount in total.iterchildren("{*}TaxAmount")]
        self._has_own = any(amount.get("currencyID") in (None, "", currency) for amount in self._amounts)
        firsts = ((total, total.find("{*}TaxAmount")) for total in self._totals)
        self._currencies = {
            total: amount.get("currencyID") or currency for total, amount in firsts if amount is not None
        }

    def groups(self) -> Iterator[list[Element]]:
        """Their amounts, and those with a breakdown, by currency."""
        yield from _by_currency(self._amounts, self._currency)
        detailed = [total for total in self._totals if total.find("{*}TaxSubtotal") is not None]
        yield from _grouped(detailed, self.currency_at)

    def currency_at(self, parent: Element) -> str:
        """The currency of the amounts right below *parent*."""
        if not self._has_own:
            return self._currency
        above = parent.getparent()
        total = above if above is not None and _name(parent) == "TaxSubtotal" else parent
        return self._currencies.get(total, self._currency)


def _tax_numbers(root: Element) -> Iterator[list[Element]]:
    """Registrations of a party with one authority: VAT in UBL, each scheme in CII."""
    for side in ("AccountingSupplierParty", "AccountingCustomerParty"):
        schemes = root.iterfind(f"{{*}}{side}/{{*}}Party/{{*}}PartyTaxScheme")
        vat = [item for item in schemes if (item.findtext("{*}TaxScheme/{*}ID") or "").strip().upper() == "VAT"]
        yield [number for scheme in vat for number in scheme.iterchildren("{*}CompanyID")]
    for side in ("SellerTradeParty", "BuyerTradeParty"):
        numbers = root.iterfind(f"*/*/{{*}}{side}/{{*}}SpecifiedTaxRegistration/{{*}}ID")
        yield from _grouped(numbers, lambda number: number.get("schemeID") or "")


def _due_date_of_no_payment(root: Element) -> list[Element]:
    """The due date of a UBL invoice where its payments have others alone; they may be instalments."""
    stated = elements_at(root, "DueDate")[:1]
    payments = [*elements_at(root, "PaymentMeans/PaymentDueDate"), *elements_at(root, "PaymentTerms/PaymentDueDate")]
    days = {(payment.text or "").strip()[:_DAY] for payment in payments}
    return [element for element in stated if days and (element.text or "").strip()[:_DAY] not in days]


def _by_currency(elements: Iterable[Element], currency: str) -> Iterable[list[Element]]:
    return _grouped(elements, lambda element: element.get("currencyID") or currency)


def _grouped(elements: Iterable[Element], about: Callable[[Element], str]) -> Iterable[list[Element]]:
    groups: dict[str, list[Element]] = {}
    for element in elements:
        groups.setdefault(about(element), []).append(element)
    return groups.values()


def _in_another_currency(place: _Place, elements: list[Element], currency: str) -> list[Element]:
    foreign = [element for element in elements if element.get("currencyID") not in (None, "", currency)]
    return [] if place.name == _VAT_TOTAL and len(foreign) < len(elements) else foreign


# --- what an element says --------------------------------------------------------------------------------------------


def _differ(elements: list[Element], currency: str) -> bool:
    return len(elements) > 1 and len({_content(element, currency) for element in elements}) > 1


def _content(element: Element, currency: str) -> tuple[object, ...]:
    """Text and unit of an element, and of all within it with their names."""
    within = ((_name(item), _said(item), _unit(item, currency)) for item in element.iterdescendants(etree.Element))
    return (_said(element), _unit(element, currency), *within)


def _said(element: Element) -> Decimal | str:
    text = " ".join((element.text or "").split())
    value = plain_decimal(text) if _name(element).endswith(_NUMBERS) else None
    return text if value is None else value


def _unit(element: Element, currency: str) -> str | None:
    if _name(element).endswith("Amount"):
        return element.get("currencyID") or currency
    return element.get("unitCode")


def _has_text(element: Element) -> bool:
    return any(str(text).strip() for text in element.itertext(etree.Element))


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]
