"""Good modules of the stage count."""

from switchgear.sdk import Module, module
from switchgear_tiny.contracts import Count, Upper


@module(stage="count", contract="tiny-count@1", version="1.0.0")
class CountWords(Module):
    """Counts what stands between spaces."""

    def run(self, upper: Upper) -> Count:
        return Count(words=len(upper.text.split()))


@module(stage="count", contract="tiny-count@1", version="1.0.0")
class CountOther(Module):
    """Counts a thousand more, so that one can see who counted."""

    def run(self, upper: Upper) -> Count:
        return Count(words=1000 + len(upper.text.split()))
