"""Tables of configurations, activations, workers, audit and access. Imported by repositories and migrations only.

Times are integer microseconds UTC. Constraints carry the invariants: one active configuration, one pending
activation, unique versions and selections; triggers protect the audit rows. Source: T007, DESIGN 7.
"""

from __future__ import annotations

from typing import Any, Final, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

NAMING: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
Json = JSON().with_variant(JSONB(), "postgresql")

_PENDING: Final = "state IN ('queued', 'warming', 'draining')"


class Base(DeclarativeBase):
    """Base of every table, with names that migrations can rely on."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {int: BigInteger, dict[str, Any]: Json, list[Any]: Json}  # noqa: RUF012


def table_of(model: type[Base]) -> Table:
    """The table behind a model: many rows are written through it, a third of the ORM's cost for each."""
    return cast(Table, model.__table__)


class CapabilityContract(Base):
    """A contract as the pipeline declared it; `body` is the whole description."""

    __tablename__ = "capability_contracts"

    id: Mapped[str] = mapped_column(String(80), primary_key=True)  #: name@version
    name: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64))
    body: Mapped[dict[str, Any]]


class ProcessingStage(Base):
    """One step of the pipeline."""

    __tablename__ = "processing_stages"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    pipeline: Mapped[str] = mapped_column(String(64))
    position: Mapped[int] = mapped_column(Integer)
    required: Mapped[bool]
    contract_id: Mapped[str] = mapped_column(ForeignKey("capability_contracts.id"))


class Module(Base):
    """A module that was seen at least once; `enabled` is what a maintainer said, `status` what was last seen."""

    __tablename__ = "modules"

    id: Mapped[str] = mapped_column(String(128), primary_key=True)
    version: Mapped[str] = mapped_column(String(64))
    stage_id: Mapped[str] = mapped_column(String(64))
    contract: Mapped[str] = mapped_column(String(80))
    distribution: Mapped[str] = mapped_column(String(128))
    distribution_version: Mapped[str] = mapped_column(String(64))
    code_digest: Mapped[str] = mapped_column(String(64))
    enabled: Mapped[bool] = mapped_column(default=True)
    installed: Mapped[bool] = mapped_column(default=True)
    status: Mapped[str] = mapped_column(String(16))
    why: Mapped[dict[str, Any] | None]
    changed_at: Mapped[int]


class Breaker(Base):
    """A breaker that is not closed, as all processes share it; `settings_digest` is empty for one set by hand."""

    __tablename__ = "breakers"

    module_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    settings_digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    pause_us: Mapped[int]
    until: Mapped[int | None]
    good_probes: Mapped[int] = mapped_column(Integer)
    why: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(String(64))
    changed_at: Mapped[int]

    __table_args__ = (CheckConstraint("state IN ('open', 'half_open', 'forced_open', 'disabled')", name="state"),)


class ModuleConfiguration(Base):
    """An immutable numbered version. Only `status` and its times change."""

    __tablename__ = "module_configurations"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, unique=True)
    pipeline: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64), index=True)
    lock_digest: Mapped[str] = mapped_column(String(64))
    module_lock: Mapped[dict[str, Any]]
    base_id: Mapped[str | None] = mapped_column(String(40))
    message: Mapped[str] = mapped_column(Text, default="")
    created_by: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[int]
    activated_at: Mapped[int | None]
    left_at: Mapped[int | None]
    findings: Mapped[list[Any]]

    selections: Mapped[list[ModuleSelection]] = relationship(lazy="raise", order_by="ModuleSelection.stage_id")
    policies: Mapped[list[FallbackPolicy]] = relationship(
        lazy="raise", order_by="(FallbackPolicy.stage_id, FallbackPolicy.position)"
    )

    __table_args__ = (
        CheckConstraint(
            "status IN ('draft', 'validated', 'active', 'superseded', 'rolled_back', 'rejected')", name="status"
        ),
        Index(
            "uq_module_configurations_one_active",
            "pipeline",
            unique=True,
            sqlite_where=text("status = 'active'"),
            postgresql_where=text("status = 'active'"),
        ),
    )


class ModuleSelection(Base):
    """stage -> module + settings + limits."""

    __tablename__ = "module_selections"

    configuration_id: Mapped[str] = mapped_column(ForeignKey("module_configurations.id"), primary_key=True)
    stage_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    module_id: Mapped[str] = mapped_column(String(128))
    settings: Mapped[dict[str, Any]]
    limits: Mapped[dict[str, Any]]


class FallbackPolicy(Base):
    """One step of a stage's chain, by position; a last row without a module holds terminal action and budget."""

    __tablename__ = "fallback_policies"

    configuration_id: Mapped[str] = mapped_column(ForeignKey("module_configurations.id"), primary_key=True)
    stage_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    module_id: Mapped[str | None] = mapped_column(String(128))
    settings: Mapped[dict[str, Any]]
    trigger_conditions: Mapped[list[Any]]
    threshold: Mapped[float | None] = mapped_column(Float)
    terminal_action: Mapped[str | None] = mapped_column(String(8))
    budget_s: Mapped[float | None] = mapped_column(Float)

    __table_args__ = (
        CheckConstraint("terminal_action IS NULL OR terminal_action IN ('fail', 'park', 'skip')", name="terminal"),
    )


