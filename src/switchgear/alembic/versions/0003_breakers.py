"""Breakers that are not closed, shared by all processes. Source: DESIGN 5, 7.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, String, Text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "breakers",
        Column("module_id", String(128), primary_key=True),
        Column("settings_digest", String(64), primary_key=True),
        Column("state", String(16), nullable=False),
        Column("pause_us", BigInteger, nullable=False),
        Column("until", BigInteger),
        Column("good_probes", Integer, nullable=False),
        Column("why", Text, nullable=False),
        Column("actor", String(64), nullable=False),
        Column("changed_at", BigInteger, nullable=False),
        CheckConstraint("state IN ('open', 'half_open', 'forced_open', 'disabled')", name="state"),
    )


def downgrade() -> None:
    op.drop_table("breakers")
