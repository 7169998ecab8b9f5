"""Good modules of the stage check."""

from switchgear.sdk import Context, Module, ModuleSettings, NeedsReview, module
from switchgear_tiny.contracts import Checked, Count, Upper


@module(stage="check", contract="tiny-check@1", version="1.0.0")
class CheckCount(Module):
    """Puts text and count together; above `review_above` words a person decides."""

    class Settings(ModuleSettings):
        """When a person has to look."""

        review_above: int | None = None

    settings: Settings

    def run(self, upper: Upper, count: Count | None, ctx: Context) -> Checked:
        words = count.words if count else None
        limit = self.settings.review_above
        if limit is not None and words is not None and words > limit and ctx.decision is None:
            raise NeedsReview(f"{words} words are more than {limit}.", {"words": words, "limit": limit})
        note = f"{ctx.decision.action} by {ctx.decision.actor}" if ctx.decision else ""
        return Checked(text=upper.text, words=words, note=note)


@module(stage="check", contract="tiny-check@1", version="1.0.0")
class CheckOther(Module):
    """Puts text and count together, and says so."""

    def run(self, upper: Upper, count: Count | None) -> Checked:
        return Checked(text=upper.text, words=count.words if count else None, note="check-other")
