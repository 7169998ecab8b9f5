"""What company names, addresses and letterheads look like. Works on lines of text, so that every extractor can ask."""

import re
from collections.abc import Sequence
from typing import Final

LEGAL_FORM: Final = re.compile(
    r"(?<![\w.])(GmbH|mbH|AG|KG|KGaA|OHG|GbR|UG|SE|e\.\s?K\.?|e\.\s?V\.?|eG|a\.\s?G\.|Ltd\.?|Limited|LLC|LLP|PLC|plc|Inc\.?"
    r"|Corp\.?|Corporation|B\.\s?V\.?|BV|N\.\s?V\.?|NV|VOF|S\.?A\.?S\.?|SASU|SARL|S\.?à\.?r\.?l\.?|EURL|S\.?A\.?|SNC"
    r"|S\.\s?r\.\s?l\.?|SRL|S\.\s?p\.\s?A\.?|SpA|S\.\s?L\.?(?:U\.?)?|SLU|AB|AS|A/S|ApS|Oy|Oyj|Sp\. z o\.o\.|s\.r\.o\."
    r"|Kft\.?|HB)"
    r"(?![\w])"
)
POSTCODE: Final = re.compile(r"(?<!\d)(?:[A-Z]{1,2}[- ])?\d{4,5}(?:\s?[A-Z]{2})?\s+[^\W\d]")
CONTACT: Final = re.compile(r"@|https?:|www\.|\b(?:tel|fon|phone|fax|telefon|mobil|email|e-mail)\b", re.IGNORECASE)
IDENTIFIER: Final = re.compile(
    r"\b(?:IBAN|BIC|USt-?\.?-?Id|UID|VAT|BTW|TVA|P\.? ?IVA|KvK|SIRET)\b|\bUSt\b(?!\.?\s*\d)", re.IGNORECASE
)
_SALUTATION: Final = re.compile(
    r"^(?:herrn?|frau|firma|familie|mr|mrs|ms|monsieur|madame|mme|m\.|sig|sig\.ra|spett|sr|sra|dhr|mevr)\b",
    re.IGNORECASE,
)
_STREET: Final = re.compile(
    r"(?:straße|strasse|str\.?|gasse|platz|allee|weg|street|road|lane|straat|laan)(?:\s*\d+\s?[a-z]?(?:\s?[-/]\s?\d+\s?[a-z]?)?)$"
    r"|(?:straße|strasse|str\.|gasse|platz|allee|\bweg|\bstreet|\broad|\blane|straat|laan)$|^(?:rue|via|calle|avenue)\b",
    re.IGNORECASE,
)


#: From here on down the page its foot begins, as a share of its lines.
_FOOT: Final = 0.7
#: How far below the letterhead the recipient stands, and its town below its name, in lines.
_RECIPIENT_WITHIN, _TOWN_WITHIN = 14, 5

_DEBITED: Final = re.compile(
    r"\bIhre[mns]? (?:Bank)?konto|(?:abgebucht|eingezogen|lastschrift|buchen ab)\b.{0,40}\bkonto"
    r"|\bkonto\b.{0,60}(?:abgebucht|eingezogen|abbuchen|einziehen)|your (?:bank )?account|debit(?:ed)?\b.{0,30}account"
    r"|votre compte|prélev|(?:vs\.?|vostro|suo) conto|addebit|su cuenta|adeudo|uw (?:bank)?rekening|incasso",
    re.IGNORECASE,
)
_OURS: Final = re.compile(r"\bunser|\bour\b|notre|nostro|nuestr|onze", re.IGNORECASE)
_BULLET: Final = re.compile(r"\s*[●•·|∙▪,]\s*|\s+[-–—]\s+")
_SENDER_PARTS: Final = 3

#: The groups of words of each line.
Rows = Sequence[Sequence[str]]


def is_street(text: str) -> bool:
    """Whether a line is a street with its number or without, which is no name of a company."""
    return bool(_STREET.search(text.strip(" ,;:")))


def is_debited(lines: Sequence[str]) -> bool:
    """Whether these lines say that the account is the buyer's: the amount is taken from it."""
    text = " ".join(lines)
    return bool(_DEBITED.search(text)) and not _OURS.search(lines[-1])


def heads_letter(rows: Rows, row: int, name: str) -> bool:
    """Whether the name in *row* has the first address of the page, and that of a company or a person comes below it.

    Args:
        rows: The first page.
        row: Index of the line with the name.
        name: The name.
    """
    if any(POSTCODE.search(text) or is_street(text) for texts in rows[:row] for text in texts):
        return False
    return any(
        _is_recipient(text, name)
        and any(POSTCODE.search(" ".join(texts)) for texts in rows[at + 1 : at + 1 + _TOWN_WITHIN])
        for at in range(row + 1, min(row + 1 + _RECIPIENT_WITHIN, len(rows)))
        for text in rows[at]
    )


def _is_recipient(text: str, seller: str) -> bool:
    other = LEGAL_FORM.search(text) and letters(text) not in letters(seller)
    return bool(other or _SALUTATION.search(text))


def is_sender_line(groups: Sequence[str], name: str) -> bool:
    """Whether a line names the company, then its street and its town, as stands small above the recipient."""
    parts = [part for group in groups for part in _BULLET.split(group)]
    return (
        len(parts) >= _SENDER_PARTS
        and letters(parts[0]) == letters(name)
        and any(POSTCODE.search(part) for part in parts[1:])
    )


def at_foot(lines: Sequence[str], name: str) -> bool:
    """Whether the name stands once more at the foot of the page."""
    return any(letters(name) in letters(line) for line in lines[int(len(lines) * _FOOT) :])


def letters(text: str) -> str:
    """Letters and digits in small letters, for comparing names."""
    return "".join(sign for sign in text.casefold() if sign.isalnum())
