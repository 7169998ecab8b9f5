"""Retention: a document says when its original was removed, and outputs that are files are found without a search.

A column and an index alone: SQLite rebuilds no table for them, so that the triggers of the audit trail stay. Source:
DESIGN 7.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("documents", Column("file_removed_at", BigInteger))
    is_file = text("artifact_sha256 IS NOT NULL")
    op.create_index(
        "ix_stage_outputs_artifact",
        "stage_outputs",
        ["artifact_sha256"],
        sqlite_where=is_file,
        postgresql_where=is_file,
    )


def downgrade() -> None:
    op.drop_index("ix_stage_outputs_artifact", "stage_outputs")
    op.drop_column("documents", "file_removed_at")
