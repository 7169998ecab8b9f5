"""An exception as plain data, so that it can cross a process border: no traceback, no rejected input, no pickle."""

from __future__ import annotations

from typing import Any, Final

from pydantic import ValidationError

from switchgear.sdk.errors import ModuleError, SwitchgearError

_LONGEST: Final = 2000
_MOST_FINDINGS: Final = 5
#: What validators of authors raise; the library puts "Value error, " before their sentence.
_OF_AUTHORS: Final = ("value_error", "assertion_error")
_BOUND: Final = (str, int, float)


def failure_of(error: BaseException) -> dict[str, Any]:
    """Return `{record}` for what a module raises on purpose, else `{error, message, missing}`.

    `missing` names the package that an import did not find, or is None.
    """
    if isinstance(error, ModuleError):
        return {"record": error.record()}
    message = error.message if isinstance(error, SwitchgearError) else _words_of(error)
    if isinstance(error, ValidationError):
        message = "; ".join(f"/{'/'.join(map(str, item['loc']))}: {item['message']}" for item in mistakes_of(error))
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    return {"error": type(error).__name__, "message": message[:_LONGEST], "missing": missing}


def _words_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # an author's __str__; the type alone says more than the end of the process
        return ""


def mistakes_of(error: ValidationError) -> list[dict[str, Any]]:
    """Return the first findings as `{loc, kind, bounds, message}`, without what was given."""
    return [
        {
            "loc": list(item["loc"]),
            "kind": item["type"],
            "bounds": {name: value for name, value in item.get("ctx", {}).items() if isinstance(value, _BOUND)},
            "message": (item["msg"].partition(", ")[2] if item["type"] in _OF_AUTHORS else item["msg"])[:_LONGEST],
        }
        for item in error.errors(include_input=False, include_url=False)[:_MOST_FINDINGS]
    ]
