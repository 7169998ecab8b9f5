"""What one claim of a run knows: outputs so far, what comes next, what each stage gets. Source: DESIGN 3, 5."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

from switchgear.domain.errors import Code, NextAction, Why
from switchgear.domain.fallback import may_retry
from switchgear.domain.run import Outcome
from switchgear.ingestion.identity import identity_of
from switchgear.ingestion.module_pool import DocumentFile, StageValue
from switchgear.ingestion.orchestrator import missing_input
from switchgear.ingestion.orchestrator.missing_input import StageAnswer, no_input, there_is_no
from switchgear.ingestion.plan import ExecutionPlan, StagePlan
from switchgear.ingestion.run_repository.records import AttemptRow, ClaimedRun, DeliveryRow, StoredAttempt, StoredOutput
from switchgear.ingestion.stage_runner import StageCall, StageEnd, StageEndKind
from switchgear.sdk.contract import Contract
from switchgear.sdk.values import Decision, Earlier

#: What a stage of a run that goes on is recorded as.
OUTCOMES: Final[Mapping[StageEndKind, Outcome]] = {
    StageEndKind.OUTPUT: Outcome.SUCCEEDED,
    StageEndKind.NOT_APPLICABLE: Outcome.NOT_APPLICABLE,
    StageEndKind.SKIPPED: Outcome.SKIPPED,
}
_KEY: Final = re.compile(r"[0-9a-f]{64}\Z")


class RunWork:
    """One run in the hands of one worker."""

    def __init__(self, claim: ClaimedRun, plan: ExecutionPlan, document: DocumentFile) -> None:
        self.claim = claim
        self.plan = plan
        self.document = document
        self.degraded = False
        self.tries_before: Mapping[int, int] = {}
        self._values: dict[str, StageValue | None] = {}
        self._answers: dict[str, StageAnswer] = {}
        self._decision = decision_of(claim.decision)
        self._to_do = [stage for stage in plan.stages if stage.fallback is not None or stage.stage.required]
        self._to_do.reverse()

    # --- where it is ---

    def restore(self, output: StoredOutput, value: bytes | None, reason: str) -> None:
        """Take over the committed output of a stage; a stage that the pipeline no longer has is left aside."""
        stage = self.plan.stage(output.stage_id)
        if stage is None:
            return
        contract = stage.stage.contract
        answer = StageAnswer(output.outcome, output.module_id, reason)
        self._keep(stage, None if value is None else StageValue(contract.output, raw=value), answer)
        self.degraded = self.degraded or output.degraded

    def accept(self, stage: StagePlan, end: StageEnd) -> None:
        """Take over what a stage of this claim gave."""
        reason = end.attempts[-1].message if end.attempts and end.value is None else ""
        self._keep(stage, end.value, StageAnswer(OUTCOMES[end.kind], end.module_id, reason))
        self.degraded = self.degraded or end.degraded
        self.tries_before = {}

    def _keep(self, stage: StagePlan, value: StageValue | None, answer: StageAnswer) -> None:
        self._answers[stage.stage.id] = answer
        self._values[stage.stage.contract.output_name] = value

    def next_stage(self) -> StagePlan | None:
        """The first stage without an answer; optional stages without a module are passed over."""
        while self._to_do and self._to_do[-1].stage.id in self._answers:
            self._to_do.pop()
        return self._to_do[-1] if self._to_do else None

    # --- what a stage gets ---

    def without_call(self, stage: StagePlan) -> StageEnd | None:
        """The end of a stage that needs no module: it lacks an input, or does not concern the document."""
        contract = stage.stage.contract
        lacking = self._lacking(stage)
        if lacking is None:
            reason = self._not_concerned(contract)
            return None if reason is None else StageEnd(StageEndKind.NOT_APPLICABLE, _noted(stage, reason))
        if not stage.stage.required:
            return StageEnd(StageEndKind.NOT_APPLICABLE, _noted(stage, there_is_no(lacking)))
        return StageEnd(StageEndKind.FAIL, why=no_input(stage, lacking, self.plan.stages, self._answers))

    def _lacking(self, stage: StagePlan) -> Sequence[str] | None:
        for group in stage.groups:
            for name in group:
                if self._values.get(name) is not None:
                    break
            else:
                return group
        return None

    def _not_concerned(self, contract: Contract) -> str | None:
        if contract.applies is None:
            return None
        given: dict[str, Any] = {}
        for name in contract.inputs:
            value = self._values.get(name)
            given[name] = None if value is None else value.model
        return contract.applies(given)

    def call(self, stage: StagePlan, deadline: float, earlier: Sequence[Earlier]) -> StageCall:
        """What the stage works on."""
        contract = stage.stage.contract
        inputs = {name: self._values.get(name) for name in stage.inputs}
        has_effects = contract.effects != "none"
        return StageCall(
            run_id=self.claim.run_id,
            document_id=self.claim.document_id,
            document=self.document,
            inputs=inputs,
            deadline=deadline,
            decision=self._decision,
            earlier=earlier,
            delivery_base=self._delivery_base(inputs) if has_effects else "",
            tries_before=self.tries_before if stage.stage.id == self.claim.stage_id else {},
        )

    def _delivery_base(self, inputs: Mapping[str, StageValue | None]) -> str:
        """Document and digest of what is delivered: the result, or the stage's inputs where there is none yet.

        The document is named by its bytes: its id ends with its record (retention), and sent again it has another one.
        """
        result = self.result
        parts = [result.raw] if result is not None else [value.raw for value in inputs.values() if value is not None]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(len(part).to_bytes(8, "big") + part)
        return f"{self.claim.sha256}\0{digest.hexdigest()}"

    # --- the result ---

    @property
    def result(self) -> StageValue | None:
        """The run's result, as soon as it is there."""
        return self._values.get(self.plan.pipeline.result)

    @cached_property
    def identity(self) -> str | None:
        """Digest of the result's identity fields; None without them. To be asked only when the result is there."""
        result = self.result
        if result is None or not self.plan.pipeline.identity:
            return None
        body = result.model.model_dump(mode="json", by_alias=True)  # with defaults that the module left out
        return identity_of(body, self.plan.pipeline.identity)

    def deliveries(self) -> list[DeliveryRow]:
        """Effects that happened outside, from the outputs of stages with effects: whatever names key and target."""
        found: dict[str, DeliveryRow] = {}
        for stage in self.plan.stages:
            value = self._values.get(stage.stage.contract.output_name)
            if stage.stage.contract.effects == "external" and value is not None:
                for receipt in _receipts(json.loads(value.raw)):
                    found.setdefault(receipt["key"], DeliveryRow(receipt["key"], receipt["target"], receipt))
        return list(found.values())


