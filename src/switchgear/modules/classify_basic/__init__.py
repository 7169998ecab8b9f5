"""`classify-basic`: our own probes alone. Source: INVOICES.md (classify)."""

from switchgear.invoice.probes import inspect, signature
from switchgear.invoice.types import Kind
from switchgear.sdk import Blob, Context, Module, Requires, module


@module(
    stage="classify",
    contract="invoice-classify@1",
    version="1.0.0",
    guarantees={"syntax_fits_media"},
    requires=Requires(packages=("pypdf>=5.1", "lxml>=5.3", "pillow>=11"), memory_mb=256),
)
class ClassifyBasic(Module):
    """Says what a document is from a short table of signatures."""

    def run(self, blob: Blob, ctx: Context) -> Kind:
        """Decide from the bytes; rejects what nobody can process."""
        with blob.open() as stream:
            data = stream.read()
        return inspect(signature(data), data, ctx.limits)
