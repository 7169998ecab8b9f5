"""Copies of whole databases: a SQLite file that is in use, and what saves a PostgreSQL database. Source: DESIGN 7."""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import URL, make_url

from switchgear.core.database.errors import unreachable
from switchgear.core.database_url import is_secret
from switchgear.domain.errors import DomainError

#: Pages that are copied before progress is told: 4 MiB of the usual size.
_PAGES: Final = 1024
_PATIENCE_S: Final = 30.0


class DamagedDatabase(DomainError):
    """The database's own check finds it damaged."""


def sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLite database; None for PostgreSQL."""
    parsed = make_url(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def postgres_commands(url: str, dump: Path) -> tuple[str, str]:
    """Return the commands that save the database at *url* into *dump* and load it from there, without secrets."""
    parsed = make_url(url)
    shown = URL.create("postgresql", parsed.username, None, parsed.host, parsed.port, parsed.database, parsed.query)
    plain = shown.difference_update_query(filter(is_secret, shown.query)).render_as_string(hide_password=False)
    address, file = shlex.quote(plain), shlex.quote(str(dump))
    return (
        f"pg_dump --format=custom --file={file} {address}",
        f"pg_restore --exit-on-error --no-owner --dbname={address} {file}",
    )


def copy_sqlite(source: Path, target: Path, on_progress: Callable[[int, int], None]) -> None:
    """Copy a SQLite database as it is at one moment, whoever writes to it meanwhile; no writer waits.

    The copy is one file without a log beside it, and survives a power cut when this returns.

    Args:
        source: The database; it must be there.
        target: The copy; it must not be there.
        on_progress: Told how many pages are copied, and of how many.

    Raises:
        DatabaseUnreachable: It cannot be read, or the copy not be written.
    """
    try:
        with closing(sqlite3.connect(f"file:{quote(str(source))}?mode=rw", uri=True, timeout=_PATIENCE_S)) as origin:
            origin.isolation_level = None
            # A transaction that reads holds one moment. Without it the copy would begin anew with every commit.
            origin.execute("BEGIN")
            origin.execute("SELECT count(*) FROM sqlite_master").fetchone()
            with closing(sqlite3.connect(target)) as copy:
                origin.backup(copy, pages=_PAGES, progress=lambda _, left, total: on_progress(total - left, total))
    except sqlite3.Error as error:
        raise unreachable(error) from error
    settle(target)


def settle(path: Path) -> None:
    """Make a SQLite database that nobody uses one file without a log beside it, on the disk for good."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise unreachable(error) from error
    if verdict != "ok":
        raise DamagedDatabase(f"The database {path.name} is damaged: {verdict}. Take an earlier backup.")
    path.chmod(0o600)
    for place in (path, path.parent):
        number = os.open(place, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
