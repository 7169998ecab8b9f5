"""Structure and check digits of VAT identification numbers of the EU, Switzerland, Norway and the United Kingdom.

The structures are public (European Commission, VIES FAQ, question 11). Check digits are tested where the algorithm is
published: DE, AT, BE, NL (before 2020), LU, IT, DK, PL, PT, FI. Other countries pass with the right structure.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

_STRUCTURES: Final[Mapping[str, str]] = {
    "AT": r"U\d{8}", "BE": r"[01]\d{9}", "BG": r"\d{9,10}", "CY": r"\d{8}[A-Z]", "CZ": r"\d{8,10}", "DE": r"\d{9}",
    "DK": r"\d{8}", "EE": r"\d{9}", "EL": r"\d{9}", "ES": r"[A-Z0-9]\d{7}[A-Z0-9]", "FI": r"\d{8}",
    "FR": r"[A-Z0-9]{2}\d{9}", "GB": r"(\d{9}|\d{12}|(GD|HA)\d{3})", "GR": r"\d{9}", "HR": r"\d{11}", "HU": r"\d{8}",
    "IE": r"(\d{7}[A-W][A-I]?|\d[A-Z+*]\d{5}[A-W])", "IT": r"\d{11}", "LT": r"(\d{9}|\d{12})", "LU": r"\d{8}",
    "LV": r"\d{11}", "MT": r"\d{8}", "NL": r"\d{9}B\d{2}", "NO": r"\d{9}(MVA)?", "PL": r"\d{10}", "PT": r"\d{9}",
    "RO": r"\d{2,10}", "SE": r"\d{12}", "SI": r"\d{8}", "SK": r"\d{10}", "XI": r"(\d{9}|\d{12})",
    "CHE": r"\d{9}(MWST|TVA|IVA)?",
}  # fmt: skip


def _weighted(digits: str, weights: tuple[int, ...]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def _iso_7064(digits: str) -> bool:
    product = 10
    for digit in digits[:8]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(digits[8])


def _luhn(digits: str) -> bool:
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if index % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _austrian(body: str) -> bool:
    digits = body[1:]
    total = sum(
        (int(digit) * 2 - 9 * (int(digit) > 4)) if index % 2 else int(digit) for index, digit in enumerate(digits[:7])
    )
    return (10 - (total + 4) % 10) % 10 == int(digits[7])


def _dutch(body: str) -> bool:
    digits = body[:9]
    if _weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2)) % 11 == int(digits[8]):
        return True
    # since 2020 sole traders have numbers that follow ISO 7064 mod 97-10 over the whole id
    expanded = "".join(str(int(sign, 36)) for sign in "NL" + body)
    return int(expanded) % 97 == 1


def _finnish(digits: str) -> bool:
    rest = _weighted(digits, (7, 9, 10, 5, 8, 4, 2)) % 11
    return rest != 1 and (0 if rest == 0 else 11 - rest) == int(digits[7])


_CHECKS: Final[Mapping[str, Callable[[str], bool]]] = {
    "AT": _austrian,
    "BE": lambda body: 97 - int(body[:8]) % 97 == int(body[8:]),
    "DE": _iso_7064,
    "DK": lambda body: _weighted(body, (2, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0,
    "FI": _finnish,
    "IT": _luhn,
    "LU": lambda body: int(body[:6]) % 89 == int(body[6:]),
    "NL": _dutch,
    "PL": lambda body: _weighted(body, (6, 5, 7, 2, 3, 4, 5, 6, 7)) % 11 == int(body[9]),
    "PT": lambda body: (11 - _weighted(body, (9, 8, 7, 6, 5, 4, 3, 2)) % 11) % 11 % 10 == int(body[8]),
}


def check_vat_id(text: str) -> str | None:
    """Say what is wrong with a VAT id; None when nothing is, or when its country is not known here."""
    compact = re.sub(r"[^A-Z0-9+*]", "", text.upper())
    country = "CHE" if compact.startswith("CHE") else compact[:2]
    structure = _STRUCTURES.get(country)
    if structure is None:
        return None
    body = compact[len(country) :]
    if not re.fullmatch(structure, body):
        return f"it does not have the form of {country}"
    check = _CHECKS.get(country)
    if check is not None and not check(body):
        return "its check digit does not fit"
    return None