def _receipts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("target"), str) and _KEY.match(str(value.get("key", ""))):
            yield value
            return
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _receipts(item)


def _noted(stage: StagePlan, reason: str) -> list[AttemptRow]:
    """The record of a stage that was left out without a call: nobody was asked."""
    return [
        AttemptRow(
            stage_id=stage.stage.id,
            candidate=0,
            try_number=1,
            outcome=Outcome.NOT_APPLICABLE,
            message=reason,
            started_at=0,
            duration_us=0,
        )
    ]


def decision_of(stored: Mapping[str, Any] | None) -> Decision | None:
    """What a person decided; stored times are microseconds UTC."""
    if stored is None:
        return None
    at = stored.get("at")
    when = datetime.fromtimestamp(at / 1e6, UTC) if isinstance(at, int) else at
    said = {key: stored.get(key) for key in ("action", "actor", "message")}
    return Decision.model_validate({**said, "at": when, "facts": stored.get("facts") or {}})


def tries_before(stage: StagePlan | None, stored: Sequence[StoredAttempt]) -> Mapping[int, int]:
    """How often each candidate was tried before a back-off that it asked for; empty when the run was not in one."""
    if stage is None or stage.fallback is None:
        return {}
    own = [item for item in stored if item.stage_id == stage.stage.id and item.outcome is not Outcome.LOST]
    newest = max((item.fencing_token for item in own), default=0)
    last_claim = [item for item in own if item.fencing_token == newest]
    if not last_claim:
        return {}
    last = max(last_claim, key=lambda item: (item.candidate, item.try_number))
    if last.candidate >= len(stage.fallback.candidates) or last.detail != "Retryable":
        return {}
    limits = stage.fallback.candidates[last.candidate].limits
    if not may_retry(last.outcome, retryable=True, tries=last.try_number, limits=limits, has_effects=False):
        return {}  # its tries were used up: whoever retries the run gives it new ones
    tries: dict[int, int] = {}
    for item in last_claim:
        tries[item.candidate] = max(tries.get(item.candidate, 0), item.try_number)
    return tries


def reasons_of(attempts: Sequence[StoredAttempt]) -> Mapping[str, str]:
    """What each stage said when it gave no output: the message of its last attempt."""
    return {item.stage_id: item.message for item in attempts if item.message}


def with_next_actions(why: Why, claim: ClaimedRun) -> Why:
    """The same reason with what a person can do about this run."""
    run, document = claim.run_id, claim.document_id
    actions: tuple[NextAction, ...]
    path = f"/api/v1/documents/{document}"
    if why.code is Code.PARKED_REVIEW:
        actions = (
            _action("Release it", f"switchgear documents release {document} -m WHY", f"{path}/release"),
            _action("Reject it", f"switchgear documents reject {document} -m WHY", f"{path}/reject"),
        )
    elif why.code is Code.FAILED_INPUT_REJECTED:
        actions = (
            NextAction("Look at the document", "viewer", f"switchgear documents get {document}", "GET", f"{path}/file"),
        )
    elif why.code is Code.FAILED_NO_INPUT:
        actions = tuple(missing_input.next_actions(why, run))
    else:
        actions = (
            _action("Retry it", f"switchgear runs retry {run}", f"/api/v1/runs/{run}/retry"),
            NextAction(
                "Retry it under the active configuration",
                cli=f"switchgear runs retry {run} --configuration active",
                method="POST",
                path=f"/api/v1/runs/{run}/retry",
                body={"configuration": "active"},
            ),
        )
    return replace(why, next_actions=(*why.next_actions, *actions))


def _action(label: str, cli: str, path: str) -> NextAction:
    return NextAction(label, cli=cli, method="POST", path=path)
