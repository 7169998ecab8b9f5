"""Who may do what: roles, the ingest scope, and the verified actor. Source: INTERFACES 2, T014."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

#: Characters of a token's secret; one that somebody chose must not be short.
SHORTEST_SECRET: Final = 32
LONGEST_SECRET: Final = 256


class Role(StrEnum):
    """Roles in ascending order; `ingest` is a narrow scope beside them, for tokens that only send documents."""

    INGEST = "ingest"
    VIEWER = "viewer"
    OPERATOR = "operator"
    MAINTAINER = "maintainer"
    ADMIN = "admin"


class Need(StrEnum):
    """What a route asks of its caller."""

    ANONYMOUS = "anonymous"
    READ = "read"  #: viewer and above
    SEND = "send"  #: ingest, operator and above
    OWN_RUNS = "own_runs"  #: viewer and above; ingest for runs and documents it sent itself
    CHANGE = "change"  #: operator and above
    MODULES = "modules"  #: maintainer and above
    TOKENS = "tokens"  #: admin


#: The role table; a role that is not listed is refused.
ALLOWED: Final[Mapping[Need, frozenset[Role]]] = {
    Need.ANONYMOUS: frozenset(Role),
    Need.READ: frozenset({Role.VIEWER, Role.OPERATOR, Role.MAINTAINER, Role.ADMIN}),
    Need.SEND: frozenset({Role.INGEST, Role.OPERATOR, Role.MAINTAINER, Role.ADMIN}),
    Need.OWN_RUNS: frozenset(Role),
    Need.CHANGE: frozenset({Role.OPERATOR, Role.MAINTAINER, Role.ADMIN}),
    Need.MODULES: frozenset({Role.MAINTAINER, Role.ADMIN}),
    Need.TOKENS: frozenset({Role.ADMIN}),
}


def least_role(need: Need) -> Role:
    """The lowest role of people that allows it."""
    return next(role for role in Role if role is not Role.INGEST and role in ALLOWED[need])


def who_may(need: Need) -> str:
    """In words who may: the lowest role, and the scope that does instead."""
    if need is Need.ANONYMOUS:
        return "anybody"
    return f"{least_role(need)}{' or the scope ingest' if Role.INGEST in ALLOWED[need] else ''}"


@dataclass(frozen=True, slots=True)
class Actor:
    """The verified caller: the token's name and role; `system` acts for the server itself."""

    name: str
    role: Role
    token_id: str | None = None

    def may(self, need: Need) -> bool:
        """Whether the role table allows it."""
        return self.role in ALLOWED[need]


SYSTEM: Final = Actor("system", Role.ADMIN)
