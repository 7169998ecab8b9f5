"""Bringing a database to the newest schema, and refusing one that is newer than this program. Source: DESIGN 7, I33.

A migration is one transaction on both databases, alone in it: killed at any point it leaves the old schema, and two
servers that start together migrate once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import create_engine, event, inspect, make_url, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from switchgear.core.database.errors import translate
from switchgear.domain.errors import Code, DomainError

if TYPE_CHECKING:
    from alembic.config import Config

#: Key of PostgreSQL's transaction advisory lock that lets one process migrate at a time.
MIGRATION_LOCK: Final = 0x5357_4D49


class SchemaNewer(DomainError):
    """The database was written by a newer Switchgear; this one must not touch it."""

    code = Code.SYSTEM_SCHEMA_NEWER


def head() -> str:
    """Return the newest revision that this program knows."""
    return _known()[-1]


def current(url: str) -> str | None:
    """Return the revision of the database at *url*; None for an empty one. Raises `DatabaseUnreachable`."""
    with alone(url) as connection:
        return _revision(connection)


def check(url: str) -> bool:
    """Whether the database at *url* is at the newest revision.

    Raises:
        SchemaNewer: It is at a revision that this program does not know.
        DatabaseUnreachable: It does not answer.
    """
    with alone(url) as connection:
        return _refuse_newer(connection) == head()


def upgrade(url: str, revision: str = "head") -> str | None:
    """Bring the database at *url* to *revision* and return where it was before; None for an empty one.

    Raises:
        SchemaNewer: It is at a revision that this program does not know; nothing was changed.
        DatabaseUnreachable: It does not answer; nothing was changed.
    """
    with alone(url) as connection:
        before = _refuse_newer(connection)
        if before != head() or revision != "head":
            from alembic import command

            command.upgrade(_config(connection), revision)
        connection.commit()
    return before


def downgrade(url: str, revision: str) -> None:
    """Take the database at *url* back to *revision* (`base`: no tables at all). Raises as `upgrade`."""
    from alembic import command

    with alone(url) as connection:
        _refuse_newer(connection)
        command.downgrade(_config(connection), revision)
        connection.commit()


def _refuse_newer(connection: Connection) -> str | None:
    revision = _revision(connection)
    if revision is not None and revision not in _known():
        raise SchemaNewer(
            f"The database has schema {revision}, which is newer than this Switchgear knows (newest: {head()}). "
            "Nothing was changed. Start the version that made it, or a later one.",
            revision=revision,
            newest=head(),
        )
    return revision


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def _known() -> list[str]:
    """Revisions, the newest last, as their files are named: Alembic is loaded by a start only where it migrates."""
    versions = files("switchgear") / "alembic" / "versions"
    return sorted(script.name.partition("_")[0] for script in versions.iterdir() if script.name[0].isdigit())


def _config(connection: Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files("switchgear") / "alembic").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@contextmanager
def alone(url: str) -> Iterator[Connection]:
    """A connection in a transaction of its own that no other migration shares; the caller commits.

    Raises:
        DatabaseUnreachable: The database does not answer.
    """
    parsed = make_url(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    if is_sqlite:
        parsed = parsed.set(drivername="sqlite")
    engine = create_engine(parsed, poolclass=NullPool)
    if is_sqlite:
        event.listen(engine, "connect", _no_implicit_transactions)
        event.listen(engine, "begin", _begin_alone)
    try:
        with engine.connect() as connection:
            if not is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            yield connection
    except SQLAlchemyError as error:
        ours = translate(error, Path(parsed.database or "") if is_sqlite else None)
        if ours is None:
            raise
        raise ours from error
    finally:
        engine.dispose()


def _no_implicit_transactions(connection: Any, _record: Any) -> None:
    connection.isolation_level = None


def _begin_alone(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
