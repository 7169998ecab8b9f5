"""Runs in a real database without a pipeline: configurations by plain rows, documents by their digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from switchgear.core import admission
from switchgear.core.database import Database, Statement
from switchgear.core.unit_of_work import Units
from switchgear.domain.access import Actor, Role
from switchgear.domain.audit import AuditEvent
from switchgear.domain.errors import Code, Why
from switchgear.domain.run import Outcome, RunStatus
from switchgear.ingestion.artifact_store import ArtifactStore
from switchgear.ingestion.run_queue import BuiltinQueue
from switchgear.ingestion.run_repository import AcceptedDocument, AttemptRow, ClaimedRun, OutputRow, RunRepository
from switchgear.ingestion.run_service import RunService

PIPELINE = "tiny"
STAGES = ("read", "extract", "deliver")
LEASE_S = 20.0
OPERATOR = Actor("olga", Role.OPERATOR, "tok_olga")

_CONFIGURATION = """
INSERT INTO module_configurations (id, version, pipeline, status, digest, lock_digest, module_lock, message, created_by,
    created_at, findings)
VALUES (:id, :version, :pipeline, 'superseded', :digest, '', '{}', '', 'test', 0, '[]')"""

_SELECTION = """
INSERT INTO module_selections (configuration_id, stage_id, module_id, settings, limits)
VALUES (:id, :stage, :module, '{}', '{}')"""

_MODULE = """
INSERT INTO modules (id, version, stage_id, contract, distribution, distribution_version, code_digest, enabled,
    installed, status, changed_at)
VALUES (:id, '1.0.0', :stage, 'any@1.0', 'tiny', '1.0.0', '', TRUE, TRUE, 'available', 0)"""


class Room:
    """A database with a pipeline of three stages, in which runs can be made, claimed and looked at."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.repository = RunRepository(database.narrow, PIPELINE, result_stage="extract", effects=("deliver",))

    async def prepare(self, version: int | None = 1) -> Self:
        """Make the stages, and version *version* the active one; None leaves none active."""
        contract = {"id": "any@1.0", "name": "any", "version": "1.0", "digest": "", "body": "{}"}
        stages = [
            {"id": stage, "pipeline": PIPELINE, "position": place, "required": True, "contract": "any@1.0"}
            for place, stage in enumerate(STAGES)
        ]
        await self.database.narrow.run(
            Statement(
                "INSERT INTO capability_contracts (id, name, version, digest, body) "
                "VALUES (:id, :name, :version, :digest, :body)",
                contract,
            ),
            Statement(
                "INSERT INTO processing_stages (id, pipeline, position, required, contract_id) "
                "VALUES (:id, :pipeline, :position, :required, :contract)",
                stages,
            ),
        )
        await self.install({f"{stage}-module": stage for stage in STAGES})
        if version is not None:
            await self.configure(version)
            await self.activate(version)
        return self

    async def install(self, modules: Mapping[str, str]) -> None:
        """Let modules be known, each for its stage."""
        rows = [{"id": module, "stage": stage} for module, stage in modules.items()]
        await self.database.narrow.run(Statement(_MODULE, rows))

    async def configure(self, version: int) -> str:
        """Store a configuration that was active once; returns its id."""
        values = {"id": f"cfg_{version}", "version": version, "pipeline": PIPELINE, "digest": f"digest{version}"}
        selected = [{"id": f"cfg_{version}", "stage": stage, "module": f"{stage}-module"} for stage in STAGES]
        await self.database.narrow.run(Statement(_CONFIGURATION, values), Statement(_SELECTION, selected))
        return f"cfg_{version}"

    async def activate(self, version: int) -> None:
        """First claims pin this version from now on."""
        await admission.admit(self.database.narrow, PIPELINE, f"cfg_{version}")

    async def hold(self, activation_id: str = "act_1", *, seconds: float = 60.0) -> None:
        """Hold first claims, as a drain does."""
        until = await self.now_us() + int(seconds * 1_000_000)
        await admission.hold(self.database.narrow, PIPELINE, activation_id, until)

    async def release_hold(self, activation_id: str = "act_1") -> None:
        """End the hold."""
        await admission.release(self.database.narrow, PIPELINE, activation_id)

    async def now_us(self) -> int:
        """The database's time."""
        return int((await self.database.narrow.query("SELECT now_us()"))[0][0])

    async def submit(self, text: str = "a", *, again: bool = False, actor: str = "tok_1") -> AcceptedDocument:
        """Accept a document with these bytes."""
        return await self.repository.accept(
            sha256=hashlib.sha256(text.encode()).hexdigest(),
            size_bytes=len(text),
            name=f"{text}.txt",
            media_type="text/plain",
            actor=actor,
            again=again,
        )

    async def claim(
        self, worker_id: str = "wrk_1", lease_s: float = LEASE_S, queues: Sequence[str] = ()
    ) -> ClaimedRun | None:
        """Claim the next run of these queues; none = of any."""
        return await self.repository.claim(worker_id, lease_s, queues)

    async def held(self, worker_id: str = "wrk_1", lease_s: float = LEASE_S) -> ClaimedRun:
        """Claim the next run; there must be one."""
        claim = await self.claim(worker_id, lease_s)
        assert claim is not None
        return claim

    async def expire(self, claim: ClaimedRun) -> None:
        """Let the lease of a claim run out now."""
        await self.database.narrow.run(
            Statement("UPDATE runs SET lease_expires_at = lease_us() - 1 WHERE id = :run", {"run": claim.run_id})
        )

    async def lose(self, claim: ClaimedRun) -> None:
        """Let the lease run out, and let the sweep take the run."""
        await self.expire(claim)
        lost = await self.repository.take_from_lost_workers()
        assert [run.run_id for run in lost] == [claim.run_id]


