"""DATABASE_URL: read with care, because whoever encodes nothing writes parts of a password where others stand.

What is taken here is read by everybody alike, and only the password itself can hold a secret; so the other parts may
be named in sentences. Source: INTERFACES 5.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_plus

_DRIVERS: Final = {
    "postgres:": "postgresql+psycopg:",
    "postgresql:": "postgresql+psycopg:",
}
_SQLITE: Final = "sqlite:///"
_POSTGRES: Final = "postgresql+psycopg://"
FORM: Final = "postgresql://USER:PASSWORD@HOST:PORT/NAME"
#: As SQLAlchemy takes it apart, but for an @ that is not the one before the host.
_PARTS: Final = re.compile(
    r"""
    (?:[^:/@]*(?::[^@]*)?@)?            # user, password
    (?:\[[^\s/?@\[\]]+\]|[^\s:/?@\[\]]*)   # host
    (?::(?P<port>[^/?@]*))?
    (?:/[^?@]*)?                        # name of the database
    (?:\?(?P<parameters>[^@]*))?
    """,
    re.VERBOSE,
)
_PARAMETER: Final = re.compile(r"[\w%]+=.*", re.ASCII)
_SECRET_PARAMETER: Final = re.compile(r"password|secret|scram")


def checked(url: str) -> str:
    """Return *url* with the name of the driver that is used.

    Raises:
        ValueError: It can be no database's; the sentence says why and holds no part of it.
    """
    scheme = url[: url.find(":") + 1]
    url = _DRIVERS.get(scheme, scheme) + url[len(scheme) :]
    if url.startswith(_SQLITE):
        return url
    if not url.startswith(_POSTGRES):
        raise ValueError("database_url must begin with sqlite:/// or postgresql://")
    fault = _fault(url.removeprefix(_POSTGRES))
    if fault is not None:
        raise ValueError(
            f"database_url cannot be read: {fault}. Write such characters in a user name or password percent-encoded "
            f"(@ is %40, : is %3A, / is %2F), in the form {FORM}"
        )
    return url


def _fault(rest: str) -> str | None:
    """What is wrong with what follows the scheme; None when nothing is."""
    if rest.count("@") > 1:
        return "it has more than one @"
    if not rest.isprintable():
        return "it has a line break or another character that cannot be printed"
    found = _PARTS.fullmatch(rest)
    if found is None:
        return "it has an @, :, /, [ or space in a place where none can be"
    port = found["port"]
    if port is not None and not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        return "what follows the : of its host is no port, a number from 1 to 65535"
    if not all(map(_PARAMETER.fullmatch, filter(None, (found["parameters"] or "").split("&")))):
        return "what follows its ? is not of the form NAME=VALUE&NAME=VALUE"
    return None


def shown(url: str) -> str:
    """Return *url*, which was checked, without what is secret in it."""
    if url.startswith(_SQLITE):
        return url
    scheme, slashes, rest = url.partition("://")
    credentials, at, rest = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    address, mark, parameters = rest.partition("?")
    masked = "&".join(map(_masked, parameters.split("&")))
    return f"{scheme}{slashes}{user}{colon and ':***'}{at}{address}{mark}{masked}"


def is_secret(parameter: str) -> bool:
    """Whether the parameter of that name holds a secret."""
    return _SECRET_PARAMETER.search(parameter.lower()) is not None


def _masked(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    return f"{name}{equals}{'***' if is_secret(unquote_plus(name)) else value}"
