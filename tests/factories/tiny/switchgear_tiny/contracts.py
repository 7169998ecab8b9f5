"""Values and contracts of the tiny pipeline."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import Field

from switchgear.sdk import Blob, Contract, Pipeline, Stage, StageLimits
from switchgear.sdk.values import Frozen

FAULTS: Final = ("error", "timeout", "crash", "contract_violation", "unavailable")


class Text(Frozen):
    """The document as text."""

    text: str
    loaded_by: str = ""


class Upper(Frozen):
    """The text in capitals, and how sure the module is."""

    text: str
    confidence: float = Field(1.0, ge=0, le=1)


class Count(Frozen):
    """How many words."""

    words: int = Field(ge=0)


class Checked(Frozen):
    """The result of a run."""

    text: str
    words: int | None
    note: str = ""


class Receipt(Frozen):
    """Where the result went."""

    target: str
    key: str


def _is_upper(inputs: Mapping[str, Any], output: Any) -> str | None:
    return None if output.text == output.text.upper() else "the text is not in capitals"


def _keeps_length(inputs: Mapping[str, Any], output: Any) -> str | None:
    return None if len(output.text) >= len(inputs["text"].text) else "the text became shorter"


def _has_words(inputs: Mapping[str, Any]) -> str | None:
    return None if inputs["upper"] is not None and inputs["upper"].text.strip() else "the text has no words"


LOAD: Final = Contract(name="tiny-load", version="1.0", inputs={"blob": Blob}, output_name="text", output=Text)
UPPER: Final = Contract(
    name="tiny-upper",
    version="1.2",
    inputs={"text": Text},
    output_name="upper",
    output=Upper,
    guarantees={"is_upper": _is_upper, "keeps_length": _keeps_length},
    confidence="/confidence",
)
COUNT: Final = Contract(
    name="tiny-count",
    version="1.0",
    inputs={"upper": Upper},
    output_name="count",
    output=Count,
    applies=_has_words,
)
CHECK: Final = Contract(
    name="tiny-check",
    version="1.0",
    inputs={"upper": Upper, "count": Count | None},
    output_name="checked",
    output=Checked,
)
SEND: Final = Contract(
    name="tiny-send",
    version="1.0",
    inputs={"checked": Checked},
    output_name="receipt",
    output=Receipt,
    effects="external",
)


def _default_configuration() -> dict[str, Any]:
    first = {"load": "load-text", "upper": "upper-text", "count": "count-words", "check": "check-count"}
    chain = {"load": "load-other", "upper": "upper-other", "count": "count-other", "check": "check-other"}
    return {
        "selections": [
            *({"stage_id": stage, "module_id": module} for stage, module in first.items()),
            {"stage_id": "send", "module_id": "send-file"},
        ],
        "fallback_policies": [
            {"stage_id": stage, "chain": [{"module_id": module, "on": list(FAULTS)}], "then": "park"}
            for stage, module in chain.items()
        ],
        "message": "Defaults of the tiny pipeline",
    }


PIPELINE: Final = Pipeline(
    name="tiny",
    stages=(
        Stage("load", 10, LOAD, limits=StageLimits(timeout_s=10)),
        Stage("upper", 20, UPPER, limits=StageLimits(timeout_s=10)),
        Stage("count", 30, COUNT, required=False, limits=StageLimits(timeout_s=10)),
        Stage("check", 40, CHECK, limits=StageLimits(timeout_s=10), chain_is_ordered=True),
        Stage("send", 50, SEND, limits=StageLimits(timeout_s=10)),
    ),
    result="checked",
    identity=("/text",),
    default_configuration=_default_configuration(),
)
