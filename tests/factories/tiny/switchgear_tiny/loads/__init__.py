"""Good modules of the stage load."""

from switchgear.sdk import Blob, InputRejected, Module, module
from switchgear_tiny.contracts import Text


def read(blob: Blob) -> str:
    """The document as text."""
    with blob.open() as stream:
        return decode(stream.read())


def decode(data: bytes) -> str:
    """What is not UTF-8 is the document's fault."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InputRejected("corrupt", "The file is no UTF-8 text.") from None


@module(stage="load", contract="tiny-load@1", version="1.0.0")
class LoadText(Module):
    """Reads the document from its stream."""

    def run(self, blob: Blob) -> Text:
        return Text(text=read(blob), loaded_by="load-text")


@module(stage="load", contract="tiny-load@1", version="1.0.0")
class LoadOther(Module):
    """Reads the document from a path."""

    def run(self, blob: Blob) -> Text:
        return Text(text=decode(blob.path.read_bytes()), loaded_by="load-other")
