"""Pure and bounded modules that may run in the server's own process (L0); for the overhead benchmark too."""

from switchgear.sdk import Blob, Context, Module, module
from switchgear_tiny.contracts import Checked, Count, Receipt, Text, Upper
from switchgear_tiny.loads import read
from switchgear_tiny.sends import SendSettings, send


@module(stage="load", contract="tiny-load@1", version="1.0.0", min_isolation="L0")
class LoadInline(Module):
    """Reads the document from its stream."""

    def run(self, blob: Blob) -> Text:
        return Text(text=read(blob), loaded_by="load-inline")


@module(
    stage="upper",
    contract="tiny-upper@1",
    version="1.0.0",
    guarantees={"is_upper", "keeps_length"},
    min_isolation="L0",
)
class UpperInline(Module):
    """Capitals."""

    def run(self, text: Text) -> Upper:
        return Upper(text=text.text.upper())


@module(stage="count", contract="tiny-count@1", version="1.0.0", min_isolation="L0")
class CountInline(Module):
    """Counts what stands between spaces."""

    def run(self, upper: Upper) -> Count:
        return Count(words=len(upper.text.split()))


@module(stage="check", contract="tiny-check@1", version="1.0.0", min_isolation="L0")
class CheckInline(Module):
    """Puts text and count together."""

    def run(self, upper: Upper, count: Count | None) -> Checked:
        return Checked(text=upper.text, words=count.words if count else None)


@module(stage="send", contract="tiny-send@1", version="1.0.0", min_isolation="L0")
class SendInline(Module):
    """Sends nowhere, or into a folder that counts the calls."""

    class Settings(SendSettings):
        """Where it goes."""

        target: str = "nowhere"

    settings: Settings

    def run(self, checked: Checked, ctx: Context) -> Receipt:
        return send(self.settings, checked, ctx, "send-inline")
