"""What Alembic runs for each command; `core/migrations.py` hands over an open connection. Source: DESIGN 7."""

from __future__ import annotations

from alembic import context

from switchgear.core.configuration_models import Base
from switchgear.ingestion import run_models

assert run_models.Base is Base, "every table must stand in the same metadata"

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    transactional_ddl=True,  # SQLite can, once we say BEGIN ourselves: a killed migration leaves nothing behind
)
context.run_migrations()
