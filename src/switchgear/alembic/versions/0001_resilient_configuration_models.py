"""The first tables: configurations, activations, workers, audit, access, documents and runs. Source: T009, DESIGN 7.

Names of keys and constraints follow the naming convention of the models.

Revision ID: 0001
Revises: nothing
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Float, ForeignKey, Integer, String, Text, text
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JSON_DOCUMENT = sa.JSON().with_variant(JSONB(), "postgresql")
SEQUENCE = BigInteger().with_variant(Integer(), "sqlite")

#: In the order in which they are made; each refers to earlier ones only.
TABLES = """
    capability_contracts processing_stages modules module_configurations module_selections fallback_policies
    blocked_digests activations worker_acknowledgements admission workers configuration_change_events api_tokens
    idempotency_keys documents runs stage_attempts stage_outputs deliveries
""".split()  # noqa: SIM905


def upgrade() -> None:
    _create_catalogue()
    _create_configurations()
    _create_selections()
    _create_activations()
    _create_workers()
    _create_audit()
    _create_access()
    _create_documents()
    _create_runs()
    _index_runs()
    _create_attempts()
    _create_deliveries()
    _protect_audit_rows()


def downgrade() -> None:
    for name in reversed(TABLES):
        op.drop_table(name)
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_audit_change()")


def _create_catalogue() -> None:
    op.create_table(
        "capability_contracts",
        Column("id", String(80), primary_key=True),
        Column("name", String(64), nullable=False),
        Column("version", String(16), nullable=False),
        Column("digest", String(64), nullable=False),
        Column("body", JSON_DOCUMENT, nullable=False),
    )
    op.create_table(
        "processing_stages",
        Column("id", String(64), primary_key=True),
        Column("pipeline", String(64), nullable=False),
        Column("position", Integer, nullable=False),
        Column("required", Boolean, nullable=False),
        Column("contract_id", String(80), ForeignKey("capability_contracts.id"), nullable=False),
    )
    op.create_table(
        "modules",
        Column("id", String(128), primary_key=True),
        Column("version", String(64), nullable=False),
        Column("stage_id", String(64), nullable=False),
        Column("contract", String(80), nullable=False),
        Column("distribution", String(128), nullable=False),
        Column("distribution_version", String(64), nullable=False),
        Column("code_digest", String(64), nullable=False),
        Column("enabled", Boolean, nullable=False),
        Column("installed", Boolean, nullable=False),
        Column("status", String(16), nullable=False),
        Column("why", JSON_DOCUMENT),
        Column("changed_at", BigInteger, nullable=False),
    )


def _create_configurations() -> None:
    op.create_table(
        "module_configurations",
        Column("id", String(40), primary_key=True),
        Column("version", Integer, nullable=False, unique=True),
        Column("pipeline", String(64), nullable=False),
        Column("status", String(16), nullable=False),
        Column("digest", String(64), nullable=False, index=True),
        Column("lock_digest", String(64), nullable=False),
        Column("module_lock", JSON_DOCUMENT, nullable=False),
        Column("base_id", String(40)),
        Column("message", Text, nullable=False),
        Column("created_by", String(128), nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("activated_at", BigInteger),
        Column("left_at", BigInteger),
        Column("findings", JSON_DOCUMENT, nullable=False),
        CheckConstraint(
            "status IN ('draft', 'validated', 'active', 'superseded', 'rolled_back', 'rejected')", name="status"
        ),
    )
    op.create_index(
        "uq_module_configurations_one_active",
        "module_configurations",
        ["pipeline"],
        unique=True,
        sqlite_where=text("status = 'active'"),
        postgresql_where=text("status = 'active'"),
    )


def _create_selections() -> None:
    op.create_table(
        "module_selections",
        Column("configuration_id", String(40), ForeignKey("module_configurations.id"), primary_key=True),
        Column("stage_id", String(64), primary_key=True),
        Column("module_id", String(128), nullable=False, index=True),
        Column("settings", JSON_DOCUMENT, nullable=False),
        Column("limits", JSON_DOCUMENT, nullable=False),
    )
    op.create_table(
        "fallback_policies",
        Column("configuration_id", String(40), ForeignKey("module_configurations.id"), primary_key=True),
        Column("stage_id", String(64), primary_key=True),
        Column("position", Integer, primary_key=True),
        Column("module_id", String(128)),
        Column("settings", JSON_DOCUMENT, nullable=False),
        Column("trigger_conditions", JSON_DOCUMENT, nullable=False),
        Column("threshold", Float),
        Column("terminal_action", String(8)),
        Column("budget_s", Float),
        CheckConstraint("terminal_action IS NULL OR terminal_action IN ('fail', 'park', 'skip')", name="terminal"),
    )
    op.create_table(
        "blocked_digests",
        Column("digest", String(64), primary_key=True),
        Column("activation_id", String(40), nullable=False),
        Column("blocked_at", BigInteger, nullable=False),
    )


def _create_activations() -> None:
    op.create_table(
        "activations",
        Column("id", String(40), primary_key=True),
        Column("pipeline", String(64), nullable=False),
        Column("configuration_id", String(40), ForeignKey("module_configurations.id"), nullable=False, index=True),
        Column("from_id", String(40)),
        Column("kind", String(16), nullable=False),
        Column("mode", String(8), nullable=False),
        Column("state", String(12), nullable=False),
        Column("max_wait_s", Float, nullable=False),
        Column("on_expiry", String(8), nullable=False),
        Column("options", JSON_DOCUMENT, nullable=False),
        Column("actor", String(128), nullable=False),
        Column("message", Text, nullable=False),
        Column("requested_at", BigInteger, nullable=False),
        Column("warming_at", BigInteger),
        Column("draining_at", BigInteger),
        Column("switch_now", Boolean, nullable=False),
        Column("ended_at", BigInteger),
        Column("why", JSON_DOCUMENT),
        CheckConstraint("max_wait_s >= 1 AND max_wait_s <= 86400", name="max_wait"),
        CheckConstraint("mode IN ('drain', 'rolling')", name="mode"),
        CheckConstraint(
            "state IN ('queued', 'warming', 'draining', 'applied', 'rejected', 'cancelled', 'expired')", name="state"
        ),
    )
    op.create_index(
        "uq_activations_one_pending",
        "activations",
        ["pipeline"],
        unique=True,
        sqlite_where=text("state IN ('queued', 'warming', 'draining')"),
        postgresql_where=text("state IN ('queued', 'warming', 'draining')"),
    )


def _create_workers() -> None:
    op.create_table(
        "worker_acknowledgements",
        Column("activation_id", String(40), ForeignKey("activations.id"), primary_key=True),
        Column("worker_id", String(40), primary_key=True),
        Column("answer", String(8), nullable=False),
        Column("why", JSON_DOCUMENT),
        Column("answered_at", BigInteger, nullable=False),
        CheckConstraint("answer IN ('ready', 'refused')", name="answer"),
    )
    op.create_table(
        "admission",
        Column("pipeline", String(64), primary_key=True),
        Column("active_configuration_id", String(40)),
        Column("generation", BigInteger, nullable=False),
        Column("held_by", String(40)),
        Column("held_until", BigInteger),
    )
    op.create_table(
        "workers",
        Column("id", String(40), primary_key=True),
        Column("host", String(255), nullable=False),
        Column("process_id", Integer, nullable=False),
        Column("boot_id", String(64), nullable=False),
        Column("started_at", BigInteger, nullable=False),
        Column("heartbeat_at", BigInteger, nullable=False, index=True),
        Column("generation_loaded", BigInteger),
        Column("unavailable", JSON_DOCUMENT, nullable=False),
        Column("isolation", JSON_DOCUMENT, nullable=False),
    )


def _create_audit() -> None:
    op.create_table(
        "configuration_change_events",
        Column("sequence", SEQUENCE, primary_key=True),
        Column("id", String(40), nullable=False, unique=True),
        Column("at", BigInteger, nullable=False),
        Column("actor", String(128), nullable=False),
        Column("actor_role", String(16), nullable=False),
        Column("action", String(64), nullable=False, index=True),
        Column("result", String(16), nullable=False),
        Column("subjects", JSON_DOCUMENT, nullable=False),
        Column("message", Text, nullable=False),
        Column("before", JSON_DOCUMENT),
        Column("after", JSON_DOCUMENT),
        Column("request_id", String(64)),
        Column("previous_hash", String(64), nullable=False),
        Column("hash", String(64), nullable=False),
        CheckConstraint("result IN ('done', 'refused', 'failed')", name="result"),
    )


def _create_access() -> None:
    op.create_table(
        "api_tokens",
        Column("id", String(40), primary_key=True),
        Column("name", String(128), nullable=False),
        Column("role", String(16), nullable=False),
        Column("secret_sha256", String(64), nullable=False, unique=True),
        Column("created_by", String(128), nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("expires_at", BigInteger),
        Column("revoked_at", BigInteger),
        Column("version", Integer, nullable=False),
    )
    op.create_table(
        "idempotency_keys",
        Column("actor", String(128), primary_key=True),
        Column("key", String(200), primary_key=True),
        Column("route", String(200), nullable=False),
        Column("body_sha256", String(64), nullable=False),
        Column("status", Integer),
        Column("response", Text),
        Column("headers", JSON_DOCUMENT),
        Column("expires_at", BigInteger, nullable=False, index=True),
    )


def _create_documents() -> None:
    op.create_table(
        "documents",
        Column("id", String(40), primary_key=True),
        Column("sha256", String(64), nullable=False, unique=True),
        Column("size_bytes", BigInteger, nullable=False),
        Column("name", Text, nullable=False),
        Column("media_type", String(255), nullable=False),
        Column("parent_id", String(40)),
        Column("actor", String(128), nullable=False),
        Column("received_at", BigInteger, nullable=False, index=True),
    )


def _create_runs() -> None:
    op.create_table(
        "runs",
        Column("id", String(40), primary_key=True),
        Column("document_id", String(40), ForeignKey("documents.id"), nullable=False, index=True),
        Column("status", String(12), nullable=False),
        Column("degraded", Boolean, nullable=False),
        Column("configuration_id", String(40), index=True),
        Column("configuration_version", Integer),
        Column("pinned_configuration_id", String(40)),
        Column("fencing_token", BigInteger, nullable=False),
        Column("claimed_by", String(40)),
        Column("lease_expires_at", BigInteger),
        Column("lease_boot_id", String(64)),
        Column("losses", Integer, nullable=False),
        Column("stage_id", String(64)),
        Column("available_at", BigInteger, nullable=False),
        Column("accepted_at", BigInteger, nullable=False),
        Column("started_at", BigInteger),
        Column("ended_at", BigInteger),
        Column("running_us", BigInteger, nullable=False),
        Column("cancel_requested", Boolean, nullable=False),
        Column("retry_of", String(40)),
        Column("actor", String(128), nullable=False),
        Column("identity", String(64)),
        Column("decision", Text),
        Column("why", Text),
        Column("why_code", String(64)),
        CheckConstraint("status <> 'running' OR configuration_id IS NOT NULL", name="running_has_configuration"),
        CheckConstraint("status IN ('queued', 'running', 'succeeded', 'failed', 'parked', 'cancelled')", name="status"),
    )


def _create_attempts() -> None:
    op.create_table(
        "stage_attempts",
        Column("run_id", String(40), ForeignKey("runs.id"), primary_key=True),
        Column("stage_id", String(64), primary_key=True),
        Column("candidate", Integer, primary_key=True),
        Column("try_number", Integer, primary_key=True),
        Column("fencing_token", BigInteger, primary_key=True),
        Column("module_id", String(128)),
        Column("module_version", String(64)),
        Column("code_digest", String(64)),
        Column("configuration_id", String(40), nullable=False),
        Column("configuration_version", Integer, nullable=False),
        Column("outcome", String(24), nullable=False),
        Column("detail", String(128), nullable=False),
        Column("message", Text, nullable=False),
        Column("limits", Text, nullable=False),
        Column("rules_not_matched", Text, nullable=False),
        Column("confidence", sa.Double),
        Column("started_at", BigInteger, nullable=False),
        Column("duration_us", BigInteger, nullable=False),
    )
    op.create_table(
        "stage_outputs",
        Column("run_id", String(40), ForeignKey("runs.id"), primary_key=True),
        Column("stage_id", String(64), primary_key=True),
        Column("outcome", String(24), nullable=False),
        Column("module_id", String(128)),
        Column("wanted_module_id", String(128)),
        Column("degraded", Boolean, nullable=False),
        Column("why", Text),
        Column("value", Text),
        Column("artifact_sha256", String(64)),
        Column("size_bytes", BigInteger, nullable=False),
        Column("committed_at", BigInteger, nullable=False),
    )


def _index_runs() -> None:
    op.create_index("ix_runs_ended_at", "runs", ["ended_at", "id"])
    op.create_index(
        "ix_runs_identity",
        "runs",
        ["identity"],
        sqlite_where=text("identity IS NOT NULL"),
        postgresql_where=text("identity IS NOT NULL"),
    )
    op.create_index("ix_runs_queue", "runs", ["status", "available_at", "id"])


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        Column("key", String(64), primary_key=True),
        Column("run_id", String(40), ForeignKey("runs.id"), nullable=False, index=True),
        Column("document_id", String(40), nullable=False, index=True),
        Column("target", Text, nullable=False),
        Column("receipt", Text, nullable=False),
        Column("delivered_at", BigInteger, nullable=False),
    )


def _protect_audit_rows() -> None:
    """Refuse UPDATE and DELETE. SQLite loses triggers when a table is rebuilt: a later migration repeats this."""
    table = "configuration_change_events"
    words = "audit rows cannot be changed or deleted"
    if op.get_context().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{words}'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{words}'; END $$"
    )
    for verb, each in (("UPDATE", "ROW"), ("DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
        op.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"FOR EACH {each} EXECUTE FUNCTION refuse_audit_change()"
        )
