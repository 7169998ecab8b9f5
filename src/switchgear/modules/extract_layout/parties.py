"""Who sold and who bought: by label, by sender line, by legal form, by place on the page."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rapidfuzz import fuzz

from switchgear.invoice.party_signs import CONTACT, IDENTIFIER, LEGAL_FORM, POSTCODE, is_street
from switchgear.invoice.types import Fact, Party
from switchgear.modules.extract_layout.document import Document
from switchgear.modules.extract_layout.fields import vat_id_text, vat_ids
from switchgear.modules.extract_layout.grid import Hit, Token, fact
from switchgear.modules.extract_layout.labels import CREDIT_NOTE_TITLES, INVOICE_TITLES, norm

_BULLET: Final = re.compile(r"\s*[●•·|∙▪]\s*|\s+[-–—]\s+")
_DOMAIN: Final = re.compile(r"(?:@|www\.|https?://(?:www\.)?)([\w-]+(?:\.[\w-]+)*)\.[a-z]{2,}", re.IGNORECASE)
_BANK: Final = re.compile(
    r"bank\b|\bbank|sparkasse|banque|banca\b|banco\b|raiffeisen|volksbank|iban|swift", re.IGNORECASE
)
_NO_NAME: Final = re.compile(
    r"\b(page|seite|pagina|kopie|copy|original|duplicate|datum|date|nr|gln|gtin|geschäftsführ\w*|ceo|copyright|powered"
    r"|herrn?|frau|attn|z\.? ?hd|t\.a\.v|stylesheet|amtsgericht|www|http\w*|tel|fax|hrb)\b",
    re.IGNORECASE,
)
#: How far below its label a party's block reaches, in rows.
_BLOCK_ROWS: Final = 14
_COLUMN_WIDTH: Final = 60.0
_DOMAIN_BONUS: Final = 0.12
#: Space between two blocks, in heights of a line.
_WIDE_SPACE: Final = 1.5

#: Labels whose words also stand in names.
_HARMLESS: Final = frozenset({"gross_weak", "net", "iban", "issue_date_weak"})
_PRIVATE_DOMAINS: Final = frozenset({"gmail", "gmx", "web", "yahoo", "hotmail", "outlook", "localhost", "t-online"})


@dataclass(frozen=True, slots=True)
class Name:
    """A possible company name."""

    text: str
    tokens: tuple[Token, ...]
    row: int
    score: float


@dataclass(frozen=True, slots=True)
class Parties:
    """Seller and buyer, and what the choice of the seller rests on."""

    seller: Party
    buyer: Party
    by_place: Name | None  #: the seller's name when no label says that it is one
    buyer_is_labelled: bool


def find_parties(document: Document) -> Parties:
    """Seller and buyer, each with name and VAT id as far as found."""
    labelled_seller = _labelled(document, "seller")
    labelled_buyer = _labelled(document, "buyer")
    by_place = None if labelled_seller is not None else _seller_by_place(document, labelled_buyer)
    seller = labelled_seller or by_place
    buyer = labelled_buyer or _recipient_below_sender_line(document)
    if seller is not None and buyer is not None and norm(seller.text) == norm(buyer.text):
        buyer = None
    seller_vat, buyer_vat = _split_vat_ids(document)
    return Parties(_party(seller, seller_vat), _party(buyer, buyer_vat), by_place, labelled_buyer is not None)


def _party(name: Name | None, vat: Fact[Any] | None) -> Party:
    return Party(name=None if name is None else fact(name.text, name.tokens, name.score), vat_id=vat)


# --- by label -------------------------------------------------------------------------------------------------------


def _labelled(document: Document, field: str) -> Name | None:
    for _, hit in document.of_field(field):
        if not _is_section(document, hit):
            continue
        beside = _first_group(document.right(hit))
        under = [] if beside and beside[0].cell is not None else document.below(hit, 5)
        for place, group in enumerate([beside, *under]):
            name = _as_name(document, group, hit.row, 0.92 if place == 0 else 0.9)
            if name is not None:
                return _with_second_line(document, name, under[place] if place < len(under) else [])
            if group and place and not _is_identifier(document, group, hit.row):
                break
    return None


def _with_second_line(document: Document, name: Name, following: Sequence[Token]) -> Name:
    """Join a name with the line below it when only that one carries the legal form."""
    second = _as_name(document, following, name.row, name.score)
    if second is None or not LEGAL_FORM.search(second.text) or LEGAL_FORM.search(name.text):
        return name
    shared = {token.norm for token in name.tokens} & {token.norm for token in second.tokens}
    if shared or len(second.text.split()) > 5:
        return name
    return Name(f"{name.text} {second.text}", (*name.tokens, *second.tokens), name.row, name.score)


def _is_section(document: Document, hit: Hit) -> bool:
    """Whether the label begins a group and is not a word of a sentence."""
    start, end = document.rows[hit.row].segment_of(hit.start)
    closed = document.rows[hit.row].tokens[hit.end - 1].text.endswith(":")
    return start == hit.start and (end == hit.end or closed or norm(document.rows[hit.row].tokens[hit.end].text) == "")


def _first_group(tokens: Sequence[Token]) -> list[Token]:
    group: list[Token] = []
    for token in tokens:
        if group and (token.cell is not group[-1].cell or token.x0 - group[-1].x1 > 8):
            break
        if token.norm or group:
            group.append(token)
    return group


def _is_identifier(document: Document, group: Sequence[Token], row: int) -> bool:
    """A line such as `GLN: 4000001123452` or `Nummer : 549910` stands between a section's title and its name."""
    digits = sum(sign.isdigit() for token in group for sign in token.text)
    return digits >= 3 or _holds_label(document, row, group)


