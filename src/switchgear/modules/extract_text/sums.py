"""Which of the labelled amounts are the totals, and what is doubtful in them: net + tax = gross."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import combinations
from typing import Any, Final

from switchgear.invoice.doubts import Doubt, contradicting_totals, plausible_tax
from switchgear.invoice.several import other_totals
from switchgear.invoice.types import Fact, Totals
from switchgear.modules.extract_text.lines import MODULE_ID

Amounts = Sequence[Fact[Any]]

#: Rates that one invoice has, and amounts of tax of which they are tried.
_MOST_RATES: Final = 4
_MOST_TAXES: Final = 12


def find_sums(found: Mapping[str, Amounts]) -> tuple[Totals, list[Doubt]]:
    """The totals among the amounts labelled gross, net, tax, payable and prepaid, and what is doubtful in them."""
    gross, net, taxes = found["gross"], found["net"], found["tax"]
    totals = _closed(gross, net, taxes)
    if totals is not None:
        doubts = _others(totals, gross, net, taxes, {fact.value for fact in found["payable"]})
    else:
        totals, doubts = _stated(gross, net, taxes)
        doubts += contradicting_totals(totals)
    payable, more = _payable(totals.gross, found["payable"], found["prepaid"])
    return totals.model_copy(update=payable), [*doubts, *more]


def _closed(gross: Amounts, net: Amounts, taxes: Amounts) -> Totals | None:
    for big in sorted(gross, key=lambda fact: abs(fact.value), reverse=True):
        for small in reversed(net):
            wanted = big.value - small.value
            exact = next((tax for tax in taxes if tax.value == wanted), None)
            if exact is not None:
                sure = {"confidence": 0.85}
                return Totals(
                    net=small.model_copy(update=sure),
                    tax=exact.model_copy(update=sure),
                    gross=big.model_copy(update=sure),
                )
            if len(taxes) == 2 and taxes[0].value + taxes[1].value == wanted != 0:
                derived = Fact[Any](value=wanted, confidence=0.8, source="derived", module=MODULE_ID)
                return Totals(net=small, tax=derived, gross=big)
    return None


def _others(totals: Totals, gross: Amounts, net: Amounts, taxes: Amounts, payable: set[Decimal]) -> list[Doubt]:
    """Other sums that hold as well, and amounts above the total that a label calls so too."""
    if totals.net is None or totals.tax is None or totals.gross is None:
        return []
    sums = {
        (small.value, tax.value, big.value)
        for big in gross
        for small in net
        for tax in taxes
        if small.value + tax.value == big.value and plausible_tax(small.value, tax.value)
    }
    above = [fact.value for fact in gross if abs(fact.value) > abs(totals.gross.value) and fact.value not in payable]
    return other_totals((totals.net.value, totals.tax.value, totals.gross.value), sums, above)


def _stated(gross: Amounts, net: Amounts, taxes: Amounts) -> tuple[Totals, list[Doubt]]:
    largest = max(gross, key=lambda fact: abs(fact.value), default=None)
    values = {fact.value: fact for fact in net if largest is None or abs(fact.value) <= abs(largest.value)}
    if largest is not None and net and not values:
        values = {fact.value: fact for fact in net}  # more than the total: a contradiction, not to be passed over
    # two different net amounts: nothing says which one is the total
    single = next(iter(values.values())) if len(values) == 1 else None
    tax, doubts = _stated_tax(taxes, single, largest, {fact.value for fact in (*net, *gross)})
    return Totals(gross=largest, net=single, tax=tax), doubts


def _stated_tax(
    taxes: Amounts, net: Fact[Any] | None, gross: Fact[Any] | None, bases: set[Decimal]
) -> tuple[Fact[Any] | None, list[Doubt]]:
    """The tax as it is stated, though it does not fit; a base beside its label is none.

    Of several, nothing says which one is the total: then what they make together must explain the total.
    """
    stated = [tax for tax in taxes if tax.value and tax.value not in bases]
    if gross is None or not stated:
        return None, []
    if net is None:
        fitting = [tax for tax in stated if plausible_tax(gross.value - tax.value, tax.value)]
        return max(fitting, key=lambda tax: abs(tax.value), default=None), []
    if len(stated) == 1 and plausible_tax(net.value, stated[0].value):
        return stated[0], []
    sums = (
        sum((tax.value for tax in some), Decimal(0))
        for count in range(2, min(_MOST_RATES, len(stated)) + 1)
        for some in combinations(stated[-_MOST_TAXES:], count)
    )
    if gross.value - net.value in sums:
        return None, []
    named = ", ".join(str(tax.value) for tax in stated[:_MOST_RATES])
    reason = f"the page states net {net.value}, total {gross.value} and tax {named}, which do not add up"
    return None, [Doubt("/totals/gross", reason)]


def _payable(gross: Fact[Any] | None, payable: Amounts, prepaid: Amounts) -> tuple[dict[str, Fact[Any]], list[Doubt]]:
    """The amount to pay as it is stated, with what was paid already where that explains it."""
    if gross is None or not payable or any(fact.value == gross.value for fact in payable):
        return {}, []
    for due in payable:
        for paid in prepaid:
            if gross.value - abs(paid.value) == due.value:
                return {"payable": due, "prepaid": paid.model_copy(update={"value": abs(paid.value)})}, []
    last = payable[-1]
    reason = f"the page states the total {gross.value} and {last.value} to pay; nothing explains the difference"
    return {"payable": last}, [Doubt("/totals/gross", reason)]
