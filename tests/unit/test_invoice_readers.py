"""What the readers, the sheets and the parsers make of documents: exact values."""

import io
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import switchgear.invoice
from switchgear.invoice.contracts import facts
from switchgear.invoice.page_images import PageImage, page_images, recognised
from switchgear.invoice.page_words import ReadSettings, page_of_words, word_on_page
from switchgear.invoice.sheet_values import address, cell, plain_number
from switchgear.invoice.testing import blob, kind, page, xml_kind
from switchgear.invoice.types import InvoiceType, Media, Page, Pages, Structured, Syntax, Word
from switchgear.modules.parse_einvoice import ParseEinvoice
from switchgear.modules.parse_eu_einvoice import ParseEuEinvoice
from switchgear.modules.read_pdfium import ReadPdfium
from switchgear.modules.read_pdfplumber import ReadPdfplumber
from switchgear.modules.tabulate_calamine import TabulateCalamine
from switchgear.modules.tabulate_openpyxl import TabulateOpenpyxl
from switchgear.sdk import Blob, InputRejected, Limits, Unsupported
from switchgear.sdk.testing import FakeContext

DEMO = Path(switchgear.invoice.__file__).parent / "samples"
SAMPLES = Path(__file__).parent.parent / "samples"


def read(source: Blob, module: type[ReadPdfium] | type[ReadPdfplumber] = ReadPdfium) -> Pages:
    reader = module()
    reader.settings = module.Settings()
    return reader.run(source, kind(), FakeContext())


def parse(source: Blob, syntax: Syntax, media: Media = Media.XML) -> Structured:
    return ParseEinvoice().run(source, kind(media, syntax=syntax), FakeContext())


def rotated(turn: int) -> Blob:
    import pypdf

    writer = pypdf.PdfWriter(clone_from=DEMO / "text-dutch.pdf")
    for item in writer.pages:
        item.rotate(turn)
    made = io.BytesIO()
    writer.write(made)
    return blob(made.getvalue())


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_words_stay_on_a_page_that_is_shown_turned(turn: int) -> None:
    upright, turned = read(blob(DEMO / "text-dutch.pdf")).pages[0], read(rotated(turn)).pages[0]
    assert {word.text for word in turned.words} == {word.text for word in upright.words}
    size = (upright.width, upright.height) if turn % 180 == 0 else (upright.height, upright.width)
    assert (round(turned.width), round(turned.height)) == (round(size[0]), round(size[1]))
    assert all(0 <= word.x0 <= word.x1 <= turned.width + 0.01 for word in turned.words)
    assert all(0 <= word.top <= word.bottom <= turned.height + 0.01 for word in turned.words)


@pytest.mark.parametrize("name", ["hybrid-en16931.pdf", "hybrid-factur-x.pdf", "text-dutch.pdf"])
def test_both_readers_see_the_same_words_at_the_same_places(name: str) -> None:
    one, other = read(blob(DEMO / name)), read(blob(DEMO / name), ReadPdfplumber)
    for left, right in zip(one.pages, other.pages, strict=True):
        places = {(word.text, round(word.x0 / 4), round(word.top / 8)) for word in right.words}
        near = [
            word
            for word in left.words
            if any(
                (word.text, round(word.x0 / 4) + x, round(word.top / 8) + y) in places
                for x in (-1, 0, 1)
                for y in (-1, 0, 1)
            )
        ]
        assert len(near) >= 0.9 * len(left.words) > 0


@pytest.mark.parametrize("module", [ReadPdfium, ReadPdfplumber])
def test_scans_and_blank_pages_are_told_apart(module: type[ReadPdfium] | type[ReadPdfplumber]) -> None:
    scans = read(blob(SAMPLES / "scan.pdf"), module)
    assert [(item.scan, item.blank) for item in scans.pages] == [(True, False), (True, False)]
    blank = read(blob(SAMPLES / "pdf-blank-page.pdf"), module)
    assert [(item.scan, item.blank) for item in blank.pages] == [(False, True)]


