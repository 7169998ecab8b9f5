"""Allowances and charges on a whole document, as its XML lists them. Source: EN 16931, BG-20 and BG-21."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

from lxml import etree

from switchgear.invoice.amounts import plain_decimal
from switchgear.invoice.stated_once import paths_of
from switchgear.invoice.types import Syntax
from switchgear.invoice.xml_places import SETTLEMENT, elements_at, text_at

Element = etree._Element

_MOST: Final = 200
_YES, _NO = ("true", "1"), ("false", "0")


class Adjustments(NamedTuple):
    """Amounts without a sign of their own, and paths of those that nobody can read."""

    allowances: tuple[Decimal, ...] = ()
    charges: tuple[Decimal, ...] = ()
    unreadable: tuple[str, ...] = ()


class _Place(NamedTuple):
    path: str
    indicator: str | None  #: says whether it is a charge; None where all are
    amount: str


_CII: Final = (
    _Place(f"{SETTLEMENT}/SpecifiedTradeAllowanceCharge", "ChargeIndicator/Indicator", "ActualAmount"),
    _Place(f"{SETTLEMENT}/SpecifiedLogisticsServiceCharge", None, "AppliedAmount"),
)
_UBL: Final = (_Place("AllowanceCharge", "ChargeIndicator", "Amount"),)
_PLACES: Final[Mapping[Syntax, tuple[_Place, ...]]] = {
    Syntax.UBL_INVOICE: _UBL,
    Syntax.UBL_CREDIT_NOTE: _UBL,
    Syntax.CII: _CII,
    Syntax.ZUGFERD_1: _CII,
}


def adjustments(root: Element, syntax: Syntax) -> Adjustments:
    """What the XML lists; one that cannot be read, or does not say which of the two it is, is named."""
    found: dict[bool, list[Decimal]] = {False: [], True: []}
    unreadable: list[Element] = []
    for place in _PLACES.get(syntax, ()):
        for block in elements_at(root, place.path):
            said = text_at(block, place.indicator).lower() if place.indicator else _YES[0]
            amount = plain_decimal(text_at(block, place.amount))
            if amount is None or said not in (*_YES, *_NO):
                unreadable.append(block)
            else:
                found[said in _YES].append(amount)
    return Adjustments(tuple(found[False]), tuple(found[True]), paths_of(unreadable[:_MOST]))
