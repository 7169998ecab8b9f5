"""What the words of a page show of it: its language, the kind of document, whose way to write dates it may have."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from switchgear.invoice.party_signs import LEGAL_FORM


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


# --- which kind of document -----------------------------------------------------------------------------------------

#: Kinds that are no invoice whatever stands behind the word: "Mahnung zur Rechnung", "Pro forma invoice no. 5".
_NEVER: Final = (
    r"(?:zahlungs)?mahnung|mahnschreiben|zahlungserinnerung|zahlungsaufforderung|pro-?\s?forma[\s-]?\w*|kontoauszug"
    r"|saldenbestätigung|offene[ -]posten\b[\w-]*|(?:payment |friendly )?reminder|overdue notice|dunning"
    r"|final (?:notice|demand)|(?:account )?statement(?: of account)?|rappel(?! de (?:votre|la|notre) commande)"
    r"|(?:lettre de )?relance|mise en demeure|facture pro-?\s?forma"
    r"|relevé de compte|sollecito|fattura pro-?\s?forma|estratto conto|recordatorio|factura pro-?\s?forma"
    r"|(?:estado|extracto) de cuenta|(?:betalings)?herinnering|aanmaning|pro-?\s?formafactuur|rekeningoverzicht"
)
#: Kinds that invoices refer to: they count only where the word stands alone.
_ALONE: Final = (
    "lieferschein|angebot|kostenvoranschlag|auftragsbestätigung|bestellbestätigung|delivery note|packing (?:slip|list)"
    "|quotation|quote|estimate|order confirmation|sales order|purchase order|bon de livraison|devis|bon de commande"
    "|confirmation de commande|documento di trasporto|preventivo|conferma d'ordine|albarán|presupuesto"
    "|confirmación de pedido|pakbon|leverbon|offerte|orderbevestiging"
)
#: Said of nothing but a debt, wherever in a heading: "Rechnung L03 - 1. Mahnung".
_REMINDS: Final = re.compile(
    r"\b(?:\w*mahnung|mahnstufe|zahlungserinnerung|past due notice|relance|sollecito"
    r"|(?:payment|final|invoice) reminder)\b",
    re.IGNORECASE,
)
_BEFORE: Final = (
    r"\W*(?:(?:betr|betreff|subject|objet|oggetto|asunto|re)\b\W*|customer )?"
    r"(?:\d{1,2}(?:st|nd|rd|th|e|ère)?\.?\s*"
    r"|(?:erste|zweite|dritte|letzte|first|second|last|dernier|ultimo)\s+)?"
)
_OTHER_KIND: Final = re.compile(
    rf"{_BEFORE}(?P<never>{_NEVER})\b(?!\s*:)|{_BEFORE}(?P<alone>{_ALONE})\W*$", re.IGNORECASE
)
#: The title of an invoice, alone or with a number behind it; a label with a colon is none.
_TITLE: Final = re.compile(
    r"\W*(?:tax )?(?:\w{0,30}rechnung|\w{0,30}gutschrift|\w{0,30}korrektur|invoice|credit (?:note|memo)|facture|avoir"
    r"|fattura|nota di credito|factura|abono|factuur|creditnota|faktura)\b(?![^:]{0,20}:).{0,60}$",
    re.IGNORECASE,
)
_MOST_WORDS: Final = 8
#: Words for an invoice or a credit note, of many languages: a page without any of them is none.
_INVOICE_WORDS: Final = re.compile(
    r"rechnung|gutschrift|faktur|invoice|credit ?(?:note|memo)|\bbill\b|receipt|quittung|beleg|facture|avoir"
    r"|note d'honoraires|fattur|nota di credito|parcella|ricevuta|factur|abono|recibo|factuur|creditnota|kreditnota"
    r"|fatura|faktúr|lasku|számla|räkning|regning|reikning|račun|arve|sąskait|rēķin|τιμολόγι|сч[её]т|фактур|honorar|請求書|发票",
    re.IGNORECASE,
)


def other_kind(lines: Iterable[str]) -> str | None:
    """The heading that names another kind of document than an invoice, above any title of an invoice.

    Args:
        lines: Lines of a page; what stands apart is two spaces apart.
    """
    for line in lines:
        groups = [group for group in re.split(r"\s{2,}", line.strip()) if group]
        alone = not any(re.search(r"\d|^:", group) for group in groups[1:])
        for group in groups:
            if len(group.split()) > _MOST_WORDS or LEGAL_FORM.search(group):
                continue
            found = _OTHER_KIND.match(group)
            if (found and (found["never"] or alone)) or _REMINDS.search(group):
                return group
            if _TITLE.match(group):
                return None
    return None


def names_invoice(lines: Iterable[str]) -> bool:
    """Whether a word for an invoice or a credit note stands anywhere, in any of many languages."""
    return any(_INVOICE_WORDS.search(line) for line in lines)


# --- dates ----------------------------------------------------------------------------------------------------------

_DOLLARS: Final = re.compile(r"\$|\bUSD\b")
_SLASHED: Final = re.compile(r"(?<!\d)(\d{1,2})([/-])(\d{1,2})\2(?:\d{4}|\d{2})(?!\d)")
_MONTHS: Final = 12


def may_be_month_first(text: str, lines: Sequence[str]) -> bool:
    """Whether a date such as 04/05/2024 stands on a page with American signs: dollars, and the word invoice."""
    match = _SLASHED.search(text)
    if match is None or match[1] == match[3] or int(match[1]) > _MONTHS or int(match[3]) > _MONTHS:
        return False
    return "invoice" in words_of(lines) and any(_DOLLARS.search(line) for line in lines)
