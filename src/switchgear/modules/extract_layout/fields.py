"""Header fields: dates, currency, type, VAT ids, IBAN."""

import re
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, Final

from switchgear.invoice.amounts import count_currencies, find_dates, is_ambiguous, parse_currency
from switchgear.invoice.party_signs import is_debited
from switchgear.invoice.types import Fact, InvoiceType
from switchgear.modules.extract_layout.document import Document
from switchgear.modules.extract_layout.grid import Hit, Token, fact
from switchgear.modules.extract_layout.labels import CREDIT_NOTE_TITLES, INVOICE_TITLES

#: Words that join number and date: "Invoice 4711 dated 5 March".
_CONNECTORS: Final = frozenset({"vom", "von", "du", "van", "del", "le", "dated", "li", "defecha"})

Candidate = tuple[float, Fact[Any]]


def best_of(candidates: Sequence[Candidate]) -> Fact[Any] | None:
    """The candidate with the highest score; of equal ones the first."""
    return max(candidates, key=lambda item: item[0])[1] if candidates else None


# --- dates ----------------------------------------------------------------------------------------------------------


def find_issue_date(document: Document) -> Fact[Any] | None:
    """The issue date: by label, after the number, else the first date that no other label claims."""
    candidates: list[Candidate] = []
    for name, hit in document.of_field("issue_date", "issue_date_weak"):
        joins = "".join(document.rows[hit.row].norms[hit.start : hit.end]) in _CONNECTORS
        if joins and not _follows_number(document, hit):
            continue
        score = 0.95 if name == "issue_date" else 0.85 if joins else 0.8
        candidates += _dates_at(document, hit, score)
        if joins and hit.end == len(document.rows[hit.row].tokens) and hit.row + 1 < len(document.rows):
            # the sentence goes on in the next line
            found = _first_date(document, document.rows[hit.row + 1].tokens[:3])
            if found is not None:
                candidates.append((0.8, fact(found[0], found[1], 0.8)))
    return best_of(candidates) or _unclaimed_date(document)


def _follows_number(document: Document, hit: Hit) -> bool:
    before = [other for other in document.hits_by_row[hit.row] if other.end <= hit.start]
    return any(name.startswith("number") for other in before for name in other.fields)


def find_due_date(document: Document, issued: date | None) -> Fact[Any] | None:
    """The due date by its label; never before the issue date."""
    candidates: list[Candidate] = []
    for _, hit in document.of_field("due_date"):
        candidates += _dates_at(document, hit, 0.9)
    return best_of([item for item in candidates if issued is None or item[1].value >= issued])


def _dates_at(document: Document, hit: Hit, score: float) -> Iterator[Candidate]:
    for place, tokens in enumerate([document.right(hit), *document.below(hit, 2)]):
        found = _first_date(document, tokens)
        if found is not None:
            value, used = found
            sure = score - 0.08 * place
            if is_ambiguous(" ".join(token.text for token in used)) and not document.american:
                sure *= 0.8
            yield sure, fact(value, used, sure)
            return
        if place == 0 and tokens and any(sign.isdigit() for token in tokens for sign in token.text):
            # the label has another value beside it; what stands below belongs to something else
            return


def _first_date(document: Document, tokens: Sequence[Token]) -> tuple[date, list[Token]] | None:
    text, offsets = "", []
    for token in tokens:
        offsets.append((len(text), len(text) + len(token.text)))
        text += token.text + " "
    found = find_dates(text, american=document.american, languages=document.languages)
    if not found or not tokens:
        return None
    value, start, end = found[0]
    used = [token for token, (left, right) in zip(tokens, offsets, strict=True) if left < end and right > start]
    return value, used


def _unclaimed_date(document: Document) -> Fact[Any] | None:
    claimed = {"other", "due_date"}
    first: Fact[Any] | None = None
    for number, row in enumerate(document.rows):
        if any(claimed & set(hit.fields) for hit in document.hits_by_row.get(number, ())):
            continue
        found = _first_date(document, row.tokens)
        if found is None:
            continue
        if any(name.endswith(INVOICE_TITLES) for name in row.norms):
            return fact(found[0], found[1], 0.75)  # in one line with the title
        first = first or fact(found[0], found[1], 0.5)
    return first


