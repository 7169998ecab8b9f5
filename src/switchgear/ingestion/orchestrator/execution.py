"""One claim of one run, stage by stage. Source: DESIGN 5, T034."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Final

from switchgear.domain.errors import Code, NotFound, Why
from switchgear.domain.run import Outcome, RunStatus
from switchgear.ingestion.artifact_store import ArtifactStore, CorruptArtifact
from switchgear.ingestion.module_pool import DocumentFile
from switchgear.ingestion.orchestrator.commits import Commits, corrupt_artifact
from switchgear.ingestion.orchestrator.signals import RunEnd, Runs
from switchgear.ingestion.orchestrator.work import RunWork, reasons_of, tries_before
from switchgear.ingestion.plan import Plans, StagePlan
from switchgear.ingestion.run_repository.records import ClaimedRun, Stop, StoredOutput
from switchgear.ingestion.stage_runner import StageEnd, StageEndKind, StageRunner
from switchgear.sdk.values import Earlier

_ENDS: Final = {StageEndKind.FAIL: RunStatus.FAILED, StageEndKind.PARK: RunStatus.PARKED}


class Execution:
    """The run of one claim; see `Orchestrator` for the arguments."""

    def __init__(
        self,
        claim: ClaimedRun,
        commits: Commits,
        *,
        plans: Plans,
        runner: StageRunner,
        runs: Runs,
        artifacts: ArtifactStore,
        run_deadline_s: float,
        checkpoint_after_s: float,
    ) -> None:
        self._claim = claim
        self._commits = commits
        self._plans = plans
        self._runner = runner
        self._runs = runs
        self._artifacts = artifacts
        self._deadline = time.monotonic() + run_deadline_s - claim.total_running_us() / 1e6
        self._checkpoint_after_s = checkpoint_after_s
        self._unsaved_since = time.monotonic()
        self._work: RunWork | None = None
        claim.at_stage_id = claim.stage_id
        self._earlier: Sequence[Earlier] | None = None

    async def run(self) -> RunEnd:
        """Carry the run as far as it goes. Raises `Refused` when another worker holds it."""
        if self._claim.cancel_requested:
            return await self._commits.end(RunStatus.CANCELLED, None, stage_id=self._claim.at_stage_id)
        plan = await self._commits.ask(lambda: self._plans.get(self._claim.configuration_id))
        if not await self._artifacts.verify(self._claim.sha256, self._claim.size_bytes):
            return await self._park_corrupt("its document")
        work = self._work = RunWork(self._claim, plan, self._document())
        if not self._claim.first or self._claim.stage_id is not None:
            try:
                await self._restore(work)
            except (CorruptArtifact, NotFound):
                return await self._park_corrupt("the output of an earlier stage")
        while (stage := work.next_stage()) is not None:
            ended = await self._stage(work, stage)
            if ended is not None:
                return ended
        return await self._commits.end(RunStatus.SUCCEEDED, work)

    def _document(self) -> DocumentFile:
        claim = self._claim
        return DocumentFile(
            self._artifacts.path(claim.sha256), claim.sha256, claim.size_bytes, claim.media_type, claim.file_name
        )

    async def _park_corrupt(self, what: str) -> RunEnd:
        why = corrupt_artifact(self._claim, what)
        return await self._commits.end(RunStatus.PARKED, self._work, why=why, stage_id=self._claim.at_stage_id)

    async def _restore(self, work: RunWork) -> None:
        claim = self._claim
        attempts = [] if claim.first else await self._commits.ask(lambda: self._runs.attempts(claim.run_id))
        earlier = claim.retry_of  # the run whose outputs this one may have taken over, with the reasons beside them
        copied = [] if earlier is None else await self._commits.ask(lambda: self._runs.attempts(earlier))
        reasons = reasons_of([*copied, *attempts])
        for output in await self._commits.ask(lambda: self._runs.outputs(claim.run_id)):
            work.restore(output, await self._value(output), reasons.get(output.stage_id, ""))
        work.tries_before = tries_before(work.next_stage(), attempts)

    async def _value(self, output: StoredOutput) -> bytes | None:
        if output.outcome is not Outcome.SUCCEEDED:
            return None
        if output.artifact_sha256 is not None:
            return await self._artifacts.read(output.artifact_sha256)
        if output.value is None:
            raise NotFound("The output was removed after its time.")
        return output.value.encode()

    # --- one stage ---

    async def _stage(self, work: RunWork, stage: StagePlan) -> RunEnd | None:
        """Run a stage; returns the end of the run, or None when it goes on."""
        self._claim.at_stage_id = stage.stage.id
        if stage.fallback is None:
            return await self._finish(work, self._nothing_selected(stage))
        end = work.without_call(stage)
        if end is not None:
            self._commits.note(end.attempts)
        elif time.monotonic() >= self._deadline:
            end = self._too_late()
        elif not self._plans.serves(stage):
            return await self._commits.hand_back(stage.stage.id, queue=stage.queue)
        else:
            if await self._checkpoint_before(work, stage):
                return await self._commits.end(RunStatus.CANCELLED, work, stage_id=self._claim.at_stage_id)
            call = work.call(stage, self._deadline, await self._earlier_results(work))
            end = await self._runner.run(work.plan, stage, call, self._commits.attempts)
        if end.kind in (StageEndKind.FAIL, StageEndKind.PARK, StageEndKind.BACK_OFF):
            return await self._finish(work, end)
        work.accept(stage, end)
        self._commits.add(stage, end)
        return await self._checkpoint_if_due(work, stage)

    async def _checkpoint_before(self, work: RunWork, stage: StagePlan) -> bool:
        """Commit what must be durable before this stage is called; returns whether a cancel was requested.

        The identity is committed before the others' are read: of two runs at work together one sees the other.
        """
        identity = work.identity if work.result is not None and self._earlier is None else None
        if identity is None and stage.stage.contract.effects != "external":
            return False
        return await self._commits.checkpoint(stage.stage.id, identity)

    async def _checkpoint_if_due(self, work: RunWork, stage: StagePlan) -> RunEnd | None:
        following = work.next_stage()
        if following is None:
            return None
        is_due = time.monotonic() - self._unsaved_since >= self._checkpoint_after_s
        if not is_due and stage.stage.contract.effects != "external":
            return None
        self._claim.at_stage_id = following.stage.id
        cancel_requested = await self._commits.checkpoint(following.stage.id)
        self._unsaved_since = time.monotonic()
        if cancel_requested:
            return await self._commits.end(RunStatus.CANCELLED, work, stage_id=self._claim.at_stage_id)
        return None

    async def _finish(self, work: RunWork, end: StageEnd) -> RunEnd:
        if end.kind is StageEndKind.BACK_OFF:
            return await self._commits.hand_back(self._claim.at_stage_id, pause_s=end.back_off_s, why=end.why)
        return await self._commits.end(_ENDS[end.kind], work, why=end.why, stage_id=self._claim.at_stage_id)

    def _nothing_selected(self, stage: StagePlan) -> StageEnd:
        summary = f"The run is on hold: its configuration selects no module for the required stage {stage.stage.id}."
        why = Why(Code.PARKED_NOTHING_AVAILABLE, summary, {"stage_id": stage.stage.id})
        return StageEnd(StageEndKind.PARK, why=why)

    def _too_late(self) -> StageEnd:
        summary = f"The run failed: its time was over before stage {self._claim.at_stage_id}."
        return StageEnd(
            StageEndKind.FAIL, why=Why(Code.FAILED_DEADLINE, summary, {"stage_id": self._claim.at_stage_id})
        )

    async def _earlier_results(self, work: RunWork) -> Sequence[Earlier]:
        """Earlier results with the same identity, for the stages after the result."""
        if self._earlier is None:
            if work.result is None:
                return ()
            identity = work.identity
            self._earlier = () if identity is None else await self._read_earlier(identity)
        return self._earlier

    async def _read_earlier(self, identity: str) -> Sequence[Earlier]:
        found = []
        claim = self._claim
        for row in await self._commits.ask(lambda: self._runs.earlier(identity, claim.document_id, claim.run_id)):
            text: str | bytes | None = row.value
            if row.artifact_sha256 is not None:
                try:
                    text = await self._artifacts.read(row.artifact_sha256)
                except (CorruptArtifact, NotFound):
                    continue  # another document's file: it must not hold up this one
            if text is not None:
                found.append(Earlier(document_id=row.document_id, result=json.loads(text)))
        return tuple(found)

    # --- stopped from outside ---

    async def stopped(self) -> RunEnd:
        """End or hand back a run whose task was cancelled, with what it had done. Raises `Refused`."""
        if self._claim.stop is Stop.CANCEL:
            return await self._commits.end(RunStatus.CANCELLED, self._work, stage_id=self._claim.at_stage_id)
        return await self._commits.hand_back(self._claim.at_stage_id)
