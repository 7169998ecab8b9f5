"""The documents of the demo: bundled invoices, and a long one that keeps a reader busy for some seconds."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

_SAMPLES: Final = "switchgear.invoice"
#: A PDF with text, without XML inside: the one that shows which reader read it.
TEXT_PDF: Final = "text-dutch.pdf"
_PAGES: Final = 60


def write_samples(folder: Path) -> list[Path]:
    """Copy the bundled sample documents into *folder*; return their paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for source in sorted((files(_SAMPLES) / "samples").iterdir(), key=lambda one: one.name):
        if source.is_file() and not source.name.startswith((".", "_")):
            target = folder / source.name
            target.write_bytes(source.read_bytes())
            written.append(target)
    return written


def write_long_document(folder: Path, pages: int = _PAGES) -> Path:
    """Write the first page of the text sample again and again: a real PDF that takes a slow reader a while."""
    from pypdf import PdfReader, PdfWriter

    page = PdfReader(str(folder / TEXT_PDF)).pages[0]
    writer = PdfWriter()
    for _ in range(pages):
        writer.add_page(page)
    target = folder / f"long-{pages}-pages.pdf"
    with target.open("wb") as stream:
        writer.write(stream)
    return target
