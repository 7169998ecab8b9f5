"""Drivers' errors, sorted by what a caller can do about them. Source: RELIABILITY I32."""

from __future__ import annotations

import sqlite3
import sys
from dataclasses import dataclass
from functools import cache
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as QueueTimeout

from switchgear.domain.errors import Code, DatabaseUnreachable


@dataclass(frozen=True, slots=True)
class DriverErrors:
    """The errors of a driver.

    Attributes:
        every: What all of them are.
        unanswered: The database is not there, or gave no answer.
        damaged: It cannot read what it kept.
    """

    every: tuple[type[Exception], ...]
    unanswered: tuple[type[Exception], ...]
    damaged: tuple[type[Exception], ...] = ()


_SQLITE: Final = DriverErrors((sqlite3.Error,), (sqlite3.OperationalError, TimeoutError, QueueTimeout))


def _drivers() -> list[DriverErrors]:
    """Of the drivers that are loaded: another one has raised nothing, and no instance on SQLite waits for psycopg."""
    return [_SQLITE, _psycopg()] if "psycopg" in sys.modules else [_SQLITE]


@cache
def _psycopg() -> DriverErrors:
    import psycopg

    return DriverErrors(
        (psycopg.Error,),
        (psycopg.OperationalError, psycopg.InterfaceError),
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


def translate(error: BaseException) -> DatabaseUnreachable | None:
    """Sort a driver's error: what a caller may try again becomes one of ours, anything else gives None."""
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    words = str(origin).lower()
    if "disk is full" in words or "no space left" in words:
        return DiskFull("The disk is full; nothing was changed. Free some space and try again.")
    if "readonly" in words or "read-only" in words:
        return ReadOnly("The database is read-only; nothing was changed. Make its folder writable and try again.")
    is_damaged = any(isinstance(origin, driver.damaged) for driver in _drivers())
    if is_damaged or "malformed" in words or "not a database" in words:
        return Damaged("The database is damaged; nothing was changed. Stop the server and restore a backup.")
    if any(isinstance(each, driver.unanswered) for each in (error, origin) for driver in _drivers()):
        return DatabaseUnreachable("The database did not answer in time; nothing was changed. Try again in a moment.")
    return None


def unknown_outcome() -> DatabaseUnreachable:
    """For a change that was under way when the time was over: it may be made or not."""
    return DatabaseUnreachable(
        "The database did not answer in time; whether the change was made is not known yet. Look, then try again."
    )


def commit_unanswered(error: BaseException) -> DatabaseUnreachable:
    """For an error of a commit: where the connection is gone, nobody knows whether the change was made."""
    ours = unreachable(error)
    return unknown_outcome() if type(ours) is DatabaseUnreachable else ours


def unreachable(error: BaseException) -> DatabaseUnreachable:
    """As `translate`, for errors that only say that the database is in trouble."""
    return translate(error) or DatabaseUnreachable(f"The database refused a statement: {type(error).__name__}.")
