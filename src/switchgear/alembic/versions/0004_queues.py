"""Work queues: each run waits in one, and each worker says which it serves.

Columns alone: SQLite rebuilds no table for them, so that the triggers of the audit trail stay. Source: DESIGN 5.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Column, String
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", Column("queue", String(32), nullable=False, server_default="default"))
    served = JSON().with_variant(JSONB(), "postgresql")
    op.add_column("workers", Column("queues", served, nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("workers", "queues")
    op.drop_column("runs", "queue")
