"""Why a database cannot be used, in plain words, and what to do about it.

Host, port, user and name of the database may be said, what is secret never; so nothing is repeated that a driver said.
PostgreSQL gives a code once it is connected. Before that there is a text only, which a server may say in another
language: then the sentence is a general one.
"""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from switchgear.core.database_url import FORM

_AGAIN: Final = "Try again in a moment."


@dataclass(frozen=True, slots=True)
class Cause:
    """What is wrong, without a full stop, and a sentence that says what to do now.

    `general` says the same without naming anything, where this one does.
    """

    fact: str
    advice: str = _AGAIN
    general: Cause | None = None

    def nothing_changed(self) -> str:
        """For a call that had no effect."""
        return f"{self.fact}; nothing was changed. {self.advice}"

    def effect_unknown(self) -> str:
        """For a change that was under way: it may be made or not."""
        return f"{self.fact}; whether the change was made is not known yet. Look, then try again."


#: The only one that may say so: the time was really over.
IN_TIME: Final = Cause("The database did not answer in time")
#: The database was there, and is not any more.
LOST: Final = Cause("The connection to the database was lost")
BAD_PARAMETER: Final = Cause(
    "DATABASE_URL has a parameter that the driver does not know, or a value that it does not take",
    "Correct what follows the ? in it.",
)


# --- PostgreSQL ---


@dataclass(frozen=True, slots=True)
class _Rule:
    """A cause, the codes that mean it (whole, or the class of two characters), and what is said where no code is.

    `fact` and `advice` may name `{place}` (" at HOST:PORT", or nothing), `{user}` and `{name}`.
    """

    states: frozenset[str]
    words: re.Pattern[str]
    fact: str
    advice: str = _AGAIN


def _rule(states: str, words: str, cause: Cause) -> _Rule:
    return _Rule(frozenset(states.split()), re.compile(words), cause.fact, cause.advice)


_RULES: Final = (
    _rule(
        "",
        r"pg_hba\.conf",
        Cause(
            "The database{place} does not let the user {user} in from this machine",
            "Allow it in pg_hba.conf there, or correct DATABASE_URL.",
        ),
    ),
    _rule(
        "",
        r"no password supplied",
        Cause(
            "The database{place} asks for the password of the user {user}, and DATABASE_URL has none",
            f"Add it: {FORM}.",
        ),
    ),
    _rule(
        "3D000",
        r'database ".*" does not exist',
        Cause("There is no database {name}{place}", "Create it (createdb {shell_name}), or correct DATABASE_URL."),
    ),
    _rule(
        "28P01 28000",
        r'role ".*" does not exist|authentication failed for user',
        Cause(
            "The user {user} is not known to, or has the wrong password for, the database{place}",
            "Correct user and password in DATABASE_URL, or create the user there.",
        ),
    ),
    _rule(
        "",
        r"permission denied for database",
        Cause(
            "The user {user} may not connect to the database {name}{place}",
            "Grant it the right CONNECT there, or correct DATABASE_URL.",
        ),
    ),
    _rule(
        "42501",
        "(?!)",
        Cause(
            "The user of DATABASE_URL lacks a right in the database",
            "Make it the owner of the database, or grant it CREATE on the schema public there.",
        ),
    ),
    _rule(
        "57P03",
        r"the database system is (?:starting|shutting|not|in recovery)|not accepting connections",
        Cause("The database{place} is starting or stopping"),
    ),
    _rule(
        "53300",
        r"too many (?:clients|connections)|connection slots",
        Cause("The database{place} takes no more connections", "Raise its max_connections, or try again in a moment."),
    ),
    _rule(
        "57014 55P03",
        r"timeout expired|timed out|couldn't get a connection|pool initialization incomplete",
        IN_TIME,
    ),
    _rule(
        "08 57P01 57P02 57P04 57P05 25P03",
        r"closed the connection|connection is closed|connection is lost|connection was lost|has been closed"
        r"|consuming input failed|sending query failed|terminating connection|reset by peer|broken pipe",
        LOST,
    ),
    _rule("40", "(?!)", Cause("Two changes stood in each other's way", "Try again.")),
    _rule(
        "",
        r"connection refused",
        Cause("The database{place} refuses connections", "Start it, or correct DATABASE_URL."),
    ),
    _rule(
        "",
        r"no such file or directory\s+is the server running",
        Cause("There is no database{place}", f"Start it, or name its host in DATABASE_URL: {FORM}."),
    ),
    _rule(
        "",
        r"failed to resolve host|could not translate host name",
        Cause("The host{host} of the database is not known", "Correct DATABASE_URL, or the name service."),
    ),
    _rule(
        "",
        r"network is unreachable|no route to host",
        Cause("No way leads from this machine to the database{place}", "Correct DATABASE_URL, or mend the network."),
    ),
    _rule("", r"invalid \w+ value|could not parse|connection option|query parameter|bad value for", BAD_PARAMETER),
    _rule(
        "",
        r"\bssl\b|certificate",
        Cause(
            "No encrypted connection to the database{place} can be made",
            "Correct sslmode and the certificates in DATABASE_URL, or those of the database.",
        ),
    ),
)
_NOT_CONNECTED: Final = Cause(
    "No connection to the database{place} can be made",
    "See that it runs, that DATABASE_URL is right, and what its log says.",
)
_NOT_DONE: Final = Cause("The database could not do what it was asked{state}", "Try again, or see what its log says.")
_UNNAMED: Final = {
    "place": "",
    "host": "",
    "user": "of DATABASE_URL",
    "name": "of that name",
    "shell_name": "NAME",
    "state": "",
}
_HOST: Final = re.compile(r"host(?: name)? ['\"]([^'\"]*)['\"]")


