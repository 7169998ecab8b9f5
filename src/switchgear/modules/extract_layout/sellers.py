"""What shows that the chosen seller is one, beside the legal form of its name, which the recipient has as well."""

from collections.abc import Iterable

from switchgear.invoice.doubts import Doubt, unshown_seller
from switchgear.invoice.party_signs import at_foot, heads_letter, is_sender_line
from switchgear.modules.extract_layout.document import Document
from switchgear.modules.extract_layout.grid import Row
from switchgear.modules.extract_layout.labels import norm
from switchgear.modules.extract_layout.parties import (
    Name,
    Parties,
    domains_of,
    has_domain,
    near_identifiers,
)


def seller_doubts(document: Document, parties: Parties) -> list[Doubt]:
    """A doubt about the seller when only its legal form or its place in a single block of an address speaks for it."""
    name = parties.by_place
    if name is None or name.tokens[0].cell is not None:
        return []
    buyer = parties.buyer.name
    is_buyer = buyer is not None and norm(str(buyer.value)) == norm(name.text)
    return [] if not is_buyer and _is_shown(document, parties, name) else [unshown_seller(name.text)]


def _is_shown(document: Document, parties: Parties, name: Name) -> bool:
    return (
        parties.buyer_is_labelled
        or any(is_sender_line(groups, name.text) for groups in _groups(document.rows))
        or has_domain(name.text, domains_of(document))
        or near_identifiers(document, name.row, name.tokens)
        or any(at_foot(lines, name.text) for lines in _pages(document))
        or heads_letter(_first_page(document), name.row, name.text)
    )


def _pages(document: Document) -> list[list[str]]:
    pages: dict[int, list[str]] = {}
    for row in document.rows:
        pages.setdefault(row.page, []).append(row.text)
    return list(pages.values())


def _first_page(document: Document) -> list[list[str]]:
    rows = [row for row in document.rows if row.page == document.rows[0].page]
    return _groups(rows)


def _groups(rows: Iterable[Row]) -> list[list[str]]:
    return [[" ".join(token.text for token in row.tokens[start:end]) for start, end in row.segments] for row in rows]
