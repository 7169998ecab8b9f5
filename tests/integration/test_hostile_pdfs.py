"""Hostile PDFs through the modules that open them, in processes of their own as the engine runs them. Fault 45."""

import base64
import hashlib
import io
import os
import socket
import zlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Final

import pypdf
import pytest

from factories.pdf import FONT, PAGE, TEXT, packed, pdf, stream
from switchgear.domain.run import AttemptResult
from switchgear.ingestion.module_pool import Call, DocumentFile, ModulePools, ModuleUse, StageValue
from switchgear.invoice.testing import kind
from switchgear.invoice.types import Kind, Page, Pages, Syntax
from switchgear.sdk import StageLimits
from switchgear.sdk.values import Limits

pytestmark = pytest.mark.anyio

MIB: Final = 1 << 20
LIMITS: Final = Limits(max_unpacked_bytes=8 * MIB, max_pages=50, max_pixels=10_000_000)
READERS: Final = ("read-pdfium", "read-pdfplumber")
#: A page that is a scan, for text recognition.
SCAN: Final = Pages(pages=(Page(number=1, width=595, height=842, scan=True),))


def locked(user_password: str, algorithm: str = "AES-256") -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf()))
    writer.encrypt(user_password=user_password, owner_password="owner", algorithm=algorithm)
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()


def boxed(box: str) -> bytes:
    return pdf({3: PAGE.replace("[0 0 595 842]", f"[{box}]")})


def attached(content: bytes) -> bytes:
    return pdf(
        {
            1: "<< /Type /Catalog /Pages 2 0 R /Names << /EmbeddedFiles << /Names [(factur-x.xml) 6 0 R] >> >> >>",
            6: "<< /Type /Filespec /F (factur-x.xml) /UF (factur-x.xml) /EF << /F 7 0 R >> >>",
            7: content,
        }
    )


def form(content: bytes, used: int = 6) -> bytes:
    return stream(
        content, f"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X {used} 0 R >> >>"
    )


def active(address: str, target: str) -> bytes:
    """A document that wants to run a script, a program and a request when it is opened, and carries a program."""
    launch = f"<< /S /Launch /F (/usr/bin/touch) /Win << /F (/usr/bin/touch) /P ({target}) >> /Next 8 0 R >>"
    return pdf(
        {
            1: "<< /Type /Catalog /Pages 2 0 R /OpenAction 7 0 R /AA << /WC 8 0 R >> /AcroForm << /XFA 9 0 R >>"
            " /Names << /JavaScript << /Names [(a) 8 0 R] >> /EmbeddedFiles << /Names [(evil.sh) 10 0 R] >> >> >>",
            7: launch,
            8: f"<< /S /JavaScript /JS (app.launchURL\\({address!r}\\);) /Next << /S /URI /URI ({address}) >> >>",
            9: stream(f"<?xml version='1.0'?><!DOCTYPE x SYSTEM '{address}x.dtd'><x/>".encode(), "/F 12 0 R"),
            10: "<< /Type /Filespec /F (evil.sh) /EF << /F 11 0 R >> >>",
            11: stream(f"touch {target}".encode(), "/Type /EmbeddedFile"),
            12: f"<< /FS /URL /F ({address}) >>",
        }
    )


def many_attachments(count: int, content: bytes) -> bytes:
    numbers = range(100, 100 + 2 * count, 2)
    files = "".join(f"({number}.xml) {number} 0 R " for number in numbers)
    catalogue = f"<< /Type /Catalog /Pages 2 0 R /Names << /EmbeddedFiles << /Names [{files}] >> >> >>"
    named = {number: f"<< /Type /Filespec /F ({number}.xml) /EF << /F {number + 1} 0 R >> >>" for number in numbers}
    return pdf({1: catalogue, **named, **{number + 1: content for number in numbers}})