def of_postgres(error: Any) -> Cause:
    """Why *error*, a driver's that says that the database cannot be used, came."""
    state = error.sqlstate
    words = str(error).lower()
    for rule in _RULES:
        if ({state, state[:2]} & rule.states) if state else rule.words.search(words):
            found = Cause(rule.fact, rule.advice)
            break
    else:
        found = _NOT_DONE if state or error.pgconn is None else _NOT_CONNECTED
    general = Cause(found.fact.format_map(_UNNAMED), found.advice.format_map(_UNNAMED))
    named = _named(error)
    return Cause(found.fact.format_map(named), found.advice.format_map(named), general)


def _named(error: Any) -> Mapping[str, str]:
    """What may be said of where the connection was to go; an error that came later knows none of it."""
    line = error.pgconn
    host, port, user, name = (
        "" if line is None else (getattr(line, part) or b"").decode(errors="replace")
        for part in ("host", "port", "user", "db")
    )
    asked = _HOST.search(str(error))
    if host.startswith("/"):
        place = f" at the socket {host}/.s.PGSQL.{port}"
    elif host:
        place = f" at [{host}]:{port}" if ":" in host else f" at {host}:{port}"
    else:
        place = ""
    return {
        "place": place,
        "host": f" {asked[1]}" if asked else "",
        "user": repr(user),
        "name": repr(name),
        "shell_name": shlex.quote(name),
        "state": f" (SQLSTATE {error.sqlstate})" if error.sqlstate else "",
    }


# --- SQLite ---

_SQLITE_IN_TIME: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})


def of_sqlite(error: sqlite3.Error, file: Path | None) -> Cause:
    """Why *error* came, on the database in *file* where that is known."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the rest is a finer distinction
    if code in _SQLITE_IN_TIME:
        return IN_TIME
    if code == sqlite3.SQLITE_CANTOPEN:
        return _cannot_open(file)
    if code == sqlite3.SQLITE_IOERR:
        return Cause("The disk does not read or write the database", "See the disk and the log of the system.")
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return Cause(f"The database could not do what it was asked ({name})", "Try again, or run `switchgear migrate`.")


_NO_FILE: Final = Cause("The file of the database cannot be opened", "See that its folder is there and may be written.")


def _cannot_open(file: Path | None) -> Cause:
    if file is None:
        return _NO_FILE
    fact, advice = _why_not_opened(file.absolute())
    return Cause(fact, advice, _NO_FILE)


def _why_not_opened(file: Path) -> tuple[str, str]:
    try:
        os.stat(file.parent)
    except (FileNotFoundError, NotADirectoryError):
        return f"The folder {file.parent} does not exist", "Make it, or correct DATABASE_URL."
    except OSError:  # nobody may look into a folder above: that is said below
        pass
    if file.is_dir():
        return f"{file} is a folder and no database", "Name a file in DATABASE_URL."
    return f"The database {file} cannot be opened", "See that this user may read and write the file and its folder."
