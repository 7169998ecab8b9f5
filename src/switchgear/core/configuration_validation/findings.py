"""What validation says: findings with a severity that depends on what the validation is for. Source: DESIGN 4."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

from switchgear.domain.errors import Code


class Purpose(StrEnum):
    """What the validation is for: a column of DESIGN 4's table."""

    CREATE = "create"  #: also `validate`
    ACTIVATE = "activate"
    ROLLBACK = "rollback"
    STARTUP = "startup"


class Severity(StrEnum):
    """Whether a finding refuses or tells."""

    ERROR = "error"
    WARNING = "warning"


class Kind(StrEnum):
    """Rows of DESIGN 4's table."""

    CONTENT = "content"
    COVERED = "covered"  #: a selected module is unavailable, and something else is there
    NOT_COVERED = "not_covered"
    STALE = "stale"  #: the installed code is not the locked one
    NOTICE = "notice"  #: fallback unavailable, deprecated, secret not verifiable, contract unproven, queue unserved


_E: Final = Severity.ERROR
_W: Final = Severity.WARNING
#: DESIGN 4's table. `accept_degraded`, an equal lack in the active version, and `hold` change single cells: `weigh`.
SEVERITIES: Final[Mapping[Kind, Mapping[Purpose, Severity]]] = {
    Kind.CONTENT: dict.fromkeys(Purpose, _E),
    Kind.COVERED: {Purpose.CREATE: _W, Purpose.ACTIVATE: _E, Purpose.ROLLBACK: _W, Purpose.STARTUP: _W},
    Kind.NOT_COVERED: dict.fromkeys(Purpose, _E),
    Kind.STALE: dict.fromkeys(Purpose, _W),
    Kind.NOTICE: dict.fromkeys(Purpose, _W),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that validation found. It never holds a rejected value.

    Attributes:
        code: From the closed catalogue.
        pointer: JSON pointer into the REST body.
        stage_id: The stage that it is about, or None.
        message: What is wrong, as a sentence.
        hint: What to do, or None.
    """

    code: Code
    pointer: str
    stage_id: str | None
    message: str
    hint: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the REST form."""
        return {
            "code": str(self.code),
            "pointer": self.pointer,
            "stage_id": self.stage_id,
            "message": self.message,
            "hint": self.hint,
        }


@dataclass(frozen=True, slots=True)
class Findings:
    """All findings at once: errors refuse, warnings tell."""

    errors: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether nothing refuses."""
        return not self.errors

    def as_json(self) -> dict[str, Any]:
        """Return `{is_valid, errors, warnings}`."""
        return {
            "is_valid": self.is_valid,
            "errors": [finding.as_json() for finding in self.errors],
            "warnings": [finding.as_json() for finding in self.warnings],
        }

    def stored(self) -> tuple[dict[str, Any], ...]:
        """Return what is kept with a version: every finding with its severity."""
        return tuple(
            {**finding.as_json(), "severity": str(severity)}
            for severity, findings in ((_E, self.errors), (_W, self.warnings))
            for finding in findings
        )

    @property
    def is_storable(self) -> bool:
        """Whether a draft with these errors may be kept: never a secret as text, never what the tables cannot hold."""
        return not any(finding.code in _NOT_STORABLE for finding in self.errors)


_NOT_STORABLE: Final = frozenset({Code.SECRET_LITERAL, Code.SELECTION_DUPLICATE, Code.REQUEST_TOO_LARGE})


def _no_secrets_known(_reference: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class ValidationOptions:
    """Settings that validation depends on.

    Attributes:
        unproven: Whether a compatibility that cannot be decided is an error.
        on_module_change: What a stale module lock leads to.
        secret_exists: Whether a secret reference leads to a value here.
    """

    unproven: Literal["warn", "error"] = "warn"
    on_module_change: Literal["relock", "hold"] = "relock"
    secret_exists: Callable[[str], bool] = field(default=_no_secrets_known, compare=False)


#: More findings about one configuration help nobody, and finding all that a body may hold takes seconds.
MOST_FINDINGS: Final = 1000


class TooManyFindings(Exception):
    """The collector takes no more findings, and says so in its first one."""


@dataclass(slots=True)
class Collector:
    """Collects findings and gives each the severity that its row and column say."""

    purpose: Purpose
    options: ValidationOptions
    accept_degraded: bool = False
    found: list[tuple[Severity, Finding]] = field(default_factory=list)

    def add(self, kind: Kind, finding: Finding, *, known_before: bool = False) -> None:
        """Keep a finding; *known_before* says that the active version has the same lack.

        Raises:
            TooManyFindings: There are `MOST_FINDINGS` already.
        """
        if len(self.found) == MOST_FINDINGS:
            message = f"There are more than {MOST_FINDINGS} findings; after these nothing was looked at any more."
            self.found.insert(0, (_E, Finding(Code.REQUEST_TOO_LARGE, "", None, message, "Repair these first.")))
            raise TooManyFindings
        self.found.append((self._weigh(kind, finding, known_before), finding))

    def _weigh(self, kind: Kind, finding: Finding, known_before: bool) -> Severity:
        if kind is Kind.COVERED and (self.accept_degraded or known_before):
            return Severity.WARNING
        if kind is Kind.STALE and self.options.on_module_change == "hold":
            return _E if self.purpose in (Purpose.ACTIVATE, Purpose.ROLLBACK) else _W
        if finding.code is Code.CONTRACT_UNPROVEN and self.options.unproven == "error":
            return Severity.ERROR
        return SEVERITIES[kind][self.purpose]

    def findings(self) -> Findings:
        """Return what was found, in order of the body."""
        return Findings(
            tuple(finding for severity, finding in self.found if severity is Severity.ERROR),
            tuple(finding for severity, finding in self.found if severity is Severity.WARNING),
        )


def content_errors(findings: Findings) -> Sequence[Finding]:
    """Return errors that lie in the content itself, not in what is available or decidable here and now."""
    passing = (Code.SELECTION_UNAVAILABLE, Code.CONFIGURATION_LOCK_STALE, Code.CONTRACT_UNPROVEN)
    return [finding for finding in findings.errors if finding.code not in passing]


def pointer(*parts: str | int) -> str:
    """Write a JSON pointer."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def listed(names: Iterable[str], limit: int = 12) -> str:
    """Write names in a sentence, at most *limit* of them."""
    some = sorted(names)
    shown = ", ".join(some[:limit])
    return f"{shown} and {len(some) - limit} more" if len(some) > limit else shown or "none"
