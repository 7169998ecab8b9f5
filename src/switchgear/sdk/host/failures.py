"""An exception as plain data, so that it can cross a process border: no traceback, no rejected input, no pickle."""

from __future__ import annotations

from typing import Any, Final

from pydantic import ValidationError

from switchgear.sdk.errors import ModuleError, SwitchgearError

_LONGEST: Final = 2000
_MOST_FINDINGS: Final = 5


def failure_of(error: BaseException) -> dict[str, Any]:
    """Return `{record}` for what a module raises on purpose, else `{error, message, missing}`.

    `missing` names the package that an import did not find, or is None.
    """
    if isinstance(error, ModuleError):
        return {"record": error.record()}
    message = error.message if isinstance(error, SwitchgearError) else str(error)
    if isinstance(error, ValidationError):
        findings = error.errors(include_input=False, include_url=False, include_context=False)[:_MOST_FINDINGS]
        message = "; ".join(f"/{'/'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in findings)
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    return {"error": type(error).__name__, "message": message[:_LONGEST], "missing": missing}
