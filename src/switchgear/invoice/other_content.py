"""What tells two invoices with one supplier and number apart. Source: INVOICES.md (review)."""

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from switchgear.invoice.types import Invoice

#: Both have to state these alike, and one that only one of them states is a difference.
_ALWAYS: Final[Mapping[str, str]] = {
    "type": "/type/value",
    "issue date": "/issue_date/value",
    "currency": "/currency/value",
    "net total": "/totals/net/value",
    "tax total": "/totals/tax/value",
    "gross total": "/totals/gross/value",
}
#: These differ only where both state them: a scan often lacks what the XML of the same invoice has.
_WHERE_BOTH_SAY_IT: Final[Mapping[str, str]] = {
    "due date": "/due_date/value",
    "prepaid amount": "/totals/prepaid/value",
    "IBAN": "/payment/iban/value",
    "VAT id of the buyer": "/buyer/vat_id/value",
}


def differences(invoice: Invoice, earlier: Mapping[str, Any]) -> list[str]:
    """Return names of what *earlier*, the JSON form of another result, states differently.

    An empty list means that both state the same amounts, dates, account and buyer. Lines are compared where both come
    from XML, where none is lost in reading. A result of another version of the pipeline may state nothing at all.
    """
    own = invoice.model_dump(mode="json")
    pairs = {name: (_at(own, pointer), _at(earlier, pointer)) for name, pointer in _ALWAYS.items()}
    found = [name for name, (mine, other) in pairs.items() if _amount_or_text(mine) != _amount_or_text(other)]
    for name, pointer in _WHERE_BOTH_SAY_IT.items():
        mine, other = _at(own, pointer), _at(earlier, pointer)
        comparable: Callable[[Any], Any] = _amount_or_text if pointer.startswith("/totals") else _signs
        if mine is not None and other is not None and comparable(mine) != comparable(other):
            found.append(name)
    if _amount_to_pay(own) != _amount_to_pay(earlier):
        found.append("amount to pay")
    mine, other = _line_amounts(own), _line_amounts(earlier)
    return [*found, "lines"] if mine is not None and other is not None and mine != other else found


def _at(value: Any, pointer: str) -> Any:
    for name in pointer.strip("/").split("/"):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _amount_or_text(value: Any) -> Any:
    try:
        return Decimal(str(value)).normalize()
    except InvalidOperation:
        return value


def _signs(value: Any) -> str:
    """Letters and digits alone: an account is written with spaces and without."""
    return "".join(sign for sign in str(value) if sign.isalnum()).upper()


def _amount_to_pay(result: Mapping[str, Any]) -> Any:
    """What is asked for; where it is not stated, all of it."""
    stated = _at(result, "/totals/payable/value")
    return _amount_or_text(_at(result, "/totals/gross/value") if stated is None else stated)


def _line_amounts(result: Mapping[str, Any]) -> list[Any] | None:
    """Net amounts of the lines, in any order; None unless all come from XML."""
    lines = result.get("lines")
    amounts = [_at(line, "/net_amount") for line in lines] if isinstance(lines, list) else []
    if not amounts or any(_at(amount, "/source") != "xml" for amount in amounts):
        return None
    return sorted(str(_amount_or_text(_at(amount, "/value"))) for amount in amounts)