class PeopleRoom(Room):
    """A room with the service that people use, on an artifact store in *folder*."""

    def __init__(self, database: Database, units: Units, folder: Path) -> None:
        super().__init__(database)
        self.units = units
        self.artifacts = ArtifactStore(folder / "artifacts")
        self.service = RunService(units, self.repository, self.artifacts, BuiltinQueue(self.repository, LEASE_S))

    async def prepare(self, version: int | None = 1) -> Self:
        """Also make the folders of the artifact store."""
        await self.artifacts.start()
        return await super().prepare(version)

    async def audited(self) -> list[AuditEvent]:
        """The trail, newest first."""
        async with self.units(write=False) as unit:
            return list((await unit.audit.list()).items)


class Office(PeopleRoom):
    """A room with runs that stand where a person has to act."""

    async def finished(
        self, text: str = "a", status: RunStatus = RunStatus.FAILED, *, why: Why | None = None
    ) -> ClaimedRun:
        """A run that finished `read` and `extract` and ended so at `deliver`."""
        await self.submit(text)
        claim = await self.held()
        outputs = [output("read"), output("extract", '{"total":"1.00"}')]
        await self.repository.end(
            claim,
            status=status,
            attempts=[attempt("read"), attempt("extract")],
            outputs=outputs,
            why=why,
            stage_id=None if status is RunStatus.SUCCEEDED else "deliver",
        )
        return claim

    async def in_review(self, text: str = "a", **facts: Any) -> ClaimedRun:
        """A run that waits for a person, who is told *facts*."""
        why = Why(Code.PARKED_REVIEW, "Somebody has to look.", facts)
        return await self.finished(text, RunStatus.PARKED, why=why)

    async def rejected(self, text: str = "a", status: RunStatus = RunStatus.SUCCEEDED) -> ClaimedRun:
        """A run that a person rejected at `extract`, and that ended so after it."""
        await self.submit(text)
        why = Why(Code.PARKED_REVIEW, "Somebody has to look.")
        held = await self.held()
        await self.repository.end(held, status=RunStatus.PARKED, outputs=[output("read")], why=why, stage_id="extract")
        await self.service.reject(held.document_id, message="not ours", by=OPERATOR)
        claim = await self.held()
        stage = None if status is RunStatus.SUCCEEDED else "deliver"
        outputs = [output("extract", '{"total":"1.00"}')]
        await self.repository.end(claim, status=status, outputs=outputs, stage_id=stage)
        return claim


def attempt(stage_id: str = "read", **values: Any) -> AttemptRow:
    """An attempt that succeeded, unless *values* say otherwise."""
    usual: dict[str, Any] = {
        "stage_id": stage_id,
        "candidate": 0,
        "try_number": 1,
        "outcome": Outcome.SUCCEEDED,
        "started_at": 1_000_000,
        "duration_us": 250,
        "module_id": f"{stage_id}-module",
        "module_version": "1.0.0",
        "code_digest": "c" * 64,
        "limits": {"timeout_s": 60.0},
    }
    return AttemptRow(**{**usual, **values})


def output(stage_id: str = "read", value: str | None = '{"text":"a"}', **values: Any) -> OutputRow:
    """An accepted output."""
    usual: Mapping[str, Any] = {
        "stage_id": stage_id,
        "outcome": Outcome.SUCCEEDED,
        "module_id": f"{stage_id}-module",
        "wanted_module_id": f"{stage_id}-module",
        "value": value,
        "size_bytes": len(value or ""),
    }
    return OutputRow(**{**usual, **values})
