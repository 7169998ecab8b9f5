"""What the words of a page show of it: its language. Works on lines of text, so that every extractor can ask."""

import re
from collections.abc import Iterable
from typing import Final


def _all(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Words that stand on invoices of one language only; those that several share (total, date, net) decide nothing.
_ENGLISH: Final = _all(
    "invoice amount due tax number quantity qty price payment bill issued terms seller buyer supplier customer vat"
    " gross shipping item unit balance address paid the"
)
_OTHER: Final = _all(
    "rechnung rechnungsnummer rechnungsdatum datum betrag summe gesamtbetrag brutto netto mwst ust menge zahlbar und"
    " facture montant tva ttc ht payer quantité fattura totale iva importo imponibile quantità factura fecha importe"
    " cantidad factuur factuurnummer factuurdatum bedrag btw totaal aantal klant der die les del"
)


def words_of(lines: Iterable[str]) -> set[str]:
    """All words of the lines, in small letters."""
    return {word for line in lines for word in re.findall(r"[^\W\d_]+", line.casefold())}


def speaks_english(lines: Iterable[str]) -> bool:
    """Whether more words are English than of another language that is read."""
    words = words_of(lines)
    return len(words & _ENGLISH) > len(words & _OTHER)
