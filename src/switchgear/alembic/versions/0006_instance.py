"""The instance has an id, and knows which folder its files are in: a folder of another one is refused.

A new table alone, so that the triggers of the audit trail stay. Source: DESIGN 5 (shared folder).

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, String

from switchgear.domain.ids import new_id

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    instance = op.create_table(
        "instance", Column("id", String(40), primary_key=True), Column("artifacts_id", String(40), nullable=True)
    )
    op.bulk_insert(instance, [{"id": new_id("ins"), "artifacts_id": None}])


def downgrade() -> None:
    op.drop_table("instance")
