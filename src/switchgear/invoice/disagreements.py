"""Where the page of a document says something else than its XML. Source: INVOICES.md (reconcile)."""

import re
import unicodedata
from decimal import Decimal
from typing import Any, Final

from pydantic import BaseModel

from switchgear.invoice import rules
from switchgear.invoice.types import Address, Fact, Finding, InvoiceFields

CODE: Final = "reconcile.disagrees"
#: A name with fewer letters is contained in others by chance.
_SHORTEST_NAME: Final = 4


def disagreements(xml: InvoiceFields, page: InvoiceFields) -> tuple[Finding, ...]:
    """One finding for each field that both have with different content; lines are compared by their number.

    A finding carries how sure the page was read. It is a warning, unless one name contains the other.
    """
    findings = list(_compare(xml, page, ""))
    if xml.lines and page.lines and len(xml.lines) != len(page.lines):
        message = f"The XML has {len(xml.lines)} lines, the page {len(page.lines)}; the XML counts."
        findings.append(Finding(code=CODE, severity="info", message=message, pointer="/lines"))
    return tuple(findings)


def _compare(xml: BaseModel, page: BaseModel, pointer: str) -> list[Finding]:
    findings: list[Finding] = []
    for name in InvoiceFields.model_fields if pointer == "" else type(page).model_fields:
        own, other, where = getattr(xml, name), getattr(page, name), f"{pointer}/{name}"
        if own is None or other is None:
            continue
        if isinstance(own, Fact):
            if not same(own.value, other.value):
                findings.append(_finding(own.value, other, where))
        elif isinstance(own, BaseModel):
            findings += _compare(own, other, where)
    return findings


def _finding(own: Any, other: Fact[Any], where: str) -> Finding:
    message = f"{where}: the XML says {_short(own)}, the page {_short(other.value)}; the XML counts."
    harmless = where.endswith("name") and _contained(str(own), str(other.value))
    severity = "info" if harmless else "warning"
    return Finding(code=CODE, severity=severity, message=message, pointer=where, confidence=other.confidence)


def _short(value: Any) -> str:
    return str(value)[:80]


def same(first: Any, second: Any) -> bool:
    """Whether two values mean the same: amounts within a cent, texts by their letters and digits."""
    if isinstance(first, Decimal) and isinstance(second, Decimal):
        return abs(first - second) <= rules.TOLERANCE
    if isinstance(first, Address):
        # a page gives an address in free form; it cannot be compared part by part
        return True
    if isinstance(first, str) and isinstance(second, str):
        return _letters(first) == _letters(second)
    return bool(first == second)


def _contained(first: str, second: str) -> bool:
    shorter, longer = sorted((_letters(first), _letters(second)), key=len)
    return len(shorter) >= _SHORTEST_NAME and shorter in longer


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", text).casefold())
