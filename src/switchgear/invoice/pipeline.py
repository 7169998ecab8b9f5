"""The shipped invoice pipeline: ten stages and the configuration of the first start. Source: INVOICES.md, T003."""

from typing import Any, Final

from switchgear.invoice import contracts
from switchgear.sdk import Pipeline, Stage, StageLimits

#: What makes a fallback serve: every way in which a module, not the document, can be at fault.
FAULTS: Final = ("error", "timeout", "crash", "contract_violation", "unavailable", "breaker_open")

#: Below this confidence of `extract` the fallback is asked too, and the better value wins.
LOW_CONFIDENCE: Final = 0.5

#: stage -> (default module, its fallbacks in order)
_DEFAULTS: Final = {
    "classify": ("classify-magic", "classify-basic"),
    "read": ("read-pdfium", "read-pdfplumber"),
    "tabulate": ("tabulate-calamine", "tabulate-openpyxl"),
    "ocr": ("ocr-rapid", "ocr-tesseract"),
    "parse": ("parse-einvoice", "parse-eu-einvoice"),
    "extract": ("extract-layout", "extract-text"),
    "reconcile": ("reconcile-arithmetic", "reconcile-priority"),
    "validate": ("validate-native", "validate-basic"),
    "review": ("review-rules", "review-strict", "review-always"),
    "deliver": ("deliver-files", "deliver-spool"),
}


def _default_configuration() -> dict[str, Any]:
    """Selections and fallback policies as a REST body; `park` everywhere, so that nothing is lost or left out."""
    policies: list[dict[str, Any]] = []
    for stage_id, (_, *fallbacks) in _DEFAULTS.items():
        chain: list[dict[str, Any]] = [{"module_id": fallback, "on": list(FAULTS)} for fallback in fallbacks]
        if stage_id == "extract":
            chain[0] |= {"on": [*FAULTS, "low_confidence"], "threshold": LOW_CONFIDENCE}
        elif stage_id == "ocr":  # where one recognises nothing, the other may
            chain[0] |= {"on": [*FAULTS, "bad_input"]}
        policies.append({"stage_id": stage_id, "chain": chain, "then": "park"})
    return {
        "selections": [{"stage_id": stage_id, "module_id": module} for stage_id, (module, *_) in _DEFAULTS.items()],
        "fallback_policies": policies,
        "message": "Defaults of the invoice pipeline",
    }


PIPELINE: Final = Pipeline(
    name="invoice",
    stages=(
        Stage("classify", 10, contracts.CLASSIFY),
        Stage("read", 20, contracts.READ, required=False),
        Stage("tabulate", 25, contracts.TABULATE, required=False),
        Stage("ocr", 30, contracts.OCR, required=False, limits=StageLimits(timeout_s=300, memory_mb=2048)),
        Stage("parse", 40, contracts.PARSE, required=False),
        Stage("extract", 50, contracts.EXTRACT, required=False),
        Stage("reconcile", 60, contracts.RECONCILE),
        Stage("validate", 70, contracts.VALIDATE),
        Stage("review", 75, contracts.REVIEW, chain_is_ordered=True),
        Stage("deliver", 80, contracts.DELIVER, chain_is_ordered=True),
    ),
    result="invoice",
    identity=("/seller/name/value", "/number/value"),
    default_configuration=_default_configuration(),
)
