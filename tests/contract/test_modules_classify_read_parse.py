"""The conformance suite on the built-in modules of the first stages, with real documents."""

import gzip
import io
import shutil
import zipfile
from pathlib import Path

import pytest

import switchgear.invoice
from switchgear.invoice.testing import blob, kind, pages, xml_kind
from switchgear.invoice.types import Media, Page, Pages, Syntax
from switchgear.modules.classify_basic import ClassifyBasic
from switchgear.modules.classify_magic import ClassifyMagic
from switchgear.modules.ocr_rapid import OcrRapid
from switchgear.modules.ocr_tesseract import OcrTesseract
from switchgear.modules.parse_einvoice import ParseEinvoice
from switchgear.modules.parse_eu_einvoice import ParseEuEinvoice
from switchgear.modules.read_pdfium import ReadPdfium
from switchgear.modules.read_pdfplumber import ReadPdfplumber
from switchgear.modules.tabulate_calamine import TabulateCalamine
from switchgear.modules.tabulate_openpyxl import TabulateOpenpyxl
from switchgear.sdk import Unavailable
from switchgear.sdk.testing import ModuleContractTests

DEMO = Path(switchgear.invoice.__file__).parent / "samples"
SAMPLES = Path(__file__).parent.parent / "samples"

HYBRID = blob(DEMO / "hybrid-en16931.pdf")
FACTUR_X = blob(DEMO / "hybrid-factur-x.pdf")
ZUGFERD_1 = blob(SAMPLES / "hybrid-zugferd-1.pdf")
UBL = blob(DEMO / "xrechnung-ubl.xml")
CII = blob(DEMO / "xrechnung-cii.xml")
TEXT_PDF = blob(DEMO / "text-dutch.pdf")
BLANK = blob(SAMPLES / "pdf-blank-page.pdf")
SCAN_PDF = blob(SAMPLES / "scan.pdf")
SCAN_PNG = blob(DEMO / "scan.png")
XLSX = blob(DEMO / "sheet-english.xlsx")
CSV = blob(DEMO / "sheet-german.csv")


