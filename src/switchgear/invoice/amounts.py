"""Numbers, dates and currencies as they stand in documents.

Libraries that guess are not used: one drops minus signs, another reads 05.03.2018 as 3 May. Dates with dots are day
first, always; dates with slashes are day first unless the document itself shows otherwise. Number marks and month
names come from the locale data of babel. Source: INVOICES.md (facts worth knowing).
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache
from typing import Final, Literal

from babel import Locale, UnknownLocaleError
from babel.dates import get_month_names
from babel.numbers import get_currency_precision, get_decimal_symbol

DecimalMark = Literal[",", "."]
DEFAULT_LANGUAGES: Final = ("de", "en", "fr", "it", "es", "nl")

_MINUS: Final = str.maketrans({"−": "-", "–": "-", "‐": "-", "‑": "-", "—": "-", "’": "'", "‘": "'", "´": "'"})
_SPACES: Final = re.compile(r"[\u00a0\u2007\u2009\u202f]")
_SIGNS: Final = {
    "€": "EUR", "$": "USD", "US$": "USD", "£": "GBP", "¥": "JPY", "zł": "PLN", "Kč": "CZK", "₹": "INR", "Fr.": "CHF",
    "SFr.": "CHF", "SFr": "CHF", "Fr": "CHF", "CA$": "CAD", "A$": "AUD", "₺": "TRY", "₴": "UAH", "HK$": "HKD",
}  # fmt: skip
_NAMES: Final = {"euro": "EUR", "euros": "EUR", "dollars": "USD", "pounds": "GBP", "franken": "CHF"}
#: Codes that are trusted wherever they stand; others (ALL, TOP, TRY are words too) only beside an amount or a label.
_COMMON: Final = frozenset(
    (
        "EUR", "USD", "GBP", "CHF", "SEK", "NOK", "DKK", "PLN", "CZK", "HUF", "RON", "BGN", "CAD", "AUD", "NZD", "JPY",
        "CNY", "HKD", "SGD", "INR", "ZAR", "BRL", "MXN", "ILS", "AED", "ISK", "UAH", "DEM",
    )
)  # fmt: skip
_MONEY: Final = r"(?:US\$|CA\$|HK\$|A\$|€|\$|£|¥|zł|Kč|₹|S?Fr\.?|[A-Z]{3})"
#: One number as written in documents: sign or bracket, digits in groups, decimals; never part of a longer word.
NUMBER: Final = re.compile(
    r"(?<![\w.,/-])(?P<open>\()?(?P<sign>[+-]\s?)?"
    r"(?P<digits>\d{1,3}(?:[.' ]\d{3})+(?:,\d{1,4}|-{1,2})?|\d{1,3}(?:[,' ]\d{3})+(?:\.\d{1,4})?|\d+(?:[.,]\d{1,8})?)"
    r"(?:,-{1,2})?(?P<after>\s?-(?![\w-]))?(?P<close>\))?(?![\w/]|[.,]\d)"
)

_OPEN: Final = re.compile(r"[1-9]\d{0,2}([.,])\d{3}")
_GROUP: Final = 3
_CURRENCY_BEFORE: Final = re.compile(r"(€|\$|£|\b[A-Z]{3}|Fr\.)\s{0,2}$")
_MANY_DECIMALS: Final = re.compile(r"[.,]\d{4,}")
_CURRENCY_BEHIND: Final = re.compile(r"^\s{0,2}(€|\$|£|[A-Z]{3}\b)")

#: A number as XML states it. More digits are no amount that anybody owes.
_PLAIN: Final = re.compile(r"[+-]?(?:\d{1,15}(?:\.\d{0,12})?|\.\d{1,12})")
_MOST_DIGITS: Final = 15
#: Wide enough for whatever two numbers of a document give when they are multiplied or divided.
_WIDE: Final = Context(prec=64, rounding=ROUND_HALF_UP)
_CENT: Final = Decimal("0.01")
_PRICE_DIGITS: Final = Decimal("0.0000000001")


def plain_decimal(text: str) -> Decimal | None:
    """A decimal without exponent, of at most 15 digits before the point and 12 behind it; anything else gives None."""
    return Decimal(text) if _PLAIN.fullmatch(text) else None


def share_of(amount: Decimal, percent: Decimal) -> Decimal:
    """So many per cent of *amount*, rounded to cents, half a cent up."""
    return _WIDE.quantize(_WIDE.divide(_WIDE.multiply(amount, percent), Decimal(100)), _CENT)


def unit_price(price: Decimal, quantity: Decimal) -> Decimal | None:
    """The price of one, when *price* is that of so many, to ten decimals; None where that is no amount any more."""
    if quantity == 0:
        return None
    one = _WIDE.normalize(_WIDE.quantize(_WIDE.divide(price, quantity), _PRICE_DIGITS))
    return one if one.adjusted() < _MOST_DIGITS else None


def normalize(text: str) -> str:
    """Bring spaces, minus signs and apostrophes to their plain forms, keeping the length of *text*."""
    return _SPACES.sub(" ", text).translate(_MINUS)


@lru_cache(maxsize=64)
def decimal_mark_of(language: str) -> DecimalMark:
    """The decimal mark of a language or locale such as `de` or `de_CH`; unknown ones count as English."""
    try:
        return "," if get_decimal_symbol(Locale.parse(language, sep="_")) == "," else "."
    except (UnknownLocaleError, ValueError):
        return "."


def decimal_mark(texts: Iterable[str]) -> DecimalMark | None:
    """Decide which decimal mark a document uses, from its own numbers; None when they do not tell.

    A mark that stands before any last digits but three, after a lone zero or after another mark is the decimal mark.
    """
    votes: Counter[str] = Counter()
    for text in texts:
        for match in NUMBER.finditer(normalize(text)):
            digits = match["digits"]
            tail = re.search(r"([.,])(\d+)$", digits)
            # "1.234.567" repeats one mark: that is grouping, not decimals
            if not tail or digits.count(tail[1]) > 1:
                continue
            if len(tail[2]) != _GROUP or digits[: tail.start()] == "0" or re.search(r"[.,' ]", digits[: tail.start()]):
                votes[tail[1]] += 2 if len(tail[2]) == 2 else 1
    comma, point = votes[","], votes["."]
    if comma == point:
        return None
    return "," if comma > point else "."


def document_mark(texts: Sequence[str], language: str) -> tuple[DecimalMark, DecimalMark | None]:
    """The decimal mark for all numbers of a document, and the one that it shows itself (None when it does not).

    Where nothing shows it, an amount of money with three digits behind its only mark has thousands, so the other mark
    is the decimal one; where there is none either, the language decides.
    """
    shown = decimal_mark(texts)
    if shown is not None:
        return shown, shown
    grouping = {
        mark
        for text in map(normalize, texts)
        for match in NUMBER.finditer(text)
        if (mark := open_mark(match["digits"])) and beside_currency(text, match.start(), match.end())
    }
    if len(grouping) == 1:
        return ("." if grouping == {","} else ","), None
    return decimal_mark_of(language), None


def open_mark(digits: str) -> str | None:
    """The mark of a number such as 1.234 that may be read as thousands or with three decimals; None for any other."""
    match = _OPEN.fullmatch(digits)
    return match[1] if match else None


def beside_currency(text: str, start: int, end: int) -> bool:
    """Whether a currency stands right before or behind this number; a price of many decimals must touch it nearly."""
    before, behind = _CURRENCY_BEFORE.search(text[:start]), _CURRENCY_BEHIND.match(text[end:])
    if "  " not in ((before or behind) or [""])[0]:
        return bool(before or behind)
    return _MANY_DECIMALS.search(text[start:end]) is None


@lru_cache(maxsize=64)
def decimals_of(currency: str) -> int:
    """How many decimals a currency has: 2 for most, 0 for JPY, 3 for KWD."""
    return int(get_currency_precision(currency))


def parse_amount(text: str, mark: DecimalMark | None = None) -> Decimal | None:
    """Read one amount such as `1.234,56 €`, `CHF 1'234.50`, `-12.00`, `12,00-`, `(12.00)`.

    Args:
        text: The amount with at most a currency beside it.
        mark: The document's decimal mark, used only where the digits themselves leave it open (`1.234`).

    Returns:
        The signed value, or None when *text* is not one amount.
    """
    plain = re.sub(rf"^{_MONEY}(?=[\s\d(+-])|(?<=[\s\d)-]){_MONEY}$", "", normalize(text).strip()).strip()
    # "-€ 5.00" and "- € 5.00" keep their sign
    plain = re.sub(rf"^([+-])\s?{_MONEY}\s?", r"\1", plain)
    match = NUMBER.fullmatch(plain)
    if match is None:
        return None
    return amount_of(match, mark)


def amount_of(match: re.Match[str], mark: DecimalMark | None = None) -> Decimal | None:
    """The signed value of a match of `NUMBER`; a pair of brackets means minus."""
    negative = bool(match["open"] and match["close"])
    negative ^= (match["sign"] or "").strip() == "-" or bool(match["after"])
    value = _value_of_digits(match["digits"].rstrip("-"), mark)
    return None if value is None else (-value if negative and value else value)


def _value_of_digits(digits: str, mark: DecimalMark | None) -> Decimal | None:
    compact = digits.replace(" ", "").replace("'", "")
    marks = [sign for sign in compact if sign in ".,"]
    if len(set(marks)) == 2:
        last = marks[-1]
        compact = compact.replace("," if last == "." else ".", "").replace(last, ".")
    elif len(marks) > 1 or (marks and _is_grouping(compact, marks[0], mark, grouped="'" in digits or " " in digits)):
        compact = compact.replace(marks[0], "")
    else:
        compact = compact.replace(",", ".")
    return plain_decimal(compact)


def _is_grouping(compact: str, sign: str, mark: DecimalMark | None, *, grouped: bool) -> bool:
    whole, _, tail = compact.partition(sign)
    if len(tail) != 3 or not 1 <= len(whole) <= 3 or whole == "0" or grouped:
        return False
    return mark != sign


# --- dates ----------------------------------------------------------------------------------------------------------

_ISO: Final = re.compile(r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)")
_NUMERIC: Final = re.compile(r"(?<![\d.,/-])(\d{1,2})\s?([./-])\s?(\d{1,2})\s?\2\s?(\d{4}|\d{2})(?![\d/-]|[.,]\d)")
_DAY_MONTH: Final = re.compile(
    r"(?<!\d)(\d{1,2})(?:\.|er|st|nd|rd|th|º|°)?[\s-](?:de\s)?([^\W\d_]{3,12})\.?,?[\s-](?:de[l]?\s)?(\d{4}|\d{2})(?!\d)"
)
_MONTH_DAY: Final = re.compile(r"([^\W\d_]{3,12})\.?\s(\d{1,2})(?:st|nd|rd|th)?\s?,?\s(\d{4})(?!\d)")
_YEARS: Final = range(1950, 2101)


def fold(text: str) -> str:
    """Lower case without accents, for comparing words; the length may change."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(sign for sign in decomposed if not unicodedata.combining(sign))


