"""The alternative of the stage upper; its outputs end with an exclamation mark."""

from switchgear.sdk import Module, module
from switchgear_tiny.contracts import Text, Upper


@module(stage="upper", contract="tiny-upper@1", version="2.0.0", guarantees={"is_upper", "keeps_length"})
class UpperOther(Module):
    """Capitals and an exclamation mark."""

    def run(self, text: Text) -> Upper:
        return Upper(text=text.text.upper() + "!")
