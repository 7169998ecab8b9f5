"""`classify-magic`: the signature collection of puremagic, then our own probes. Source: INVOICES.md (classify)."""

from typing import Final

import puremagic

from switchgear.invoice.probes import Form, inspect, signature
from switchgear.invoice.types import Kind
from switchgear.sdk import Blob, Context, Module, Requires, module

#: Media types of the collection -> form. Text forms are left to our own probes: their signatures are guesses.
_FORMS: Final = {
    "application/pdf": Form.PDF,
    "application/zip": Form.ARCHIVE,
    "image/png": Form.IMAGE,
    "image/jpeg": Form.IMAGE,
    "image/tiff": Form.IMAGE,
}
_HEAD: Final = 64 * 1024


@module(
    stage="classify",
    contract="invoice-classify@1",
    version="1.0.0",
    guarantees={"syntax_fits_media"},
    requires=Requires(packages=("puremagic>=1.28", "pypdf>=5.1", "lxml>=5.3", "pillow>=11"), memory_mb=256),
)
class ClassifyMagic(Module):
    """Says what a document is; an unsupported one is named with the media type that the collection knows."""

    def run(self, blob: Blob, ctx: Context) -> Kind:
        """Decide from the bytes; rejects what nobody can process."""
        with blob.open() as stream:
            data = stream.read()
        looks_like = _media_type(data)
        form = signature(data)
        if form is Form.UNKNOWN:
            form = _FORMS.get(looks_like, form)
        return inspect(form, data, ctx.limits, looks_like=looks_like)


def _media_type(data: bytes) -> str:
    if not data:
        return ""
    try:
        matches = puremagic.magic_string(data[:_HEAD])
    except (puremagic.PureError, ValueError):
        return ""
    return next((match.mime_type for match in matches if match.mime_type), "")