@lru_cache(maxsize=16)
def month_names(languages: tuple[str, ...]) -> dict[str, int]:
    """Folded month names and abbreviations of these languages -> 1..12."""
    names: dict[str, int] = {}
    for language in languages:
        for width in ("wide", "abbreviated"):
            for context in ("format", "stand-alone"):
                for number, name in get_month_names(width, context, language).items():
                    folded = fold(str(name)).rstrip(".")
                    if len(folded) >= 3 and folded.isalpha():
                        names.setdefault(folded, int(number))
    return names


def month_first(texts: Iterable[str]) -> bool:
    """Whether the document writes slash dates as month/day: some date can be read only that way, none the other."""
    american = european = 0
    for text in texts:
        for match in _NUMERIC.finditer(text):
            if match[2] == "/":
                first, second = int(match[1]), int(match[3])
                american += first <= 12 < second <= 31
                european += second <= 12 < first <= 31
    return american > 0 and european == 0


def is_ambiguous(text: str) -> bool:
    """Whether *text* is a slash date whose day and month could be swapped."""
    match = _NUMERIC.search(text)
    return bool(match and match[2] == "/" and int(match[1]) <= 12 and int(match[3]) <= 12 and match[1] != match[3])


def find_dates(
    text: str, *, american: bool = False, languages: Sequence[str] = DEFAULT_LANGUAGES
) -> list[tuple[date, int, int]]:
    """All dates in *text* with their start and end positions, from left to right.

    Args:
        text: One line of text.
        american: Read slash dates as month/day; see `month_first`.
        languages: Languages whose month names are known.
    """
    plain = normalize(text)
    months = month_names(tuple(languages))
    found: list[tuple[date, int, int]] = []
    for match in _ISO.finditer(plain):
        _keep(found, match, int(match[1]), int(match[2]), int(match[3]))
    for match in _NUMERIC.finditer(plain):
        day, month = int(match[1]), int(match[3])
        if match[2] == "/" and (american or month > 12):
            day, month = month, day
        _keep(found, match, _year(match[4]), month, day)
    for match in _DAY_MONTH.finditer(plain):
        _keep(found, match, _year(match[3]), months.get(fold(match[2]), 0), int(match[1]))
    for match in _MONTH_DAY.finditer(plain):
        _keep(found, match, int(match[3]), months.get(fold(match[1]), 0), int(match[2]))
    return sorted(found, key=lambda item: item[1])


