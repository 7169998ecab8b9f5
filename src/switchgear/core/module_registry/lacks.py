"""Sentences for what a module lacks; each with the exact line that repairs it. Source: DESIGN 3, INTERFACES 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from switchgear.domain.errors import Code
from switchgear.domain.stage import Lack
from switchgear.sdk.errors import Unavailable, from_record


def lack_of_failure(module_id: str, failure: Mapping[str, Any], step: str) -> Lack:
    """Why a module could not be made ready, from what its process said.

    Args:
        module_id: The module.
        failure: `{record}` or `{error, message, missing}`.
        step: `isolation`, `import`, `settings` or `open`.
    """
    if "record" in failure:
        error = from_record(failure["record"])
        fix = error.fix if isinstance(error, Unavailable) else None
        return Lack(Code.MODULE_PROBE_FAILED, f"Module {module_id} cannot start: {_sentence(error.message)}", fix)
    if failure.get("missing"):
        package = str(failure["missing"]).split(".")[0]
        return Lack(
            Code.MODULE_IMPORT_ERROR,
            f"Module {module_id} cannot be imported: package {package} is not installed.",
            f"pip install {package}",
        )
    message = str(failure.get("message"))
    text = _sentence(message if step == "settings" else f"{failure.get('error')}: {message}")
    code, verb = {
        "isolation": (Code.MODULE_ISOLATION, "cannot be held to its isolation"),
        "import": (Code.MODULE_IMPORT_ERROR, "cannot be imported"),
        "settings": (Code.MODULE_BAD_SETTINGS, "does not accept its settings"),
    }.get(step, (Code.MODULE_PROBE_FAILED, "cannot start"))
    return Lack(code, f"Module {module_id} {verb}: {text}")


def _sentence(text: str) -> str:
    """*text* with one full stop at its end: another sentence may follow."""
    text = text.rstrip().rstrip(".:")
    return text if text.endswith(("!", "?")) else f"{text}."