def codes(count: int) -> bytes:
    """Codes of LZW for *count* times 28,680 spaces; each code stands for one space more than the one before."""
    block = [256, 32, *range(258, 496)]  # begins the table anew before a code needs more than nine bits
    bits = "".join(f"{code:09b}" for code in block)
    return int(bits, 2).to_bytes(len(bits) // 8) * count


def runs(size: int, times: int) -> bytes:
    """One byte *size* times over, packed in runs so many times; the byte says "128 of the following" itself."""
    return b"\x81" * (size >> 6 * times)


BLANKS: Final = b" " * (16 * MIB)
PLAIN: Final = pdf()
WITH_FORM: Final = PAGE.replace("/Font", "/XObject << /X 6 0 R >> /Font")
DEEP: Final = {number: f"<< /Type /Pages /Kids [{number + 1} 0 R] /Count 1 >>" for number in range(10, 3000)}
TEN_TIMES_TEN: Final = {
    number: "<< /Type /Pages /Kids [" + f"{number + 1} 0 R " * 10 + "] /Count 1000000000 >>" for number in range(10, 20)
}

LETTERS: Final = "/Filter [/ASCII85Decode /FlateDecode]"
DIGITS: Final = "/DecodeParms [null null] /Filter[/AHx/FlateDecode] /Title (x)"
#: Name -> document. Each breaks one thing.
BOMBS: Final = {
    "packed a thousand times": pdf({4: packed(BLANKS)}),
    "packed twice over": pdf({4: packed(BLANKS, times=2)}),
    "packed four times over": pdf({4: packed(BLANKS, times=4)}),
    "written in letters": pdf({4: stream(base64.a85encode(zlib.compress(BLANKS)) + b"~>", LETTERS)}),
    "written in digits": pdf({4: stream(zlib.compress(BLANKS).hex().encode() + b">", DIGITS)}),
    "written in letters, packed twice over": pdf(
        {4: stream(base64.a85encode(zlib.compress(zlib.compress(BLANKS))) + b"~>", LETTERS.replace("]", "/Fl]"))}
    ),
    "a bomb whose packing is said elsewhere, behind one in letters": pdf(
        {4: stream(zlib.compress(BLANKS), "/Filter 8 0 R"), 3: stream(b"~>", LETTERS), 8: "/FlateDecode"}
    ),
    "a bomb in the font": pdf({5: FONT.replace(">>", "/ToUnicode 6 0 R >>"), 6: packed(BLANKS)}),
}
TREES: Final = {
    "a page tree that contains itself": pdf({2: "<< /Type /Pages /Kids [2 0 R] /Count 1 >>"}),
    "a page tree that comes back": pdf(
        {2: "<< /Type /Pages /Kids [6 0 R] /Count 1 >>", 6: "<< /Type /Pages /Parent 2 0 R /Kids [2 0 R] /Count 1 >>"}
    ),
    "a page tree of three thousand floors": pdf({2: "<< /Type /Pages /Kids [10 0 R] /Count 1 >>", **DEEP, 3000: PAGE}),
    "ten billion pages from ten nodes": pdf(
        {2: "<< /Type /Pages /Kids [10 0 R] /Count 1 >>", **TEN_TIMES_TEN, 20: PAGE}
    ),
    "a page that is its own ancestor": pdf(
        {2: "<< /Type /Pages /Parent 3 0 R /Kids [3 0 R] /Count 1 >>", 3: PAGE.replace("/MediaBox [0 0 595 842]", "")}
    ),
    "a hundred thousand pages declared": pdf({2: "<< /Type /Pages /Kids [3 0 R] /Count 100000 >>"}),
    "fewer pages than none declared": pdf({2: "<< /Type /Pages /Kids [3 0 R] /Count -1 >>"}),
    "a page that is no page": pdf({3: "[1 2 3]"}),
}
BOXES: Final = {
    "a page as wide as the moon is far": boxed("0 0 1000000000 1000000000"),
    "a page whose size is no number": boxed("0 0 NaN NaN"),
    "a page of infinite size": boxed("0 0 inf -inf"),
    "a page with half a size": boxed("0 0"),
    "a page without room": boxed("0 0 0 0"),
    "a page left of its own origin": boxed("-595 -842 0 0"),
    "a page turned by a name": pdf({3: PAGE.replace("/Type", "/Rotate /X /Type", 1)}),
}
BROKEN: Final = {
    "no table of objects": PLAIN[: PLAIN.index(b"xref\n")] + b"%%EOF\n",
    "cut off": PLAIN[:-60],
    "a table that follows itself": PLAIN.replace(b"/Root", b"/Prev %d /Root" % PLAIN.index(b"xref\n")),
    "a length that refers to itself": pdf({4: b"<< /Length 4 0 R >>\nstream\n" + TEXT + b"\nendstream"}),
    "lists in lists": pdf({4: stream(b"[" * 100_000)}),
    "a cipher that nobody knows": PLAIN.replace(b"/Root", b"/Encrypt << /Filter /X /V 99 >> /Root"),
}
#: The library of read-pdfplumber follows it for ever.
SELF: Final = pdf({4: "4 0 R"})
HOSTILE: Final = {**BOMBS, **TREES, **BOXES, **BROKEN}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def pools(tmp_path: Path) -> AsyncIterator[ModulePools]:
    made = ModulePools(
        folder=tmp_path / "scratch",
        limits=LIMITS,
        environment=dict(os.environ),
        resolve_secret=lambda reference: None,
        default_concurrency=1,
    )
    await made.start()
    yield made
    await made.close()


async def call(
    pools: ModulePools, module_id: str, path: Path, memory_mb: int = 1024, timeout_s: int = 60
) -> AttemptResult:
    """Call the module with the document, which must be the same afterwards."""
    data = path.read_bytes()
    document = DocumentFile(path, hashlib.sha256(data).hexdigest(), len(data), "application/pdf", path.name)
    stage = module_id.split("-")[0]
    what = kind(syntax=Syntax.CII if stage == "parse" else None)
    inputs = {} if stage == "classify" else {"kind": StageValue(Kind, model=what)}
    if stage == "ocr":
        inputs["pages"] = StageValue(Pages, model=SCAN)
    use = ModuleUse(module_id, "{}", StageLimits(timeout_s=timeout_s, memory_mb=memory_mb))
    result = await pools.call(use, Call("run_1", "doc_1", 1, float(timeout_s), document, inputs))
    assert path.read_bytes() == data
    return result


async def outcomes(pools: ModulePools, module_id: str, folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Call the module with each document, one after the other in the same process."""
    found = {}
    for name in names:
        path = folder / "document.pdf"
        path.write_bytes(HOSTILE[name])
        result = await call(pools, module_id, path)
        found[name] = f"{result.outcome} {result.detail}".strip()
        assert result.outcome == "succeeded" or "Send" in result.message or "limit" in result.message, name
    return found


async def reads(pools: ModulePools, module_id: str, folder: Path, data: bytes = PLAIN) -> list[str]:
    path = folder / "good.pdf"
    path.write_bytes(data)
    result = await call(pools, module_id, path)
    assert result.outcome == "succeeded", result
    return [word.text for page in Pages.model_validate_json(result.output).pages for word in page.words]


@pytest.mark.parametrize("module_id", ["classify-magic", "classify-basic", *READERS, "ocr-tesseract"])
async def test_no_stream_is_unpacked_beyond_the_limit(pools: ModulePools, tmp_path: Path, module_id: str) -> None:
    found = await outcomes(pools, module_id, tmp_path, BOMBS)
    assert found == dict.fromkeys(BOMBS, "bad_input unpacked_size")


#: What is refused, as corrupt where nothing else is said; all others are read as far as they go.
REFUSED: Final = {
    "classify-magic": {
        "a page that is no page": "corrupt",
        "no table of objects": "corrupt",
        "cut off": "truncated",
        "a cipher that nobody knows": "corrupt",
    },
    "read-pdfium": {
        "a page tree that contains itself": "corrupt",
        "a page tree that comes back": "corrupt",
        "a page tree of three thousand floors": "corrupt",
        "a hundred thousand pages declared": "pages",
        "a page that is no page": "corrupt",
        "no table of objects": "corrupt",
        "cut off": "corrupt",
        "a cipher that nobody knows": "corrupt",
    },
    "read-pdfplumber": {
        "a page tree of three thousand floors": "corrupt",
        "a page that is its own ancestor": "corrupt",
        "a page whose size is no number": "corrupt",
        "a page of infinite size": "corrupt",
        "a page with half a size": "corrupt",
        "a page turned by a name": "corrupt",
        "no table of objects": "corrupt",
        "cut off": "corrupt",
        "a table that follows itself": "corrupt",
        "a length that refers to itself": "corrupt",
        "a cipher that nobody knows": "corrupt",
    },
}


@pytest.mark.parametrize("module_id", list(REFUSED))
async def test_a_hostile_document_is_read_or_refused_with_a_reason_and_the_process_goes_on(
    pools: ModulePools, tmp_path: Path, module_id: str
) -> None:
    documents = [*TREES, *BOXES, *BROKEN]
    found = await outcomes(pools, module_id, tmp_path, documents)
    refused = {name: f"bad_input {code}" for name, code in REFUSED[module_id].items()}
    assert found == dict.fromkeys(documents, "succeeded") | refused


@pytest.mark.parametrize("module_id", READERS)
@pytest.mark.parametrize("box", ["595 842 0 0", "0 842 595 0", "0 0 595 842"])
async def test_a_page_is_read_whichever_corners_its_box_names(
    pools: ModulePools, tmp_path: Path, module_id: str, box: str
) -> None:
    assert await reads(pools, module_id, tmp_path, boxed(box)) == ["Invoice", "17"]


#: What a library fills its memory or its time with; no limit of ours sees it before.
ENDLESS: Final = {
    "forms": pdf({3: WITH_FORM, 4: stream(b"/X Do"), 6: form(b"/X Do /X Do")}),
    "reference": SELF,
    "codes": pdf({4: stream(zlib.compress(codes(29_000)), "/Filter [/FlateDecode /LZWDecode]")}),
    "runs": pdf({4: stream(runs(1 << 32, 3), "/Filter [/RunLengthDecode /RunLengthDecode /RunLengthDecode]")}),
}


@pytest.mark.parametrize(
    ("module_id", "name"),
    [
        ("read-pdfium", "forms"),
        ("read-pdfium", "codes"),
        ("read-pdfplumber", "reference"),
        ("read-pdfplumber", "codes"),
        ("read-pdfplumber", "runs"),
    ],
)
async def test_what_fills_or_hangs_a_library_ends_its_process_and_nothing_else(
    pools: ModulePools, tmp_path: Path, module_id: str, name: str
) -> None:
    path = tmp_path / "document.pdf"
    path.write_bytes(ENDLESS[name])
    result = await call(pools, module_id, path, memory_mb=128, timeout_s=4)
    assert result.outcome in ("crash", "timeout")
    assert result.duration_us < 40_000_000
    assert await reads(pools, module_id, tmp_path) == ["Invoice", "17"]


@pytest.mark.parametrize("module_id", ["classify-magic", *READERS, "ocr-tesseract"])
@pytest.mark.parametrize("algorithm", ["RC4-40", "AES-256"])
async def test_a_document_with_a_password_is_refused_for_that(
    pools: ModulePools, tmp_path: Path, module_id: str, algorithm: str
) -> None:
    path = tmp_path / "document.pdf"
    path.write_bytes(locked("secret", algorithm))
    result = await call(pools, module_id, path)
    assert (result.outcome, result.detail) == ("bad_input", "encrypted")
    assert "without a password" in result.message


@pytest.mark.parametrize("module_id", READERS)
async def test_a_document_that_only_its_owner_may_change_is_read(
    pools: ModulePools, tmp_path: Path, module_id: str
) -> None:
    assert await reads(pools, module_id, tmp_path, locked("")) == ["Invoice", "17"]


@pytest.mark.parametrize("module_id", ["classify-magic", *READERS])
async def test_nothing_in_a_document_is_carried_out(pools: ModulePools, tmp_path: Path, module_id: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        target, path = tmp_path / "launched", tmp_path / "document.pdf"
        path.write_bytes(active(f"http://127.0.0.1:{listener.getsockname()[1]}/", str(target)))
        result = await call(pools, module_id, path)
        assert result.outcome == "succeeded"
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert not target.exists()
    assert not [found for found in tmp_path.rglob("*") if found.name in ("evil.sh", "launched")]


@pytest.mark.parametrize("module_id", ["classify-magic", "parse-einvoice", "parse-eu-einvoice"])
async def test_an_attachment_is_not_unpacked_beyond_the_limit(
    pools: ModulePools, tmp_path: Path, module_id: str
) -> None:
    path = tmp_path / "document.pdf"
    for content in (
        packed(BLANKS, entries="/Type /EmbeddedFile"),
        stream(b"\x81<" * (5 * MIB) + b"\x80", "/Type /EmbeddedFile /Filter /RunLengthDecode"),
    ):
        path.write_bytes(attached(content))
        result = await call(pools, module_id, path)
        assert (result.outcome, result.detail) == ("bad_input", "unpacked_size")


@pytest.mark.parametrize("module_id", ["classify-magic", "parse-einvoice"])
async def test_many_attachments_together_stay_below_the_limit(
    pools: ModulePools, tmp_path: Path, module_id: str
) -> None:
    path = tmp_path / "document.pdf"
    path.write_bytes(many_attachments(count=20, content=packed(b" " * MIB)))
    result = await call(pools, module_id, path)
    assert (result.outcome, result.detail) == ("bad_input", "unpacked_size")


@pytest.mark.parametrize("module_id", ["classify-magic", "parse-einvoice"])
async def test_a_list_of_attachments_that_contains_itself_comes_to_an_end(
    pools: ModulePools, tmp_path: Path, module_id: str
) -> None:
    path = tmp_path / "document.pdf"
    names = "<< /Type /Catalog /Pages 2 0 R /Names << /EmbeddedFiles 6 0 R >> >>"
    path.write_bytes(pdf({1: names, 6: "<< /Kids [6 0 R 6 0 R 6 0 R] >>"}))
    result = await call(pools, module_id, path)
    assert result.outcome == ("succeeded" if module_id == "classify-magic" else "bad_input")


async def test_a_page_that_is_too_large_to_draw_is_refused_before_it_is_drawn(
    pools: ModulePools, tmp_path: Path
) -> None:
    path = tmp_path / "document.pdf"
    path.write_bytes(HOSTILE["a page as wide as the moon is far"])
    result = await call(pools, "ocr-tesseract", path)
    assert (result.outcome, result.detail) == ("bad_input", "pixels")
    path.write_bytes(HOSTILE["a page tree that contains itself"])
    result = await call(pools, "ocr-tesseract", path)
    assert (result.outcome, result.detail) == ("bad_input", "corrupt")
