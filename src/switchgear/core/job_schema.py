"""The tables of procrastinate in the instance's database, and the trigger that keeps one job for each queued run.

The trigger is what makes a job part of the transaction that queues the run, whoever queues it and by whatever
statement: accepted, handed back, handed over to another queue, retried, released, taken from a lost worker. It holds
for the processes that know nothing of it too. Source: DESIGN 5, docs/adr/0011-the-database-sends-the-jobs.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sqlalchemy.engine import Connection
from sqlalchemy.exc import ProgrammingError

from switchgear.core.migrations import SchemaNewer, alone
from switchgear.domain.errors import Code, DatabaseUnreachable, DomainError

#: The name of our jobs among those of the database.
TASK: Final = "switchgear.carry_run"
_TRIGGER: Final = "switchgear_send_run"
#: A run that holds a version goes on during a drain, so it must not stand behind those that a drain holds. A job that a
#: worker is about to take is left to it: nobody waits for anybody here.
_FUNCTION: Final = f"""
CREATE OR REPLACE FUNCTION {_TRIGGER}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM procrastinate_jobs WHERE id IN (
            SELECT id FROM procrastinate_jobs WHERE queueing_lock = NEW.id AND status = 'todo' FOR UPDATE SKIP LOCKED);
    END IF;
    IF NEW.status = 'queued' THEN
        PERFORM procrastinate_defer_jobs_v1(ARRAY[ROW(
            NEW.queue, '{TASK}', CASE WHEN NEW.configuration_id IS NULL THEN 0 ELSE 1 END, NULL, NEW.id,
            jsonb_build_object('run_id', NEW.id),
            CASE WHEN to_timestamp(NEW.available_at / 1000000.0) > clock_timestamp()
                THEN to_timestamp(NEW.available_at / 1000000.0) END
        )]::procrastinate_job_to_defer_v1[]);
    END IF;
    RETURN NULL;
END $$"""  # noqa: S608 - only constants
_TRIGGERS: Final = tuple(
    f"CREATE TRIGGER {_TRIGGER}_{event} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION {_TRIGGER}()"
    for event, condition in (
        ("inserted AFTER INSERT ON runs", "NEW.status = 'queued'"),
        (
            "updated AFTER UPDATE OF status, queue, available_at ON runs",
            "OLD.status = 'queued' OR NEW.status = 'queued'",
        ),
    )
)
#: A table that grew since it was analysed looks small to the planner, which then sorts the whole queue for each job.
_FETCH_BY_INDEX: Final = "ALTER FUNCTION procrastinate_fetch_job_v2 SET enable_sort = off"
_DROP: Final = tuple(f"DROP TRIGGER IF EXISTS {_TRIGGER}_{name} ON runs" for name in ("inserted", "updated"))
_IS_SENDING: Final = f"SELECT 1 FROM pg_trigger WHERE tgname = '{_TRIGGER}_inserted'"  # noqa: S608
_FORGET: Final = f"DELETE FROM procrastinate_jobs WHERE task_name = '{TASK}'"  # noqa: S608
#: What makes the database send; made anew where procrastinate or we have changed.
_SENDING: Final = (_FUNCTION, _FETCH_BY_INDEX, *_DROP, *_TRIGGERS)
_DIGEST: Final = hashlib.sha256("".join(_SENDING).encode()).hexdigest()
_HAS: Final = "SELECT to_regclass('procrastinate_jobs') IS NOT NULL, to_regclass('job_schema') IS NOT NULL"
_READ: Final = "SELECT version, digest FROM job_schema"
_NOTE: Final = (
    "CREATE TABLE IF NOT EXISTS job_schema (version VARCHAR(128) NOT NULL, digest VARCHAR(64) NOT NULL)",
    "DELETE FROM job_schema",
)


class JobSchemaRefused(DomainError):
    """The database does not let the schema of procrastinate be made; nothing was changed."""

    code = Code.REQUEST_INVALID


class JobsMissing(DatabaseUnreachable):
    """The database keeps no jobs, so that nothing can be delivered; nothing was changed."""

    @classmethod
    def at_work(cls) -> JobsMissing:
        """For a worker that finds none."""
        return cls(
            "The database has no jobs of procrastinate, so runs wait. Run `switchgear migrate` with "
            "QUEUE_BACKEND=procrastinate; workers go on by themselves then."
        )


def install(url: str) -> str | None:
    """Let the database at *url* keep a job for each run that is queued from now on; runs that wait already get none.

    Returns:
        The version of procrastinate's schema that was there before; None for none.

    Raises:
        SchemaNewer: It was made by a newer procrastinate; nothing was changed.
        JobSchemaRefused: Jobs of somebody else are there, or the user may not make tables; nothing was changed.
        DatabaseUnreachable: It does not answer; nothing was changed.
    """
    with alone(url) as connection:
        try:
            before, digest = _before(connection)
            if (before, digest) != (head(), _DIGEST) or not _is_sending(connection):
                scripts = [script.replace("%", "%%") for script in _scripts_after(before)]
                for statement in (*scripts, *_SENDING, *_NOTE):
                    connection.exec_driver_sql(statement)
                connection.exec_driver_sql("INSERT INTO job_schema VALUES (%s, %s)", (head(), _DIGEST))
        except ProgrammingError as error:
            raise _refused(error) from error
        connection.commit()
    return before


def remove(url: str) -> bool:
    """Let the database at *url* keep no jobs any more; returns whether it did. The tables of procrastinate stay.

    Raises:
        DatabaseUnreachable: It does not answer; nothing was changed.
    """
    with alone(url) as connection:
        if connection.dialect.name != "postgresql" or not _is_sending(connection):
            return False
        for statement in (*_DROP, _FORGET):
            connection.exec_driver_sql(statement)
        connection.commit()
    return True


def head() -> str:
    """Return the newest version of procrastinate's schema that is installed here: the name of its last migration."""
    return _migrations()[-1].stem


def _migrations() -> list[Path]:
    from procrastinate.schema import SchemaManager

    return sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))


def _before(connection: Connection) -> tuple[str | None, str]:
    """The version of procrastinate's schema, and the digest of what makes the database send."""
    has_jobs, has_version = connection.exec_driver_sql(_HAS).one()
    if not has_version:
        if has_jobs:
            raise JobSchemaRefused(
                "The database has tables of procrastinate that Switchgear did not make; nothing was changed. Give "
                "Switchgear a database of its own, or set QUEUE_BACKEND to builtin."
            )
        return None, ""
    version, digest = connection.exec_driver_sql(_READ).one()
    if version > head():
        raise SchemaNewer(
            f"The database has tables of procrastinate at {version}, which is newer than the procrastinate that is "
            f"installed here knows (newest: {head()}). Nothing was changed. Install the newer one.",
            revision=version,
            newest=head(),
        )
    return version, digest


def _scripts_after(version: str | None) -> Sequence[str]:
    from procrastinate.schema import SchemaManager

    if version is None:
        return [SchemaManager.get_schema()]
    return [path.read_text(encoding="utf-8") for path in _migrations() if path.stem > version]


def _is_sending(connection: Connection) -> bool:
    return connection.exec_driver_sql(_IS_SENDING).first() is not None


def _refused(error: ProgrammingError) -> JobSchemaRefused:
    return JobSchemaRefused(
        f"The tables of procrastinate cannot be made: {str(error.orig).splitlines()[0]}. Nothing was changed. Run "
        "`switchgear migrate` once as the owner of the database."
    )
