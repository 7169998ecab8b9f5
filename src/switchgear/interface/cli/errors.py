"""How a command ends when it cannot go on: a sentence on stderr and an exit code. Source: INTERFACES 3."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """The exit codes; `ingest --wait` uses all four."""

    DONE = 0
    FAILED = 1  #: failed, or differs
    WRONG_USE = 2
    ON_HOLD = 3  #: `ingest --wait`: a run is parked and waits for a person


class CommandFailed(Exception):
    """The command cannot go on; *message* says what happened, why, and what to do now."""

    def __init__(self, message: str, *, exit_code: int = Exit.FAILED, problem: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.problem = problem


class WrongUse(CommandFailed):
    """The command line does not fit; exit code 2."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=Exit.WRONG_USE)


class ProblemAnswer(CommandFailed):
    """The API answered with a problem document; `problem` is that document."""

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after: str | None = None) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or f"HTTP {status}"), problem=problem)
        self.status = status
        #: When the server wants to be asked again, in seconds.
        self.retry_after_s = float(retry_after) if retry_after is not None and retry_after.isdigit() else 1.0

    @property
    def code(self) -> str:
        """The reason code, such as `configuration.invalid`."""
        return str((self.problem or {}).get("code", ""))
