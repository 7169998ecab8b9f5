"""What module and pipeline authors use. Needs Pydantic and the standard library only. Source: INTERFACES 4."""

from switchgear.sdk.context import Context, Log, WarmContext
from switchgear.sdk.contract import Check, Contract
from switchgear.sdk.errors import (
    DeclarationError,
    InputRejected,
    ModuleError,
    NeedsReview,
    NotApplicable,
    Retryable,
    SwitchgearError,
    Unavailable,
    Unsupported,
)
from switchgear.sdk.module import Module, module
from switchgear.sdk.pipeline import Pipeline, Stage, StageLimits
from switchgear.sdk.values import (
    Blob,
    Decision,
    Earlier,
    Limits,
    ModuleSettings,
    RequiredFile,
    Requires,
    SecretRef,
)

__all__ = [
    "Blob",
    "Check",
    "Context",
    "Contract",
    "Decision",
    "DeclarationError",
    "Earlier",
    "InputRejected",
    "Limits",
    "Log",
    "Module",
    "ModuleError",
    "ModuleSettings",
    "NeedsReview",
    "NotApplicable",
    "Pipeline",
    "RequiredFile",
    "Requires",
    "Retryable",
    "SecretRef",
    "Stage",
    "StageLimits",
    "SwitchgearError",
    "Unavailable",
    "Unsupported",
    "WarmContext",
    "module",
]
