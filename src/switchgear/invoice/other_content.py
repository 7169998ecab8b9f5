"""What tells two invoices with one supplier and number apart. Source: INVOICES.md (review)."""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from switchgear.invoice.types import Invoice

#: Both have to state these alike, and one that only one of them states is a difference.
_ALWAYS: Final[Mapping[str, str]] = {
    "issue date": "/issue_date",
    "currency": "/currency",
    "net total": "/totals/net",
    "tax total": "/totals/tax",
    "gross total": "/totals/gross",
}
#: These differ only where both state them: a page often lacks what the XML of the same invoice has.
_WHERE_BOTH_SAY_IT: Final[Mapping[str, str]] = {
    "type": "/type",
    "due date": "/due_date",
    "prepaid amount": "/totals/prepaid",
    "IBAN": "/payment/iban",
    "VAT id of the buyer": "/buyer/vat_id",
}
#: Nothing is lost in reading XML: where both come from it, these differ also where only one of them states them.
_IN_XML: Final[Mapping[str, str]] = {
    **_WHERE_BOTH_SAY_IT,
    "VAT id of the seller": "/seller/vat_id",
    "tax number of the seller": "/seller/tax_number",
    "address of the seller": "/seller/address",
    "name of the buyer": "/buyer/name",
    "tax number of the buyer": "/buyer/tax_number",
    "address of the buyer": "/buyer/address",
    "payment reference": "/payment/reference",
    "total of the lines": "/totals/lines",
    "allowances": "/totals/allowances",
    "charges": "/totals/charges",
    "rounding": "/totals/rounding",
}
#: Letters and digits alone count: an account is written with spaces and without.
_CODES: Final = frozenset({"IBAN", "VAT id of the buyer", "VAT id of the seller"})
#: Nothing and none are the same here.
_OFTEN_ZERO: Final = frozenset({"prepaid amount", "allowances", "charges", "rounding"})
#: What is compared of each line and of each group, in any order.
_ROWS: Final[Mapping[str, tuple[str, Sequence[str]]]] = {
    "VAT breakdown": ("vat", ("category", "rate", "taxable", "tax")),
    "lines": (
        "lines",
        ("description", "quantity", "unit", "net_price", "vat_rate", "vat_category", "net_amount"),
    ),
}


def differences(invoice: Invoice, earlier: Mapping[str, Any]) -> list[str]:
    """Return names of what *earlier*, the JSON form of another result, states differently.

    An empty list means that both state the same amounts, dates, account and buyer and, where both come from XML, the
    same in everything that is delivered. A result of another version of the pipeline may state nothing at all.
    """
    own = invoice.model_dump(mode="json")
    both_are_xml = _is_xml(own) and _is_xml(earlier)
    return [
        *_unlike(own, earlier, _ALWAYS),
        *(_unlike_in_xml(own, earlier) if both_are_xml else _unlike_where_both_say_it(own, earlier)),
        *(["amount to pay"] if _amount_to_pay(own) != _amount_to_pay(earlier) else []),
    ]


def _unlike(own: Any, earlier: Any, fields: Mapping[str, str]) -> list[str]:
    return [name for name, at in fields.items() if _compared(name, _at(own, at)) != _compared(name, _at(earlier, at))]


def _unlike_in_xml(own: Any, earlier: Any) -> list[str]:
    """What was filled in from a page counts as not stated: the other one may have come without its page."""
    mine, other = _without_pages(own), _without_pages(earlier)
    rows = [name for name, (at, columns) in _ROWS.items() if _rows(mine, at, columns) != _rows(other, at, columns)]
    return [*_unlike(mine, other, _IN_XML), *rows]


def _unlike_where_both_say_it(own: Any, earlier: Any) -> list[str]:
    said = {name: at for name, at in _WHERE_BOTH_SAY_IT.items() if _at(own, at) and _at(earlier, at)}
    mine, other = _line_amounts(own), _line_amounts(earlier)
    lines = ["lines"] if mine is not None and other is not None and mine != other else []
    return [*_unlike(own, earlier, said), *lines]


def _is_xml(result: Mapping[str, Any]) -> bool:
    return bool(_at(result, "/number/source") == "xml")


def _at(value: Any, pointer: str) -> Any:
    for name in pointer.strip("/").split("/"):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _without_pages(value: Any) -> Any:
    """The same without facts that were read on a page."""
    if isinstance(value, Mapping):
        if value.get("source") not in (None, "xml", "derived"):
            return None
        return {name: _without_pages(part) for name, part in value.items()}
    return [_without_pages(part) for part in value] if isinstance(value, list) else value


def _compared(name: str, fact: Any) -> Any:
    """The value of a fact as it is compared: amounts as numbers, texts without case and spaces."""
    value = fact.get("value") if isinstance(fact, Mapping) else None
    if isinstance(value, Mapping):
        return sorted((key, _text(part)) for key, part in value.items() if part)
    if name in _CODES and value is not None:
        return "".join(sign for sign in str(value) if sign.isalnum()).casefold()
    compared = _amount_or_text(value)
    return None if name in _OFTEN_ZERO and compared == 0 else compared


def _amount_or_text(value: Any) -> Any:
    try:
        return Decimal(str(value)).normalize()
    except InvalidOperation:
        return _text(value) if isinstance(value, str) else value


def _text(value: Any) -> str:
    return " ".join(str(value).split()).casefold()


def _amount_to_pay(result: Mapping[str, Any]) -> Any:
    """What is asked for; where it is not stated, all of it."""
    stated = _at(result, "/totals/payable/value")
    return _amount_or_text(_at(result, "/totals/gross/value") if stated is None else stated)


def _rows(result: Any, name: str, columns: Sequence[str]) -> list[str]:
    rows = result.get(name)
    return sorted(repr([_compared(column, _at(row, column)) for column in columns]) for row in rows or ())


def _line_amounts(result: Mapping[str, Any]) -> list[str] | None:
    """Net amounts of the lines, in any order; None unless all come from XML."""
    lines = result.get("lines")
    amounts = [_at(line, "/net_amount") for line in lines] if isinstance(lines, list) else []
    if not amounts or any(_at(amount, "/source") != "xml" for amount in amounts):
        return None
    return sorted(str(_amount_or_text(_at(amount, "/value"))) for amount in amounts)
