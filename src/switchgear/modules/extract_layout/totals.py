"""Totals by their labels, confirmed by arithmetic closure: net + tax = gross."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from typing import Any, Final

from switchgear.invoice.amounts import count_currencies, share_of
from switchgear.invoice.doubts import Doubt, contradicting_totals, plausible_tax
from switchgear.invoice.several import other_totals
from switchgear.invoice.types import Fact, Totals, VatBreakdown
from switchgear.modules.extract_layout.document import Amount, Document
from switchgear.modules.extract_layout.grid import MODULE_ID, Hit, fact

_CENT: Final = Decimal("0.01")
_MOST_AMOUNTS: Final = 160
_MOST_PARTS: Final = 12
#: Least score of a label that says what an amount is.
_LABELLED: Final = 0.6
_DISCOUNT: Final = re.compile(r"skonto|discount|escompte|sconto|descuento|korting", re.IGNORECASE)
_ROLES: Final = ("gross", "gross_weak", "net", "net_weak", "tax", "payable", "prepaid")
#: Role and score that a label gives; a payable amount is the gross total unless something was prepaid.
_SCORES: Final[Mapping[str, tuple[tuple[str, float], ...]]] = {
    "gross": (("gross", 1.0),),
    "gross_weak": (("gross", 0.6),),
    "net": (("net", 1.0),),
    "net_weak": (("net", 0.6),),
    "tax": (("tax", 1.0),),
    "payable": (("payable", 1.0), ("gross", 0.5)),
    "prepaid": (("prepaid", 1.0),),
}

Labelled = dict[Decimal, tuple[float, Amount]]


@dataclass(frozen=True, slots=True)
class Closure:
    """Three amounts that fit: net + tax = gross, with the label scores that they had."""

    net: Amount
    tax: Amount | None  #: None when the tax is the sum of several amounts
    gross: Amount
    scores: tuple[float, float, float]
    parts: tuple[Amount, ...] = ()

    @property
    def rank(self) -> tuple[float, Decimal, int]:
        """Better closures are greater: labels first, then the larger amount, then the later place."""
        zero = self.net.value == self.gross.value
        return (sum(self.scores) - (0.5 if zero else 0.0), abs(self.gross.value), self.gross.row)


def find_totals(document: Document) -> tuple[Totals, list[Doubt]]:
    """Net, tax, gross, prepaid and payable, and what is doubtful in them.

    What neither a label nor arithmetic supports stays empty.
    """
    labelled = _labelled(document)
    closure = _close(document, labelled)
    if closure is None:
        totals = _without_closure(labelled)
        return totals, contradicting_totals(totals)
    doubts = _stated_otherwise(closure, labelled) or _other_totals(document, closure, labelled)
    return _closed(closure, labelled), doubts


def _closed(closure: Closure, labelled: Mapping[str, Labelled]) -> Totals:
    confidence = _closed_confidence(closure)
    values: dict[str, Fact[Any]] = {
        "net": fact(closure.net.value, closure.net.tokens, confidence),
        "gross": fact(closure.gross.value, closure.gross.tokens, confidence),
    }
    if closure.tax is not None:
        values["tax"] = fact(closure.tax.value, closure.tax.tokens, confidence)
    else:
        total = sum((part.value for part in closure.parts), Decimal(0))
        values["tax"] = Fact[Any](value=total, confidence=confidence, source="derived", module=MODULE_ID)
    return Totals(**values, **_payment(labelled, closure.gross.value))


def _stated_otherwise(closure: Closure, labelled: Mapping[str, Labelled]) -> list[Doubt]:
    """The sums hold with an amount that no label calls the total, and a label calls another one so."""
    best = _best(labelled["gross"])
    if closure.scores[2] > 0 or best is None or best[0] < 1:
        return []
    reason = f"the page states the total {best[1].value}, net and tax make {closure.gross.value}"
    return [Doubt("/totals/gross", reason)]


def _other_totals(document: Document, closure: Closure, labelled: Mapping[str, Labelled]) -> list[Doubt]:
    """Totals of another invoice: sums that hold and are labelled throughout, amounts that a label calls the total."""
    taken = {amount.value: amount for values in labelled.values() for _, amount in values.values()}
    sums = {
        (other.net.value, other.tax.value, other.gross.value)
        for other in _triples(_greatest(taken, labelled), labelled)
        if other.tax is not None and min(other.scores) >= _LABELLED
    }
    gross = closure.gross.value
    explained = {amount for amount in labelled["payable"] if any(gross - abs(p) == amount for p in labelled["prepaid"])}
    explained |= {gross - abs(prepaid) for prepaid in labelled["prepaid"]} | set(labelled["net"])
    currency = count_currencies(document.texts).most_common(1)
    stated = [
        amount.value
        for score, amount in labelled["gross"].values()
        if score >= 1 and amount.value not in explained and not _is_of_another_kind(document, amount, currency)
    ]
    tax = closure.tax.value if closure.tax is not None else gross - closure.net.value
    return other_totals((closure.net.value, tax, gross), sums, stated)


def _is_of_another_kind(document: Document, amount: Amount, currency: Sequence[tuple[str, int]]) -> bool:
    """Whether the row says that this is the total in another currency, or less a discount."""
    text = document.texts[amount.row]
    others = count_currencies([text])
    return bool(_DISCOUNT.search(text)) or bool(others and currency and currency[0][0] not in others)


def _closed_confidence(closure: Closure) -> float:
    if closure.scores[2] >= 0.5:
        return 0.95 if sum(closure.scores) >= 2 else 0.85
    return 0.75 if sum(closure.scores) >= 1.5 else 0.62


# --- what the labels say --------------------------------------------------------------------------------------------


def _labelled(document: Document) -> dict[str, Labelled]:
    found: dict[str, Labelled] = {"gross": {}, "net": {}, "tax": {}, "payable": {}, "prepaid": {}}
    for name, hit in document.of_field(*_ROLES):
        for factor, amount in _amounts_at(document, hit):
            for role, score in _SCORES[name]:
                known = found[role].get(amount.value)
                rated = score * factor
                # of equal places the later one counts: totals stand at the end
                if known is None or rated >= known[0]:
                    found[role][amount.value] = (rated, amount)
    return found


def _amounts_at(document: Document, hit: Hit) -> Iterator[tuple[float, Amount]]:
    beside = _beside(document, hit)
    if beside:
        yield 1.0, beside[-1]
        for amount in beside[:-1]:
            yield 0.6, amount
        return
    for tokens in document.below(hit, 5):
        inside = [
            amount
            for number in (hit.row + 1 + offset for offset in range(24))
            for amount in document.amounts_by_row.get(number, ())
            if amount.money and any(amount.tokens[0] is token for token in tokens)
        ]
        if inside:
            yield 0.75, inside[-1]


def _beside(document: Document, hit: Hit) -> list[Amount]:
    """Amounts to the right of the label, up to the next label that has amounts of its own."""
    amounts = [a for a in document.amounts_by_row.get(hit.row, ()) if a.start >= hit.end and a.money]
    for other in document.hits_by_row[hit.row]:
        if other.start < hit.end or not any(name in _ROLES for name in other.fields):
            continue
        before = [amount for amount in amounts if amount.end <= other.start]
        begins = document.rows[hit.row].segment_of(other.start)[0] == other.start
        if before or begins:
            return before
    return amounts


# --- arithmetic -----------------------------------------------------------------------------------------------------


def _close(document: Document, labelled: Mapping[str, Labelled]) -> Closure | None:
    everything: dict[Decimal, Amount] = {}
    for amount in document.amounts():
        if amount.money:
            everything[amount.value] = amount
    everything = _greatest(everything, labelled)
    closures = [*_triples(everything, labelled), *_sums_of_taxes(document, labelled)]
    return max(closures, key=lambda item: item.rank) if closures else None


def _greatest(everything: dict[Decimal, Amount], labelled: Mapping[str, Labelled]) -> dict[Decimal, Amount]:
    """The labelled amounts and the greatest others, few enough to try all pairs."""
    if len(everything) <= _MOST_AMOUNTS:
        return everything
    kept = sorted(everything, key=abs, reverse=True)[:_MOST_AMOUNTS]
    named = {value for role in ("gross", "net", "tax") for value in labelled[role]}
    return {value: amount for value, amount in everything.items() if value in named or value in kept}


def _triples(everything: Mapping[Decimal, Amount], labelled: Mapping[str, Labelled]) -> Iterator[Closure]:
    for gross in everything:
        for net in everything:
            tax = gross - net
            if tax not in everything or net == 0 or not plausible_tax(net, tax):
                continue
            scores = tuple(
                labelled[role].get(value, (0.0, None))[0]
                for role, value in (("net", net), ("tax", tax), ("gross", gross))
            )
            if _supported(scores, zero=tax == 0):
                place = [
                    labelled[role][value][1] if value in labelled[role] else everything[value]
                    for role, value in (("net", net), ("tax", tax), ("gross", gross))
                ]
                yield Closure(place[0], place[1], place[2], (scores[0], scores[1], scores[2]))


def _supported(scores: Sequence[float], *, zero: bool) -> bool:
    """Arithmetic alone proves nothing: two of the three need labels; without tax the gross and another one."""
    _, tax, gross = scores
    if zero:
        return gross >= 0.5 and tax > 0
    return sum(score > 0 for score in scores) >= 2


def _sums_of_taxes(document: Document, labelled: Mapping[str, Labelled]) -> Iterator[Closure]:
    """Net + several tax amounts (one per rate) = gross, when no line gives the sum of the taxes."""
    parts = list(labelled["tax"].values())[-_MOST_PARTS:]
    for net, (net_score, net_amount) in _strongest(labelled["net"]):
        for gross, (gross_score, gross_amount) in _strongest(labelled["gross"]):
            wanted = gross - net
            if wanted == 0 or not plausible_tax(net, wanted) or wanted in labelled["tax"]:
                continue
            for count in (2, 3, 4):
                for chosen in combinations(parts, count):
                    if sum((item[1].value for item in chosen), Decimal(0)) == wanted:
                        score = min(item[0] for item in chosen)
                        yield Closure(
                            net_amount, None, gross_amount, (net_score, score, gross_score),
                            tuple(item[1] for item in chosen),
                        )  # fmt: skip


def _strongest(labelled: Labelled) -> list[tuple[Decimal, tuple[float, Amount]]]:
    """The best labelled amounts, few enough to try all combinations."""
    return sorted(labelled.items(), key=lambda item: (item[1][0], item[1][1].row), reverse=True)[:_MOST_PARTS]


# --- without arithmetic ---------------------------------------------------------------------------------------------


def _without_closure(labelled: Mapping[str, Labelled]) -> Totals:
    gross = _best(labelled["gross"])
    values: dict[str, Fact[Any]] = {}
    if gross is not None:
        score, amount = gross
        values["gross"] = fact(amount.value, amount.tokens, 0.7 if score >= 1 else 0.6 if score >= 0.75 else 0.5)
        values |= _payment(labelled, amount.value)
    net, tax = _best(labelled["net"]), _best(labelled["tax"])
    if net is not None and (gross is None or net[0] >= 1 or abs(net[1].value) <= abs(gross[1].value)):
        values["net"] = fact(net[1].value, net[1].tokens, 0.6 if net[0] >= 1 else 0.45)
    if tax is not None and gross is not None and abs(tax[1].value) < abs(gross[1].value):
        values["tax"] = fact(tax[1].value, tax[1].tokens, 0.5)
    return Totals(**values)


def _best(labelled: Labelled) -> tuple[float, Amount] | None:
    if not labelled:
        return None
    return max(labelled.values(), key=lambda item: (item[0], abs(item[1].value), item[1].row))


def _payment(labelled: Mapping[str, Labelled], gross: Decimal) -> dict[str, Fact[Any]]:
    """Prepaid and payable amounts that fit the gross total; a prepaid amount written with a minus is meant as paid.

    An amount to pay that does not fit is kept all the same: what is stated is not computed.
    """
    for payable, (_, place) in labelled["payable"].items():
        if payable == gross:
            return {"payable": fact(payable, place.tokens, 0.9)}
        for prepaid, (_, source) in labelled["prepaid"].items():
            if gross - abs(prepaid) == payable:
                return {
                    "payable": fact(payable, place.tokens, 0.9),
                    "prepaid": fact(abs(prepaid), source.tokens, 0.9),
                }
    stated = [place for score, place in labelled["payable"].values() if score >= 1]
    if stated:
        return {"payable": fact(stated[-1].value, stated[-1].tokens, 0.5)}
    return {}


# --- VAT breakdown --------------------------------------------------------------------------------------------------


def find_vat(document: Document, totals: Totals) -> tuple[VatBreakdown, ...]:
    """Rows with a rate, a base and a tax that fit each other, when together they give the totals."""
    if totals.net is None or totals.tax is None or totals.tax.value == 0:
        return ()
    groups: dict[tuple[Decimal, Decimal, Decimal], VatBreakdown] = {}
    for number, row in enumerate(document.rows):
        rates = _rates(document, number)
        money = [amount for amount in document.amounts_by_row[number] if amount.money][:12]
        for rate, tokens in rates:
            for base, tax in ((b, t) for b in money for t in money if b is not t):
                computed = share_of(base.value, rate)
                if tax.value and abs(computed - tax.value) <= _CENT and row.tokens:
                    groups[(rate, base.value, tax.value)] = VatBreakdown(
                        rate=fact(rate, tokens, 0.85),
                        taxable=fact(base.value, base.tokens, 0.85),
                        tax=fact(tax.value, tax.tokens, 0.85),
                    )
    return _adding_up(groups, totals.net.value, totals.tax.value)


def _rates(document: Document, number: int) -> list[tuple[Decimal, tuple[Any, ...]]]:
    row = document.rows[number]
    marked: list[tuple[Decimal, tuple[Any, ...]]] = []
    plain: list[tuple[Decimal, tuple[Any, ...]]] = []
    for index, token in enumerate(row.tokens):
        text = token.text.rstrip("%").replace(",", ".")
        percent = token.text.endswith("%") or row.norms[index + 1 : index + 2] == ("%",)
        if text.replace(".", "", 1).isdigit() and (percent or len(text) <= 4) and 0 < Decimal(text) <= 30:
            (marked if percent else plain).append((Decimal(text), (token,)))
    # a number without a per cent sign is a rate only where no other number has one
    return (marked or plain)[:6]


def _adding_up(
    groups: Mapping[tuple[Decimal, Decimal, Decimal], VatBreakdown], net: Decimal, tax: Decimal
) -> tuple[VatBreakdown, ...]:
    keys = list(groups)[:12]
    for count in range(1, min(4, len(keys)) + 1):
        for chosen in combinations(keys, count):
            taxes = sum((key[2] for key in chosen), Decimal(0))
            bases = sum((key[1] for key in chosen), Decimal(0))
            distinct = len({key[0] for key in chosen}) == count
            if distinct and abs(taxes - tax) <= _CENT and abs(bases - net) <= _CENT:
                return tuple(groups[key] for key in chosen)
    return ()
