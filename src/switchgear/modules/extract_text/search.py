"""Reads the fields from lines: a label by pattern, then the value behind it in the same line."""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

from switchgear.invoice import rules
from switchgear.invoice.amounts import (
    NUMBER,
    DecimalMark,
    amount_of,
    beside_currency,
    count_currencies,
    document_mark,
    find_dates,
    month_first,
    parse_currency,
    parse_date,
)
from switchgear.invoice.doubts import Doubt, date_doubts, kind_doubts, open_amounts, unshown_seller
from switchgear.invoice.page_signs import speaks_english
from switchgear.invoice.party_signs import LEGAL_FORM, is_debited, is_street
from switchgear.invoice.several import several_numbers
from switchgear.invoice.types import Fact, InvoiceFields, InvoiceType, Party, Payment, Totals
from switchgear.invoice.types import Line as InvoiceLine
from switchgear.modules.extract_text.columns import column_values
from switchgear.modules.extract_text.lines import Line
from switchgear.modules.extract_text.patterns import FOREIGN, pattern
from switchgear.modules.extract_text.sellers import is_shown
from switchgear.modules.extract_text.sums import find_sums

_NUMBER_SHAPE: Final = re.compile(r"\s*(?:[A-Z]{1,4}\s(?=\d))?(?=\S*\d)[A-Za-z0-9][\w\-/.#+]*[\w]|\s*\d")
_AMOUNT: Final = re.compile(r"\d{1,3}(?:[.,]\d{3})*[.,]\d{2}")
#: A further part of a number behind a stroke, and a word with digits right behind it.
_NUMBER_PART: Final = re.compile(r"\s?[/–-]\s?(\w*\d[\w./-]*)")
_NUMBER_BEHIND: Final = re.compile(r" (\S*\d\S*)")
_CURRENCY: Final = re.compile(r"\s*\(?([A-Z]{3}(?![A-Za-z])|[€$£])")
_IBAN: Final = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_ACCOUNT: Final = re.compile(r"[A-Z]{0,2}\d[\d ]{5,33}")
_VAT_ID: Final = re.compile(r"(?:(?:ATU|CHE-?|[A-Z]{2})[ -]?(?:\d[ .]?){2,12}(?:B\d{2})?|[A-Z]\d{7}[A-Z0-9]|\d{11})")
_COMPANY: Final = re.compile(
    r"[^\W\d_][\w&.,'+ -]{1,70}?[ ](?:(?:GmbH|GMBH)(?: & Co\.? KG)?|AG|KG|OHG|UG|e\.V\.|a\.G\.|Ltd\.?|Limited|LLC|PLC"
    r"|Inc\.?|B\.V\.|BV|N\.V\.|NV|SARL|SAS|S\.A\.|SA|S\.r\.l\.|SRL|S\.p\.A\.|SpA|S\.L\.|SL|AB|AS|Oy|HB)(?![\w])"
)
_MOST_AMOUNTS: Final = 40
_BANK: Final = re.compile(r"bank|sparkasse|banque|banca|banco", re.IGNORECASE)
_CREDIT_NOTE: Final = re.compile(
    r"\b(?:rechnungs-?korrektur|gutschrift|stornorechnung|credit (?:note|memo)|avoir|nota di credito|creditnota)\b",
    re.I,
)
_INVOICE: Final = re.compile(r"\b\w{0,30}(?:rechnung|invoice|facture|fattura|factura|factuur)\b", re.IGNORECASE)

Reader = Callable[[Line, int], Fact[Any] | None]


