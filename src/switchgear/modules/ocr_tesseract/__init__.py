"""`ocr-tesseract`: text of scans through the system's tesseract. Source: INVOICES.md (ocr)."""

import csv
import io
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any, Final

from pydantic import Field

from switchgear.invoice.page_images import DPI, PageImage, page_images, recognised, require_scans
from switchgear.invoice.types import Kind, Pages, Word
from switchgear.sdk import (
    Blob,
    Context,
    Module,
    ModuleError,
    ModuleSettings,
    Requires,
    Unavailable,
    module,
)

_INSTALL: Final = "apt-get install tesseract-ocr tesseract-ocr-deu"
_WORD_LEVEL: Final = "5"
#: Longest answer of the binary to a question about itself, in seconds.
_PROBE_S: Final = 4.0


@module(
    stage="ocr",
    contract="invoice-ocr@1",
    version="1.0.0",
    guarantees={"every_scan_read", "boxes_in_page"},
    requires=Requires(
        packages=("pypdfium2>=5.0", "pillow>=11"), binaries=("tesseract",), memory_mb=512, install=_INSTALL
    ),
)
class OcrTesseract(Module):
    """Recognises the text of pages that are scans; a page that takes too long is a failure, not an empty page."""

    class Settings(ModuleSettings):
        """Languages and time."""

        languages: tuple[str, ...] = Field(
            ("deu", "eng"), min_length=1, max_length=8, description="Language packs of tesseract, such as deu, eng."
        )
        page_timeout_s: float = Field(60.0, gt=0, le=600, description="Longest time for one page, in seconds.")
        page_segmentation: int = Field(3, ge=1, le=13, description="Mode of page segmentation (--psm).")

    settings: Settings

    @classmethod
    def probe(cls, settings: Any) -> None:
        """Look for the binary and its language packs."""
        binary = shutil.which("tesseract")
        if binary is None:
            raise Unavailable("The binary tesseract is not on PATH.", fix=_INSTALL)
        try:
            listed = subprocess.run(
                [binary, "--list-langs"],
                capture_output=True,
                text=True,
                timeout=_PROBE_S,
                check=True,
                env=_environment(),
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(f"tesseract does not answer ({type(error).__name__}).", fix=_INSTALL) from error
        missing = [name for name in settings.languages if name not in listed.stdout.split()]
        if missing:
            packs = " ".join(f"tesseract-ocr-{name.replace('_', '-')}" for name in missing)
            raise Unavailable(
                f"tesseract lacks the language pack for {', '.join(missing)}.",
                fix=f"apt-get install tesseract-ocr {packs}",
            )

    def run(self, blob: Blob, kind: Kind, pages: Pages | None, ctx: Context) -> Pages:
        """Recognise every page that is a scan."""
        require_scans(kind, pages)
        read = [image.page(tuple(self._words(image, ctx))) for image in page_images(blob, kind, pages, ctx.limits)]
        return recognised(read)

    def _words(self, image: PageImage, ctx: Context) -> Iterator[Word]:
        limit = max(0.1, min(self.settings.page_timeout_s, ctx.remaining_s()))
        command = ["tesseract", "stdin", "stdout", "-l", "+".join(self.settings.languages), "--dpi", str(DPI)]
        command += ["--oem", "1", "--psm", str(self.settings.page_segmentation), "tsv"]
        picture = io.BytesIO()
        image.picture.save(picture, "PPM")
        try:
            done = subprocess.run(
                command, input=picture.getvalue(), capture_output=True, timeout=limit, check=True, env=_environment()
            )
        except subprocess.TimeoutExpired as error:
            raise ModuleError(f"Page {image.number} took longer than {limit:.0f} s; tesseract was stopped.") from error
        except subprocess.CalledProcessError as error:
            raise ModuleError(f"tesseract ended with code {error.returncode} on page {image.number}.") from error
        yield from _parse(done.stdout.decode("utf-8", "replace"), image)


def _environment() -> dict[str, str]:
    """What the binary may see; one thread, since the engine runs several documents at a time."""
    kept = {name: os.environ[name] for name in ("PATH", "TESSDATA_PREFIX", "LANG") if name in os.environ}
    return kept | {"OMP_THREAD_LIMIT": "1"}


def _parse(text: str, image: PageImage) -> Iterator[Word]:
    """Read the words of tesseract's table, in its reading order."""
    for row in csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE):
        word = (row.get("text") or "").strip()
        if row["level"] != _WORD_LEVEL or not word:
            continue
        left, top = float(row["left"]), float(row["top"])
        box = (left, top, left + float(row["width"]), top + float(row["height"]))
        yield image.word(word, box, float(row["conf"]) / 100)
