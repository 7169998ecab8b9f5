"""What is said about a database that cannot be used: the cause, what to do, and nothing that is secret."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg_pool import PoolTimeout
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.exc import TimeoutError as QueueTimeout

from switchgear.core import migrations
from switchgear.core.database.errors import commit_unanswered, translate, unknown_outcome
from switchgear.domain.errors import DatabaseUnreachable

IN_TIME = "The database did not answer in time; nothing was changed. Try again in a moment."


class Refused(psycopg.OperationalError):
    """A connection that was not made, to `postgresql://u:s3cret@db.example:5432/x`."""

    host = b"db.example"

    @property
    def pgconn(self) -> Any:
        """What the driver keeps of it."""
        return SimpleNamespace(host=self.host, port=b"5432", user=b"u", db=b"x", password=b"s3cret")


class RefusedSocket(Refused):
    """The same, on a socket of this machine."""

    host = b"/run/pg"


_AT = 'connection failed: connection to server at "10.0.0.5", port 5432 failed: '
_ON = 'connection is bad: connection to server on socket "/run/pg/.s.PGSQL.5432" failed: '
#: What libpq and a server say, and what is to be said.
WORDS = [
    (
        Refused(f"{_AT}Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?"),
        "The database at db.example:5432 refuses connections; nothing was changed. Start it, or correct DATABASE_URL.",
    ),
    (
        RefusedSocket(f"{_ON}No such file or directory\n\tIs the server running locally and accepting connections?"),
        "There is no database at the socket /run/pg/.s.PGSQL.5432; nothing was changed. Start it, or name its host in "
        "DATABASE_URL: postgresql://USER:PASSWORD@HOST:PORT/NAME.",
    ),
    (
        psycopg.OperationalError("failed to resolve host 'db.exampel': [Errno -2] Name or service not known"),
        "The host db.exampel of the database is not known; nothing was changed. Correct DATABASE_URL, or the "
        "name service.",
    ),
    (
        Refused(f'{_AT}FATAL:  database "x" does not exist'),
        "There is no database 'x' at db.example:5432; nothing was changed. Create it (createdb x), or correct "
        "DATABASE_URL.",
    ),
    (
        Refused(f'{_AT}FATAL:  role "u" does not exist'),
        "The user 'u' is not known to, or has the wrong password for, the database at db.example:5432; nothing was "
        "changed. Correct user and password in DATABASE_URL, or create the user there.",
    ),
    (
        Refused(f'{_AT}FATAL:  password authentication failed for user "u"'),
        "The user 'u' is not known to, or has the wrong password for, the database at db.example:5432; nothing was "
        "changed. Correct user and password in DATABASE_URL, or create the user there.",
    ),
    (
        Refused(f"{_AT}fe_sendauth: no password supplied"),
        "The database at db.example:5432 asks for the password of the user 'u', and DATABASE_URL has none; nothing was "
        "changed. Add it: postgresql://USER:PASSWORD@HOST:PORT/NAME.",
    ),
    (
        Refused(f'{_AT}FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "u", database "x", no encryption'),
        "The database at db.example:5432 does not let the user 'u' in from this machine; nothing was changed. Allow it "
        "in pg_hba.conf there, or correct DATABASE_URL.",
    ),
    (
        Refused(f"{_AT}FATAL:  the database system is starting up"),
        "The database at db.example:5432 is starting or stopping; nothing was changed. Try again in a moment.",
    ),
    (
        Refused(f"{_AT}FATAL:  sorry, too many clients already"),
        "The database at db.example:5432 takes no more connections; nothing was changed. Raise its max_connections, or "
        "try again in a moment.",
    ),
    (
        Refused(f"{_AT}server does not support SSL, but SSL was required"),
        "No encrypted connection to the database at db.example:5432 can be made; nothing was changed. Correct sslmode "
        "and the certificates in DATABASE_URL, or those of the database.",
    ),
    (
        Refused(f"{_AT}FATAL:  Datenbank »x« existiert nicht"),
        "No connection to the database at db.example:5432 can be made; nothing was changed. See that it runs, that "
        "DATABASE_URL is right, and what its log says.",
    ),
    (
        psycopg.OperationalError("server closed the connection unexpectedly"),
        "The connection to the database was lost; nothing was changed. Try again in a moment.",
    ),
    (
        psycopg.InterfaceError("the connection is closed"),
        "The connection to the database was lost; nothing was changed. Try again in a moment.",
    ),
    (
        psycopg.errors.AdminShutdown("arrêt des connexions suite à la demande de l'administrateur"),
        "The connection to the database was lost; nothing was changed. Try again in a moment.",
    ),
    (
        psycopg.errors.DeadlockDetected("deadlock detected"),
        "Two changes stood in each other's way; nothing was changed. Try again.",
    ),
    (
        psycopg.errors.ConfigFileError("configuration file"),
        "The database could not do what it was asked (SQLSTATE F0000); nothing was changed. Try again, or see what its "
        "log says.",
    ),
    (
        psycopg.ProgrammingError('invalid connection option "s3cret"'),
        "DATABASE_URL has a parameter that the driver does not know, or a value that it does not take; nothing was "
        "changed. Correct what follows the ? in it.",
    ),
    (
        ArgumentError("Received non-integer port arguments: ('s3cret',)"),
        "DATABASE_URL has a parameter that the driver does not know, or a value that it does not take; nothing was "
        "changed. Correct what follows the ? in it.",
    ),
    (psycopg.errors.ConnectionTimeout("connection timeout expired"), IN_TIME),
    (psycopg.errors.QueryCanceled("canceling statement due to statement timeout"), IN_TIME),
    (PoolTimeout("couldn't get a connection after 5.00 sec"), IN_TIME),
    (QueueTimeout(), IN_TIME),
    (TimeoutError(), IN_TIME),
]


@pytest.mark.parametrize(("error", "said"), WORDS, ids=[said[:60] for _, said in WORDS])
@pytest.mark.parametrize("wrapped", [False, True])
def test_each_trouble_with_postgresql_is_told_by_its_cause(error: Exception, said: str, *, wrapped: bool) -> None:
    is_driver_s = isinstance(error, psycopg.OperationalError)
    found = translate(OperationalError("SELECT 1", {}, error) if wrapped and is_driver_s else error)
    assert type(found) is DatabaseUnreachable
    assert str(found) == said
    assert "s3cret" not in str(found)


@pytest.mark.parametrize(
    "error",
    [
        *(psycopg.ProgrammingError("the query has 2 placeholders"), psycopg.errors.UniqueViolation("twice")),
        *(ArgumentError("no such column"), psycopg.errors.UndefinedTable('relation "x" does not exist')),
    ],
)
def test_a_fault_of_ours_is_no_trouble_with_the_database(error: Exception) -> None:
    assert translate(error) is None


def test_a_commit_without_an_answer_tells_why_and_that_its_effect_is_not_known() -> None:
    ends = "; whether the change was made is not known yet. Look, then try again."
    lost = commit_unanswered(psycopg.OperationalError("server closed the connection unexpectedly"))
    assert str(lost) == f"The connection to the database was lost{ends}"
    assert str(commit_unanswered(TimeoutError())) == f"The database did not answer in time{ends}"
    assert str(commit_unanswered(EOFError())) == f"The database gave no answer{ends}"
    assert str(unknown_outcome()) == f"The database did not answer in time{ends}"


def test_a_missing_folder_of_a_file_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "no" / "such"
    with pytest.raises(DatabaseUnreachable) as refused:
        migrations.upgrade(f"sqlite:///{folder / 'x.db'}")
    assert str(refused.value) == (
        f"The folder {folder} does not exist; nothing was changed. Make it, or correct DATABASE_URL."
    )


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnreachable) as refused:
        migrations.upgrade(f"sqlite:///{tmp_path}")
    assert str(refused.value).startswith(f"{tmp_path} is a folder and no database; nothing was changed.")


def test_only_a_lock_that_another_holds_is_a_matter_of_time_on_sqlite(tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None, timeout=0)
    with pytest.raises(sqlite3.OperationalError) as busy:
        other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError) as no_table:
        other.execute("SELECT * FROM nothing")
    holder.close()
    other.close()
    assert str(translate(busy.value)) == IN_TIME
    assert str(translate(no_table.value)) == (
        "The database could not do what it was asked (SQLITE_ERROR); nothing was changed. Try again, or run "
        "`switchgear migrate`."
    )


def test_an_error_of_sqlite_is_sorted_without_the_driver_of_postgresql() -> None:
    program = (
        "import sqlite3, sys; from switchgear.core.database.errors import translate; "
        "translate(sqlite3.OperationalError('x')); translate(TimeoutError()); print('psycopg' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"False\n"


def test_whoever_asks_over_the_network_is_told_the_cause_without_names() -> None:
    for error, full in WORDS:
        found = translate(error)
        assert found is not None
        for name in ("db.example", "/run/pg", "5432", "'u'", "'x'", "db.exampel"):
            assert name not in found.public, full
        assert "{" not in found.public
        assert found.public.split()[:2] == full.split()[:2] or found.public.startswith("There is no database")
    missing = sqlite3.OperationalError("unable to open database file")
    missing.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    found = translate(missing, Path("/nowhere/x/switchgear.db"))
    assert found is not None
    assert "/nowhere" in found.message
    assert found.public == (
        "The file of the database cannot be opened; nothing was changed. See that its folder is there and may be "
        "written."
    )
