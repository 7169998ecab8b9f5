"""What every answer is made of: strict requests, times, `why`, problems, pages. Source: T008, INTERFACES 1, 2."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

ITEM = TypeVar("ITEM")

MAX_PAGE: Final = 200
MAX_MESSAGE: Final = 2000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def time_of(microseconds: int | None) -> datetime | None:
    """Turn microseconds UTC into a time; None stays None."""
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)


def microseconds_of(moment: datetime | None) -> int | None:
    """Turn a time into microseconds UTC; None stays None."""
    return None if moment is None else round(moment.astimezone(UTC).timestamp() * 1_000_000)


def _written(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


#: RFC 3339 in UTC with microseconds: texts of it sort like the times.
Time = Annotated[
    datetime,
    PlainSerializer(_written, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
#: A time with its offset in a request, as RFC 3339 text.
Moment = Annotated[AwareDatetime, Field(strict=False)]
Message = Annotated[str, Field(max_length=MAX_MESSAGE, description="Why; written to the audit trail")]


class Request(BaseModel):
    """Base of request bodies: unknown fields and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class View(BaseModel):
    """Base of answers."""

    model_config = ConfigDict(extra="forbid")


class NextActionView(View):
    """Something a person can do now: the exact command, and the request that does the same."""

    label: str
    role: str
    cli: str | None = None
    method: str | None = None
    path: str | None = None
    body: dict[str, Any] | None = None


class WhyView(View):
    """Why something waits, fell back, is on hold or failed; the same on every surface."""

    code: str = Field(description="From the closed catalogue; `/problems/{code}` explains it")
    summary: str
    facts: dict[str, Any] = Field(default_factory=dict)
    blocking: list[str] = Field(default_factory=list, description="Ids of what holds it back")
    next_actions: list[NextActionView] = Field(default_factory=list)
    help: str = Field(description="Path of the runbook paragraph")

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None) -> WhyView | None:
        """Build the view from its stored JSON form; None stays None."""
        return None if not stored else cls.model_validate(dict(stored))


class ProblemItem(View):
    """One of several things that are wrong; the rejected value itself is never repeated."""

    code: str
    pointer: str | None = Field(None, description="JSON pointer into the request body, or a parameter's name")
    detail: str
    hint: str | None = Field(None, description="What to do")
    stage_id: str | None = None


class Problem(View):
    """RFC 9457 problem details."""

    type: str = Field(description="`/problems/{code}`", examples=["/problems/request.invalid"])
    title: str
    status: int
    code: str
    detail: str = Field(description="What happened, why, and what to do now")
    errors: list[ProblemItem] = Field(default_factory=list)
    warnings: list[ProblemItem] = Field(default_factory=list)
    more: int = Field(0, description="How many further errors there are beside those listed")
    facts: dict[str, Any] = Field(default_factory=dict)
    next_actions: list[NextActionView] = Field(default_factory=list)
    request_id: str | None = None


class Page(View, Generic[ITEM]):
    """One page of a list; `next_cursor` is given back as `cursor` for the next one, and is null at the end."""

    items: list[ITEM]
    next_cursor: str | None = None


class FindingView(View):
    """One finding of validation."""

    code: str
    pointer: str | None = None
    stage_id: str | None = None
    message: str
    hint: str | None = None
    severity: str | None = Field(None, description="`error` or `warning`, where both stand in one list")
