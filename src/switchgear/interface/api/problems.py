"""Problem details (RFC 9457) for every refusal: one status for each code, never more than 16 kB, never the input back.

Source: INTERFACES 1, 2, RELIABILITY I30.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from switchgear.core.logging import request_id_var
from switchgear.domain.errors import Code, DatabaseUnreachable, DomainError
from switchgear.domain.wanted_values import did_you_mean, wanted_of, words_of
from switchgear.interface.api.problem_catalogue import CATALOGUE
from switchgear.interface.api.schemas.common import NextActionView, Problem, ProblemItem
from switchgear.sdk.errors import SwitchgearError

MEDIA_TYPE: Final = "application/problem+json"
MAX_BYTES: Final = 16 * 1024
RETRY_AFTER_S: Final = 2

_OWN_FIELDS: Final = frozenset({"errors", "warnings", "more", "next_actions", "public"})
_MAX_ITEMS: Final = 100
_MAX_DETAIL: Final = 1_000
#: Names that may be repeated; anything else is input and is not.
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")

#: HTTP status of each code that can end a request; others stand in bodies only.
STATUS: Final[Mapping[Code, int]] = {
    Code.REQUEST_MALFORMED: 422,
    Code.REQUEST_INVALID: 422,
    Code.REQUEST_NOT_FOUND: 404,
    Code.REQUEST_METHOD_NOT_ALLOWED: 405,
    Code.REQUEST_TOO_LARGE: 413,
    Code.REQUEST_UNSUPPORTED_MEDIA_TYPE: 415,
    Code.REQUEST_PRECONDITION_REQUIRED: 428,
    Code.REQUEST_PRECONDITION_FAILED: 412,
    Code.REQUEST_IDEMPOTENCY_MISMATCH: 422,
    Code.REQUEST_ANSWER_LOST: 409,
    Code.REQUEST_RATE_LIMITED: 429,
    Code.ACCESS_UNAUTHENTICATED: 401,
    Code.ACCESS_FORBIDDEN: 403,
    Code.CONFIGURATION_INVALID: 422,
    Code.CONFIGURATION_ALREADY_ACTIVE: 409,
    Code.CONFIGURATION_ILLEGAL_TRANSITION: 409,
    Code.CONFIGURATION_DIGEST_BLOCKED: 409,
    Code.CONFIGURATION_BASE_MOVED: 409,
    Code.CONFIGURATION_LOCK_STALE: 409,
    Code.ACTIVATION_PENDING: 409,
    Code.ACTIVATION_NOT_PENDING: 409,
    Code.ACTIVATION_DRAINING: 409,
    Code.SYSTEM_STARTING: 503,
    Code.SYSTEM_DISK_LOW: 507,
    Code.WAITING_BACKPRESSURE: 429,
    Code.SYSTEM_DISK_FULL: 507,
    Code.SYSTEM_READ_ONLY: 503,
    Code.SYSTEM_ARTIFACTS_ELSEWHERE: 503,
    Code.SYSTEM_SOURCE_UNREADABLE: 503,
    Code.SYSTEM_DATABASE_DAMAGED: 503,
    Code.SYSTEM_DATABASE_UNREACHABLE: 503,
    Code.SYSTEM_SCHEMA_NEWER: 503,
    Code.MODULE_DISABLED: 409,
    Code.RUN_ILLEGAL_TRANSITION: 409,
}
_CODE_OF_STATUS: Final[Mapping[int, Code]] = {
    status: code for code, status in reversed(list(STATUS.items())) if not code.startswith("configuration.")
}


class BodyTooLarge(DomainError):
    """The body is larger than this route takes."""

    code = Code.REQUEST_TOO_LARGE


class UnsupportedMediaType(DomainError):
    """The body's Content-Type is none that this route takes."""

    code = Code.REQUEST_UNSUPPORTED_MEDIA_TYPE


class PreconditionRequired(DomainError):
    """The change needs If-Match."""

    code = Code.REQUEST_PRECONDITION_REQUIRED


class RateLimited(DomainError):
    """Too many wrong credentials from one client; `fields["retry_after_s"]` says how long to wait."""

    code = Code.REQUEST_RATE_LIMITED


