"""What a document is, decided from its bytes: tables of good and hostile ones."""

import codecs
import io
import stat
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import switchgear.invoice
from switchgear.invoice.csv_text import decode_text, delimiter_of
from switchgear.invoice.probes import Form, inspect, signature
from switchgear.invoice.safe_xml import read_xml
from switchgear.invoice.types import Kind, Media, Syntax
from switchgear.sdk import InputRejected, Limits

DEMO = Path(switchgear.invoice.__file__).parent / "samples"
SAMPLES = Path(__file__).parent.parent / "samples"
UBL = b"<Invoice xmlns='urn:oasis:names:specification:ubl:schema:xsd:Invoice-2'><ID>%s</ID></Invoice>"


def classify(data: bytes, limits: Limits | None = None) -> Kind:
    return inspect(signature(data), data, limits or Limits())


def rejection(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(InputRejected) as caught:
        classify(data, limits)
    assert len(caught.value.message) > 20
    return caught.value.reason_code


def outcome(form: Form, data: bytes) -> str:
    try:
        return inspect(form, data, Limits()).media
    except InputRejected as error:
        return error.reason_code


def archive(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return made.getvalue()


@pytest.mark.parametrize(
    ("name", "media", "syntax"),
    [
        ("hybrid-en16931.pdf", Media.PDF, Syntax.CII),
        ("text-dutch.pdf", Media.PDF, None),
        ("xrechnung-ubl.xml", Media.XML, Syntax.UBL_INVOICE),
        ("xrechnung-cii.xml", Media.XML, Syntax.CII),
        ("scan.png", Media.IMAGE, None),
        ("sheet-english.xlsx", Media.SHEET, None),
        ("sheet-german.csv", Media.SHEET, None),
    ],
)
def test_the_content_says_what_a_document_is(name: str, media: Media, syntax: Syntax | None) -> None:
    kind = classify((DEMO / name).read_bytes())
    assert (kind.media, kind.syntax) == (media, syntax)


@pytest.mark.parametrize("data", [b"\x7fELF\x02\x01\x01" + bytes(200), b"MZ\x90\0\x03" + bytes(200)])
def test_a_program_under_another_name_is_called_a_program(data: bytes) -> None:
    with pytest.raises(InputRejected, match=r"The file is a program\. Send a PDF"):
        inspect(signature(data), data, Limits(), looks_like="application/x-iso9660-appimage")


def test_an_owner_password_alone_keeps_nobody_from_reading() -> None:
    kind = classify((SAMPLES / "pdf-encrypted-owner-only.pdf").read_bytes())
    assert (kind.media, kind.syntax, kind.page_count) == (Media.PDF, Syntax.ZUGFERD_1, 1)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        ((DEMO / "hybrid-en16931.pdf").read_bytes()[:60_000], "truncated"),
        (b"%PDF-1.7\nnothing of a PDF\n%%EOF\n", "corrupt"),
        ((SAMPLES / "xml-billion-laughs.xml").read_bytes(), "rejected_xml"),
        (b"<?xml version='1.0'?><Invoice><ID>1</Invoice>", "corrupt"),
        (b"<order xmlns='urn:x'/>", "unsupported"),
        (b"<!DOCTYPE html><html/>", "unsupported"),
        (b"Dear customer,\nplease wait.\n", "unsupported"),
        (b"From: a@b.example\r\nTo: c@d.example\r\n\r\nhello", "container_unsupported"),
        (archive(**{"readme.txt": b"x"}), "container_unsupported"),
        (archive(bomb=b"\0" * 60_000_000), "unpacked_size"),
        (archive(**{"[Content_Types].xml": b"<a/>", "word/document.xml": b"<a/>"}), "unsupported"),
        ((DEMO / "sheet-english.xlsx").read_bytes()[:3000], "truncated"),
        ((DEMO / "scan.png").read_bytes()[:20_000], "truncated"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "corrupt"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "encrypted"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "__substg1.0_1000".encode("utf-16-le"), "container_unsupported"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 100, "unsupported"),
        (bytes(range(256)), "unsupported"),
    ],
)
def test_what_nobody_can_process_is_rejected_with_its_reason(data: bytes, code: str) -> None:
    assert rejection(data) == code


@pytest.mark.parametrize(
    ("name", "limits", "code"),
    [
        ("hybrid-en16931.pdf", Limits(max_pages=1), "pages"),
        ("scan.png", Limits(max_pixels=1000), "pixels"),
        ("sheet-english.xlsx", Limits(max_unpacked_bytes=1000), "unpacked_size"),
        ("xrechnung-ubl.xml", Limits(max_xml_depth=2), "rejected_xml"),
        ("xrechnung-ubl.xml", Limits(max_unpacked_bytes=1000), "unpacked_size"),
    ],
)
def test_every_limit_rejects_the_document_that_exceeds_it(name: str, limits: Limits, code: str) -> None:
    assert rejection((DEMO / name).read_bytes(), limits) == code


