"""The default of the stage upper, in a package of its own, so that a test can change its code alone."""

from switchgear.sdk import Module, module
from switchgear_tiny.contracts import Text, Upper


@module(stage="upper", contract="tiny-upper@1", version="1.0.0", guarantees={"is_upper", "keeps_length"})
class UpperText(Module):
    """Capitals."""

    def run(self, text: Text) -> Upper:
        return Upper(text=text.text.upper())
