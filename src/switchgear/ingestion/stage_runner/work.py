"""One stage of one claim, from its first candidate to its end. Source: DESIGN 5, T034."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from switchgear.core.breaker_service import Admission
from switchgear.domain.configuration import Terminal
from switchgear.domain.errors import Code, Why
from switchgear.domain.fallback import (
    CandidateResult,
    End,
    FallbackPlan,
    Review,
    Step,
    Try,
    Use,
    fallback_why,
    may_retry,
    next_step,
    retry_delay_s,
)
from switchgear.domain.run import SHORT_BACKOFF_S, AttemptResult, Outcome
from switchgear.domain.stage import Lack
from switchgear.ingestion.module_pool import Call, StageValue
from switchgear.ingestion.plan import ExecutionPlan, Installed, PlannedModule, Ready, StagePlan
from switchgear.ingestion.run_repository.records import AttemptRow
from switchgear.ingestion.stage_runner.enforcement import enforce, is_large
from switchgear.ingestion.stage_runner.values import (
    ModuleBreakers,
    ModuleCalls,
    StageCall,
    StageEnd,
    StageEndKind,
)

#: A module cannot ask for a longer pause than this, in seconds.
LONGEST_BACKOFF_S: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Means:
    """What the runner works with; see `StageRunner`."""

    pools: ModuleCalls
    registry: Installed
    breakers: ModuleBreakers
    clock: Callable[[], int]
    sleep: Callable[[float], Awaitable[object]]
    jitter: Callable[[], float]


#: After these it does not matter that the run's time is over.
_ANSWERS: Final = (Outcome.SUCCEEDED, Outcome.NOT_APPLICABLE, Outcome.BAD_INPUT)  # found by identity, without a hash


class _BackOff(Exception):
    def __init__(self, module_id: str, result: AttemptResult, delay_s: float) -> None:
        super().__init__(result.message)
        self.module_id = module_id
        self.result = result
        self.delay_s = delay_s


class _CorruptArtifact(Exception):
    """The stored document cannot be opened."""


class StageWork:
    """One stage of one claim."""

    __slots__ = (
        "_attempts",
        "_began",
        "_call",
        "_fallback",
        "_last",
        "_means",
        "_plan",
        "_results",
        "_stage",
        "_values",
    )

    def __init__(
        self,
        means: Means,
        plan: ExecutionPlan,
        stage: StagePlan,
        fallback: FallbackPlan,
        call: StageCall,
        attempts: list[AttemptRow],
    ) -> None:
        self._means = means
        self._plan = plan
        self._stage = stage
        self._fallback = fallback
        self._call = call
        self._attempts = attempts
        self._began = time.monotonic()
        self._results: list[CandidateResult] = []
        self._values: dict[int, StageValue] = {}
        self._last: AttemptResult | None = None

    async def run(self) -> StageEnd:
        """Run it to its end."""
        try:
            candidate = self._fallback.selection
            while not self._is_late():
                await self._candidate(self._stage.modules[candidate.index])
                if not self._has_answer() and self._is_late():
                    break
                step = next_step(self._fallback, self._results, elapsed_s=self._elapsed_s())
                self._note(step)
                if not isinstance(step, Try):
                    return self._ended(step)
                candidate = step.candidate
            return self._deadline()
        except _BackOff as pause:
            return self._back_off(pause)
        except _CorruptArtifact:
            return self._corrupt()

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def _is_late(self) -> bool:
        return time.monotonic() >= self._call.deadline

    def _has_answer(self) -> bool:
        last = self._results[-1]
        return last.outcome in _ANSWERS or last.needs_review

    def _note(self, step: Step) -> None:
        """Write the decision on the attempt that it was made after."""
        last = self._attempts[-1]
        last.rules_not_matched = [rule.as_json() for rule in step.not_matched] if step.not_matched else []
        if isinstance(step, Try) and step.trigger is Outcome.LOW_CONFIDENCE:
            last.outcome = Outcome.LOW_CONFIDENCE
            last.message = f"Its confidence {last.confidence:g} is below {step.candidate.threshold:g}."

    # --- candidates and tries ---

    async def _candidate(self, module: PlannedModule) -> None:
        index = module.candidate.index
        ready = self._plan.ready(module, self._means.registry.current())
        if isinstance(ready, Lack):
            self._not_asked(module, ready, Outcome.UNAVAILABLE)
            return
        admission = await self._means.breakers.admit(
            module.candidate.module_id, module.settings_digest, timeout_s=self._fallback.budget_s
        )
        if admission.lack is not None:
            self._not_asked(module, admission.lack, Outcome.BREAKER_OPEN)
            return
        try:
            result = await self._tries(module, ready)
        except _BackOff as pause:
            await self._count(module, admission, pause.result)
            raise
        await self._count(module, admission, result)
        lack = _lack_of(result) if result.outcome is Outcome.UNAVAILABLE else None
        if lack is not None:
            self._attempts[-1].message = str(lack)
            self._report(module, lack)
        self._results.append(
            CandidateResult(
                index,
                result.outcome,
                result.detail,
                result.message,
                result.confidence,
                result.needs_review,
                None if lack is None else lack.fix,
            )
        )
        self._last = result

    async def _tries(self, module: PlannedModule, ready: Ready) -> AttemptResult:
        tries = self._call.tries_before.get(module.candidate.index, 0)
        while True:
            tries += 1
            result = await self._attempt(module, ready, tries)
            if result.outcome is Outcome.SUCCEEDED:
                return result
            again = may_retry(
                result.outcome,
                retryable=result.retryable,
                tries=tries,
                limits=module.candidate.limits,
                has_effects=self._stage.stage.contract.effects != "none",
                detail=result.detail,
            )
            if not again or not await self._pause(module, result, tries):
                return result

    async def _count(self, module: PlannedModule, admission: Admission, result: AttemptResult) -> None:
        """Tell the breaker what came of a candidate, all its tries together."""
        name, settings = module.candidate.module_id, module.settings_digest
        await self._means.breakers.record(name, settings, admission, result.outcome, result.detail, result.message)

    def _not_asked(self, module: PlannedModule, lack: Lack, outcome: Outcome) -> None:
        candidate = module.candidate
        self._attempts.append(
            AttemptRow(
                stage_id=self._fallback.stage_id,
                candidate=candidate.index,
                try_number=self._call.tries_before.get(candidate.index, 0) + 1,
                module_id=candidate.module_id,
                outcome=outcome,
                detail=str(lack.code),
                message=str(lack),
                limits=module.limits_json,
                started_at=self._means.clock(),
                duration_us=0,
            )
        )
        self._results.append(CandidateResult(candidate.index, outcome, str(lack.code), lack.message, fix=lack.fix))

    async def _attempt(self, module: PlannedModule, ready: Ready, tries: int) -> AttemptResult:
        attempt = self._started(module, ready, tries)
        self._attempts.append(attempt)
        began = time.monotonic_ns()
        try:
            given = await self._means.pools.call(ready.use, self._order(module, tries))
        except OSError as error:
            attempt.outcome, attempt.detail = Outcome.ERROR, "document_missing"
            attempt.message = f"The stored document cannot be opened: {error.strerror}."
            raise _CorruptArtifact from error
        finally:
            attempt.duration_us = (time.monotonic_ns() - began) // 1000
        contract, call = self._stage.stage.contract, self._call
        if is_large(given):
            checked = await asyncio.to_thread(enforce, contract, given, call.inputs, call.document)
        else:
            checked = enforce(contract, given, call.inputs, call.document)
        result = checked.result
        if checked.value is not None:
            self._values[module.candidate.index] = checked.value
        attempt.outcome, attempt.detail, attempt.message = result.outcome, result.detail, result.message
        attempt.confidence = result.confidence
        return result

    def _started(self, module: PlannedModule, ready: Ready, tries: int) -> AttemptRow:
        """The record of an attempt that has begun; this is how it stands when the run is stopped meanwhile."""
        return AttemptRow(
            stage_id=self._fallback.stage_id,
            candidate=module.candidate.index,
            try_number=tries,
            module_id=module.candidate.module_id,
            module_version=ready.description.version,
            code_digest=ready.description.code_digest,
            outcome=Outcome.CANCELLED,
            message="The run was stopped during this attempt.",
            limits=module.limits_json,
            started_at=self._means.clock(),
            duration_us=0,
        )

    def _order(self, module: PlannedModule, tries: int) -> Call:
        """What the module gets; no more time than its limit, the stage's budget and the run's deadline leave."""
        call = self._call
        until = min(self._began + self._fallback.budget_s, call.deadline)
        left_s = min(module.candidate.limits.timeout_s, until - time.monotonic())
        return Call(
            call.run_id,
            call.document_id,
            tries,
            max(0.001, left_s),
            call.document,
            call.inputs,
            call.decision,
            call.earlier,
            call.delivery_base,
        )

    async def _pause(self, module: PlannedModule, result: AttemptResult, tries: int) -> bool:
        """Wait before the next try; returns False when neither budget nor deadline leave time for it."""
        delay_s = retry_delay_s(tries, result.after_s, self._means.jitter)
        if delay_s > SHORT_BACKOFF_S:
            raise _BackOff(module.candidate.module_id, result, min(delay_s, LONGEST_BACKOFF_S))
        over = self._elapsed_s() + delay_s >= self._fallback.budget_s
        if over or time.monotonic() + delay_s >= self._call.deadline:
            return False
        await self._means.sleep(delay_s)
        return True

    def _report(self, module: PlannedModule, lack: Lack) -> None:
        candidate = module.candidate
        self._means.registry.report_unavailable(candidate.module_id, module.settings_digest, lack, candidate.settings)

    # --- ends ---

    def _ended(self, step: Use | Review | End) -> StageEnd:
        if isinstance(step, End):
            kind = {
                Terminal.FAIL: StageEndKind.FAIL,
                Terminal.PARK: StageEndKind.PARK,
                Terminal.SKIP: StageEndKind.SKIPPED,
            }[step.terminal]
            return StageEnd(kind, self._attempts, why=step.why, degraded=kind is StageEndKind.SKIPPED)
        module_id = self._fallback.candidates[step.candidate].module_id
        if isinstance(step, Review):
            assert self._last is not None
            facts = {"stage_id": self._fallback.stage_id, "module": module_id, **self._last.facts}
            why = Why(Code.PARKED_REVIEW, self._last.message, facts)
            return StageEnd(StageEndKind.PARK, self._attempts, module_id=module_id, why=why)
        value = self._values.get(step.candidate)
        kind = StageEndKind.NOT_APPLICABLE if value is None else StageEndKind.OUTPUT
        why_fallback = fallback_why(self._fallback, self._results, step.candidate)
        return StageEnd(kind, self._attempts, value, module_id, step.candidate != 0, why_fallback)

    def _deadline(self) -> StageEnd:
        stage_id = self._fallback.stage_id
        why = Why(
            Code.FAILED_DEADLINE,
            f"The run failed: its time was over in stage {stage_id}.",
            {"stage_id": stage_id},
        )
        return StageEnd(StageEndKind.FAIL, self._attempts, why=why)

    def _back_off(self, pause: _BackOff) -> StageEnd:
        stage_id = self._fallback.stage_id
        why = Why(
            Code.WAITING_RETRY_BACKOFF,
            f"Stage {stage_id} waits {pause.delay_s:g} s: {pause.module_id} asked for it ({pause}).",
            {"stage_id": stage_id, "module": pause.module_id, "after_s": pause.delay_s},
        )
        return StageEnd(
            StageEndKind.BACK_OFF, self._attempts, module_id=pause.module_id, why=why, back_off_s=pause.delay_s
        )

    def _corrupt(self) -> StageEnd:
        why = Why(
            Code.PARKED_CORRUPT_ARTIFACT,
            "The run is on hold: its stored document is missing or cannot be read. Restore the file, then retry.",
            {"stage_id": self._fallback.stage_id, "sha256": self._call.document.sha256},
        )
        return StageEnd(StageEndKind.PARK, self._attempts, why=why)


def _lack_of(result: AttemptResult) -> Lack:
    """What a module that is `unavailable` says that it lacks."""
    code = Code(result.detail) if result.detail in list(Code) else Code.MODULE_PROBE_FAILED
    return Lack(code, result.message, result.facts.get("fix"))