def code_of(error: SwitchgearError) -> Code:
    """The error's code, if it is one of the catalogue; anything else is `system.error`."""
    try:
        return Code(str(error.code))
    except ValueError:
        return Code.SYSTEM_ERROR


def status_of(error: SwitchgearError) -> int:
    """The HTTP status of an error."""
    return STATUS.get(code_of(error), 500)


def said(error: SwitchgearError) -> str:
    """The sentence for whoever asks; where a database is, and as whom it is used, is for the log and the terminal."""
    return error.public if isinstance(error, DatabaseUnreachable) else error.message


def answer_to(error: SwitchgearError) -> Response:
    """Render an error of ours as a problem."""
    code, status = code_of(error), status_of(error)
    if status >= 500 and code is Code.SYSTEM_ERROR:
        return problem_answer(code, status, "An unexpected error. Try again; the log has it under the request id.")
    facts = {name: value for name, value in error.fields.items() if name not in _OWN_FIELDS}
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="switchgear"'
    if status == 413:
        headers["Connection"] = "close"  # nobody reads the rest of the body
    if status == 429:
        headers["Retry-After"] = str(max(1, int(facts.get("retry_after_s", RETRY_AFTER_S))))
    return problem_answer(
        code,
        status,
        said(error),
        errors=[_item(item) for item in error.fields.get("errors") or ()],
        warnings=[_item(item) for item in error.fields.get("warnings") or ()],
        more=int(error.fields.get("more") or 0),
        facts=facts,
        next_actions=[*(error.fields.get("next_actions") or ()), *_next_actions(code, facts)],
        headers=headers,
    )