def tiff(frames: int, *, in_a_circle: bool = False) -> bytes:
    """Pages of one white pixel each, one after the other; the last one may lead back to the first."""
    tags = [(256, 4, 1), (257, 4, 1), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (278, 4, 1), (279, 4, 1)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    size = 2 + len(entries) + 4
    made = bytearray(struct.pack("<2sHI", b"II", 42, 12) + b"\xff\0\0\0")
    for number in range(frames):
        last = 12 if in_a_circle else 0
        following = 12 + (number + 1) * size if number + 1 < frames else last
        made += struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)
    return bytes(made)


def test_an_image_of_ten_thousand_pages_is_refused_and_one_of_pages_in_a_circle_comes_to_an_end() -> None:
    assert classify(tiff(3)).page_count == 3
    began = time.monotonic()
    assert rejection(tiff(10_000)) == "pages"
    assert outcome(signature(tiff(2)), tiff(2, in_a_circle=True))
    assert time.monotonic() - began < 20


def test_a_sheet_packed_in_an_unknown_way_is_not_called_damaged() -> None:
    start, entry = archive(mimetype=b"application/vnd.oasis.opendocument.spreadsheet").split(b"PK\x01\x02")
    zstandard = start + b"PK\x01\x02" + entry[:6] + b"\x5d\x00" + entry[8:]  # how the member is packed

    assert rejection(zstandard) == "unsupported"


def test_an_archive_that_is_not_opened_says_which_bound_it_exceeds() -> None:
    bound = {
        "more than 200 times its size": (archive(bomb=b"\0" * 60_000_000), Limits()),
        "the limit is 1000": (archive(large=b"x" * 2000), Limits(max_unpacked_bytes=1000)),
        "it holds 10001 files": (archive(**{str(number): b"" for number in range(10_001)}), Limits()),
    }
    for words, (data, limits) in bound.items():
        with pytest.raises(InputRejected, match=words) as caught:
            classify(data, limits)
        assert caught.value.reason_code == "unpacked_size"


def listed(name: bytes, count: int, *, declared: int | None = None) -> bytes:
    """An archive that is a list of *count* members of one name, and nothing of what they hold."""
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 0, 20, 0, *[0] * 7, len(name), *[0] * 6) + name
    number = min(count if declared is None else declared, 0xFFFF)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, number, number, len(entry) * count, 4, 0)
    return b"PK\x03\x04" + entry * count + end


@pytest.mark.parametrize("declared", [None, 1])
def test_a_list_of_a_million_members_is_refused_before_it_is_read(declared: int | None) -> None:
    data = listed(b"xl/workbook.xml", 1_000_000, declared=declared)
    tracemalloc.start()
    began = time.process_time()

    with pytest.raises(InputRejected, match="it holds 1000000 files; the limit is 10000") as caught:
        classify(data)

    used_s, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.reason_code == "unpacked_size"
    assert used_s < 1
    assert peak < 4_000_000


@pytest.mark.parametrize(
    "name", ["../../etc/cron.d/x", "/etc/passwd", "xl/../../x", "..\\..\\x", "C:\\x", "C:x"], ids=str
)
@pytest.mark.parametrize("is_sheet", [True, False])
def test_an_archive_that_names_a_place_outside_itself_is_refused(name: str, is_sheet: bool) -> None:
    members = {"xl/workbook.xml": b"<a/>"} if is_sheet else {}

    with pytest.raises(InputRejected, match="a file in it is to go to a place outside the archive") as caught:
        classify(archive(**members, **{name: b"x"}))

    assert caught.value.reason_code == "unsupported"


def test_an_archive_with_a_link_is_refused() -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("xl/workbook.xml", "<a/>")
        link = zipfile.ZipInfo("xl/styles.xml")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")

    with pytest.raises(InputRejected, match="it holds a link to another place") as caught:
        classify(made.getvalue())

    assert caught.value.reason_code == "unsupported"


def test_an_archive_in_an_archive_is_never_opened() -> None:
    inner = archive(zeros=b"\0" * 60_000_000)
    for _ in range(8):
        inner = archive(inner=inner)
    sheet = archive(**{"xl/workbook.xml": b"<a/>", "xl/embeddings/inner.zip": inner})

    assert rejection(inner) == "container_unsupported"
    assert classify(sheet).media is Media.SHEET


def test_a_file_that_is_two_things_at_once_is_what_its_beginning_says() -> None:
    pdf = (SAMPLES / "pdf-blank-page.pdf").read_bytes()
    sheet = archive(**{"xl/workbook.xml": b"<a/>"})
    assert classify(b"\n" * 100 + pdf + b"\n<html></html>").media is Media.PDF
    assert classify(sheet + pdf[:200].replace(b"%PDF-", b"")).media is Media.SHEET
    assert rejection(b"<html>" + b" " * 2000 + pdf) == "unsupported"


