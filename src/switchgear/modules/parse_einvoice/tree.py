"""An XML tree without namespaces that remembers what was read, and makes facts with their paths."""

import re
from collections import Counter
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any, Final

from lxml import etree

from switchgear.invoice.amounts import plain_decimal, unit_price
from switchgear.invoice.types import Address, Evidence, Fact

#: Plain decimals only: an exponent or a thousands mark in an e-invoice is a mistake, not an amount.
#: A day, perhaps with a time or a time zone behind it.
_ISO_DAY: Final = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?:T.*|Z|[+-]\d{2}:\d{2})?", re.ASCII)
_PLAIN_DAY: Final = re.compile(r"(\d{4})(\d{2})(\d{2})(?:\d{4}|\d{6})?", re.ASCII)
_MOST_UNMAPPED: Final = 200
_LONGEST_EVIDENCE: Final = 200

Element = etree._Element


class Tree:
    """Wraps a parsed document; namespaces are dropped from its tags, since the root has decided the language.

    Args:
        root: The document's root; its tags are changed.
        module: Id of the module, written into every fact.
    """

    def __init__(self, root: Element, module: str) -> None:
        self.root = root
        self._module = module
        self._paths: dict[Element, str] = {}
        self._read: set[Element] = set()
        self._refused: dict[Element, None] = {}
        for element in root.iter(etree.Element):
            element.tag = etree.QName(element).localname
        self._paths[root] = f"/{root.tag}"
        for parent in root.iter():
            self._name_children(parent)

    def _name_children(self, parent: Element) -> None:
        total = Counter(child.tag for child in parent)
        count: Counter[Any] = Counter()
        for child in parent:
            count[child.tag] += 1
            index = f"[{count[child.tag]}]" if total[child.tag] > 1 else ""
            self._paths[child] = f"{self._paths[parent]}/{child.tag}{index}"

    # --- finding ---

    def first(self, context: Element | None, *paths: str) -> Element | None:
        """The first element with text at one of *paths*, or None; it counts as read."""
        if context is None:
            return None
        for path in paths:
            for element in context.iterfind(path):
                if (element.text or "").strip():
                    self._read.add(element)
                    return element
        return None

    def each(self, context: Element | None, *paths: str) -> list[Element]:
        """All elements at the first of *paths* that has any."""
        if context is not None:
            for path in paths:
                if found := list(context.iterfind(path)):
                    return found
        return []

    def part(self, context: Element | None, *paths: str) -> Element | None:
        """The first element at one of *paths*, with or without text."""
        return next(iter(self.each(context, *paths)), None)

    def ignore(self, elements: Iterable[Element]) -> None:
        """Count *elements* as read, since they only say how others are to be read."""
        self._read.update(elements)

    # --- facts ---

    def fact(self, element: Element, value: Any) -> Fact[Any]:
        """A value read from *element*."""
        text = " ".join((element.text or "").split())[:_LONGEST_EVIDENCE]
        return Fact(
            value=value, source="xml", evidence=Evidence(path=self._paths[element], text=text), module=self._module
        )

    def derived(self, value: Any) -> Fact[Any]:
        """A value that was worked out from others."""
        return Fact(value=value, source="derived", module=self._module)

    def raw(self, context: Element | None, *paths: str) -> str | None:
        """The text at one of *paths*."""
        element = self.first(context, *paths)
        return None if element is None else " ".join((element.text or "").split())

    def text(self, context: Element | None, *paths: str) -> Fact[str] | None:
        """Text with single spaces."""
        element = self.first(context, *paths)
        return None if element is None else self.fact(element, " ".join((element.text or "").split()))

    def amount(self, context: Element | None, *paths: str) -> Fact[Decimal] | None:
        """A decimal as written; None, and left unread, when it is none."""
        element = self.first(context, *paths)
        value = decimal_of(element)
        if element is None:
            return None
        if value is None:
            self._refuse(element)
            return None
        return self.fact(element, value)

    def day(self, context: Element | None, *paths: str) -> Fact[date] | None:
        """A calendar day, in ISO form or as eight digits; None, and left unread, when it is none."""
        element = self.first(context, *paths)
        if element is None:
            return None
        text = (element.text or "").strip()
        match = _ISO_DAY.fullmatch(text) or _PLAIN_DAY.fullmatch(text)
        try:
            value = date(int(match[1]), int(match[2]), int(match[3])) if match else None
        except ValueError:
            value = None
        if value is None:
            self._refuse(element)
            return None
        return self.fact(element, value)

    def _refuse(self, element: Element) -> None:
        self._read.discard(element)
        self._refused.setdefault(element)

    def address(self, context: Element | None, street: str, city: str, code: str, country: str) -> Fact[Address] | None:
        """A postal address from four paths below *context*."""
        if context is None:
            return None
        value = Address(
            street=self.raw(context, street),
            city=self.raw(context, city),
            postal_code=self.raw(context, code),
            country=self.raw(context, country),
        )
        return None if value == Address() else self.fact(context, value)

    def price(self, amount: Fact[Decimal] | None, per: Element | None) -> Fact[Decimal] | None:
        """The price of one unit, where *amount* is given for the quantity in *per*."""
        quantity = decimal_of(per)
        if amount is None or quantity is None or quantity in (0, 1):
            return amount
        value = unit_price(amount.value, quantity)
        return None if value is None else amount.model_copy(update={"value": value})

    def unreadable(self) -> tuple[str, ...]:
        """Paths of elements whose text is no number or no calendar day."""
        return tuple(self._paths[element] for element in self._refused)[:_MOST_UNMAPPED]

    def unmapped(self) -> tuple[str, ...]:
        """Paths, without positions, of elements that have text and were not read."""
        found: dict[str, None] = {}
        for element, path in self._paths.items():
            if element not in self._read and len(element) == 0 and (element.text or "").strip():
                found.setdefault(re.sub(r"\[\d+\]", "", path))
                if len(found) >= _MOST_UNMAPPED:
                    break
        return tuple(found)


def decimal_of(element: Element | None) -> Decimal | None:
    """The element's text as a decimal, or None."""
    return plain_decimal((element.text or "").strip()) if element is not None else None
