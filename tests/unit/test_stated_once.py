"""What an e-invoice states twice and differently is listed by both parsers, whatever it is; what may repeat is not."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lxml import etree

import switchgear.invoice
from switchgear.invoice.contracts import facts
from switchgear.invoice.rules import unread
from switchgear.invoice.stated_once import contradicted
from switchgear.invoice.testing import blob, xml_kind
from switchgear.invoice.types import Structured, Syntax
from switchgear.modules.parse_einvoice import ParseEinvoice
from switchgear.modules.parse_eu_einvoice import ParseEuEinvoice
from switchgear.sdk.testing import FakeContext

DEMO = Path(switchgear.invoice.__file__).parent / "samples"
UBL = (DEMO / "xrechnung-ubl.xml").read_text(encoding="utf-8")
CII = (DEMO / "xrechnung-cii.xml").read_text(encoding="utf-8")
FATTURAPA = (Path(__file__).parent.parent / "samples" / "fatturapa.xml").read_text(encoding="utf-8")
PARSERS = (ParseEinvoice, ParseEuEinvoice)


def parsed(text: str) -> list[Structured]:
    """What each parser that reads the language makes of *text*."""
    if "FatturaElettronica" in text:
        return [ParseEinvoice().run(blob(text), xml_kind(Syntax.FATTURAPA), FakeContext())]
    syntax = Syntax.CII if "CrossIndustryInvoice" in text else Syntax.UBL_INVOICE
    return [parser().run(blob(text), xml_kind(syntax), FakeContext()) for parser in PARSERS]


def changed(text: str, old: str, new: str) -> str:
    """*text* with the first *old* replaced."""
    assert old in text
    return text.replace(old, new, 1)


def block(text: str, name: str) -> str:
    """The first element of that name, as it stands."""
    match = re.search(rf"<(\w+:)?{name}[ >].*?</(\w+:)?{name}>", text, re.DOTALL)
    assert match is not None
    return match[0]


def twice(text: str, name: str, change: Callable[[str], str], *, first: bool = False) -> str:
    """*text* with a changed copy of an element beside it, in front of it when *first*."""
    own = block(text, name)
    copy = change(own)
    assert copy != own
    return text.replace(own, copy + own if first else own + copy, 1)


def to(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


IBAN = to("DE79000000001234567890", "DE02120300000000202051")


TYPE = block(UBL, "InvoiceTypeCode")
SETTLEMENT = block(CII, "ApplicableHeaderTradeSettlement")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("text", "name", "change"),
    [
        (UBL, "ID", to("123456XX", "B2")),
        (UBL, "IssueDate", to("2016", "2017")),
        (UBL, "InvoiceTypeCode", to("380", "381")),
        (UBL, "DocumentCurrencyCode", to("EUR", "USD")),
        (UBL, "AccountingSupplierParty", to("[Seller name]", "Mallory Ltd")),
        (UBL, "RegistrationName", to("[Seller name]", "Mallory Ltd")),
        (UBL, "PayeeFinancialAccount", IBAN),
        (UBL, "LegalMonetaryTotal", to(">336.9<", ">1336.9<")),
        (UBL, "TaxTotal", to(">22.04<", ">99<")),
        (UBL, "PayableAmount", to(' currencyID="EUR">336.9<', ">1336.9<")),
        (UBL, "PayableAmount", to(' currencyID="EUR">', ' currencyID="USD">')),
        (UBL, "PayableAmount", to("336.9", "1336.9")),
        (UBL, "PriceAmount", to("288.79", "1")),
        (CII, "DuePayableAmount", to(">", ">9", )),
        (CII, "ApplicableHeaderTradeSettlement", IBAN),
        (CII, "SpecifiedTradeSettlementHeaderMonetarySummation",
         to("<ram:DuePayableAmount>", "<ram:DuePayableAmount>9")),
        (CII, "PayeePartyCreditorFinancialAccount", IBAN),
        (CII, "SellerTradeParty", to("[Seller name]", "Mallory Ltd")),
        (FATTURAPA, "ImportoPagamento", to("<ImportoPagamento>", "<ImportoPagamento>9")),
        (FATTURAPA, "Numero", to("<Numero>", "<Numero>9")),
    ],
)  # fmt: skip
def test_what_stands_once_and_is_said_twice_and_differently_is_listed(
    text: str, name: str, change: Callable[[str], str], first: bool
) -> None:
    for found in parsed(twice(text, name, change, first=first)):
        assert any(re.search(rf"/{name}\[1\]|/TaxTotal\[1\]", path) for path in found.contradicted)
        assert any(finding.severity == "error" for finding in unread(found))


@pytest.mark.parametrize("text", [UBL, CII], ids=["UBL", "CII"])
def test_every_value_that_is_read_is_looked_at(text: str) -> None:
    """A copy with another text is put beside each element that a parser read, one after the other."""
    (read, _) = parsed(text)
    assert read.contradicted == ()
    for pointer, fact in facts(read.fields):
        if pointer.endswith("/address") or fact.evidence is None:
            continue
        root = etree.fromstring(text.encode())
        steps = [re.match(r"(\w+)(?:\[(\d+)\])?", step) for step in (fact.evidence.path or "").split("/")[2:]]
        element = root
        for step in steps:
            assert step is not None
            element = element.findall(f"{{*}}{step[1]}")[int(step[2] or 1) - 1]
        other = etree.fromstring(etree.tostring(element))
        other.text = "77" if (element.text or "").strip() != "77" else "78"
        element.addnext(other)
        for found in parsed(etree.tostring(root).decode()):
            assert found.contradicted, pointer


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("PayableAmount", "LegalMonetaryTotal/PayableAmount"),
        ("PriceAmount", "InvoiceLine[1]/Price/PriceAmount"),
        ("TaxAmount", "TaxTotal/TaxAmount"),
    ],
)
def test_an_amount_in_another_currency_than_the_documents_is_listed(name: str, path: str) -> None:
    own = f'<cbc:{name} currencyID="EUR"'
    for found in parsed(changed(UBL, own, own.replace("EUR", "USD"))):
        assert f"/Invoice/{path}" in found.contradicted


@pytest.mark.parametrize(
    "empty", ["<cbc:DocumentCurrencyCode/>", "<cbc:DocumentCurrencyCode>\n</cbc:DocumentCurrencyCode>"]
)
def test_an_empty_currency_in_front_hides_no_other(empty: str) -> None:
    own, amount = block(UBL, "DocumentCurrencyCode"), '<cbc:PayableAmount currencyID="EUR"'
    text = changed(changed(UBL, own, empty + own), amount, amount.replace("EUR", "USD"))
    for found in parsed(text):
        assert "/Invoice/LegalMonetaryTotal/PayableAmount" in found.contradicted


@pytest.mark.parametrize(
    ("text", "old", "new", "path"),
    [
        (UBL, ">336.9</cbc:PayableAmount>", ">336.9<x>9</x>99</cbc:PayableAmount>", "LegalMonetaryTotal/PayableAmount"),
        (UBL, "<cbc:ID>123456XX</cbc:ID>", "<cbc:ID>123456XX<x/>-9999</cbc:ID>", "ID"),
        (UBL, "[Seller name]<", "[Seller <b>name</b>]<",
         "AccountingSupplierParty/Party/PartyLegalEntity/RegistrationName"),
    ],
)  # fmt: skip
def test_a_value_with_elements_inside_is_unreadable(text: str, old: str, new: str, path: str) -> None:
    for found in parsed(changed(text, old, new)):
        assert f"/Invoice/{path}" in found.unreadable
        assert any(finding.severity == "error" for finding in unread(found))


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        (TYPE, TYPE + "<cbc:CreditNoteTypeCode>381</cbc:CreditNoteTypeCode>", "/Invoice/InvoiceTypeCode"),
        (SETTLEMENT, SETTLEMENT + IBAN(SETTLEMENT).replace("ApplicableHeader", "ApplicableSupplyChain"),
         "/CrossIndustryInvoice/SupplyChainTradeTransaction/ApplicableHeaderTradeSettlement"),
    ],
)  # fmt: skip
def test_another_name_for_the_same_element_hides_nothing(old: str, new: str, path: str) -> None:
    for found in parsed(changed(UBL if old in UBL else CII, old, new)):
        assert path in found.contradicted


def test_a_block_under_its_old_name_is_looked_at_as_well() -> None:
    amount = block(CII, "DuePayableAmount")
    both = changed(SETTLEMENT, amount, amount + amount.replace(">", ">9", 1)).replace(
        "ApplicableHeader", "ApplicableSupplyChain"
    )
    (primary, _) = parsed(changed(CII, SETTLEMENT, both))
    assert any(path.endswith("/DuePayableAmount[1]") for path in primary.contradicted)


@pytest.mark.parametrize(
    ("payments", "is_wrong"),
    [(("2016-12-31",), True), (("2016-05-04Z",), False), (("2016-05-04", "2016-06-04"), False), ((), False)],
)
def test_a_due_date_and_those_of_the_payments_agree_in_one(payments: tuple[str, ...], is_wrong: bool) -> None:
    text = changed(UBL, TYPE, "<cbc:DueDate>2016-05-04</cbc:DueDate>" + TYPE)
    code = block(text, "PaymentMeansCode")
    dated = [MEANS.replace(code, f"{code}<cbc:PaymentDueDate>{day}</cbc:PaymentDueDate>") for day in payments]
    for found in parsed(changed(text, MEANS, "".join(dated) or MEANS)):
        assert found.contradicted == (("/Invoice/DueDate",) if is_wrong else ())


MEANS = block(UBL, "PaymentMeans")
BOOKS = '<cac:TaxTotal><cbc:TaxAmount currencyID="SEK">250</cbc:TaxAmount></cac:TaxTotal>'
SCHEME = (
    "<cac:PartyTaxScheme><cbc:CompanyID>201/113/40209</cbc:CompanyID><cac:TaxScheme><cbc:ID>FC</cbc:ID>"
    "</cac:TaxScheme></cac:PartyTaxScheme>"
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<cac:PaymentMeans>", IBAN(MEANS) + "<cac:PaymentMeans>"),
        ("<cac:TaxTotal>", BOOKS + "<cac:TaxTotal>"),
        ("<cac:LegalMonetaryTotal>", BOOKS + "<cac:LegalMonetaryTotal>"),
        ("<cac:PartyTaxScheme>", SCHEME + "<cac:PartyTaxScheme>"),
        ("<cbc:Note>", "<cbc:Note>another one</cbc:Note><cbc:Note>"),
        ("336.9</cbc:PayableAmount>",
         '336.9</cbc:PayableAmount><cbc:PayableAmount currencyID="EUR">336.90</cbc:PayableAmount>'),
        ("<cbc:IssueDate>", "<cbc:IssueDate/><cbc:IssueDate>"),
    ],
    ids=["payment means", "VAT of the books first", "VAT of the books", "tax scheme", "note", "the same", "nothing"],
)  # fmt: skip
def test_what_the_standard_lets_stand_several_times_contradicts_nothing(old: str, new: str) -> None:
    for found in parsed(changed(UBL, old, new)):
        assert (found.contradicted, found.unreadable) == ((), ())


def test_a_breakdown_of_many_rates_costs_no_more_for_each_of_them() -> None:
    """A document can hold 60,000 of them; at a square of their number they took half a minute."""

    def seconds(count: int) -> float:
        rates = "".join(
            f"<TaxSubtotal><TaxableAmount>{number}</TaxableAmount></TaxSubtotal>" for number in range(count)
        )
        total = f'<TaxTotal><TaxAmount currencyID="EUR">1</TaxAmount>{rates}</TaxTotal>'
        root = etree.fromstring(f"<Invoice><DocumentCurrencyCode>EUR</DocumentCurrencyCode>{total}</Invoice>")
        begin = time.process_time()
        contradicted(root, Syntax.UBL_INVOICE)
        return time.process_time() - begin

    few = min(seconds(2_000) for _ in range(3))
    assert seconds(16_000) < 32 * few  # 8 when each costs the same, 64 at the square
