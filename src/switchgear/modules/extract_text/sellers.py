"""What shows that a company found on the page is the seller: its name alone may as well be the recipient's."""

import re
from collections.abc import Sequence
from typing import Final

from switchgear.invoice.party_signs import CONTACT, IDENTIFIER, at_foot, heads_letter, is_sender_line, letters
from switchgear.modules.extract_text.lines import Line

_DOMAIN: Final = re.compile(r"(?:@|www\.|https?://(?:www\.)?)(?:[\w-]+\.)*([\w-]{4,})\.[a-z]{2,}", re.IGNORECASE)
_COLUMN_WIDTH: Final = 60.0
#: Space between two blocks, in heights of a line.
_WIDE_SPACE: Final = 1.5
_BLOCK_LINES: Final = 8


def is_shown(lines: Sequence[Line], name: str) -> bool:
    """Whether a sender line, an address of the web, identifiers below it, the foot or the letterhead names it."""
    plain = [line for line in lines if not line.made]
    texts = [line.text for line in plain]
    number = next((index for index, text in enumerate(texts) if name in text), None)
    if number is None:
        return False
    first = plain[0].parts[0].evidence.page
    page = [[line.text[start:end] for start, end in line.groups] for line in plain if _page(line) == first]
    return (
        any(is_sender_line([line.text[start:end] for start, end in line.groups], name) for line in plain)
        or any(letters(match[1]) in letters(name) for text in texts for match in _DOMAIN.finditer(text))
        or _has_identifiers(plain[number:], name)
        or at_foot(texts, name)
        or (_page(plain[number]) == first and heads_letter(page, number, name))
    )


def _page(line: Line) -> int | None:
    return line.parts[0].evidence.page


def _has_identifiers(lines: Sequence[Line], name: str) -> bool:
    """Contact data or identifiers beside the name, or below it in its column up to the first wide space."""
    start = lines[0].text.index(name)
    left, _ = lines[0].extent(start, start + len(name))
    texts = [lines[0].text[start:]]
    box = lines[0].parts[0].evidence.box
    for line in lines[1 : 1 + _BLOCK_LINES]:
        for begin, end in line.groups:
            place = next(part for part, span in zip(line.parts, line.spans, strict=True) if span[0] >= begin)
            if box is None or place.evidence.box is None or abs(place.left - left) >= _COLUMN_WIDTH:
                continue
            if place.evidence.box[1] - box[3] > _WIDE_SPACE * (box[3] - box[1]):
                return _identify(texts)
            box = place.evidence.box
            texts.append(line.text[begin:end])
    return _identify(texts)


def _identify(texts: Sequence[str]) -> bool:
    return any(CONTACT.search(text) or IDENTIFIER.search(text) for text in texts)