class BlockedDigest(Base):
    """Content that was left by a rollback; activating it again needs `unblock`."""

    __tablename__ = "blocked_digests"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    activation_id: Mapped[str] = mapped_column(String(40))
    blocked_at: Mapped[int]


class Activation(Base):
    """A request to make a configuration the active one."""

    __tablename__ = "activations"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    pipeline: Mapped[str] = mapped_column(String(64))
    configuration_id: Mapped[str] = mapped_column(ForeignKey("module_configurations.id"), index=True)
    from_id: Mapped[str | None] = mapped_column(String(40))
    kind: Mapped[str] = mapped_column(String(16))
    mode: Mapped[str] = mapped_column(String(8))
    state: Mapped[str] = mapped_column(String(12))
    max_wait_s: Mapped[float] = mapped_column(Float)
    on_expiry: Mapped[str] = mapped_column(String(8))
    options: Mapped[dict[str, Any]]  #: accept_degraded and the other flags of the request
    actor: Mapped[str] = mapped_column(String(128))
    message: Mapped[str] = mapped_column(Text, default="")
    requested_at: Mapped[int]
    warming_at: Mapped[int | None]
    draining_at: Mapped[int | None]
    switch_now: Mapped[bool] = mapped_column(default=False)  #: a person said: do not wait any longer
    ended_at: Mapped[int | None]
    why: Mapped[dict[str, Any] | None]

    __table_args__ = (
        CheckConstraint(
            "state IN ('queued', 'warming', 'draining', 'applied', 'rejected', 'cancelled', 'expired')", name="state"
        ),
        CheckConstraint("mode IN ('drain', 'rolling')", name="mode"),
        CheckConstraint("max_wait_s >= 1 AND max_wait_s <= 86400", name="max_wait"),
        Index(
            "uq_activations_one_pending",
            "pipeline",
            unique=True,
            sqlite_where=text(_PENDING),
            postgresql_where=text(_PENDING),
        ),
    )


class Worker(Base):
    """A live process that carries runs."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    process_id: Mapped[int] = mapped_column(Integer)
    boot_id: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[int]
    heartbeat_at: Mapped[int] = mapped_column(BigInteger, index=True)
    generation_loaded: Mapped[int | None]
    unavailable: Mapped[dict[str, Any]]  #: module id -> why, as this worker sees it
    isolation: Mapped[dict[str, Any]]
    queues: Mapped[list[Any]] = mapped_column(server_default="[]")  #: which it serves; none = all


class WorkerAcknowledgement(Base):
    """A worker's answer to a warming activation."""

    __tablename__ = "worker_acknowledgements"

    activation_id: Mapped[str] = mapped_column(ForeignKey("activations.id"), primary_key=True)
    worker_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    answer: Mapped[str] = mapped_column(String(8))
    why: Mapped[dict[str, Any] | None]
    answered_at: Mapped[int]

    __table_args__ = (CheckConstraint("answer IN ('ready', 'refused')", name="answer"),)


class Instance(Base):
    """The one row that says which instance this is, and which folder holds its documents."""

    __tablename__ = "instance"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    artifacts_id: Mapped[str | None] = mapped_column(String(40))  #: None until the first process has named it


class Admission(Base):
    """The one row that first claims look at: which version, and whether a drain holds them."""

    __tablename__ = "admission"

    pipeline: Mapped[str] = mapped_column(String(64), primary_key=True)
    active_configuration_id: Mapped[str | None] = mapped_column(String(40))
    generation: Mapped[int] = mapped_column(BigInteger, default=0)
    held_by: Mapped[str | None] = mapped_column(String(40))
    held_until: Mapped[int | None]


class ConfigurationChangeEvent(Base):
    """One entry of the audit trail; the sequence has no gaps and each hash covers the one before."""

    __tablename__ = "configuration_change_events"

    sequence: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    at: Mapped[int]
    actor: Mapped[str] = mapped_column(String(128))
    actor_role: Mapped[str] = mapped_column(String(16))
    action: Mapped[str] = mapped_column(String(64), index=True)
    result: Mapped[str] = mapped_column(String(16))
    subjects: Mapped[list[Any]]
    message: Mapped[str] = mapped_column(Text, default="")
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
    request_id: Mapped[str | None] = mapped_column(String(64))
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))

    __table_args__ = (CheckConstraint("result IN ('done', 'refused', 'failed')", name="result"),)


class ApiToken(Base):
    """An opaque random token, stored as its SHA-256."""

    __tablename__ = "api_tokens"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(128))
    role: Mapped[str] = mapped_column(String(16))
    secret_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_by: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[int]
    expires_at: Mapped[int | None]
    revoked_at: Mapped[int | None]
    version: Mapped[int] = mapped_column(Integer, default=1)  #: part of the ETag


class IdempotencyKey(Base):
    """A request that was answered, kept for 24 hours."""

    __tablename__ = "idempotency_keys"

    actor: Mapped[str] = mapped_column(String(128), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    route: Mapped[str] = mapped_column(String(200))
    body_sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[int | None] = mapped_column(Integer)  #: None while the first request is at work
    response: Mapped[str | None] = mapped_column(Text)
    headers: Mapped[dict[str, Any] | None]
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)