@pytest.mark.parametrize("module", [ReadPdfium, ReadPdfplumber])
def test_both_readers_refuse_alike(module: type[ReadPdfium] | type[ReadPdfplumber]) -> None:
    refused = {}
    for name, source in (("corrupt", b"%PDF-1.7\nno\n%%EOF"), ("encrypted", locked()), ("pages", two_pages())):
        reader = module()
        reader.settings = module.Settings()
        with pytest.raises(InputRejected) as caught:
            reader.run(blob(source), kind(), FakeContext(limits=Limits(max_pages=1)))
        refused[name] = (caught.value.reason_code, str(caught.value))
    assert refused == {
        "corrupt": ("corrupt", "The PDF cannot be opened. Send an intact copy."),
        "encrypted": ("encrypted", "The PDF needs a password to be read. Send a copy without a password."),
        "pages": ("pages", "The PDF has 2 pages, over the limit."),
    }


def locked() -> bytes:
    import pypdf

    writer = pypdf.PdfWriter(clone_from=DEMO / "text-dutch.pdf")
    writer.encrypt(user_password="secret", algorithm="AES-256")
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()


def two_pages() -> bytes:
    return (SAMPLES / "scan.pdf").read_bytes()


@pytest.mark.parametrize(
    ("words", "has_objects", "largest_image", "share", "expected"),
    [
        (0, False, 0.0, 0.5, (False, True)),  # nothing at all
        (0, True, 0.0, 0.5, (True, False)),  # drawn, but no word: only recognition can tell
        (5, True, 50.0, 0.5, (True, False)),
        (5, True, 49.0, 0.5, (False, False)),  # a logo
        (6, True, 100.0, 0.5, (False, False)),  # text over a picture
        (5, True, 0.0, 0.0, (False, False)),  # without an image nothing is a scan that has words
    ],
)
def test_a_scan_has_few_words_and_a_large_image(
    words: int, has_objects: bool, largest_image: float, share: float, expected: tuple[bool, bool]
) -> None:
    made = page_of_words(
        1,
        (10.0, 10.0),
        [Word(text="a", x0=0, top=0, x1=1, bottom=1)] * words,
        ReadSettings(scan_words=5, scan_image_share=share),
        has_objects=has_objects,
        largest_image=largest_image,
    )
    assert (made.scan, made.blank) == expected


def test_a_word_is_kept_inside_its_page_and_left_out_beyond() -> None:
    kept = word_on_page(" a ", (-3.0, 1.001, 12.0, 9.0), 10.0, 8.0)
    assert kept == Word(text="a", x0=0.0, top=1.0, x1=10.0, bottom=8.0)
    for text, box in ((" ", (0, 0, 1, 1)), ("a", (-2, 0, -1, 1)), ("a", (0, 8.1, 1, 9)), ("a", (10.1, 0, 11, 1))):
        assert word_on_page(text, box, 10.0, 8.0) is None


def test_lines_are_in_reading_order() -> None:
    first = page("Total  12.00\nVAT     2.00")
    assert [[word.text for word in line] for line in first.lines()] == [["Total", "12.00"], ["VAT", "2.00"]]


def test_a_page_with_more_pixels_than_the_limit_is_not_rendered() -> None:
    with pytest.raises(InputRejected) as caught:
        next(page_images(blob(SAMPLES / "scan.pdf"), kind(), None, Limits(max_pixels=1000)))
    assert caught.value.reason_code == "pixels"


def test_an_image_gets_the_size_of_its_paper_and_enough_pixels() -> None:
    (image,) = page_images(blob(DEMO / "scan.png"), kind(Media.IMAGE), None, Limits())
    assert round(image.width) == pytest.approx(595, abs=5)
    assert image.picture.size[0] * image.scale == pytest.approx(image.width, abs=1)
    assert image.picture.size[0] >= 2000
    assert not image.blank


def test_a_page_on_which_nothing_is_recognised_is_the_documents_fault() -> None:
    read = [Page(number=1, width=1, height=1, blank=True), Page(number=2, width=1, height=1, scan=True)]
    with pytest.raises(InputRejected, match="No text was recognised on page 2") as caught:
        recognised(read)
    assert caught.value.reason_code == "no_text"
    assert recognised(read[:1]).pages == tuple(read[:1])