def problem_answer(
    code: Code,
    status: int,
    detail: str,
    *,
    errors: Sequence[ProblemItem] = (),
    warnings: Sequence[ProblemItem] = (),
    more: int = 0,
    facts: Mapping[str, Any] | None = None,
    next_actions: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Render a problem of at most 16 kB; errors that do not fit are counted in `more`."""
    problem = Problem(
        type=f"/problems/{code}",
        title=CATALOGUE[code].title,
        status=status,
        code=str(code),
        detail=_short(detail),
        errors=list(errors[:_MAX_ITEMS]),
        warnings=list(warnings[:_MAX_ITEMS]),
        more=more + max(0, len(errors) - _MAX_ITEMS),
        facts=dict(facts or {}),
        next_actions=[NextActionView.model_validate(dict(action)) for action in next_actions],
        request_id=request_id_var.get(),
    )
    extra = dict(headers or {})
    if status == 503:
        extra.setdefault("Retry-After", str(RETRY_AFTER_S))
    return Response(_bounded(problem), status_code=status, headers=extra, media_type=MEDIA_TYPE)


def _next_actions(code: Code, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What can be done about an activation that is in the way, or to see what became of a run."""
    waiting, run = facts.get("activation_id"), facts.get("run_id")
    if code is Code.RUN_ILLEGAL_TRANSITION and run is not None:
        show = f"switchgear runs show {run}"
        return [{"label": "See it", "role": "viewer", "cli": show, "method": "GET", "path": f"/api/v1/runs/{run}"}]
    if code is not Code.ACTIVATION_PENDING or waiting is None:
        return []
    path = f"/api/v1/activations/{waiting}"
    watch = f"switchgear activations watch {waiting}"
    cancel = f"switchgear activations cancel {waiting}"
    return [
        {"label": "Wait for it", "role": "viewer", "cli": watch, "method": "GET", "path": f"{path}?wait=30"},
        {"label": "Cancel it", "role": "operator", "cli": cancel, "method": "POST", "path": f"{path}/cancel"},
    ]


def _bounded(problem: Problem) -> bytes:
    body = problem.model_dump_json(exclude_none=True).encode()
    for part in ("facts", "warnings"):
        if len(body) > MAX_BYTES:
            problem = problem.model_copy(update={part: type(getattr(problem, part))()})
            body = problem.model_dump_json(exclude_none=True).encode()
    while len(body) > MAX_BYTES and problem.errors:
        kept = len(problem.errors) // 2
        left_out = problem.more + len(problem.errors) - kept
        problem = problem.model_copy(update={"errors": problem.errors[:kept], "more": left_out})
        body = problem.model_dump_json(exclude_none=True).encode()
    return body


def _short(text: str) -> str:
    clean = "".join(character if character.isprintable() else " " for character in text)
    return clean if len(clean) <= _MAX_DETAIL else clean[:_MAX_DETAIL] + "..."


def _item(item: Mapping[str, Any]) -> ProblemItem:
    detail = str(item.get("detail") or item.get("message") or "")
    hint = item.get("hint")
    pointer = item.get("pointer")
    return ProblemItem(
        code=str(item.get("code", Code.REQUEST_INVALID)),
        pointer=None if pointer is None else str(pointer)[:300],
        detail=_short(detail),
        hint=None if hint is None else _short(str(hint)),
        stage_id=item.get("stage_id"),
    )


def of_validation(error: RequestValidationError) -> Response:
    """Render what does not fit a request model: the places and the rules, never the values."""
    found = error.errors()
    items = [
        ProblemItem(
            code=str(Code.REQUEST_INVALID),
            pointer=pointer_of(item["loc"], unknown=item["type"] == "extra_forbidden"),
            detail=_detail_of(item),
            hint=_meant(item),
        )
        for item in found[:_MAX_ITEMS]  # a body can hold a hundred thousand
    ]
    return problem_answer(
        Code.REQUEST_INVALID,
        422,
        f"{len(found)} thing{'s' if len(found) != 1 else ''} in the request "
        f"{'do' if len(found) != 1 else 'does'} not fit; each is listed. Nothing was changed.",
        errors=items,
        more=len(found) - len(items),
    )


def _detail_of(item: Mapping[str, Any]) -> str:
    """What is wanted in a place; only rules of our own have sentences of their own."""
    kind = str(item["type"])
    if kind == "value_error":
        return _short(str(item["msg"]).removeprefix("Value error, "))
    wanted = wanted_of(kind, item.get("ctx"))
    return _DETAIL.get(kind) or (f"This {wanted}." if wanted else "This value does not fit.")


def _meant(item: Mapping[str, Any]) -> str | None:
    """Which of the allowed words was meant."""
    expected, given = (item.get("ctx") or {}).get("expected"), item.get("input")
    return did_you_mean(given, words_of(str(expected))) if expected and isinstance(given, str) else None


_DETAIL: Final[Mapping[str, str]] = {
    "extra_forbidden": "There is no such field. Remove it.",
    "missing": "This field is required.",
    "json_invalid": "This is not JSON.",
}


def pointer_of(location: Sequence[Any], *, unknown: bool = False) -> str:
    """Turn a location into a JSON pointer into the body, or `query:name`, `path:name`, `header:name`.

    Keys of the caller's own making are input as well; only what looks like a name is repeated.
    """
    parts = [str(part) if isinstance(part, int) or _NAME.fullmatch(str(part)) else "*" for part in location]
    if not parts:
        return ""
    if parts[0] == "body":
        return "".join(f"/{part}" for part in parts[1:])
    return ":".join(parts)


def of_http(error: HTTPException) -> Response:
    """Render what the framework itself refuses: no route, wrong method, unreadable form."""
    status = 422 if error.status_code == 400 else error.status_code
    code = _CODE_OF_STATUS.get(status, Code.SYSTEM_ERROR if status >= 500 else Code.REQUEST_INVALID)
    headers = dict(error.headers or {})
    if "GET" in headers.get("Allow", ""):
        headers["Allow"] += ", HEAD"  # the frame answers it wherever GET is answered
    return problem_answer(code, status, CATALOGUE[code].meaning, headers=headers)


def install_handlers(app: FastAPI) -> None:
    """Let *app* answer every error as a problem; unexpected ones are caught by the frame around it."""

    async def ours(_request: Request, error: Exception) -> Response:
        assert isinstance(error, SwitchgearError)
        if status_of(error) >= 500 and code_of(error) is Code.SYSTEM_ERROR:
            raise error  # the frame logs it and answers
        return answer_to(error)

    async def invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return of_validation(error)

    async def framework(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return of_http(error)

    app.add_exception_handler(SwitchgearError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, framework)
