"""Finds invoice fields by patterns over lines of text; knows nothing of columns. Source: INVOICES.md (extract)."""

from typing import Final, Literal

from pydantic import Field

from switchgear.invoice import rules
from switchgear.invoice.doubts import doubted
from switchgear.invoice.types import Candidate, Cells, InvoiceFields, Kind, Pages
from switchgear.modules.extract_text.lines import lines_of
from switchgear.modules.extract_text.search import Search
from switchgear.sdk import Module, ModuleSettings, Requires, module

Language = Literal["de", "en", "fr", "it", "es", "nl"]
#: Each missing critical field takes this part of the confidence away.
_MISSING_COSTS: Final = 0.15


@module(
    stage="extract",
    contract="invoice-extract@1",
    version="1.0.0",
    guarantees={"evidence_points_to_words", "not_empty"},
    requires=Requires(packages=("babel>=2.16",), install="pip install switchgear"),
)
class ExtractText(Module):
    """Searches each line for a label and reads the value behind it; headings are joined with the row below first.

    Simpler and less sure than `extract-layout`, and shares no code with it but the reading of amounts and
    dates, and what makes a value doubtful.
    """

    class Settings(ModuleSettings):
        """Which languages are looked for."""

        languages: tuple[Language, ...] = Field(
            ("de", "en", "fr", "it", "es", "nl"),
            min_length=1,
            max_length=6,
            description="Languages of labels and month names; the first decides how 1.234 is read.",
        )

    settings: Settings

    def run(self, pages: Pages | None, scanned: Pages | None, cells: Cells | None, kind: Kind) -> Candidate:
        """Return what was found; at least one input is there (the contract says so).

        Raises:
            InputRejected: `no_invoice` when nothing was found.
            NotApplicable: Nothing was found on the page of an e-invoice, whose XML counts.
        """
        languages: tuple[str, ...] = self.settings.languages
        lines = lines_of(pages, scanned, cells)
        search = Search(lines, languages) if lines else None
        found_fields = search.fields() if search is not None else InvoiceFields()
        if search is None or found_fields == InvoiceFields():
            raise rules.nothing_found(kind)
        fields, findings = doubted(found_fields, search.doubts(found_fields))
        facts = list(rules.critical_facts(fields).values())
        found = [fact.confidence for fact in facts if fact is not None]
        missing = len(facts) - len(found)
        confidence = min(found, default=0.0) * max(0.0, 1 - _MISSING_COSTS * missing)
        return Candidate(fields=fields, confidence=round(confidence, 3), findings=findings)
