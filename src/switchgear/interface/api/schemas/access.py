"""Tokens, the caller, the audit trail. Source: T008, T014, INTERFACES 2."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from switchgear.domain.access import Role
from switchgear.interface.api.schemas.common import Message, Moment, Request, Time, View

TokenName = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class TokenBody(Request):
    """A new token."""

    name: TokenName
    role: Annotated[Role, Field(strict=False)]
    expires_at: Moment | None = None
    message: Message = ""


class TokenPatch(Request):
    """What can be changed about a token; what is absent stays."""

    name: TokenName | None = None
    role: Annotated[Role, Field(strict=False)] | None = None
    expires_at: Moment | None = None
    message: Message = ""


class TokenView(View):
    """A token without its secret, which is not stored."""

    id: str
    name: str
    role: Role
    created_by: str
    created_at: Time
    expires_at: Time | None = None
    revoked_at: Time | None = None
    is_valid: bool


class CreatedToken(View):
    """A new token and its secret, which is shown this once."""

    token: TokenView
    secret: str | None = Field(description="Null in a repeated answer to the same Idempotency-Key")


class MeView(View):
    """Who the caller is."""

    name: str
    role: Role
    token_id: str | None = None
    may: list[str] = Field(description="What the role allows")
    max_upload_bytes: int = Field(description="Largest document that is accepted here")


class AuditEventView(View):
    """One configuration change event."""

    sequence: int
    id: str
    at: Time
    actor: str
    actor_role: str
    action: str
    result: str
    subjects: list[str]
    message: str
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    diff: list[dict[str, Any]] = Field(default_factory=list, description="What differs between before and after")
    request_id: str | None = None
    previous_hash: str
    hash: str


class AuditVerification(View):
    """Whether the trail is whole."""

    ok: bool
    checked: int
    first_bad_sequence: int | None = None
    reason: str = ""
    head: str = Field(description="Hash of the newest event; keep it elsewhere to find a cut tail later")
