"""Whether a document states the values of more than one invoice: numbers, or totals that do not explain each other."""

import re
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from itertools import combinations
from typing import Final

from switchgear.invoice.doubts import Doubt

#: Net, tax and gross total that add up.
Sums = tuple[Decimal, Decimal, Decimal]

_MOST_NAMED: Final = 5
_MOST_PARTS: Final = 10
#: Labels of the numbers of invoices and of credit notes; a credit note names the invoice that it corrects.
_CREDIT: Final = re.compile(r"gutschrift|credit|avoir|abono|korrektur|storno", re.IGNORECASE)
_INVOICE: Final = re.compile(r"rechnung|invoice|factu|fattur|faktu|\bre\b|\bbeleg", re.IGNORECASE)
_OTHER_ONE: Final = re.compile(r"reference|original|ursprung|ursprüng|gemäß|bestell|order", re.IGNORECASE)
#: A title alone, with something behind it that may be anything.
_TITLE: Final = re.compile(r"[^\w#]*(?:invoice|facture)[^\w#]*", re.IGNORECASE)


def several_numbers(labelled: Iterable[tuple[str, str]]) -> list[Doubt]:
    """Labels that begin a line or a column, each with its number: an invoice has one, a credit note another one."""
    found: dict[bool, dict[str, str]] = {True: {}, False: {}}
    for label, number in labelled:
        credit = bool(_CREDIT.search(label))
        if (credit or _INVOICE.search(label)) and not (_OTHER_ONE.search(label) or _TITLE.fullmatch(label)):
            found[credit].setdefault(re.sub(r"[\W_]", "", number).casefold(), number)
    for numbers in found.values():
        names = _distinct(numbers)
        if len(names) > 1:
            reason = f"the page names several invoice numbers: {', '.join(names[:_MOST_NAMED])}"
            return [Doubt("/number", reason), Doubt("/totals/gross", reason)]
    return []


def _distinct(numbers: dict[str, str]) -> list[str]:
    """The numbers without those that are the end of another one: 17 is 2024-17 in short."""
    longest: list[str] = []
    for plain in sorted(numbers, key=len, reverse=True)[:100]:
        if plain and not any(other.endswith(plain) for other in longest):
            longest.append(plain)
    return [number[:40] for plain, number in numbers.items() if plain in longest]


def other_totals(chosen: Sums, sums: Collection[Sums], totals: Iterable[Decimal] = ()) -> list[Doubt]:
    """Totals beside the chosen ones that nothing explains.

    Args:
        chosen: Net, tax and total of the invoice.
        sums: All that add up and stand beside labels. Those whose parts make the chosen total are its rates.
        totals: Amounts that a label calls the total, without what explains them.
    """
    grosses = {gross for _, tax, gross in sums if tax}
    rest = sorted(grosses - set(chosen), key=abs)
    parts = _parts([gross for gross in rest if abs(gross) < abs(chosen[2])], chosen[2])
    named = [gross for gross in rest if gross not in parts]
    named += [total for total in totals if total not in (*named, *parts, *chosen)]
    if not named:
        return []
    text = ", ".join(str(amount) for amount in named[:_MOST_NAMED])
    return [Doubt("/totals/gross", f"the page states other totals as well: {text}")]


def _parts(amounts: Sequence[Decimal], whole: Decimal) -> set[Decimal]:
    """The amounts of which some together make the whole."""
    used: set[Decimal] = set()
    for count in range(2, min(4, len(amounts)) + 1):
        for some in combinations(amounts[:_MOST_PARTS], count):
            if sum(some, Decimal(0)) == whole:
                used.update(some)
    return used