def test_an_attachment_that_unpacks_to_more_than_the_limit_is_not_unpacked() -> None:
    import pypdf
    from pypdf.generic import EncodedStreamObject, StreamObject

    writer = pypdf.PdfWriter()
    writer.add_blank_page(100, 100)
    writer.add_attachment("factur-x.xml", b"<a>" + b"x" * 3_000_000 + b"</a>")
    for index, item in enumerate(writer._objects):
        if isinstance(item, StreamObject) and item.get("/Type") == "/EmbeddedFile":
            packed = item.flate_encode()
            assert isinstance(packed, EncodedStreamObject)
            writer._objects[index] = packed
    made = io.BytesIO()
    writer.write(made)
    assert len(made.getvalue()) < 20_000
    assert rejection(made.getvalue(), Limits(max_unpacked_bytes=1_000_000)) == "unpacked_size"


@settings(deadline=None, max_examples=60)  # the first call imports libraries
@given(st.data())
def test_a_damaged_document_is_classified_or_rejected(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["hybrid-factur-x.pdf", "xrechnung-cii.xml", "sheet-english.xlsx", "scan.png"]))
    document = bytearray((DEMO / name).read_bytes())
    for _ in range(data.draw(st.integers(0, 20))):
        document[data.draw(st.integers(0, len(document) - 1))] = data.draw(st.integers(0, 255))
    start = data.draw(st.integers(0, len(document) - 1))
    del document[start : start + data.draw(st.integers(0, 500))]
    assert outcome(signature(bytes(document)), bytes(document))


@settings(deadline=None)  # the first call imports libraries
@given(st.binary(max_size=300))
def test_any_bytes_are_classified_or_rejected_and_nothing_else(data: bytes) -> None:
    assert outcome(signature(data), data)


@settings(deadline=None)  # the first call imports libraries
@given(st.sampled_from(list(Form)), st.binary(max_size=100))
def test_a_wrong_guess_of_the_form_is_rejected_not_a_crash(form: Form, data: bytes) -> None:
    assert outcome(form, data)


DOCTYPE = '<!DOCTYPE a [<!ENTITY x "y">]>'


@pytest.mark.parametrize(
    "data",
    [
        f"<?xml version='1.0'?>{DOCTYPE}<a>&x;</a>".encode(),
        f"<?xml version='1.0'?>{DOCTYPE}<a b='&x;'/>".encode(),
        f"<!-- first --><?pi?>\n{DOCTYPE}<a/>".encode(),
        f"<?xml version='1.0' encoding='UTF-16'?>{DOCTYPE}<a/>".encode("utf-16"),
        f"<?xml version='1.0' encoding='UTF-16LE'?>{DOCTYPE}<a/>".encode("utf-16-le"),
        codecs.BOM_UTF8 + f"{DOCTYPE}<a/>".encode(),
        f"<?xml version='1.0' encoding='UTF-7'?>{DOCTYPE}<a/>".encode("utf-7"),
        b'<?xml version="1.0"?><!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd"><a/>',
    ],
)
def test_a_doctype_is_refused_in_every_encoding(data: bytes) -> None:
    with pytest.raises(InputRejected) as caught:
        read_xml(data, Limits())
    assert caught.value.reason_code == "rejected_xml"


def test_the_word_doctype_inside_the_document_is_only_text() -> None:
    root = read_xml(b"<a><![CDATA[<!DOCTYPE html>]]></a>", Limits())
    assert root.text == "<!DOCTYPE html>"


def test_nesting_beyond_the_limit_is_refused_while_it_is_read() -> None:
    deep = b"<a>" * 10_000 + b"</a>" * 10_000
    with pytest.raises(InputRejected) as caught:
        read_xml(deep, Limits())
    assert caught.value.reason_code == "rejected_xml"


def test_a_long_attachment_inside_the_xml_is_read() -> None:
    root = read_xml(UBL % (b"A" * 11_000_000), Limits())
    assert len(root[0].text or "") == 11_000_000


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("a;b\n1;2\n", ";"),
        ("a\tb\n1\t2\n", "\t"),
        ("a,b,c\n1,2,3\n", ","),
        ("Name;Preis\nStuhl, rot;1.234,50\n", ";"),
        ("Hello, world\nthis, too\n", None),
        ("one line only;yes\n", None),
        ("no columns\nhere\n", None),
        ("", None),
    ],
)
def test_a_table_is_told_from_prose(text: str, delimiter: str | None) -> None:
    assert delimiter_of(text) == delimiter


def test_text_is_decoded_whatever_program_wrote_it() -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        assert decode_text("Fällig;Währung €".encode(encoding)) == "Fällig;Währung €"
    assert decode_text(b"a\x00b\x01") is None
