"""The simple validator: sums, dates, and what the XML states but nobody can read. Source: INVOICES.md."""

from typing import Final

from switchgear.invoice import rules
from switchgear.invoice.types import Invoice, Structured, Verdict
from switchgear.sdk import Module, module

RULE_SET: Final = "switchgear-basic 1.2"
#: What `validate-native` looks at and this module does not; listed, so that nobody takes its verdict for more.
_NOT_LOOKED_AT: Final = ("mandatory", "vat", "check_digits", "page")


@module(
    stage="validate",
    contract="invoice-validate@1",
    version="1.0.0",
    guarantees={"skipped_layers_make_incomplete", "errors_make_invalid", "rule_set_named"},
    min_isolation="L0",
)
class ValidateBasic(Module):
    """Checks sums (BR-CO-10..13, 15, 16), dates, the type code, and that all of the XML can be read and says one thing.

    A number or a name that is far too long is an error, too.

    Its best verdict is `incomplete`: the other layers did not run.
    """

    def run(self, invoice: Invoice, structured: Structured | None) -> Verdict:
        """Return `invalid` when a finding is an error, else `incomplete`."""
        findings = rules.apply((*rules.SENSE, *rules.SUMS, *rules.DATES), invoice)
        findings += [*rules.unread(structured), *rules.adjustment_totals(structured)]
        wrong = any(finding.severity == "error" for finding in findings)
        return Verdict(
            status="invalid" if wrong else "incomplete",
            findings=tuple(findings),
            layers_run=("sums", "dates"),
            layers_skipped=_NOT_LOOKED_AT,
            rule_set=RULE_SET,
        )
