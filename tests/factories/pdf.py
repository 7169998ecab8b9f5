"""PDF files written by hand, so that a test can break exactly one thing in each."""

import io
import zlib
from collections.abc import Mapping

CATALOGUE = "<< /Type /Catalog /Pages 2 0 R >>"
PAGES = "<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
PAGE = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>"
FONT = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
TEXT = b"BT /F 12 Tf 50 700 Td (Invoice 17) Tj ET"


def stream(data: bytes, entries: str = "") -> bytes:
    """A stream object with its length."""
    return f"<< /Length {len(data)} {entries} >>\nstream\n".encode() + data + b"\nendstream"


def packed(data: bytes, times: int = 1, entries: str = "") -> bytes:
    """A stream object, packed so many times with Flate."""
    for _ in range(times):
        data = zlib.compress(data, 9)
    return stream(data, f"/Filter [{' /FlateDecode' * times}] {entries}")


def pdf(changes: Mapping[int, str | bytes] | None = None) -> bytes:
    """A file of one page that says "Invoice 17", with *changes* to its objects.

    Args:
        changes: By object number: 1 the catalogue, 2 the page tree, 3 the page, 4 its content, 5 the font; others are
            added.
    """
    objects: dict[int, str | bytes] = {1: CATALOGUE, 2: PAGES, 3: PAGE, 4: stream(TEXT), 5: FONT, **(changes or {})}
    made, places = io.BytesIO(), {}
    made.write(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    for number, body in sorted(objects.items()):
        places[number] = made.tell()
        made.write(f"{number} 0 obj\n".encode() + (body.encode() if isinstance(body, str) else body) + b"\nendobj\n")
    start, size = made.tell(), max(objects) + 1
    made.write(f"xref\n0 {size}\n0000000000 65535 f \n".encode())
    for number in range(1, size):
        line = f"{places[number]:010} 00000 n \n" if number in places else "0000000000 65535 f \n"
        made.write(line.encode())
    made.write(f"trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode())
    return made.getvalue()
