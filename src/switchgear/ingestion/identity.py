"""What makes two results speak of the same thing: the pipeline's identity fields. Source: INTERFACES 4 (Pipeline)."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final

from switchgear.domain.configuration import sha256_of

#: Categories of Unicode: what nobody sees, and every kind of dash.
_UNSEEN: Final = "Cf"
_DASHES: Final = "Pd"
_MINUS: Final = "\u2212"


def identity_of(result: Any, pointers: Sequence[str]) -> str | None:
    """Digest of the fields at *pointers*; None when there are no pointers, or one of the fields is not there.

    Case, spaces, the kind of a dash and signs that nobody sees make no difference: who sends an invoice a second time
    under a number that looks the same must not pass for new.
    """
    values = [_folded(_at(result, pointer)) for pointer in pointers]
    if not values or any(value is None or value == "" for value in values):
        return None
    return sha256_of(values)


def _at(value: Any, pointer: str) -> Any:
    for name in pointer.strip("/").split("/"):
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def _folded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    seen = (_sign(sign) for sign in unicodedata.normalize("NFKC", value)) if not value.isascii() else value
    return " ".join("".join(seen).split()).casefold()


def _sign(sign: str) -> str:
    category = unicodedata.category(sign)
    if category == _UNSEEN:
        return ""
    return "-" if category == _DASHES or sign == _MINUS else sign
