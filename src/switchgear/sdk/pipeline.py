"""Stages and pipelines: what a pipeline package declares under the entry point group `switchgear.pipelines`.

Source: INTERFACES 4, DESIGN 3.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import Field

from switchgear.sdk.contract import Contract
from switchgear.sdk.errors import DeclarationError
from switchgear.sdk.values import Frozen

#: The work queue of a stage that names none.
DEFAULT_QUEUE: Final = "default"
QUEUE_NAME: Final = "^[a-z][a-z0-9_-]{0,31}$"


class StageLimits(Frozen):
    """Bounds of one selection; a stage gives the defaults. Seconds, tries, processes, MiB."""

    timeout_s: float = Field(60.0, gt=0, le=3600, description="Longest time of one attempt, in seconds.")
    retries: int = Field(0, ge=0, le=10, description="Further tries of the same module after an error.")
    concurrency: int | None = Field(
        None, ge=1, le=64, description="Most calls at the same time; without a value, the number of concurrent runs."
    )
    memory_mb: int = Field(
        1024, ge=64, le=65536, description="Memory cap of one module process with all that it starts, in MiB."
    )
    queue: str = Field(
        DEFAULT_QUEUE,
        pattern=QUEUE_NAME,
        description="Work queue whose workers carry runs through this stage; `switchgear worker --queues` serves it.",
    )


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a pipeline.

    Attributes:
        id: Such as `extract`.
        order: Position; stages run in ascending order.
        contract: What a module of this stage must fulfil.
        required: Whether a configuration must select a module for it.
        limits: Defaults of a selection's limits.
        chain_is_ordered: Whether the modules of its chain stand in an order on purpose, each a stricter one or a last
            resort for the one before, so that an earlier one never stands in for a later one.
    """

    id: str
    order: int
    contract: Contract
    required: bool = True
    limits: StageLimits = field(default_factory=StageLimits)
    chain_is_ordered: bool = False


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A named order of stages.

    Attributes:
        name: Such as `invoice`.
        stages: In ascending order; output names are unique.
        result: The output name of the stage whose value is the run's result.
        identity: JSON pointers into the result; equal values mean the same business object.
        default_configuration: Selections and fallback policies of the first version, as a REST body.
    """

    name: str
    stages: tuple[Stage, ...]
    result: str
    identity: tuple[str, ...] = ()
    default_configuration: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if list(self.stages) != sorted(self.stages, key=lambda stage: stage.order):
            raise DeclarationError(f"Pipeline {self.name}: stages are not in ascending order.")
        known = {"blob"}
        for stage in self.stages:
            missing = [name for name in stage.contract.inputs if name not in known]
            if missing:
                raise DeclarationError(
                    f"Pipeline {self.name}: stage {stage.id} needs {missing}, which no earlier stage gives."
                )
            if stage.contract.output_name in known:
                raise DeclarationError(
                    f"Pipeline {self.name}: two stages give an output named {stage.contract.output_name!r}."
                )
            known.add(stage.contract.output_name)
        if self.result not in known:
            raise DeclarationError(f"Pipeline {self.name}: no stage gives the result {self.result!r}.")

    def stage(self, stage_id: str) -> Stage | None:
        """Return the stage with this id, or None."""
        return next((stage for stage in self.stages if stage.id == stage_id), None)
