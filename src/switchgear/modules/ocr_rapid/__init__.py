"""`ocr-rapid`: text of scans through RapidOCR and the models in its package. Source: INVOICES.md (ocr)."""

import importlib
import importlib.util
import time
from collections.abc import Iterator
from typing import Any, Final

from pydantic import Field

from switchgear.invoice.page_images import PageImage, page_images, recognised, require_scans
from switchgear.invoice.types import Kind, Pages, Word
from switchgear.sdk import (
    Blob,
    Context,
    Module,
    ModuleError,
    ModuleSettings,
    Requires,
    Unavailable,
    WarmContext,
    module,
)

_INSTALL: Final = "pip install 'switchgear[ocr]'"


@module(
    stage="ocr",
    contract="invoice-ocr@1",
    version="1.0.0",
    guarantees={"every_scan_read", "boxes_in_page"},
    requires=Requires(
        packages=("rapidocr>=3.4", "onnxruntime>=1.20", "pypdfium2>=5.0", "pillow>=11"),
        memory_mb=1536,
        install=_INSTALL,
    ),
)
class OcrRapid(Module):
    """Recognises the text of pages that are scans; offline, with the models that the package brings."""

    class Settings(ModuleSettings):
        """Quality and time."""

        page_timeout_s: float = Field(
            120.0, gt=0, le=600, description="A page that took longer is a failure; the deadline stops one that hangs."
        )
        least_confidence: float = Field(0.5, ge=0, le=1, description="Lines below are dropped.")

    settings: Settings
    _engine: Any = None

    @classmethod
    def probe(cls, settings: Any) -> None:
        """Look for the packages, without loading a model."""
        missing = [name for name in ("rapidocr", "onnxruntime", "cv2") if importlib.util.find_spec(name) is None]
        if missing:
            raise Unavailable(f"Python packages are missing: {', '.join(missing)}.", fix=_INSTALL)

    def open(self, ctx: WarmContext) -> None:
        """Load the models once per process."""
        from rapidocr import RapidOCR

        self._engine = RapidOCR()

    def close(self) -> None:
        """Give the models back."""
        self._engine = None

    def run(self, blob: Blob, kind: Kind, pages: Pages | None, ctx: Context) -> Pages:
        """Recognise every page that is a scan."""
        require_scans(kind, pages)
        read = [image.page(tuple(self._words(image))) for image in page_images(blob, kind, pages, ctx.limits)]
        return recognised(read)

    def _words(self, image: PageImage) -> Iterator[Word]:
        numpy = importlib.import_module("numpy")
        started = time.monotonic()
        result = self._engine(numpy.asarray(image.picture.convert("RGB")))
        if time.monotonic() - started > self.settings.page_timeout_s:
            raise ModuleError(f"Page {image.number} took longer than {self.settings.page_timeout_s:.0f} s.")
        boxes = result.boxes if result.boxes is not None else ()
        for box, text, score in zip(boxes, result.txts or (), result.scores or (), strict=False):
            if float(score) >= self.settings.least_confidence:
                yield from _split(image, box, str(text), float(score))


def _split(image: PageImage, box: Any, text: str, score: float) -> Iterator[Word]:
    """Divide a line into words, each with its share of the line's box by number of signs."""
    x0, x1 = min(float(point[0]) for point in box), max(float(point[0]) for point in box)
    top, bottom = min(float(point[1]) for point in box), max(float(point[1]) for point in box)
    step = (x1 - x0) / max(1, len(text))
    position = 0
    for part in text.split(" "):
        if part:
            left = x0 + position * step
            yield image.word(part, (left, top, left + len(part) * step, bottom), score)
        position += len(part) + 1