def _as_name(document: Document, group: Sequence[Token], row: int, score: float) -> Name | None:
    if not group:
        return None
    text = " ".join(token.text for token in group).strip(" ,;:|-")
    parts = _BULLET.split(text)
    text = parts[0].strip(" ,;:") if parts else text
    if not _could_be_name(text) or (group[0].cell is None and _holds_label(document, row, group)):
        return None
    kept = list(group)[: max(1, len(text.split()))]
    return Name(text, tuple(kept), row, score)


def _could_be_name(text: str) -> bool:
    """Whether a line may be the name of a company or a person: letters, no street, no contact data, no title."""
    letters = sum(sign.isalpha() for sign in text)
    digits = sum(sign.isdigit() for sign in text)
    compact = norm(text)
    return (
        letters >= 3
        and text[0] not in "(["
        and digits <= max(2, letters // 3)
        and len(text) <= 90
        and not CONTACT.search(text)
        and not (_NO_NAME.search(text) and not LEGAL_FORM.search(text))
        and not (text[0].islower() and len(compact) <= 3)
        and not is_street(text)
        and compact not in INVOICE_TITLES
        and compact not in CREDIT_NOTE_TITLES
    )


def _holds_label(document: Document, row: int, group: Sequence[Token]) -> bool:
    """Whether the group is a label of something else; a name may well begin with the word "Lieferant"."""
    for number in range(row, min(row + 24, len(document.rows))):
        for hit in document.hits_by_row.get(number, ()):
            if not any(document.rows[number].tokens[hit.start] is token for token in group):
                continue
            fields = set(hit.fields)
            if fields & {"seller", "buyer"} and not _is_section(document, hit):
                continue
            if not fields <= _HARMLESS:
                return True
    return False


# --- by place -------------------------------------------------------------------------------------------------------


def _seller_by_place(document: Document, buyer: Name | None) -> Name | None:
    domains = domains_of(document)
    names: dict[str, Name] = {}
    counts: dict[str, int] = {}
    for name in (*_sender_lines(document), *_companies(document), *_heads(document)):
        key = norm(name.text)
        if not key or (buyer is not None and key == norm(buyer.text)):
            continue
        counts[key] = counts.get(key, 0) + 1
        score = name.score + (_DOMAIN_BONUS if has_domain(name.text, domains) else 0.0)
        known = names.get(key)
        if known is None or score > known.score:
            names[key] = Name(name.text, name.tokens, name.row, score)
    ranked = sorted(names.values(), key=lambda n: (-(n.score + 0.05 * min(3, counts[norm(n.text)] - 1)), n.row))
    if not ranked:
        return None
    best = ranked[0]
    return Name(best.text, best.tokens, best.row, min(0.9, best.score))


def domains_of(document: Document) -> set[str]:
    """The names in addresses of mail and web, without those of mail providers."""
    return {
        norm(match[1].split(".")[-1])
        for row in document.rows
        for match in _DOMAIN.finditer(row.text)
        if match[1].split(".")[-1].lower() not in _PRIVATE_DOMAINS
    }


def has_domain(text: str, domains: set[str]) -> bool:
    """Whether a company has one of these addresses."""
    plain = norm(LEGAL_FORM.sub("", text))
    return any(len(domain) >= 4 and fuzz.partial_ratio(domain, plain) >= 90 for domain in domains)


def _segments(document: Document) -> Iterator[tuple[int, int, list[Token]]]:
    for number, row in enumerate(document.rows):
        for start, end in row.segments:
            yield number, start, list(row.tokens[start:end])


def _sender_lines(document: Document) -> Iterator[Name]:
    """`Name ● Street 12 ● 12345 City` above the recipient, or the same with commas."""
    for number, _, group in _segments(document):
        text = " ".join(token.text for token in group)
        parts = _BULLET.split(text)
        if len(parts) < 3:
            parts = [part.strip() for part in text.split(",")]
        if len(parts) >= 3 and any(POSTCODE.search(part) for part in parts[1:]) and _could_be_name(parts[0]):
            name = parts[0].strip(" ,")
            if re.search(r"\d", name) or _BANK.search(name):
                continue  # a street or a bank: the name is not in this line
            yield Name(name, tuple(group[: max(1, len(name.split()))]), number, 0.85)


def _companies(document: Document) -> Iterator[Name]:
    """Groups of words that end in a legal form; better near the top or the foot than in the middle of a text."""
    sections = _sections(document)
    last = document.rows[-1].page if document.rows else 1
    spans = _page_spans(document)
    for number, _, group in _segments(document):
        text = _BULLET.split(" ".join(token.text for token in group))[0].strip(" ,;:")
        match = LEGAL_FORM.search(text)
        if (
            match is None
            or match.start() == 0
            or re.search(r"\d\s*$", text[: match.start()])
            or _BANK.search(text)
            or not _could_be_name(text)
        ):
            continue
        if len(text.split()) > 8 or _in_section(document, sections, number, group) == "buyer":
            continue
        row = document.rows[number]
        first, count = spans[row.page]
        place = (number - first) / count
        score = 0.72 if (row.page == 1 and place < 0.25) else 0.66 if place > 0.8 and row.page in (1, last) else 0.58
        if near_identifiers(document, number, group):
            score += 0.1
        name = Name(text, tuple(group[: max(1, len(text.split()))]), number, score)
        yield _with_line_above(document, name) if place < 0.1 else name


def _page_spans(document: Document) -> dict[int, tuple[int, int]]:
    """Page -> its first row and how many it has."""
    spans: dict[int, tuple[int, int]] = {}
    for number, row in enumerate(document.rows):
        first, count = spans.get(row.page, (number, 0))
        spans[row.page] = (first, count + 1)
    return spans


def _with_line_above(document: Document, name: Name) -> Name:
    """At the head of the page a name may take two lines, of which the second carries the legal form."""
    first = name.tokens[0]
    if name.row == 0 or first.cell is not None:
        return name
    row = document.rows[name.row - 1]
    for start, end in row.segments:
        above = row.tokens[start:end]
        close = abs(above[0].x0 - first.x0) < 3 and first.top - above[0].bottom < first.bottom - first.top
        upper = _as_name(document, above, name.row - 1, name.score) if close and row.page == first.page else None
        if upper is not None and not LEGAL_FORM.search(upper.text):
            return _with_second_line(document, upper, name.tokens)
    return name


def near_identifiers(document: Document, number: int, group: Sequence[Token]) -> bool:
    """Contact data, VAT id or IBAN beside the group or in the lines below it that belong together."""
    row = document.rows[number]
    beside = " ".join(token.text for token in row.tokens[row.tokens.index(group[0]) :])
    below = (" ".join(token.text for token in tokens) for tokens in _block_below(document, number, group))
    return any(CONTACT.search(text) or IDENTIFIER.search(text) for text in (beside, *below))


def _block_below(document: Document, number: int, group: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """Groups in the same column, up to the first wide space; the rows of a sheet belong together."""
    first = group[0]
    bottom, height = first.bottom, first.bottom - first.top
    for row in document.rows[number + 1 : number + 9]:
        for start, end in row.segments:
            if row.page == first.page and abs(row.tokens[start].x0 - first.x0) < _COLUMN_WIDTH:
                if first.cell is None and row.tokens[start].top - bottom > _WIDE_SPACE * height:
                    return
                bottom = row.tokens[start].bottom
                yield row.tokens[start:end]


def _heads(document: Document) -> Iterator[Name]:
    """The first groups of the first page: a letterhead without a legal form."""
    found = 0
    sections = _sections(document)
    for number, start, group in _segments(document):
        text = " ".join(token.text for token in group)
        if _in_section(document, sections, number, group) == "buyer":
            continue
        labels = any(hit.start == start for hit in document.hits_by_row.get(number, ()))
        if labels or not _could_be_name(text) or re.search(r"\d", text) or len(text.split()) > 7:
            continue
        bonus = 0.06 if near_identifiers(document, number, group) else 0.0
        address = 0.1 if _address_follows(document, number, group) else 0.0
        # at most 0.58: a letterhead without a legal form may as well be the recipient's
        yield Name(text.strip(" ,;:"), tuple(group), number, 0.42 - 0.03 * found + bonus + address)
        found += 1
        if found >= 5:
            return


def _address_follows(document: Document, number: int, group: Sequence[Token]) -> bool:
    for row in document.rows[number + 1 : number + 6]:
        for start, end in row.segments:
            same = abs(row.tokens[start].x0 - group[0].x0) < 8
            if same and POSTCODE.search(" ".join(token.text for token in row.tokens[start:end])):
                return True
    return False


def _recipient_below_sender_line(document: Document) -> Name | None:
    for sender in _sender_lines(document):
        first = sender.tokens[0]
        for number in range(sender.row + 1, min(sender.row + 5, len(document.rows))):
            row = document.rows[number]
            for start, end in row.segments:
                if abs(row.tokens[start].x0 - first.x0) < _COLUMN_WIDTH and row.page == first.page:
                    name = _as_name(document, row.tokens[start:end], number, 0.65)
                    if name is not None:
                        return name
    return None


# --- sections and VAT ids -------------------------------------------------------------------------------------------


def _sections(document: Document) -> list[tuple[str, Hit]]:
    return [(name, hit) for name, hit in document.of_field("seller", "buyer") if _is_section(document, hit)]


def _in_section(
    document: Document, sections: Sequence[tuple[str, Hit]], row: int, tokens: Sequence[Token]
) -> str | None:
    """The party whose block the tokens stand in: the nearest title above in the same column."""
    for name, hit in reversed(sections):
        title = document.rows[hit.row].tokens[hit.start]
        near = 0 <= row - hit.row <= _BLOCK_ROWS and title.page == document.rows[row].page
        if near and -_COLUMN_WIDTH / 4 <= tokens[0].x0 - title.x0 <= 2 * _COLUMN_WIDTH:
            return name
    return None


def _split_vat_ids(document: Document) -> tuple[Fact[Any] | None, Fact[Any] | None]:
    sections = _sections(document)
    sellers: list[tuple[float, Fact[Any]]] = []
    buyers: list[tuple[float, Fact[Any]]] = []
    for field, tokens, score, row in vat_ids(document):
        place = "buyer" if field == "buyer_vat_id" else _in_section(document, sections, row, tokens)
        found = fact(vat_id_text(tokens), tokens, score)
        if place == "buyer":
            buyers.append((score + (field == "buyer_vat_id"), found))
        else:
            sellers.append((score + (0.1 if place == "seller" else 0.0), found))
    named = {item[1].value for item in buyers if item[0] > 1}
    sellers = [item for item in sellers if item[1].value not in named]
    seller = max(sellers, key=lambda item: item[0])[1] if sellers else None
    others = [item for item in buyers if seller is None or item[1].value != seller.value]
    return seller, (max(others, key=lambda item: item[0])[1] if others else None)