class Search:
    """One document: its lines, languages, and how it writes numbers and dates."""

    def __init__(self, lines: Sequence[Line], languages: tuple[str, ...]) -> None:
        self._lines = lines
        self._languages = languages
        texts = [line.text for line in lines]
        self._mark, self._shown_mark = document_mark(texts, languages[0])
        self._english = speaks_english(texts)
        self._american = month_first(texts)
        self._totals_doubts: list[Doubt] = []
        self._seller_doubts: list[Doubt] = []
        self._texts = [line.text for line in lines if not line.made]
        self._kind_doubts = kind_doubts(self._texts)
        self._behind: dict[str, str] = {}

    def fields(self) -> InvoiceFields:
        """Everything that was found."""
        number, totals = self._first("number", self._number), self._totals()
        if number is None and totals == Totals():
            # names and dates stand on every letter; without a number or an amount they do not make an invoice
            return InvoiceFields()
        issued = self._first("issue_date", self._date) or self._any_date()
        due = self._first("due_date", self._date)
        if due is not None and issued is not None and due.value < issued.value:
            due = None
        seller, buyer = self._parties()
        return InvoiceFields(
            type=None if self._kind_doubts else self._type(),
            number=number,
            issue_date=issued,
            due_date=due,
            currency=self._first("currency", self._currency) or self._voted_currency(),
            seller=seller,
            buyer=buyer,
            payment=Payment(iban=self._first("iban", self._iban) or self._first("iban", self._account)),
            lines=tuple(self._items()),
            totals=totals,
        )

    def doubts(self, fields: InvoiceFields) -> list[Doubt]:
        """What is doubtful in what was found."""
        exact = {
            (part.evidence.sheet, part.evidence.address) for line in self._lines for part in line.parts if part.exact
        }
        behind = self._behind.get(fields.number.value) if fields.number is not None else None
        return [
            *([Doubt("/number", f"it may go on with {behind[:20]}")] if behind else []),
            *self._kind_doubts,
            *date_doubts(fields, self._texts, american=self._american),
            *self._totals_doubts,
            *self._seller_doubts,
            *several_numbers(self._labelled_numbers()),
            *self._other_rows(),
            *open_amounts(fields, self._shown_mark, english=self._english, exact=exact),
        ]

    def _labelled_numbers(self) -> Iterator[tuple[str, str]]:
        for line, match in self._labels("number"):
            begins = any(start == match.start() for start, _ in line.groups)
            fact = self._number(line, match.end()) if begins else None
            if fact is not None:
                yield match[0], str(fact.value)

    def _other_rows(self) -> Iterator[Doubt]:
        """Rows of a sheet that state another number, seller or total than the first one."""
        pointers = {"number": "/number", "seller": "/seller/name", "gross": "/totals/gross"}
        for field, pointer in pointers.items():
            values = column_values(self._lines, field, self._languages)
            if len(values) > 1:
                named = ", ".join(value[:40] for value in values[:5])
                yield Doubt(pointer, f"the rows of the sheet differ: {named}")

    # --- labels ---

    def _labels(self, field: str) -> Iterator[tuple[Line, re.Match[str]]]:
        compiled = pattern(field, self._languages)
        for line in self._lines:
            for match in compiled.finditer(line.text):
                if not FOREIGN.search(line.text[: match.start()]):
                    yield line, match

    def _first(self, field: str, read: Reader) -> Fact[Any] | None:
        """The first value behind a label; one that follows a colon or a gap counts as well as one that follows it."""
        for line, match in self._labels(field):
            fact = read(line, match.end())
            if fact is not None:
                return fact
        return None

    # --- readers of one value ---

    def _number(self, line: Line, start: int) -> Fact[Any] | None:
        match = _NUMBER_SHAPE.match(line.text, start)
        if match is None or parse_date(match[0].strip(), american=self._american) is not None:
            return None
        value, end = match[0].strip(), match.end()
        if _AMOUNT.fullmatch(value):
            return None
        begin = end - len(value)
        while (part := _NUMBER_PART.match(line.text, end)) is not None and not self._is_date(part[1]):
            end = part.end()
        more = _NUMBER_BEHIND.match(line.text, end)
        if more and not _AMOUNT.fullmatch(more[1]) and not self._is_date(line.text[end:].lstrip(" /-–")):
            self._behind[line.text[begin:end]] = more[1]
        return line.fact(line.text[begin:end], begin, end, 0.8)

    def _is_date(self, text: str) -> bool:
        found = find_dates(text[:30], american=self._american, languages=self._languages)
        return bool(found) and found[0][1] == 0

    def _date(self, line: Line, start: int) -> Fact[Any] | None:
        found: list[tuple[date, int, int]] = find_dates(
            line.text[start : start + 40], american=self._american, languages=self._languages
        )
        if not found or found[0][1] > 12:
            return None
        value, left, right = found[0]
        return line.fact(value, start + left, start + right, 0.8)

    def _currency(self, line: Line, start: int) -> Fact[Any] | None:
        match = _CURRENCY.match(line.text, start)
        code = parse_currency(match[1]) if match else None
        return None if match is None or code is None else line.fact(code, match.start(1), match.end(1), 0.85)

    def _iban(self, line: Line, start: int) -> Fact[Any] | None:
        match = None if self._is_debited(line) else _IBAN.search(line.text, start)
        return None if match is None else line.fact(match[0].replace(" ", ""), match.start(), match.end(), 0.8)

    def _account(self, line: Line, start: int) -> Fact[Any] | None:
        match = None if self._is_debited(line) else _ACCOUNT.match(line.text, start)
        return None if match is None else line.fact(match[0].replace(" ", ""), start, match.end(), 0.6)

    def _is_debited(self, line: Line) -> bool:
        index = next((number for number, other in enumerate(self._lines) if other is line), 0)
        return is_debited([other.text for other in self._lines[max(0, index - 1) : index + 1]])

    def _vat_id(self, line: Line, start: int) -> Fact[Any] | None:
        match = _VAT_ID.match(line.text, start + (len(line.text[start:]) - len(line.text[start:].lstrip(" #:"))))
        if match is None:
            return None
        return line.fact(re.sub(r"[^A-Z0-9]", "", match[0]), match.start(), match.end(), 0.8)

    # --- without labels ---

    def _any_date(self) -> Fact[Any] | None:
        for line in self._lines[:40]:
            found = find_dates(line.text, american=self._american, languages=self._languages)
            if found and not pattern("due_date", self._languages).search(line.text):
                return line.fact(found[0][0], found[0][1], found[0][2], 0.5)
        return None

    def _voted_currency(self) -> Fact[Any] | None:
        votes = count_currencies(line.text for line in self._lines)
        if not votes:
            return None
        code = votes.most_common(1)[0][0]
        for line in self._lines:
            for match in re.finditer(r"[€$£]|\b[A-Z]{3}\b|\b[Ee]uros?\b|US Dollars?", line.text):
                if parse_currency(match[0]) == code or (match[0].startswith("US D") and code == "USD"):
                    return line.fact(code, match.start(), match.end(), 0.75)
        return None

    def _type(self) -> Fact[Any] | None:
        for wanted, kind in ((_CREDIT_NOTE, InvoiceType.CREDIT_NOTE), (_INVOICE, InvoiceType.INVOICE)):
            for line in self._lines[:40]:
                match = wanted.search(line.text)
                if match and len(line.text.split()) <= 10:
                    return line.fact(kind, match.start(), match.end(), 0.8)
        return None

    # --- parties ---

    def _parties(self) -> tuple[Party, Party]:
        buyer = self._party_name("buyer")
        seller = self._party_name("seller")
        if seller is None and (seller := self._company(buyer)) is not None and buyer is None:
            self._seller_doubts = [] if is_shown(self._lines, seller.value) else [unshown_seller(seller.value)]
        seller = seller or self._sheet_title()
        return Party(name=seller, vat_id=self._first("vat_id", self._vat_id)), Party(name=buyer)

    def _party_name(self, field: str) -> Fact[Any] | None:
        compiled = pattern(field, self._languages)
        # headings that were joined with what stands below them say it best
        for index, line in sorted(enumerate(self._lines), key=lambda item: not item[1].made):
            match = compiled.match(line.text)
            if match is None or LEGAL_FORM.fullmatch(re.split(r"\s{2,}", line.text[match.end() :].strip())[0]):
                continue  # a company that is called Lieferant GmbH
            if not (match.end() == len(line.text) or re.search(r":|\s{2}", match[0]) or line.made):
                continue
            if line.parts[0].source == "sheet" or line.text[match.end() :].strip():
                found = self._name_in(line, match.end(), strict=line.parts[0].source != "sheet")
                if found is not None:
                    return found
            for below in self._lines[index + 1 : index + 5]:
                if any(is_street(below.text[left:right]) for left, right in below.groups[:1]):
                    break  # the address has begun without a name
                found = self._name_in(below, 0, strict=True)
                if found is not None:
                    return found
        return None

    def _name_in(self, line: Line, start: int, *, strict: bool) -> Fact[Any] | None:
        group = next(((left, right) for left, right in line.groups if right > start), None)
        if group is None:
            return None
        left, right = max(group[0], start), group[1]
        text = line.text[left:right].strip(" :,")
        if line.text[right:].lstrip().startswith(":"):
            return None
        if not text or LEGAL_FORM.fullmatch(text):
            return None
        if strict and (re.search(r"\d|:", text) or len(text) < 4 or is_street(text)):
            return None
        left = line.text.index(text, left)
        return line.fact(text, left, left + len(text), 0.75)

    def _company(self, buyer: Fact[Any] | None) -> Fact[Any] | None:
        for line in self._lines:
            if line.parts[0].source == "sheet":
                return None
            for match in _COMPANY.finditer(line.text):
                name = re.split(r"\s[●•·|-]\s|\s{2,}", match[0])[-1].strip(" ,")
                if (
                    not _BANK.search(name)
                    and len(name) > 4
                    and name[0].isalpha()
                    and (buyer is None or buyer.value != name)
                ):
                    start = match.end() - len(match[0].rstrip(" ,")) if name == match[0].strip(" ,") else match.start()
                    return line.fact(name, start, match.end(), 0.6)
        return None

    def _sheet_title(self) -> Fact[Any] | None:
        line = self._lines[0]
        if len(line.parts) == 1 and line.parts[0].source == "sheet" and not re.search(r"\d", line.text):
            return line.fact(line.text, 0, len(line.text), 0.7)
        return None

    # --- amounts ---

    def _amounts(self, line: Line, start: int) -> list[tuple[Decimal, int, int]]:
        """Amounts behind *start*: two decimals, a currency, or a cell of their own; a percentage is none."""
        cells = {span: part for part, span in zip(line.parts, line.spans, strict=True) if part.source == "sheet"}
        found: list[tuple[Decimal, int, int]] = []
        for match in NUMBER.finditer(line.text, start):
            cell = cells.get(match.span())
            money = cell is not None or beside_currency(line.text, match.start(), match.end())
            mark: DecimalMark | None = self._shown_mark if money else self._mark
            value = amount_of(match, "." if cell is not None and cell.exact else mark)
            if value is None or re.match(r"\s?%", line.text[match.end() :]):
                continue
            if money or value.as_tuple().exponent == -2:
                found.append((value, match.start(), match.end()))
        return found

    def _totals(self) -> Totals:
        found = {field: self._labelled_amounts(field) for field in ("gross", "net", "tax", "payable", "prepaid")}
        totals, self._totals_doubts = find_sums(found)
        return totals

    def _next_label(self, line: Line, start: int) -> int:
        """Where the next group begins that is a label of a total, so that each label has its own amounts."""
        for begin, _ in line.groups:
            labels = (pattern(field, self._languages) for field in ("gross", "net", "tax", "payable", "prepaid"))
            if begin >= start and any(label.match(line.text, begin) for label in labels):
                return begin
        return len(line.text)

    def _labelled_amounts(self, field: str) -> list[Fact[Any]]:
        facts: dict[Decimal, Fact[Any]] = {}
        for line, match in self._labels(field):
            amounts = self._amounts(line, match.end())
            following = self._next_label(line, match.end())
            amounts = [amount for amount in amounts if amount[2] <= following] or amounts
            if amounts:
                value, start, end = amounts[0] if line.made else amounts[-1]
                facts.pop(value, None)
                facts[value] = line.fact(value, start, end, 0.65)
        # totals stand at the end, and all combinations are tried
        return list(facts.values())[-_MOST_AMOUNTS:]

    # --- lines ---

    def _items(self) -> Iterator[InvoiceLine]:
        """Lines in which quantity x price = amount, before the totals."""
        for line in self._lines:
            if line.made or not re.search(r"[^\W\d]{2}", line.text):
                continue
            numbers = [(amount_of(match, self._mark), *match.span()) for match in NUMBER.finditer(line.text)]
            found = _product([(value, start, end) for value, start, end in numbers if value is not None])
            if found is None or pattern("tax", self._languages).match(line.text):
                continue
            quantity, price, amount = found
            words = max(line.groups, key=lambda group: sum(sign.isalpha() for sign in line.text[group[0] : group[1]]))
            yield InvoiceLine(
                description=line.fact(line.text[words[0] : words[1]], words[0], words[1], 0.6),
                quantity=line.fact(quantity[0], quantity[1], quantity[2], 0.75),
                net_price=line.fact(price[0], price[1], price[2], 0.75),
                net_amount=line.fact(amount[0], amount[1], amount[2], 0.75),
            )


Span = tuple[Decimal, int, int]


def _product(numbers: Sequence[Span]) -> tuple[Span, Span, Span] | None:
    for third in range(len(numbers) - 1, 1, -1):
        for first in range(third - 1):
            for second in range(first + 1, third):
                product = numbers[first][0] * numbers[second][0]
                if product and abs(product - numbers[third][0]) <= rules.TOLERANCE:
                    return numbers[first], numbers[second], numbers[third]
    return None
