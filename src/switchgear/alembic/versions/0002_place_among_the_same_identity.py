"""Runs with the same identity get a place, so that two at work together agree which one is the earlier.

A column alone: SQLite rebuilds no table for it, so that the triggers of the audit trail stay. Source: DESIGN 4 (race).

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", Column("identity_place", Integer))


def downgrade() -> None:
    op.drop_column("runs", "identity_place")
