"""What makes two results speak of the same thing: the pipeline's identity fields. Source: INTERFACES 4 (Pipeline)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final

from switchgear.domain.configuration import sha256_of

#: Category of Unicode: signs that nobody sees.
_UNSEEN: Final = "Cf"
#: Punctuation; what parts two groups of digits is kept: `2024-1-11` is not `2024-11-1`.
_PUNCTUATION: Final = re.compile(r"(?P<parts>(?<=\d)[\W_]+(?=\d))|[\W_]+")


def identity_of(result: Any, pointers: Sequence[str]) -> str | None:
    """Digest of the fields at *pointers*; None when there are no pointers, or one of the fields is not there.

    Case, spaces, punctuation and signs that nobody sees make no difference, but for punctuation between two digits, of
    which the kind makes none: who sends an invoice a second time under a number that looks the same must not pass for
    new.
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
    seen = "".join(sign for sign in unicodedata.normalize("NFKC", value) if unicodedata.category(sign) != _UNSEEN)
    bare = "".join(seen.split()).casefold()
    return _PUNCTUATION.sub(lambda found: "-" if found["parts"] else "", bare) or bare
