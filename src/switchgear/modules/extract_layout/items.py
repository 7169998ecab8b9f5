"""The table of invoice lines: where it begins and ends, and what each row says."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from switchgear.invoice.types import Fact, Line
from switchgear.modules.extract_layout.document import Amount, Document
from switchgear.modules.extract_layout.grid import Row, Token, fact
from switchgear.modules.extract_layout.labels import column_index

_CENT: Final = Decimal("0.01")
_ADJUSTMENT: Final = re.compile(
    r"rabatt|abschlag|zuschlag|abzgl|zzgl|skonto|discount|remise|sconto|descuento|korting|versandkosten|"
    r"\bbasis\w*betrag|übertrag|carried forward|zwischensumme|subtotal|sous-total|subtotaal",
    re.IGNORECASE,
)
_TAX_TABLE: Final = re.compile(
    r"steueraufschl|zu-? und abschl|steuerbasis|grondslag|vat summary|tax summary|récapitulatif", re.I
)
_ENDS: Final = frozenset({"gross", "net", "tax", "payable"})
_FEWEST_COLUMNS: Final = 3


def find_lines(document: Document) -> tuple[Line, ...]:
    """The invoice lines below each table heading, up to the totals."""
    lines: list[Line] = []
    number = 0
    while number < len(document.rows):
        columns = heading(document.rows, number)
        number += 1
        if columns and not _is_tax_table(document.rows, number - 1):
            found, number = _body(document, number, columns)
            lines += found
    return tuple(lines)


def heading(rows: Sequence[Row], number: int) -> dict[str, Token] | None:
    """Column -> its heading, when the row (or it and the next two) has at least three, an amount among them."""
    found: dict[str, Token] = {}
    page = rows[number].page
    above = [row for row in rows[max(0, number - 2) : number] if row.page == page and not _has_money(row)]
    own = _headings(rows[number])
    if len(own) < 2:
        return None
    for row in rows[number : number + 3]:
        if row.page == page and (row is rows[number] or not _has_money(row)):
            for column, token in _headings(row).items():
                found.setdefault(column, token)
    for row in above:
        for column, token in _headings(row).items():
            if column == "net_amount":
                found.setdefault(column, token)
    money = {"net_amount", "net_price"} & found.keys()
    text = {"description", "quantity", "item_number", "position"} & found.keys()
    return found if len(found) >= _FEWEST_COLUMNS and money and text else None


def _has_money(row: Row) -> bool:
    return any(re.fullmatch(r"[-€$]?\d[\d.,']*[.,]\d{2}", token.text) for token in row.tokens)


def _headings(row: Row) -> dict[str, Token]:
    index = column_index()
    found: dict[str, Token] = {}
    position = 0
    while position < len(row.tokens):
        for length in (3, 2, 1):
            joined = "".join(row.norms[position : position + length])
            if joined in index and row.norms[position]:
                found.setdefault(index[joined], row.tokens[position])
                position += length - 1
                break
        position += 1
    return found


def _is_tax_table(rows: Sequence[Row], number: int) -> bool:
    return any(_TAX_TABLE.search(row.text) for row in rows[max(0, number - 1) : number + 1])


def _body(document: Document, number: int, columns: dict[str, Token]) -> tuple[list[Line], int]:
    lines: list[Line] = []
    while number < len(document.rows):
        if _ends_table(document, number):
            break
        line = _line(document, number, columns)
        if line is not None:
            lines.append(line)
        elif heading(document.rows, number) and lines and _is_tax_table(document.rows, number):
            break
        number += 1
    return lines, number


def _ends_table(document: Document, number: int) -> bool:
    row = document.rows[number]
    if _TAX_TABLE.search(row.text):
        return True
    amounts = [amount for amount in document.amounts_by_row[number] if amount.money]
    kinds = {name for hit in document.hits_by_row.get(number, ()) for name in hit.fields}
    if not amounts and {"net", "tax"} <= kinds and kinds & {"gross", "gross_weak"}:
        return True  # the heading of a VAT table
    for hit in document.hits_by_row.get(number, ()):
        first = row.segment_of(hit.start)[0] == hit.start
        ends = _ENDS & set(hit.fields) or ("gross_weak" in hit.fields and hit.start == 0)
        if ends and first and amounts and amounts[0].start >= hit.end and not _quantity_before(row, hit.start):
            return True
    return bool(re.match(r"\W*(zahlungsbedingungen|zahlungsart|payment terms|belegsummen)", row.text, re.I))


def _quantity_before(row: Row, start: int) -> bool:
    return any(re.fullmatch(r"\d+([.,]\d+)?", token.text) for token in row.tokens[:start])


def _line(document: Document, number: int, columns: dict[str, Token]) -> Line | None:
    row = document.rows[number]
    amounts = document.amounts_by_row[number]
    money = [amount for amount in amounts if amount.money]
    beginning = " ".join(token.text for token in row.tokens[:2])
    if not money or _ADJUSTMENT.search(beginning) or not _words(row):
        return None
    amount = money[-1]
    numbers = [other for other in amounts if other is not amount]
    quantity, price = _factors(numbers, amount)
    if quantity is None and len(money) < 2 and not _under(columns.get("net_amount"), amount):
        return None
    if quantity is None and len(numbers) < 1:
        return None
    description = _description(row, amounts)
    return Line(
        description=fact(" ".join(token.text for token in description), description, 0.7) if description else None,
        quantity=None if quantity is None else fact(quantity.value, quantity.tokens, 0.85),
        net_price=None if price is None else fact(price.value, price.tokens, 0.85),
        vat_rate=_rate(row),
        net_amount=fact(amount.value, amount.tokens, 0.85 if quantity is not None else 0.65),
    )


def _words(row: Row) -> bool:
    return any(sum(sign.isalpha() for sign in token.text) >= 2 for token in row.tokens)


def _under(title: Token | None, amount: Amount) -> bool:
    if title is None:
        return False
    return amount.tokens[-1].x1 >= title.x0 - 20 and amount.tokens[0].x0 <= title.x1 + 30


def _factors(numbers: Sequence[Amount], amount: Amount) -> tuple[Amount | None, Amount | None]:
    """Quantity and unit price whose product is the amount; the quantity stands first."""
    for left in range(len(numbers)):
        for right in range(left + 1, len(numbers)):
            if abs(numbers[left].value * numbers[right].value - amount.value) <= _CENT and numbers[left].value:
                first, second = numbers[left], numbers[right]
                return (second, first) if first.money and not second.money else (first, second)
    return None, None


def _rate(row: Row) -> Fact[Any] | None:
    for index, token in enumerate(row.tokens):
        match = re.fullmatch(r"(\d{1,2}(?:[.,]\d{1,2})?)(%?)", token.text)
        if match and (match[2] or row.norms[index + 1 : index + 2] == ("%",)):
            return fact(Decimal(match[1].replace(",", ".")), [token], 0.8)
    return None


def _description(row: Row, amounts: Sequence[Amount]) -> list[Token]:
    """The longest run of words in one group, without the numbers."""
    used = {index for amount in amounts for index in range(amount.start, amount.end)}
    runs: list[list[Token]] = []
    for start, end in row.segments:
        runs.append([row.tokens[i] for i in range(start, end) if i not in used and "%" not in row.tokens[i].text])
    runs = [run for run in runs if any(sign.isalpha() for token in run for sign in token.text)]
    return max(runs, key=lambda run: sum(len(token.text) for token in run), default=[])