def archive(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return made.getvalue()


def encrypted_pdf() -> bytes:
    import pypdf

    writer = pypdf.PdfWriter(clone_from=DEMO / "hybrid-factur-x.pdf")
    writer.encrypt(user_password="secret", owner_password="owner", algorithm="AES-256")
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()


HOSTILE = [
    {"blob": blob(b"", "empty.pdf")},
    {"blob": blob((DEMO / "hybrid-en16931.pdf").read_bytes()[:60_000], "cut.pdf")},
    {"blob": blob(b"%PDF-1.7\nnothing of a PDF\n%%EOF\n")},
    {"blob": blob(encrypted_pdf())},
    {"blob": blob(SAMPLES / "xml-billion-laughs.xml")},
    {"blob": blob(b"<?xml version='1.0'?><Invoice><ID>1</Invoice>")},
    {"blob": blob(b"<a>" * 300 + b"</a>" * 300)},
    {"blob": blob(b"<?xml version='1.0'?><order xmlns='urn:x'/>")},
    {"blob": blob(b"<!DOCTYPE html><html><body>Invoice</body></html>")},
    {"blob": blob(b"Dear customer,\nplease find our invoice\nin the next mail.\n")},
    {"blob": blob(b"From: a@b.example\r\nTo: c@d.example\r\nSubject: invoice\r\n\r\nhello\r\n")},
    {"blob": blob(archive(**{"../../etc/passwd": b"x", "ok.xml": b"<a/>"}))},
    {"blob": blob(archive(bomb=b"\0" * 60_000_000))},
    {"blob": blob(archive(**{"[Content_Types].xml": b"<a/>", "word/document.xml": b"<a/>"}))},
    {"blob": blob((DEMO / "sheet-english.xlsx").read_bytes()[:3000])},
    {"blob": blob((DEMO / "scan.png").read_bytes()[:20_000])},
    {"blob": blob(gzip.compress(b"invoice" * 100))},
    {"blob": blob(bytes(range(256)) * 40)},
]


class TestClassifyMagic(ModuleContractTests):
    module = ClassifyMagic
    samples = [{"blob": item} for item in (HYBRID, ZUGFERD_1, UBL, CII, TEXT_PDF, BLANK, SCAN_PNG, XLSX, CSV)]
    rejected = HOSTILE


class TestClassifyBasic(ModuleContractTests):
    module = ClassifyBasic
    samples = TestClassifyMagic.samples
    rejected = HOSTILE


READ = [{"blob": item, "kind": kind(page_count=count)} for item, count in ((HYBRID, 2), (TEXT_PDF, 1), (BLANK, 1))]
READ += [{"blob": SCAN_PDF, "kind": kind(page_count=2)}]
READ += [{"blob": blob(SAMPLES / "pdf-encrypted-owner-only.pdf"), "kind": kind(page_count=1)}]
READ_REJECTED = [{"blob": item, "kind": kind()} for item in (blob(encrypted_pdf()), blob(b"%PDF-1.7\nno\n%%EOF"))]
NO_PDF = [{"blob": UBL, "kind": xml_kind(Syntax.UBL_INVOICE)}, {"blob": CSV, "kind": kind(Media.SHEET)}]


class TestReadPdfium(ModuleContractTests):
    module = ReadPdfium
    samples = READ
    rejected = READ_REJECTED
    not_applicable = NO_PDF


class TestReadPdfplumber(ModuleContractTests):
    module = ReadPdfplumber
    samples = READ
    rejected = READ_REJECTED
    not_applicable = NO_PDF


SHEETS = [
    {"blob": XLSX, "kind": kind(Media.SHEET, sheet_format="xlsx")},
    {"blob": CSV, "kind": kind(Media.SHEET, sheet_format="csv")},
]
SHEETS_REJECTED = [
    {"blob": blob(b"PK\x03\x04 broken"), "kind": kind(Media.SHEET, sheet_format="xlsx")},
    {"blob": blob(b"no columns\nat all\n"), "kind": kind(Media.SHEET, sheet_format="csv")},
]


class TestTabulateCalamine(ModuleContractTests):
    module = TabulateCalamine
    samples = SHEETS
    rejected = SHEETS_REJECTED
    not_applicable = [{"blob": HYBRID, "kind": kind()}]


class TestTabulateOpenpyxl(ModuleContractTests):
    module = TabulateOpenpyxl
    samples = SHEETS
    unsupported = [{"blob": blob(b"x"), "kind": kind(Media.SHEET, sheet_format=name)} for name in ("xls", "ods")]
    rejected = SHEETS_REJECTED
    not_applicable = [{"blob": HYBRID, "kind": kind()}]


SCANNED = Pages(
    pages=(Page(number=1, width=596, height=842, scan=True), Page(number=2, width=596, height=842, scan=True))
)
OCR = [
    {"blob": SCAN_PNG, "kind": kind(Media.IMAGE), "pages": None},
    {"blob": SCAN_PDF, "kind": kind(), "pages": SCANNED.model_copy(update={"pages": SCANNED.pages[:1]})},
]
OCR_REJECTED = [{"blob": blob((DEMO / "scan.png").read_bytes()[:20_000]), "kind": kind(Media.IMAGE)}]
NO_SCAN = [{"blob": TEXT_PDF, "kind": kind(), "pages": pages("Invoice 17")}, *NO_PDF]


class TestOcrTesseract(ModuleContractTests):
    module = OcrTesseract
    samples = OCR
    rejected = OCR_REJECTED
    not_applicable = NO_SCAN


class TestOcrRapid(ModuleContractTests):
    module = OcrRapid
    samples = OCR
    rejected = OCR_REJECTED
    not_applicable = NO_SCAN


MODERN = [
    {"blob": HYBRID, "kind": kind(syntax=Syntax.CII)},
    {"blob": FACTUR_X, "kind": kind(syntax=Syntax.CII)},
    {"blob": UBL, "kind": xml_kind(Syntax.UBL_INVOICE)},
    {"blob": CII, "kind": xml_kind(Syntax.CII)},
    {"blob": blob(SAMPLES / "ubl-credit-note.xml"), "kind": xml_kind(Syntax.UBL_CREDIT_NOTE)},
]
OTHERS = [
    {"blob": ZUGFERD_1, "kind": kind(syntax=Syntax.ZUGFERD_1)},
    {"blob": blob(SAMPLES / "fatturapa.xml"), "kind": xml_kind(Syntax.FATTURAPA)},
]
XML_REJECTED = [{"blob": blob(SAMPLES / "xml-billion-laughs.xml"), "kind": xml_kind(Syntax.UBL_INVOICE)}]
NO_XML = [{"blob": TEXT_PDF, "kind": kind()}, {"blob": CSV, "kind": kind(Media.SHEET)}]


class TestParseEinvoice(ModuleContractTests):
    module = ParseEinvoice
    samples = MODERN + OTHERS
    rejected = XML_REJECTED
    not_applicable = NO_XML


class TestParseEuEinvoice(ModuleContractTests):
    module = ParseEuEinvoice
    samples = MODERN
    unsupported = OTHERS
    rejected = XML_REJECTED
    not_applicable = NO_XML


def test_a_missing_language_pack_is_named_with_the_line_that_installs_it() -> None:
    if shutil.which("tesseract") is None:
        pytest.skip("tesseract is not installed")
    with pytest.raises(Unavailable) as caught:
        OcrTesseract.probe(OcrTesseract.Settings(languages=("eng", "xyz")))
    assert caught.value.fix == "apt-get install tesseract-ocr tesseract-ocr-xyz"


def test_a_missing_binary_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable) as caught:
        OcrTesseract.probe(OcrTesseract.Settings())
    assert caught.value.fix == "apt-get install tesseract-ocr tesseract-ocr-deu"