def parse_date(text: str, *, american: bool = False, languages: Sequence[str] = DEFAULT_LANGUAGES) -> date | None:
    """Read *text* as one date, or None when it is not one."""
    stripped = text.strip()
    for value, start, end in find_dates(stripped, american=american, languages=languages):
        if start == 0 and re.fullmatch(r"(?:[T\s]\d{1,2}:\d{2}(?::\d{2})?)?\s*[.,;]?", stripped[end:]):
            return value
    return None


def _year(text: str) -> int:
    number = int(text)
    if len(text) == 4:
        return number
    return number + (2000 if number < 70 else 1900)


def _keep(found: list[tuple[date, int, int]], match: re.Match[str], year: int, month: int, day: int) -> None:
    if year not in _YEARS or any(start < match.end() and match.start() < end for _, start, end in found):
        return
    try:
        found.append((date(year, month, day), match.start(), match.end()))
    except ValueError:
        return


# --- currencies -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def currency_codes() -> frozenset[str]:
    """ISO 4217 codes known to babel, those out of use included (old invoices say DEM)."""
    return frozenset(Locale.parse("en").currencies)


def parse_currency(text: str) -> str | None:
    """The ISO code for a code, a sign or a plain name such as `EUR`, `€`, `Euro`; None when it is neither."""
    token = text.strip().strip("()[]:;,")
    if token in _SIGNS:
        return _SIGNS[token]
    if token.upper() in currency_codes() and len(token) == 3:
        return token.upper()
    return _NAMES.get(token.casefold())


_BESIDE: Final = re.compile(
    rf"(?P<before>{_MONEY})\s?[-+]?\d|(?<![\d.,'])\d[.,'\d]{{0,30}}(?:-|,-)?\s?(?P<behind>{_MONEY})(?![\w])|\b(?P<common>[A-Z]{{3}})\b"
    r"|(?P<sign>[€£])|\b(?P<name>[Ee]uros?|US Dollars?)\b"
)


def count_currencies(texts: Iterable[str]) -> Counter[str]:
    """How often each currency is written in *texts*: beside an amount counts three times, alone once."""
    votes: Counter[str] = Counter()
    known = currency_codes()
    for text in texts:
        for match in _BESIDE.finditer(normalize(text)):
            beside = match["before"] or match["behind"]
            if beside:
                code = _SIGNS.get(beside, beside)
                if code in known:
                    votes[code] += 3 if beside in _SIGNS or beside in _COMMON else 1
            elif match["common"] in _COMMON:
                votes[match["common"]] += 1
            elif match["sign"]:
                votes[_SIGNS[match["sign"]]] += 1
            elif match["name"]:
                votes["USD" if match["name"].startswith("US") else "EUR"] += 1
    return votes
