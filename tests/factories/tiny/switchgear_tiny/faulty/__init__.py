"""One module per stage that misbehaves as its settings say; with mode `ok` they work like the defaults."""

from collections.abc import Callable
from typing import Any

from switchgear.sdk import Blob, Context, Module, WarmContext, module
from switchgear_tiny.contracts import Checked, Count, Receipt, Text, Upper
from switchgear_tiny.faulty.misbehave import DEEDS, FaultSettings, is_bad_now, prepare, probe
from switchgear_tiny.loads import read

_HUGE = 200 * 1024 * 1024


class _Faulty(Module):
    class Settings(FaultSettings):
        """How to misbehave."""

    settings: Settings

    @classmethod
    def probe(cls, settings: Any) -> None:
        probe(settings)

    def open(self, ctx: WarmContext) -> None:
        prepare(self.settings)

    def outcome(self, text: str, good: Any, huge: Callable[[], Any], ctx: Context) -> Any:
        """Do the deed, then give *good*, or what the mode says instead."""
        if not is_bad_now(self.settings, text):
            return good
        mode = self.settings.mode
        if mode in DEEDS:
            DEEDS[mode](self.settings, ctx)
            return good
        odd = {"none": None, "wrong_type": {"text": "a dictionary"}, "not_serialisable": _Odd()}
        if mode == "huge":
            return huge()
        if mode == "low_confidence":
            return good.model_copy(update={"confidence": self.settings.confidence})
        if mode == "broken_guarantee":
            return good.model_copy(update={"text": text.lower() + "x"})
        if mode == "invalid":
            return type(good).model_construct(text=7, words="many", confidence=3, target=None, key=None, loaded_by=0)
        return odd.get(mode, good)


class _Odd:
    """Nothing that JSON knows."""


@module(stage="load", contract="tiny-load@1", version="1.0.0")
class LoadFaulty(_Faulty):
    """Reads the document, or misbehaves."""

    def run(self, blob: Blob, ctx: Context) -> Text:
        text = read(blob)
        return self.outcome(text, Text(text=text, loaded_by="load-faulty"), lambda: Text(text="x" * _HUGE), ctx)  # type: ignore[no-any-return]


@module(stage="upper", contract="tiny-upper@1", version="1.0.0", guarantees={"is_upper", "keeps_length"})
class UpperFaulty(_Faulty):
    """Capitals, or misbehaves."""

    def run(self, text: Text, ctx: Context) -> Upper:
        good = Upper(text=text.text.upper())
        if self.settings.mode == "mutate":
            object.__setattr__(text, "text", "changed by a later module")
        return self.outcome(text.text, good, lambda: Upper(text="X" * _HUGE), ctx)  # type: ignore[no-any-return]


@module(stage="count", contract="tiny-count@1", version="1.0.0")
class CountFaulty(_Faulty):
    """Counts, or misbehaves."""

    def run(self, upper: Upper, ctx: Context) -> Count:
        return self.outcome(upper.text, Count(words=len(upper.text.split())), lambda: Count(words=10**9), ctx)  # type: ignore[no-any-return]


@module(stage="check", contract="tiny-check@1", version="1.0.0")
class CheckFaulty(_Faulty):
    """Checks, or misbehaves."""

    def run(self, upper: Upper, count: Count | None, ctx: Context) -> Checked:
        good = Checked(text=upper.text, words=count.words if count else None)
        return self.outcome(upper.text, good, lambda: Checked(text="x" * _HUGE, words=0), ctx)  # type: ignore[no-any-return]


@module(stage="send", contract="tiny-send@1", version="1.0.0")
class SendFaulty(_Faulty):
    """Sends nowhere, or misbehaves."""

    def run(self, checked: Checked, ctx: Context) -> Receipt:
        good = Receipt(target="nowhere", key=ctx.idempotency_key("nowhere"))
        return self.outcome(checked.text, good, lambda: Receipt(target="x" * _HUGE, key=""), ctx)  # type: ignore[no-any-return]


@module(
    stage="upper",
    contract="tiny-upper@1",
    version="1.0.0",
    guarantees={"is_upper", "keeps_length"},
    min_isolation="L0",
)
class UpperFaultyInline(_Faulty):
    """Capitals in the server's own process, or misbehaves; only modes that leave the process alive."""

    def run(self, text: Text, ctx: Context) -> Upper:
        good = Upper(text=text.text.upper())
        return self.outcome(text.text, good, lambda: Upper(text="X" * _HUGE), ctx)  # type: ignore[no-any-return]
