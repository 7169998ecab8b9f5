"""The number of the invoice: by its label, under it, or right after the title; whole when strokes join its parts."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from switchgear.invoice.amounts import find_dates, parse_date
from switchgear.invoice.doubts import Doubt
from switchgear.invoice.types import Fact
from switchgear.modules.extract_layout.document import Document
from switchgear.modules.extract_layout.grid import Hit, Token, fact, is_gap
from switchgear.modules.extract_layout.labels import CREDIT_NOTE_TITLES, INVOICE_TITLES

_NUMBER_SHAPE: Final = re.compile(r"(?=.*\d)[A-Za-z0-9#][\w\-/.#+]{0,34}", re.ASCII)
_PREFIX: Final = re.compile(r"[A-Z]{1,5}[-.]?")
_FILLERS: Final = frozenset({"", "nr", "no", "number", "nummer", "n", "#", "num", "numero", "nro", "id"})
_NUMBER_MARKS: Final = frozenset({"nr", "no", "nummer", "number", "#", "n", "numero"})
_STROKES: Final = "/–-"
_STROKE: Final = re.compile(rf"[{_STROKES}]")


def find_number(document: Document) -> tuple[Fact[Any] | None, list[Doubt]]:
    """The invoice number: beside or under its label, or right after the title; a doubt when it may go on."""
    candidates: list[tuple[float, Sequence[Token]]] = []
    for name, hit in document.of_field("number", "number_weak"):
        strong = name == "number"
        tokens: Sequence[Token] | None = _number_tokens(document, document.right(hit), strong)
        score = 0.95 if strong else 0.7
        if tokens is None and (strong or _is_heading(document, hit)):
            groups = document.below(hit, 1)
            tokens = _number_tokens(document, groups[0], strong) if groups else None
            score -= 0.1
        if tokens:
            candidates.append((score, tokens))
    candidates += _after_title(document)
    if not candidates:
        return None, []
    best, used = max(candidates, key=lambda item: item[0])
    following = _goes_on(document, used)
    doubts = [Doubt("/number", f"it may go on with {following[:20]}")] if following else []
    return fact(_value(used), used, best), doubts


def _value(tokens: Sequence[Token]) -> str:
    return " ".join(filter(None, (token.text.strip(" .,;:()") for token in tokens)))


def labelled_numbers(document: Document) -> Iterator[tuple[str, str]]:
    """Each label of a number that begins a group of words, with the number beside or under it."""
    for _, hit in document.of_field("number"):
        row = document.rows[hit.row]
        if row.segment_of(hit.start)[0] != hit.start:
            continue
        groups = [document.right(hit), *document.below(hit, 1)]
        tokens = next(filter(None, (_number_tokens(document, group, strong=True) for group in groups)), None)
        if tokens:
            yield "".join(row.norms[hit.start : hit.end]), _value(tokens)


def _after_title(document: Document) -> Iterator[tuple[float, Sequence[Token]]]:
    """`Mietrechnung Nr. 17`, `Rechnung des Versicherers Nr. 17`: a compound or a longer title before the number."""
    titles = (*INVOICE_TITLES, *CREDIT_NOTE_TITLES)
    for number, row in enumerate(document.rows):
        others = [hit for hit in document.hits_by_row.get(number, ()) if "other" in hit.fields]
        for start, end in row.segments:
            first = row.norms[start]
            if not first.endswith(titles):
                continue
            mark = next((i for i in range(start + 1, min(end, start + 6)) if row.norms[i] in _NUMBER_MARKS), None)
            if mark is None or any(start <= hit.start <= mark for hit in others):
                continue
            tokens = _number_tokens(document, row.tokens[mark + 1 : end], strong=True)
            if tokens:
                yield 0.88, tokens


def _is_heading(document: Document, hit: Hit) -> bool:
    start, end = document.rows[hit.row].segment_of(hit.start)
    return (start, end) == (hit.start, hit.end) and len(document.rows[hit.row].segments) > 1


def _number_tokens(document: Document, tokens: Sequence[Token], strong: bool) -> list[Token] | None:
    rest = [token for token in tokens if token.norm not in _FILLERS]
    if not rest:
        return None
    first = rest[0]
    if first.cell is not None and strong:
        same = [token for token in rest if token.cell is first.cell]
        return same if any(sign.isdigit() for token in same for sign in token.text) else None
    if _PREFIX.fullmatch(first.text) and len(rest) > 1 and _looks_like_number(document, rest[1]):
        return [first, *_whole(document, tokens[tokens.index(rest[1]) :])]
    if not _looks_like_number(document, first) or not (strong or len(first.norm) >= 3):
        return None
    return _whole(document, tokens[tokens.index(first) :])


def _whole(document: Document, tokens: Sequence[Token]) -> list[Token]:
    """The first token and those that strokes join to it: `2024 / 17`."""
    count = 1
    while count < len(tokens) and not is_gap(tokens[count - 1], tokens[count]):
        alone = _STROKE.fullmatch(tokens[count].text) is not None
        if not (alone or tokens[count - 1].text[-1] in _STROKES or tokens[count].text[0] in _STROKES):
            break
        end = count + 1 + alone
        part = "".join(token.text for token in tokens[end - 1 : end])
        if not any(sign.isdigit() for sign in part) or _is_date(document, tokens[end - 1 :]):
            break
        count = end
    return list(tokens[:count])


def _goes_on(document: Document, tokens: Sequence[Token]) -> str:
    """A word with digits right behind the number that is no date, amount or label: it may be a part of it."""
    row = next((row for row in document.rows if any(token is tokens[-1] for token in row.tokens)), None)
    if row is None or tokens[-1].cell is not None:
        return ""
    index = next(index for index, token in enumerate(row.tokens) if token is tokens[-1]) + 1
    rest = row.tokens[index:]
    if not rest or is_gap(tokens[-1], rest[0]) or not _looks_like_number(document, rest[0]) or _is_date(document, rest):
        return ""
    return rest[0].text


def _is_date(document: Document, tokens: Sequence[Token]) -> bool:
    text = " ".join(token.text for token in tokens[:4]).lstrip("/-–")
    found = find_dates(text, american=document.american, languages=document.languages)
    return bool(found) and found[0][1] == 0


def _looks_like_number(document: Document, token: Token) -> bool:
    text = token.text.strip(" .,;:()")
    if not _NUMBER_SHAPE.fullmatch(text) or re.fullmatch(r"\d{1,3}([.,]\d{3})*[.,]\d{2}", text):
        return False
    return parse_date(text, american=document.american, languages=document.languages) is None
