"""Errors that cross the border between a module and the engine.

They are sorted by what the engine does about them: `Retryable` is tried again, `Unavailable` makes the module
unavailable, `InputRejected` rejects the document, `Unsupported` leaves it to another module. `NotApplicable` and
`NeedsReview` are no failures. Everything else that a module raises is a bug of the module (outcome `error`). Each one
is a plain record, so that it survives a process border and JSON. Source: DESIGN 5, INTERFACES 4.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar


class SwitchgearError(Exception):
    """Base of every error that Switchgear raises on purpose.

    Attributes:
        code: Stable name: problem type, log field, anchor in the documentation.
        message: What happened, why, and what to do now.
        fields: Plain JSON values with further facts.
    """

    code: ClassVar[str] = "system.error"

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields: dict[str, Any] = fields

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.fields))

    def record(self) -> dict[str, Any]:
        """Return the error as JSON-ready data: `{type, message, fields}`."""
        return {"type": type(self).__name__, "message": self.message, "fields": self.fields}


def _rebuild(kind: type[SwitchgearError], message: str, fields: dict[str, Any]) -> SwitchgearError:
    error = kind.__new__(kind)
    SwitchgearError.__init__(error, message, **fields)
    return error


class DeclarationError(SwitchgearError):
    """A module, contract or pipeline is declared wrongly; the message says what to write instead."""

    code = "module.import_error"


class ModuleError(SwitchgearError):
    """Base of what a module may raise on purpose."""

    code = "module.error"


class Retryable(ModuleError):
    """A passing trouble: the engine tries the same module again.

    Args:
        message: What was tried and what came back.
        after_s: Seconds to wait before the next try; more than 10 gives the run's lease up meanwhile.
    """

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message, after_s=after_s)

    @property
    def after_s(self) -> float | None:
        """Seconds to wait before the next try, or None."""
        value: float | None = self.fields.get("after_s")
        return value


class Unavailable(ModuleError):
    """The module cannot work here now; *fix* is the exact line that repairs it."""

    def __init__(self, message: str, fix: str | None = None) -> None:
        super().__init__(message, fix=fix)

    @property
    def fix(self) -> str | None:
        """The exact line that repairs it, or None."""
        value: str | None = self.fields.get("fix")
        return value


class InputRejected(ModuleError):
    """The document itself is at fault (corrupt, encrypted, hostile, too large).

    Args:
        code: A short word such as `encrypted`, `corrupt`, `rejected_xml`, `pages`; shown as the attempt's detail.
        message: The reason in plain words, for the person who sent the document.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, code=code)

    @property
    def reason_code(self) -> str:
        """The short word, such as `encrypted`."""
        return str(self.fields["code"])


class Unsupported(ModuleError):
    """The stage concerns the document, and this module is not made for its kind; another one of the stage may be.

    The outcome is `error`, so the fallback policy decides who is next. It says nothing about how well the module
    works: its breaker does not count it. Source: ADR 0018.
    """


class NotApplicable(ModuleError):
    """The document does not concern this stage: a third answer, neither a value nor a failure."""


class NeedsReview(ModuleError):
    """A person has to decide; the run parks with `parked.review` and goes on here with the decision.

    Args:
        reason: One sentence for the person who decides.
        facts: What the decision needs; kept as JSON, so that amounts, days and the like become text.
    """

    def __init__(self, reason: str, facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(reason, facts=json.loads(json.dumps(dict(facts or {}), default=str)))

    @property
    def facts(self) -> dict[str, Any]:
        """Plain JSON values that the decision needs."""
        return dict(self.fields.get("facts") or {})


#: What may cross the border by name; anything else arrives as a plain error text.
BORDER_ERRORS: Mapping[str, type[ModuleError]] = {
    kind.__name__: kind for kind in (Retryable, Unavailable, InputRejected, Unsupported, NotApplicable, NeedsReview)
}


def from_record(record: Mapping[str, Any]) -> ModuleError:
    """Rebuild a module's error from `SwitchgearError.record()`; unknown types become a plain `ModuleError`."""
    kind = BORDER_ERRORS.get(str(record.get("type")), ModuleError)
    error = _rebuild(kind, str(record.get("message", "")), dict(record.get("fields") or {}))
    assert isinstance(error, ModuleError)
    return error