def shaded(ink: bool) -> PageImage:
    from PIL import Image, ImageDraw

    picture = Image.linear_gradient("L").resize((800, 800)).point(lambda value: 60 + value // 2)
    if ink:
        ImageDraw.Draw(picture).text((100, 100), "INVOICE 17", fill=0)
    made = io.BytesIO()
    picture.save(made, "PNG")
    (image,) = page_images(blob(made.getvalue()), kind(Media.IMAGE), None, Limits())
    return image


def test_a_shadow_is_not_ink() -> None:
    assert shaded(ink=False).blank
    assert not shaded(ink=True).blank


@pytest.mark.parametrize(
    ("value", "kind_of", "text"),
    [
        (20.0, "number", "20"),
        (0.1, "number", "0.1"),
        (0.1 + 0.2, "number", "0.3"),
        (1e16, "number", "10000000000000000"),
        (1e-7, "number", "0.0000001"),
        (-3, "number", "-3"),
        (True, "boolean", "true"),
        (datetime(2024, 3, 5), "date", "2024-03-05"),
        (datetime(2024, 3, 5, 14, 30), "date", "2024-03-05 14:30:00"),
        (date(2024, 3, 5), "date", "2024-03-05"),
        ("  text ", "text", "text"),
    ],
)
def test_a_cell_is_written_as_a_person_would_read_it(value: object, kind_of: str, text: str) -> None:
    made = cell("s", 1, 1, value)
    assert made is not None
    assert (made.type, made.value) == (kind_of, text)


@pytest.mark.parametrize("value", [None, "", "  ", "\0"])
def test_an_empty_cell_is_left_out(value: object) -> None:
    assert cell("s", 1, 1, value) is None


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**9), max_value=10**9))
def test_an_amount_in_a_sheet_is_read_to_the_cent(amount: Decimal) -> None:
    assert Decimal(plain_number(float(amount))) == amount


@pytest.mark.parametrize(("column", "name"), [(1, "A7"), (26, "Z7"), (27, "AA7"), (702, "ZZ7"), (703, "AAA7")])
def test_an_address_is_the_one_a_spreadsheet_shows(column: int, name: str) -> None:
    assert address(7, column) == name


def test_both_sheet_readers_give_the_same_cells() -> None:
    source, what = blob(DEMO / "sheet-english.xlsx"), kind(Media.SHEET, sheet_format="xlsx")
    one, other = TabulateCalamine(), TabulateOpenpyxl()
    one.settings, other.settings = one.Settings(), other.Settings()
    assert one.run(source, what, FakeContext()) == other.run(source, what, FakeContext())


def test_a_sheet_with_too_many_cells_is_rejected() -> None:
    reader = TabulateCalamine()
    reader.settings = reader.Settings(max_cells=5)
    with pytest.raises(InputRejected) as caught:
        reader.run(blob(DEMO / "sheet-german.csv"), kind(Media.SHEET, sheet_format="csv"), FakeContext())
    assert caught.value.reason_code == "cells"


def test_openpyxl_says_that_it_cannot_read_an_old_sheet() -> None:
    reader = TabulateOpenpyxl()
    reader.settings = reader.Settings()
    with pytest.raises(Unsupported, match="select tabulate-calamine"):
        reader.run(blob(b"x"), kind(Media.SHEET, sheet_format="xls"), FakeContext())


def test_a_cii_invoice_inside_a_pdf_is_read_with_its_paths() -> None:
    found = parse(blob(DEMO / "hybrid-en16931.pdf"), Syntax.CII, Media.PDF)
    fields = found.fields
    values = {pointer: fact.value for pointer, fact in facts(fields)}
    assert (values["/seller/name"], values["/number"]) == ("Lieferant GmbH", "471102")
    assert (values["/issue_date"], values["/totals/gross"]) == (date(2018, 3, 5), Decimal("529.87"))
    assert [str(line.net_amount.value) for line in fields.lines if line.net_amount] == ["198.00", "275.00"]
    paths = {pointer: fact.evidence.path or "" for pointer, fact in facts(fields) if fact.evidence}
    assert paths["/number"] == "/CrossIndustryInvoice/ExchangedDocument/ID"
    assert "/IncludedSupplyChainTradeLineItem[2]/" in paths["/lines/1/net_amount"]


