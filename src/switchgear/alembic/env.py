"""What Alembic runs for each command; `core/migrations.py` hands over an open connection. Source: DESIGN 7."""

from __future__ import annotations

from alembic import context

from switchgear.ingestion.run_models import Run

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Run.metadata,  # the one metadata: its module imports the tables of core
    render_as_batch=connection.dialect.name == "sqlite",
    transactional_ddl=True,  # SQLite can, once we say BEGIN ourselves: a killed migration leaves nothing behind
)
context.run_migrations()
