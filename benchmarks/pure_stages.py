"""A pipeline of five trivial stages without effects, whose modules run inline: what is left is the engine.

`install` makes it an installed plug-in for the length of a benchmark.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

from pydantic import Field

from switchgear.sdk import Blob, Contract, Module, Pipeline, Stage, StageLimits, module
from switchgear.sdk.values import Frozen

STAGES: Final = ("name", "upper", "count", "check", "seal")


class Name(Frozen):
    """The document's name."""

    text: str


class Upper(Frozen):
    """The same in capitals."""

    text: str


class Count(Frozen):
    """How many words."""

    words: int = Field(ge=0)


class Checked(Frozen):
    """Both together."""

    text: str
    words: int


class Sealed(Frozen):
    """The result."""

    text: str
    words: int
    seal: str


def _is_upper(inputs: object, output: Upper) -> str | None:
    return None if output.text.isupper() else "the text is not in capitals"


_CONTRACTS: Final = {
    "name": Contract(name="pure-name", version="1.0", inputs={"blob": Blob}, output_name="name", output=Name),
    "upper": Contract(
        name="pure-upper",
        version="1.0",
        inputs={"name": Name},
        output_name="upper",
        output=Upper,
        guarantees={"is_upper": _is_upper},
    ),
    "count": Contract(name="pure-count", version="1.0", inputs={"upper": Upper}, output_name="count", output=Count),
    "check": Contract(
        name="pure-check",
        version="1.0",
        inputs={"upper": Upper, "count": Count},
        output_name="checked",
        output=Checked,
    ),
    "seal": Contract(name="pure-seal", version="1.0", inputs={"checked": Checked}, output_name="sealed", output=Sealed),
}


@module(stage="name", contract="pure-name@1", version="1.0.0", min_isolation="L0")
class PureName(Module):
    """Says how the document is called."""

    def run(self, blob: Blob) -> Name:
        return Name(text=blob.file_name)


@module(stage="upper", contract="pure-upper@1", version="1.0.0", guarantees={"is_upper"}, min_isolation="L0")
class PureUpper(Module):
    """Writes it in capitals."""

    def run(self, name: Name) -> Upper:
        return Upper(text=name.text.upper())


@module(stage="count", contract="pure-count@1", version="1.0.0", min_isolation="L0")
class PureCount(Module):
    """Counts its words."""

    def run(self, upper: Upper) -> Count:
        return Count(words=len(upper.text.split()))


@module(stage="check", contract="pure-check@1", version="1.0.0", min_isolation="L0")
class PureCheck(Module):
    """Puts both together."""

    def run(self, upper: Upper, count: Count) -> Checked:
        return Checked(text=upper.text, words=count.words)


@module(stage="seal", contract="pure-seal@1", version="1.0.0", min_isolation="L0")
class PureSeal(Module):
    """Adds a seal."""

    def run(self, checked: Checked) -> Sealed:
        return Sealed(text=checked.text, words=checked.words, seal="sealed")


PIPELINE: Final = Pipeline(
    name="pure",
    stages=tuple(
        Stage(name, 10 * place, contract, limits=StageLimits(timeout_s=10))
        for place, (name, contract) in enumerate(_CONTRACTS.items(), 1)
    ),
    result="sealed",
    default_configuration={
        "selections": [{"stage_id": stage, "module_id": f"pure-{stage}"} for stage in STAGES],
        "fallback_policies": [],
    },
)


def install(folder: Path) -> None:
    """Offer the pipeline `pure` and its modules to this process and its children."""
    from factories.plugin import write_distribution

    site = folder / "site"
    site.mkdir(parents=True, exist_ok=True)
    shutil.copy(__file__, site / "pure_stages.py")
    offered = {f"pure-{stage}": f"pure_stages:Pure{stage.title()}" for stage in STAGES}
    write_distribution(site, "switchgear-pure", "1.0.0", offered, {"pure": "pure_stages:PIPELINE"})
    sys.path.insert(0, str(site))