def test_pure_notes_among_the_lines_of_zugferd_1_are_no_lines() -> None:
    found = parse(blob(SAMPLES / "hybrid-zugferd-1.pdf"), Syntax.ZUGFERD_1, Media.PDF)
    assert len(found.fields.lines) == 2
    assert any(path.endswith("AssociatedDocumentLineDocument/IncludedNote/Content") for path in found.unmapped)


def test_a_credit_note_keeps_its_type_and_its_signs() -> None:
    fields = parse(blob(SAMPLES / "ubl-credit-note.xml"), Syntax.UBL_CREDIT_NOTE).fields
    assert fields.type
    assert fields.type.value is InvoiceType.CREDIT_NOTE
    assert fields.totals.gross
    assert fields.totals.gross.value == Decimal("1729.00")


def test_fatturapa_totals_are_the_sums_of_its_summary() -> None:
    found = dict(facts(parse(blob(SAMPLES / "fatturapa.xml"), Syntax.FATTURAPA).fields))
    assert (found["/totals/net"].value, found["/totals/net"].source) == (Decimal("5.00"), "derived")
    assert found["/totals/tax"].value == Decimal("1.10")
    assert found["/seller/vat_id"].value == "IT01234567890"


UBL = """<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"
 xmlns:cbc="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2"
 xmlns:cac="urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2">
<cbc:ID>A-1</cbc:ID><cbc:IssueDate>{day}</cbc:IssueDate><cbc:DocumentCurrencyCode>SEK</cbc:DocumentCurrencyCode>
<cbc:Note>thanks</cbc:Note>
<cac:TaxTotal><cbc:TaxAmount currencyID="EUR">1.00</cbc:TaxAmount></cac:TaxTotal>
<cac:TaxTotal><cbc:TaxAmount currencyID="SEK">11.00</cbc:TaxAmount></cac:TaxTotal>
<cac:LegalMonetaryTotal>
<cbc:TaxInclusiveAmount currencyID="SEK">{gross}</cbc:TaxInclusiveAmount></cac:LegalMonetaryTotal>
<cac:InvoiceLine><cbc:ID>1</cbc:ID><cac:Price><cbc:PriceAmount>10.00</cbc:PriceAmount>
<cbc:BaseQuantity>4</cbc:BaseQuantity></cac:Price></cac:InvoiceLine>
</Invoice>"""


def test_vat_is_taken_in_the_currency_of_the_document_and_a_price_for_one_unit() -> None:
    source = blob(UBL.format(day="2024-02-29", gross="55.00"))
    for parser in (ParseEinvoice(), ParseEuEinvoice()):
        fields = parser.run(source, xml_kind(Syntax.UBL_INVOICE), FakeContext()).fields
        assert fields.totals.tax
        assert fields.totals.tax.value == Decimal("11.00")
        assert fields.lines[0].net_price
        assert fields.lines[0].net_price.value == Decimal("2.5")


@pytest.mark.parametrize(
    ("day", "gross"),
    [
        ("2024-02-30", "1.234,50"),
        ("soon", "1e3"),
        ("", "NaN"),
        ("2024-02-155", "9" * 16),
        ("2024-01-15garbage", "1.5.5"),
    ],
)
def test_a_value_that_is_none_is_left_out_and_listed_never_guessed(day: str, gross: str) -> None:
    for parser in (ParseEinvoice(), ParseEuEinvoice()):
        found = parser.run(blob(UBL.format(day=day, gross=gross)), xml_kind(Syntax.UBL_INVOICE), FakeContext())
        assert (found.fields.issue_date, found.fields.totals.gross) == (None, None)
        assert "/Invoice/LegalMonetaryTotal/TaxInclusiveAmount" in found.unreadable
        assert ("/Invoice/IssueDate" in found.unreadable) == bool(day)
        assert "/Invoice/Note" in found.unmapped


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("<cbc:PayableAmount", '<cbc:PayableAmount currencyID="EUR">9</cbc:PayableAmount><cbc:PayableAmount',
         "/Invoice/LegalMonetaryTotal/PayableAmount[1]"),
        ('<cbc:PayableAmount currencyID="EUR"', '<cbc:PayableAmount currencyID="USD"',
         "/Invoice/LegalMonetaryTotal/PayableAmount"),
        ("EUR</cbc:DocumentCurrencyCode>",
         "EUR</cbc:DocumentCurrencyCode><cbc:DocumentCurrencyCode>USD</cbc:DocumentCurrencyCode>",
         "/Invoice/DocumentCurrencyCode[1]"),
        ("<cbc:ID>123456XX</cbc:ID>", "<cbc:ID>123456XX</cbc:ID><cbc:ID>B2</cbc:ID>", "/Invoice/ID[1]"),
        ("</cac:LegalMonetaryTotal>", "</cac:LegalMonetaryTotal><cac:LegalMonetaryTotal><cbc:PayableAmount>9"
         "</cbc:PayableAmount></cac:LegalMonetaryTotal>", "/Invoice/LegalMonetaryTotal[1]"),
    ],
    ids=["amount", "currency of an amount", "currency", "number", "totals"],
)  # fmt: skip
def test_what_the_xml_contradicts_is_listed(old: str, new: str, path: str) -> None:
    source = (DEMO / "xrechnung-ubl.xml").read_text()
    assert old in source
    found = ParseEinvoice().run(blob(source.replace(old, new, 1)), xml_kind(Syntax.UBL_INVOICE), FakeContext())

    assert found.contradicted == (path,)