# --- currency, type -------------------------------------------------------------------------------------------------


def find_currency(document: Document) -> Fact[Any] | None:
    """The currency by its label, else the one that is written most often."""
    for _, hit in document.of_field("currency"):
        groups = [document.right(hit)[:3], *document.below(hit, 1)]
        for token in [token for group in groups for token in group]:
            code = parse_currency(token.text)
            if code is not None and len(token.text.strip("()[]:;,")) <= 4:
                return fact(code, [token], 0.95)
    votes = count_currencies(row.text for row in document.rows)
    if not votes:
        return None
    code, count = votes.most_common(1)[0]
    share = count / votes.total()
    for row in document.rows:
        for token in row.tokens:
            if count_currencies([f"1 {token.text}", token.text])[code] and not token.text.isdigit():
                return fact(code, [token], 0.9 if share > 0.66 else 0.6)
    return None


def find_type(document: Document) -> Fact[Any] | None:
    """Credit note when a title says so, invoice when a title says that; a word in a sentence is no title."""
    for titles, kind in ((CREDIT_NOTE_TITLES, InvoiceType.CREDIT_NOTE), (INVOICE_TITLES, InvoiceType.INVOICE)):
        for row in document.rows[:80]:
            for start, end in row.segments:
                for length in (3, 2, 1):
                    joined = "".join(row.norms[start : start + length])
                    if joined in titles and end - start <= 8:
                        return fact(kind, row.tokens[start : min(end, start + length)], 0.9)
    return None


# --- identifiers ----------------------------------------------------------------------------------------------------

_VAT_ID: Final = re.compile(
    r"ATU\d{8}|BE[01]\d{9}|BG\d{9,10}|CY\d{8}[A-Z]|CZ\d{8,10}|DE\d{9}|DK\d{8}|EE\d{9}|EL\d{9}|ES[A-Z0-9]\d{7}[A-Z0-9]"
    r"|FI\d{8}|FR[A-Z0-9]{2}\d{9}|GB\d{9}(?:\d{3})?|HR\d{11}|HU\d{8}|IE\d[A-Z0-9]\d{5}[A-Z]{1,2}|IT\d{11}"
    r"|LT\d{9}(?:\d{3})?|LU\d{8}|LV\d{11}|MT\d{8}|NL\d{9}B\d{2}|PL\d{10}|PT\d{9}|RO\d{2,10}|SE\d{12}|SI\d{8}|SK\d{10}"
    r"|XI\d{9}|CHE\d{9}(?:MWST|TVA|IVA)?|NO\d{9}(?:MVA)?"
)
_LABELLED_VAT_ID: Final = re.compile(r"(?=(?:.*\d){6})[A-Z]{2,3}[A-Z0-9]{6,14}|[A-Z]\d{7}[A-Z0-9]")
#: With spaces, dots and dashes; also keeps the patterns from running over endless words.
_LONGEST_VAT_ID: Final = 40
_IBAN_LENGTHS: Final = {
    "AT": 20, "BE": 16, "BG": 22, "CH": 21, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "EE": 20, "ES": 24, "FI": 18,
    "FR": 27, "GB": 22, "GR": 27, "HR": 21, "HU": 28, "IE": 22, "IT": 27, "LI": 21, "LT": 20, "LU": 20, "LV": 21,
    "MC": 27, "MT": 31, "NL": 18, "NO": 15, "PL": 28, "PT": 25, "RO": 24, "SE": 24, "SI": 19, "SK": 24, "SM": 27,
}  # fmt: skip


def _compact(tokens: Sequence[Token]) -> str:
    return re.sub(r"[^A-Z0-9]", "", "".join(token.text for token in tokens).upper())


