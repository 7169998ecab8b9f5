"""A stage runner over fakes, with a pipeline of one stage that any module may serve."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from factories.core import version_of
from factories.modules import FakeBreakers, FakePools, FakeRegistry
from switchgear.domain.configuration import Lock, StoredConfiguration, content_from_json
from switchgear.domain.run import AttemptResult, Outcome
from switchgear.ingestion.module_pool import DocumentFile
from switchgear.ingestion.plan import ExecutionPlan
from switchgear.ingestion.stage_runner import StageCall, StageEnd, StageRunner
from switchgear.sdk import Contract, Pipeline, Stage, StageLimits
from switchgear.sdk.values import Blob, Frozen

DOCUMENT = DocumentFile(Path("/nowhere"), "0" * 64, 5, "text/plain", "a.txt")
ALL = ["error", "timeout", "crash", "contract_violation", "unavailable"]


class Word(Frozen):
    """What the stage gives."""

    text: str
    sure: float = Field(1.0, ge=0, le=1)


def _is_loud(inputs: Mapping[str, Any], output: Any) -> str | None:
    return None if output.text.isupper() else "the text is not in capitals"


def pipeline(effects: Any = "none", required: bool = True) -> Pipeline:
    """A pipeline of the stage `shout`, whose word must be in capitals."""
    contract = Contract(
        name="shout",
        version="1.0",
        inputs={"blob": Blob},
        output_name="word",
        output=Word,
        guarantees={"is_loud": _is_loud},
        confidence="/sure",
        effects=effects,
    )
    return Pipeline("p", (Stage("shout", 10, contract, required=required, limits=StageLimits(timeout_s=30)),), "word")


def value(text: str = "HELLO", sure: float = 1.0) -> AttemptResult:
    """A call that gave this word."""
    return AttemptResult(Outcome.SUCCEEDED, output=Word(text=text, sure=sure).model_dump_json().encode())


def failed(outcome: Outcome, detail: str = "", **more: Any) -> AttemptResult:
    """A call that ended so."""
    return AttemptResult(outcome, detail, f"it was {outcome}", **more)


def configuration(
    *chain: dict[str, Any],
    limits: dict[str, Any] | None = None,
    lock: Lock | None = None,
    **policy: Any,
) -> StoredConfiguration:
    """Module `a` for the stage, with this chain and policy."""
    content = content_from_json(
        {
            "selections": [{"stage_id": "shout", "module_id": "a", "limits": limits or {}}],
            "fallback_policies": [{"stage_id": "shout", "chain": list(chain), **policy}],
        }
    )
    return version_of(content, pipeline="p", lock=lock)


class Bench:
    """A runner with fakes; `run` runs the stage once."""

    def __init__(self, pools: FakePools, registry: FakeRegistry | None = None) -> None:
        self.pools = pools
        self.registry = registry or FakeRegistry("a", "b", "c")
        self.breakers = FakeBreakers()
        self.slept: list[float] = []
        self.runner = StageRunner(
            pools, self.registry, self.breakers, clock=lambda: 1_000_000, sleep=self._sleep, jitter=lambda: 1.0
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def run(
        self, held: StoredConfiguration, *, effects: str = "none", required: bool = True, **call: Any
    ) -> StageEnd:
        """Run the stage; *call* replaces what the call would be given."""
        plan = ExecutionPlan(held, pipeline(effects, required))
        given: dict[str, Any] = {"inputs": {}, "deadline": time.monotonic() + 900, **call}
        return await self.runner.run(plan, plan.stages[0], StageCall("run_1", "doc_1", DOCUMENT, **given))


def seen(end: StageEnd) -> list[tuple[str | None, int, str]]:
    """Module, number of the try and outcome of each attempt."""
    return [(item.module_id, item.try_number, str(item.outcome)) for item in end.attempts]
