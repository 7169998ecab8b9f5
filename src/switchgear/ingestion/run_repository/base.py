"""What the parts of the run repository share: the connection, and how values become columns. Source: DESIGN 7."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from switchgear.core.admission import ACTIVE_CONFIGURATION, FIRST_CLAIM_GUARD
from switchgear.core.database import Statements
from switchgear.domain.errors import Why
from switchgear.domain.run import RunStatus
from switchgear.ingestion.run_repository.records import Encoded, RunRow

#: A first claim needs a version to pin, and no drain may hold first claims; a run that holds a version goes on.
CLAIMABLE: Final = f"""status = 'queued' AND available_at <= now_us()
      AND (configuration_id IS NOT NULL
           OR ({FIRST_CLAIM_GUARD}
               AND (pinned_configuration_id IS NOT NULL OR {ACTIVE_CONFIGURATION} IS NOT NULL)))"""
#: The order in which claimable runs are claimed.
CLAIM_ORDER: Final = "available_at, id"
#: Longest texts of an attempt that are kept, in characters.
_MAX_DETAIL: Final = 128
_MAX_MESSAGE: Final = 2_000
#: Made once: `json.dumps` with options makes a new encoder for each call.
_ENCODE: Final = json.JSONEncoder(separators=(",", ":")).encode


class RepositoryPart:
    """Base of the parts.

    Args:
        statements: The narrow path, or a unit of work's statements.
        pipeline: Name of the instance's pipeline.
        result_stage: Stage whose output is the run's result.
        effects: Stages that change something outside.
    """

    def __init__(
        self, statements: Statements, pipeline: str, *, result_stage: str = "", effects: Sequence[str] = ()
    ) -> None:
        self._statements = statements
        self.pipeline = pipeline
        self.result_stage = result_stage
        self.effects = effects

    def is_seen(self, run: RunRow) -> bool:
        """Whether others that come now with its identity see it: it was accepted, or may still be. ADR 0019"""
        if (run.decision or {}).get("action") == "reject" or run.status is RunStatus.CANCELLED:
            return False
        return run.status is not RunStatus.FAILED or run.stage_id in self.effects


def to_json(value: Any) -> str:
    """JSON text without spaces; escapes keep it free of characters that a database refuses."""
    if isinstance(value, Encoded):
        return value.text
    return _ENCODE(value)


def to_json_or_none(value: Mapping[str, Any] | None) -> str | None:
    """As `to_json`; None stays None."""
    return None if value is None else to_json(value)


def from_json(text: str | None) -> Any:
    """The value of JSON text; None stays None."""
    return None if text is None else json.loads(text)


def why_columns(why: Why | None) -> dict[str, str | None]:
    """The parameters `why` and `why_code`."""
    return {"why": to_json_or_none(why.as_json() if why else None), "why_code": str(why.code) if why else None}


def detail_text(text: str) -> str:
    """A detail as it can be stored."""
    return _storable(text)[:_MAX_DETAIL]


def message_text(text: str) -> str:
    """A message as it can be stored; what modules say may be long and contain anything."""
    return _storable(text)[:_MAX_MESSAGE]


def _storable(text: str) -> str:
    """Without NUL and lone surrogates, which PostgreSQL and UTF-8 refuse."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
