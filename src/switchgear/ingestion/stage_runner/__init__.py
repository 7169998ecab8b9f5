"""Runs one stage of one run: candidates in order, tries with deadline, contract enforcement, one decision.

`budget( for each candidate: available? -> breaker -> retry with jitter( attempt with deadline ) )`; the concurrency
limit is the module's pool. What to do after each outcome is decided by `domain/fallback.py`. Source: DESIGN 5, T034.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from switchgear.ingestion.plan import ExecutionPlan, Installed, StagePlan
from switchgear.ingestion.run_repository.records import AttemptRow
from switchgear.ingestion.stage_runner.values import (
    ModuleBreakers,
    ModuleCalls,
    StageCall,
    StageEnd,
    StageEndKind,
)
from switchgear.ingestion.stage_runner.work import Means, StageWork

__all__ = ["ModuleBreakers", "ModuleCalls", "StageCall", "StageEnd", "StageEndKind", "StageRunner"]


class StageRunner:
    """Runs stages.

    Args:
        pools: The module processes.
        registry: What can be used now.
        breakers: Which modules failed too often to be called now.
        clock: Microseconds UTC.
        sleep: Waits so many seconds between tries.
        jitter: Gives numbers from 0 to 1.
    """

    def __init__(
        self,
        pools: ModuleCalls,
        registry: Installed,
        breakers: ModuleBreakers,
        *,
        clock: Callable[[], int],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._means = Means(pools, registry, breakers, clock, sleep, jitter)

    def run(
        self, plan: ExecutionPlan, stage: StagePlan, call: StageCall, attempts: list[AttemptRow] | None = None
    ) -> Coroutine[Any, Any, StageEnd]:
        """Run one stage that has a module selected.

        Args:
            plan: The version that the run holds.
            stage: The stage.
            call: What it works on.
            attempts: Collects the attempts; what is in it when this is cancelled was really tried.
        """
        assert stage.fallback is not None, "a stage without a module is not run"
        return StageWork(self._means, plan, stage, stage.fallback, call, [] if attempts is None else attempts).run()
