"""Tables of documents, runs, attempts, outputs and deliveries. Imported by their repository and migrations only.

JSON stands in text columns here: the narrow path writes it as it is. Times are microseconds UTC, except
`lease_expires_at`, which is measured with `lease_us()`. Source: DESIGN 5, 7.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from switchgear.core.configuration_models import Base


class Document(Base):
    """An accepted document; the bytes stand in the artifact store under their digest."""

    __tablename__ = "documents"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    size_bytes: Mapped[int]
    name: Mapped[str] = mapped_column(Text)
    media_type: Mapped[str] = mapped_column(String(255))
    parent_id: Mapped[str | None] = mapped_column(String(40))
    actor: Mapped[str] = mapped_column(String(128))  #: token id of the sender: an ingest token reads its own
    received_at: Mapped[int] = mapped_column(BigInteger, index=True)
    file_removed_at: Mapped[int | None] = mapped_column(BigInteger)  #: when retention took the original


class Run(Base):
    """One document going through all stages under exactly one configuration version."""

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    document_id: Mapped[str] = mapped_column(ForeignKey("documents.id"), index=True)
    status: Mapped[str] = mapped_column(String(12))
    degraded: Mapped[bool] = mapped_column(default=False)
    configuration_id: Mapped[str | None] = mapped_column(String(40), index=True)
    configuration_version: Mapped[int | None] = mapped_column(Integer)
    pinned_configuration_id: Mapped[str | None] = mapped_column(String(40))  #: asked for by a retry, before the claim
    fencing_token: Mapped[int] = mapped_column(BigInteger, default=0)
    claimed_by: Mapped[str | None] = mapped_column(String(40))
    lease_expires_at: Mapped[int | None]
    lease_boot_id: Mapped[str | None] = mapped_column(String(64))
    losses: Mapped[int] = mapped_column(Integer, default=0)
    stage_id: Mapped[str | None] = mapped_column(String(64))  #: where it is, or where it goes on
    queue: Mapped[str] = mapped_column(String(32), server_default="default")  #: whose workers carry it
    available_at: Mapped[int]  #: not claimed before this
    accepted_at: Mapped[int]
    started_at: Mapped[int | None]
    ended_at: Mapped[int | None]
    running_us: Mapped[int] = mapped_column(BigInteger, default=0)  #: time spent running in earlier claims
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    retry_of: Mapped[str | None] = mapped_column(String(40))
    actor: Mapped[str] = mapped_column(String(128))  #: token id of who asked for it
    identity: Mapped[str | None] = mapped_column(String(64))  #: digest of the result's identity fields
    identity_place: Mapped[int | None] = mapped_column(Integer)  #: among runs with this identity, by their commits
    decision: Mapped[str | None] = mapped_column(Text)
    why: Mapped[str | None] = mapped_column(Text)
    why_code: Mapped[str | None] = mapped_column(String(64))

    __table_args__ = (
        CheckConstraint("status IN ('queued', 'running', 'succeeded', 'failed', 'parked', 'cancelled')", name="status"),
        CheckConstraint("status <> 'running' OR configuration_id IS NOT NULL", name="running_has_configuration"),
        Index("ix_runs_queue", "status", "available_at", "id"),
        Index("ix_runs_ended_at", "ended_at", "id"),
        Index(
            "ix_runs_identity",
            "identity",
            sqlite_where=text("identity IS NOT NULL"),
            postgresql_where=text("identity IS NOT NULL"),
        ),
    )


class StageAttempt(Base):
    """One try of one module on one stage of one run."""

    __tablename__ = "stage_attempts"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    stage_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    candidate: Mapped[int] = mapped_column(Integer, primary_key=True)  #: 0 = the selection, then the chain
    try_number: Mapped[int] = mapped_column(Integer, primary_key=True)
    fencing_token: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    module_id: Mapped[str | None] = mapped_column(String(128))
    module_version: Mapped[str | None] = mapped_column(String(64))
    code_digest: Mapped[str | None] = mapped_column(String(64))
    configuration_id: Mapped[str] = mapped_column(String(40))
    configuration_version: Mapped[int] = mapped_column(Integer)
    outcome: Mapped[str] = mapped_column(String(24))
    detail: Mapped[str] = mapped_column(String(128))
    message: Mapped[str] = mapped_column(Text)
    limits: Mapped[str] = mapped_column(Text)
    rules_not_matched: Mapped[str] = mapped_column(Text)
    confidence: Mapped[float | None]
    started_at: Mapped[int]
    duration_us: Mapped[int]


class StageOutput(Base):
    """The accepted output of a stage: at most one per run and stage. A value over 64 KiB is an artifact."""

    __tablename__ = "stage_outputs"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    stage_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    outcome: Mapped[str] = mapped_column(String(24))  #: succeeded, not_applicable or skipped
    module_id: Mapped[str | None] = mapped_column(String(128))  #: who served it
    wanted_module_id: Mapped[str | None] = mapped_column(String(128))  #: the selection
    degraded: Mapped[bool]
    why: Mapped[str | None] = mapped_column(Text)  #: why the selection was not used
    value: Mapped[str | None] = mapped_column(Text)
    artifact_sha256: Mapped[str | None] = mapped_column(String(64))
    size_bytes: Mapped[int]
    committed_at: Mapped[int]

    __table_args__ = (
        Index(
            "ix_stage_outputs_artifact",
            "artifact_sha256",
            sqlite_where=text("artifact_sha256 IS NOT NULL"),
            postgresql_where=text("artifact_sha256 IS NOT NULL"),
        ),
    )


class Delivery(Base):
    """An effect that happened outside, under its key."""

    __tablename__ = "deliveries"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), index=True)
    document_id: Mapped[str] = mapped_column(String(40), index=True)
    target: Mapped[str] = mapped_column(Text)
    receipt: Mapped[str] = mapped_column(Text)
    delivered_at: Mapped[int]