def vat_ids(document: Document) -> Iterator[tuple[str, list[Token], float, int]]:
    """Every VAT id with its tokens, how sure it is, and its row: labelled ones, then those with a known structure."""
    for name, hit in document.of_field("buyer_vat_id", "vat_id"):
        groups = [document.right(hit), *document.below(hit, 1)]
        for group in groups:
            tokens = _leading(group, _LABELLED_VAT_ID, 5)
            if tokens:
                yield name, tokens, 0.95, hit.row
                break
    for number, row in enumerate(document.rows):
        for start in range(len(row.tokens)):
            if re.match(r"\W*[A-Z]{2}", row.tokens[start].text):
                tokens = _leading(row.tokens[start : row.segment_of(start)[1]], _VAT_ID, 5)
                if tokens:
                    yield "vat_id", tokens, 0.8, number


def _leading(tokens: Sequence[Token], pattern: re.Pattern[str], most: int) -> list[Token] | None:
    """The shortest run of tokens from the start whose letters and digits match *pattern* completely."""
    for length in range(1, min(most, len(tokens)) + 1):
        if sum(len(token.text) for token in tokens[:length]) > _LONGEST_VAT_ID:
            break
        if pattern.fullmatch(_compact(tokens[:length])):
            following = _compact(tokens[length : length + 1])
            if not (following.isdigit() and pattern.fullmatch(_compact(tokens[: length + 1]))):
                return list(tokens[:length])
    return None


def vat_id_text(tokens: Sequence[Token]) -> str:
    """The id without spaces and dots."""
    return _compact(tokens)


def find_iban(document: Document) -> Fact[Any] | None:
    """The seller's IBAN: with right check digits anywhere, or what stands beside the label; not the buyer's account."""
    candidates: list[Candidate] = []
    for number, row in enumerate(document.rows):
        others = [hit for hit in document.hits_by_row.get(number, ()) if "other" in hit.fields]
        theirs = _is_debited(document, number)
        for start in range(len(row.tokens)):
            tokens = _iban_at(row.tokens[start:])
            foreign = any(hit.end <= start and "iban" in row.norms[hit.end - 1] for hit in others)
            if tokens and not theirs and not foreign:
                candidates.append((0.95, fact(_compact(tokens), tokens, 0.95)))
    for _, hit in document.of_field("iban"):
        if _is_debited(document, hit.row):
            continue
        tokens = _labelled_account(document.right(hit)) or next(
            filter(None, map(_labelled_account, document.below(hit, 1))), None
        )
        if tokens:
            candidates.append((0.7, fact(_compact(tokens), tokens, 0.7)))
    return best_of(candidates)


def _is_debited(document: Document, number: int) -> bool:
    page = document.rows[number].page
    return is_debited([row.text for row in document.rows[max(0, number - 1) : number + 1] if row.page == page])


def _iban_at(tokens: Sequence[Token]) -> list[Token] | None:
    first = _compact(tokens[:1])
    length = _IBAN_LENGTHS.get(first[:2])
    if length is None or not re.match(r"[A-Z]{2}\d{2}", first):
        return None
    for count in range(1, min(10, len(tokens)) + 1):
        text = _compact(tokens[:count])
        if len(text) >= length:
            return list(tokens[:count]) if len(text) == length and _check_digits_fit(text) else None
    return None


def _check_digits_fit(iban: str) -> bool:
    return int("".join(str(int(sign, 36)) for sign in iban[4:] + iban[:4])) % 97 == 1


def _labelled_account(tokens: Sequence[Token]) -> list[Token] | None:
    if not tokens:
        return None
    if tokens[0].cell is not None:
        same = [token for token in tokens if token.cell is tokens[0].cell]
        return same if re.fullmatch(r"[A-Z]{0,2}\d{6,32}[A-Z0-9]*", _compact(same)) else None
    used: list[Token] = []
    for token in tokens[:9]:
        text = _compact([token])
        if not text:
            continue
        if not re.fullmatch(r"[A-Z]{2}\d[A-Z0-9]+" if not used else r"\d{1,4}|[A-Z]{4}|[A-Z0-9]{4}", text):
            break
        used.append(token)
    return used if len(_compact(used)) >= 10 else None
