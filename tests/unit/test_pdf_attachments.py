"""Which of a PDF's attachments is its e-invoice, and what a person is told of the others."""

import io
from pathlib import Path

import pytest

import switchgear.invoice
from switchgear.invoice.pdf_files import embedded_invoice, open_pdf
from switchgear.invoice.probes import inspect, signature
from switchgear.invoice.types import Kind, Syntax
from switchgear.sdk import InputRejected, Limits

DEMO = Path(switchgear.invoice.__file__).parent / "samples"
UBL = b"<Invoice xmlns='urn:oasis:names:specification:ubl:schema:xsd:Invoice-2'><ID>%s</ID></Invoice>"
FULL = (DEMO / "xrechnung-ubl.xml").read_bytes()
DOCTYPE = b'<!DOCTYPE a [<!ENTITY x "y">]>'


def attached(name: str, data: bytes, *others: tuple[str, bytes]) -> bytes:
    import pypdf

    writer = pypdf.PdfWriter()
    writer.add_blank_page(100, 100)
    for attachment in ((name, data), *others):
        writer.add_attachment(*attachment)
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()


def classify(data: bytes) -> Kind:
    return inspect(signature(data), data, Limits())


def rejection(data: bytes) -> str:
    with pytest.raises(InputRejected) as caught:
        classify(data)
    return caught.value.reason_code


def passed_over(first: bytes, *others: tuple[str, bytes]) -> tuple[str, ...]:
    found = embedded_invoice(open_pdf(io.BytesIO(attached("factur-x.xml", first, *others))), Limits())
    assert found is not None
    assert (found.name, found.data) == ("factur-x.xml", first)
    return found.passed_over


def test_an_attached_invoice_is_found_whatever_its_name() -> None:
    assert classify(attached("readme.txt", UBL % b"1")).syntax is Syntax.UBL_INVOICE
    assert classify(attached("order.xml", b"<order/>")).syntax is None
    assert classify(attached("photo.png", b"\x89PNG\r\n")).syntax is None


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("factur-x.xml", b"<Invoice><ID>1</Invoice>", "corrupt"),
        ("factur-x.xml", DOCTYPE + b"<a/>", "rejected_xml"),
        ("factur-x.xml", b"", "corrupt"),
        ("ZUGFeRD-invoice.xml", b"hello", "corrupt"),
        ("xrechnung.xml", b"\x89PNG\r\n", "corrupt"),
        ("factur-x.xml", b"<order/>", "unsupported"),
        ("rechnung.xml", FULL[:3000], "corrupt"),
        ("rechnung.xml", b"\xef\xbb\xbf \n" + FULL[:3000], "corrupt"),
        ("rechnung.xml", FULL.decode().replace("UTF-8", "UTF-16").encode("utf-16")[:6000], "corrupt"),
        ("rechnung.xml", FULL.replace(b"<ubl:Invoice ", DOCTYPE + b"<ubl:Invoice ", 1), "rejected_xml"),
        ("x", b"<rsm:CrossIndustryInvoice xmlns:rsm='urn:un'><rsm:Exch", "corrupt"),
        ("x", b"<?xml version='1.0' encoding='UTF-7'?><Invoice/>", "rejected_xml"),
    ],
)
def test_an_e_invoice_that_cannot_be_read_is_not_passed_over_in_silence(name: str, data: bytes, code: str) -> None:
    assert rejection(attached(name, data)) == code


@pytest.mark.parametrize(
    ("name", "data"),
    [("xrechnung.xml", b""), ("xrechnung.xml", b"<order/>"), ("x", FULL[:3000]), ("x", DOCTYPE + b"<Invoice/>")],
)
def test_beside_an_e_invoice_one_that_cannot_be_read_is_named(name: str, data: bytes) -> None:
    assert passed_over(UBL % b"1", (name, data)) == (name,)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("order-x.xml", b"<SCRDMCCBDACIOMessageStructure/>"),
        ("data.xml", b"<orders><order>"),
        ("data.xml", b""),
        ("notes.txt", b"Our <Invoice> is below"),
        ("page.html", b"<!DOCTYPE html><p>Invoice"),
        ("photo.png", b"\x89PNG\r\n<Invoice>"),
        ("book.xml", b"<InvoiceBook><Invoice>"),
    ],
)
def test_a_harmless_attachment_of_another_kind_is_left_alone(name: str, data: bytes) -> None:
    assert classify(attached(name, data)).syntax is None
    assert passed_over(UBL % b"1", (name, data)) == ()


def test_of_several_invoices_in_a_pdf_the_usual_name_counts_and_those_with_other_numbers_are_named() -> None:
    others = (
        ("a.xml", UBL % b"2"),
        ("b.xml", b"<order/>"),
        ("copy.xml", UBL % b"1"),
        ("z", UBL % b"3"),
    )
    assert passed_over(UBL % b"1", *others) == ("a.xml", "z")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"336.9</cbc:PayableAmount>", b"3369</cbc:PayableAmount>"),
        (b"336.9</cbc:TaxInclusiveAmount>", b"3369</cbc:TaxInclusiveAmount>"),
        (b"314.86</cbc:TaxExclusiveAmount>", b"3148.6</cbc:TaxExclusiveAmount>"),
        (b"DE79000000001234567890", b"DE02120300000000202051"),
        (b"[Seller name]", b"Mallory Ltd"),
        (b">2016-04-04</cbc:IssueDate>", b">2017-04-04</cbc:IssueDate>"),
        (b">EUR</cbc:DocumentCurrencyCode>", b">USD</cbc:DocumentCurrencyCode>"),
        (b">380<", b">381<"),
        (b"288.79</cbc:LineExtensionAmount>", b"1</cbc:LineExtensionAmount>"),
    ],
)
def test_an_invoice_with_the_same_number_and_other_content_is_named(old: bytes, new: bytes) -> None:
    assert old in FULL
    assert passed_over(FULL, ("xrechnung.xml", FULL.replace(old, new, 1))) == ("xrechnung.xml",)


def test_the_same_invoice_in_another_notation_or_a_smaller_profile_is_not_named() -> None:
    copy = FULL.replace(b">336.9<", b">336.90<").replace(b"DE79000000001234567890", b"DE79 0000 0000 1234 5678 90")
    assert passed_over(FULL, ("xrechnung.xml", copy), ("small.xml", UBL % b"123456XX")) == ()


def test_one_invoice_in_two_languages_is_compared_by_what_both_say() -> None:
    cii = (DEMO / "xrechnung-cii.xml").read_bytes()
    alone = b"""<CrossIndustryInvoice xmlns='urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100'>
    <ExchangedDocument><ID>123456XX</ID><TypeCode>380</TypeCode><IssueDateTime><DateTimeString format='102'>20160404
    </DateTimeString></IssueDateTime></ExchangedDocument></CrossIndustryInvoice>"""
    assert passed_over(FULL, ("cii.xml", alone)) == ()
    assert passed_over(FULL, ("cii.xml", cii)) == ("cii.xml",)
