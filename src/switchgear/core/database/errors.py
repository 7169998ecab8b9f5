"""Drivers' errors, sorted by what a caller can do about them. Source: RELIABILITY I32."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as QueueTimeout

from switchgear.core.database.causes import BAD_PARAMETER, IN_TIME, Cause, of_postgres, of_sqlite
from switchgear.domain.errors import Code, DatabaseUnreachable


@dataclass(frozen=True, slots=True)
class DriverErrors:
    """The errors of a driver.

    Attributes:
        every: What all of them are.
        damaged: It cannot read what it kept.
    """

    every: tuple[type[Exception], ...]
    damaged: tuple[type[Exception], ...] = ()


_SQLITE: Final = DriverErrors((sqlite3.Error,))
_NO_ANSWER: Final = Cause("The database gave no answer")


def _drivers() -> list[DriverErrors]:
    """Of the drivers that are loaded: another one has raised nothing, and no instance on SQLite waits for psycopg."""
    return [_SQLITE, _psycopg()] if "psycopg" in sys.modules else [_SQLITE]


@cache
def _psycopg() -> DriverErrors:
    import psycopg

    return DriverErrors(
        (psycopg.Error,),
        (psycopg.errors.DataCorrupted, psycopg.errors.IndexCorrupted),
    )


class DiskFull(DatabaseUnreachable):
    """No room is left for the database; nothing was changed."""

    code = Code.SYSTEM_DISK_FULL


class ReadOnly(DatabaseUnreachable):
    """The database cannot be written; nothing was changed."""

    code = Code.SYSTEM_READ_ONLY


class Damaged(DatabaseUnreachable):
    """What the database kept cannot be read any more; nothing was changed."""

    code = Code.SYSTEM_DATABASE_DAMAGED


def errors_of_drivers(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """What the drivers in use raise, and *others*: for `except`."""
    return (*others, *(kind for driver in _drivers() for kind in driver.every))


def translate(error: BaseException, file: Path | None = None) -> DatabaseUnreachable | None:
    """Sort a driver's error: what a caller may try again becomes one of ours, anything else gives None.

    Args:
        error: What a driver raised, or the engine around it.
        file: The file of a SQLite database, to be named where it cannot be opened.
    """
    origin = _origin(error)
    words = str(origin).lower()
    if "disk is full" in words or "no space left" in words:
        return DiskFull("The disk is full; nothing was changed. Free some space and try again.")
    if "readonly" in words or "read-only" in words:
        return ReadOnly("The database is read-only; nothing was changed. Make its folder writable and try again.")
    is_damaged = any(isinstance(origin, driver.damaged) for driver in _drivers())
    if is_damaged or "malformed" in words or "not a database" in words:
        return Damaged("The database is damaged; nothing was changed. Stop the server and restore a backup.")
    cause = _cause(error, file)
    return None if cause is None else _error(cause, Cause.nothing_changed)


def unknown_outcome() -> DatabaseUnreachable:
    """For a change that was under way when the time was over: it may be made or not."""
    return DatabaseUnreachable(IN_TIME.effect_unknown())


def commit_unanswered(error: BaseException) -> DatabaseUnreachable:
    """For an error of a commit: where the connection is gone, nobody knows whether the change was made."""
    ours = unreachable(error)
    if type(ours) is not DatabaseUnreachable:
        return ours
    return _error(_cause(error, None) or _NO_ANSWER, Cause.effect_unknown)


def unreachable(error: BaseException, file: Path | None = None) -> DatabaseUnreachable:
    """As `translate`, for errors that only say that the database is in trouble."""
    return translate(error, file) or DatabaseUnreachable(f"The database refused a statement: {type(error).__name__}.")


def _error(cause: Cause, sentence: Callable[[Cause], str]) -> DatabaseUnreachable:
    general = None if cause.general is None else sentence(cause.general)
    return DatabaseUnreachable(sentence(cause), public=general)


def _origin(error: BaseException) -> BaseException:
    """What the driver itself raised."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _cause(error: BaseException, file: Path | None) -> Cause | None:
    """Why the database is not there, or gave no answer; None when *error* says nothing of the kind."""
    origin = _origin(error)
    if isinstance(error, TimeoutError | QueueTimeout):
        return IN_TIME
    if isinstance(origin, sqlite3.OperationalError):
        return of_sqlite(origin, file)
    if isinstance(error, ArgumentError) and "port arguments" in str(error):
        return BAD_PARAMETER
    return _cause_of_psycopg(origin) if "psycopg" in sys.modules else None


def _cause_of_psycopg(origin: BaseException) -> Cause | None:
    import psycopg  # it is loaded already

    if isinstance(origin, (psycopg.OperationalError, psycopg.InterfaceError)):
        return of_postgres(origin)
    if isinstance(origin, psycopg.errors.InsufficientPrivilege):
        return of_postgres(origin)
    if not isinstance(origin, psycopg.ProgrammingError) or origin.sqlstate is not None:
        return None
    cause = of_postgres(origin)  # what the driver itself refuses is a fault of ours, except in the address
    return cause if cause.fact == BAD_PARAMETER.fact else None