def test_the_same_value_twice_and_vat_in_a_second_currency_contradict_nothing() -> None:
    same = '336.9</cbc:PayableAmount><cbc:PayableAmount currencyID="EUR">336.90</cbc:PayableAmount>'
    source = (DEMO / "xrechnung-ubl.xml").read_text().replace("336.9</cbc:PayableAmount>", same, 1)
    for text in (source, UBL.format(day="2024-02-29", gross="55.00")):
        assert ParseEinvoice().run(blob(text), xml_kind(Syntax.UBL_INVOICE), FakeContext()).contradicted == ()


@pytest.mark.parametrize("day", ["2024-02-29", "2024-02-29Z", "2024-02-29+01:00", "2024-02-29T00:00:00"])
def test_a_day_may_have_a_time_or_a_zone_behind_it(day: str) -> None:
    for parser in (ParseEinvoice(), ParseEuEinvoice()):
        found = parser.run(blob(UBL.format(day=day, gross="55.00")), xml_kind(Syntax.UBL_INVOICE), FakeContext())
        assert found.fields.issue_date is not None, parser
        assert found.fields.issue_date.value == date(2024, 2, 29)


@pytest.mark.parametrize(
    ("price", "quantity"),
    [("9" * 15, "3"), ("9" * 15, "0.000000000001"), ("9" * 19, "3"), ("1", "0." + "0" * 27 + "1")],
)
def test_no_number_of_a_document_makes_a_parser_fail(price: str, quantity: str) -> None:
    text = UBL.format(day="2024-02-29", gross="55.00").replace(">10.00<", f">{price}<").replace(">4<", f">{quantity}<")
    for parser in (ParseEinvoice(), ParseEuEinvoice()):
        found = parser.run(blob(text), xml_kind(Syntax.UBL_INVOICE), FakeContext())
        assert found.fields.number is not None
        assert all(not line.net_price or line.net_price.value < 10**15 for line in found.fields.lines)


@pytest.mark.parametrize("name", ["xrechnung-ubl.xml", "xrechnung-cii.xml"])
def test_two_independent_parsers_agree_on_every_value(name: str) -> None:
    syntax = Syntax.CII if "cii" in name else Syntax.UBL_INVOICE
    one = ParseEinvoice().run(blob(DEMO / name), xml_kind(syntax), FakeContext())
    other = ParseEuEinvoice().run(blob(DEMO / name), xml_kind(syntax), FakeContext())
    assert {pointer: fact.value for pointer, fact in facts(one.fields)} == {
        pointer: fact.value for pointer, fact in facts(other.fields)
    }


def test_a_file_with_several_invoices_is_rejected() -> None:
    text = (SAMPLES / "fatturapa.xml").read_text(encoding="utf-8")
    start, end = text.index("<FatturaElettronicaBody>"), text.index("</FatturaElettronicaBody>")
    body = text[start : end + len("</FatturaElettronicaBody>")]
    with pytest.raises(InputRejected) as caught:
        parse(blob(text.replace(body, body + body)), Syntax.FATTURAPA)
    assert caught.value.reason_code == "several_invoices"
