"""An exception as plain data, so that it can cross a process border: no traceback, no rejected input, no pickle."""

from __future__ import annotations

import traceback
from typing import Any, Final

from pydantic import ValidationError

from switchgear.sdk.errors import ModuleError, SwitchgearError

_LONGEST: Final = 2000
_MOST_FINDINGS: Final = 5
#: What validators of authors raise; the library puts "Value error, " before their sentence.
_OF_AUTHORS: Final = ("value_error", "assertion_error")
_BOUND: Final = (str, int, float)
_CAUSED: Final = "\nThe above exception was the direct cause of the following exception:\n\n"
_MEANWHILE: Final = "\nDuring handling of the above exception, another exception occurred:\n\n"


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


def traceback_of(error: BaseException) -> str:
    """Return what Python prints of *error*, without the marks below a line.

    The library parses each line for its marks and looks whether each file has changed: ten times the rest, and the
    next module waits for it.
    """
    if isinstance(error, BaseExceptionGroup):
        return "".join(traceback.format_exception(error))
    parts: list[str] = []
    known: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in known:
        known.add(id(current))
        frames = [
            traceback.FrameSummary(frame.f_code.co_filename, line, frame.f_code.co_name)
            for frame, line in traceback.walk_tb(current.__traceback__)
        ]
        head = ["Traceback (most recent call last):\n"] if frames else []
        parts.append("".join([*head, *traceback.format_list(frames), *traceback.format_exception_only(current)]))
        if current.__cause__ is not None:
            parts.append(_CAUSED)
            current = current.__cause__
        else:
            parts.append(_MEANWHILE)
            current = None if current.__suppress_context__ else current.__context__
    return "".join(reversed(parts[:-1]))


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
