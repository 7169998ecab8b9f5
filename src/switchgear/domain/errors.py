"""The closed catalogue of reason codes, and the errors of the domain. Source: INTERFACES 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from switchgear.sdk.errors import SwitchgearError


class Code(StrEnum):
    """Every reason that Switchgear gives; `/problems/{code}` explains each one."""

    WAITING_WORKER = "waiting.worker"
    WAITING_QUEUE = "waiting.queue"
    WAITING_DRAIN = "waiting.drain"
    WAITING_RETRY_BACKOFF = "waiting.retry_backoff"
    WAITING_CONFIGURATION = "waiting.configuration"
    WAITING_BACKPRESSURE = "waiting.backpressure"
    WAITING_MODULE = "waiting.module"
    FALLBACK_ERROR = "fallback.error"
    FALLBACK_TIMEOUT = "fallback.timeout"
    FALLBACK_CRASH = "fallback.crash"
    FALLBACK_CONTRACT_VIOLATION = "fallback.contract_violation"
    FALLBACK_UNAVAILABLE = "fallback.unavailable"
    FALLBACK_BREAKER_OPEN = "fallback.breaker_open"
    FALLBACK_LOW_CONFIDENCE = "fallback.low_confidence"
    FALLBACK_BAD_INPUT = "fallback.bad_input"
    PARKED_NO_FALLBACK = "parked.no_fallback"
    PARKED_NOTHING_AVAILABLE = "parked.nothing_available"
    PARKED_CHAIN_EXHAUSTED = "parked.chain_exhausted"
    PARKED_REVIEW = "parked.review"
    PARKED_WORKER_LOST = "parked.worker_lost"
    PARKED_MODULE_VERSION_CHANGED = "parked.module_version_changed"
    PARKED_CORRUPT_ARTIFACT = "parked.corrupt_artifact"
    FAILED_INPUT_REJECTED = "failed.input_rejected"
    FAILED_NO_INPUT = "failed.no_input"
    FAILED_CHAIN_EXHAUSTED = "failed.chain_exhausted"
    FAILED_BUDGET = "failed.budget"
    FAILED_DEADLINE = "failed.deadline"
    FAILED_POLICY = "failed.policy"
    RUN_ILLEGAL_TRANSITION = "run.illegal_transition"
    MODULE_IMPORT_ERROR = "module.import_error"
    MODULE_MISSING_BINARY = "module.missing_binary"
    MODULE_MISSING_FILE = "module.missing_file"
    MODULE_MISSING_PACKAGE = "module.missing_package"
    MODULE_MISSING_ENVIRONMENT = "module.missing_environment"
    MODULE_MISSING_MEMORY = "module.missing_memory"
    MODULE_DUPLICATE_ID = "module.duplicate_id"
    MODULE_BAD_SETTINGS = "module.bad_settings"
    MODULE_PROBE_FAILED = "module.probe_failed"
    MODULE_BREAKER_OPEN = "module.breaker_open"
    MODULE_VERSION_CHANGED = "module.version_changed"
    MODULE_DISABLED = "module.disabled"
    MODULE_ISOLATION = "module.isolation"
    ACTIVATION_PENDING = "activation.pending"
    ACTIVATION_NOT_PENDING = "activation.not_pending"
    ACTIVATION_DRAINING = "activation.draining"
    ACTIVATION_VALIDATION = "activation.validation"
    ACTIVATION_WORKER_REFUSED = "activation.worker_refused"
    ACTIVATION_WORKER_MISSING = "activation.worker_missing"
    ACTIVATION_REPLACED = "activation.replaced"
    ACTIVATION_EXPIRED = "activation.expired"
    ACTIVATION_CANCELLED = "activation.cancelled"
    CONFIGURATION_INVALID = "configuration.invalid"
    CONFIGURATION_ALREADY_ACTIVE = "configuration.already_active"
    CONFIGURATION_ILLEGAL_TRANSITION = "configuration.illegal_transition"
    CONFIGURATION_DIGEST_BLOCKED = "configuration.digest_blocked"
    CONFIGURATION_BASE_MOVED = "configuration.base_moved"
    CONFIGURATION_LOCK_STALE = "configuration.lock_stale"
    SELECTION_UNKNOWN_STAGE = "selection.unknown_stage"
    SELECTION_UNKNOWN_MODULE = "selection.unknown_module"
    SELECTION_WRONG_STAGE = "selection.wrong_stage"
    SELECTION_MISSING_STAGE = "selection.missing_stage"
    SELECTION_DUPLICATE = "selection.duplicate"
    SELECTION_BAD_SETTINGS = "selection.bad_settings"
    SELECTION_UNAVAILABLE = "selection.unavailable"
    SELECTION_DEPRECATED = "selection.deprecated"
    POLICY_CYCLE = "policy.cycle"
    POLICY_REPEATED_MODULE = "policy.repeated_module"
    POLICY_UNAVAILABLE = "policy.unavailable"
    CONTRACT_INCOMPATIBLE = "contract.incompatible"
    CONTRACT_GUARANTEE_MISSING = "contract.guarantee_missing"
    CONTRACT_UNPROVEN = "contract.unproven"
    SECRET_LITERAL = "secret.literal"  # noqa: S105
    SECRET_UNVERIFIED = "secret.unverified"  # noqa: S105
    REQUEST_MALFORMED = "request.malformed"
    REQUEST_INVALID = "request.invalid"
    REQUEST_NOT_FOUND = "request.not_found"
    REQUEST_METHOD_NOT_ALLOWED = "request.method_not_allowed"
    REQUEST_TOO_LARGE = "request.too_large"
    REQUEST_UNSUPPORTED_MEDIA_TYPE = "request.unsupported_media_type"
    REQUEST_PRECONDITION_REQUIRED = "request.precondition_required"
    REQUEST_PRECONDITION_FAILED = "request.precondition_failed"
    REQUEST_ANSWER_LOST = "request.answer_lost"
    REQUEST_IDEMPOTENCY_MISMATCH = "request.idempotency_mismatch"
    REQUEST_RATE_LIMITED = "request.rate_limited"
    ACCESS_UNAUTHENTICATED = "access.unauthenticated"
    ACCESS_FORBIDDEN = "access.forbidden"
    SYSTEM_ERROR = "system.error"
    SYSTEM_STARTING = "system.starting"
    SYSTEM_DISK_LOW = "system.disk_low"
    SYSTEM_DISK_FULL = "system.disk_full"
    SYSTEM_READ_ONLY = "system.read_only"
    SYSTEM_ARTIFACTS_ELSEWHERE = "system.artifacts_elsewhere"
    SYSTEM_SOURCE_UNREADABLE = "system.source_unreadable"
    SYSTEM_DATABASE_UNREACHABLE = "system.database_unreachable"
    SYSTEM_DATABASE_DAMAGED = "system.database_damaged"
    SYSTEM_SCHEMA_NEWER = "system.schema_newer"


@dataclass(frozen=True, slots=True)
class NextAction:
    """Something a person can do now; `cli` is the exact command, `method` and `path` the request."""

    label: str
    role: str = "operator"
    cli: str | None = None
    method: str | None = None
    path: str | None = None
    body: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the action as it stands in answers; what is None is left out."""
        return {key: value for key in NextAction.__slots__ if (value := getattr(self, key)) is not None}


def repair(fix: str | None) -> tuple[NextAction, ...]:
    """What can be done about a module that cannot be used: *fix* is the exact line; nothing without one."""
    return (NextAction("Repair it", "maintainer", fix),) if fix else ()


@dataclass(frozen=True, slots=True)
class Why:
    """Carried by whatever waits, fell back, is on hold or failed; the same on every surface. INTERFACES 1."""

    code: Code
    summary: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    blocking: Sequence[str] = ()
    next_actions: Sequence[NextAction] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the object as it stands in answers, rows and logs."""
        return {
            "code": str(self.code),
            "summary": self.summary,
            "facts": dict(self.facts),
            "blocking": list(self.blocking),
            "next_actions": [action.as_json() for action in self.next_actions],
            "help": f"/problems/{self.code}",
        }


class DomainError(SwitchgearError):
    """Base of errors that a caller can act on; *why* says what happened, why, and what to do."""

    code: ClassVar[str] = Code.SYSTEM_ERROR


def larger_than(limit: int) -> str:
    """The refusal of a body, said by the server, and by a client whose connection the server had to cut."""
    return f"The body is larger than {limit} bytes, which is the most that is accepted here."


class NotFound(DomainError):
    """Nothing with that id."""

    code = Code.REQUEST_NOT_FOUND


class InvalidRequest(DomainError):
    """The request's values do not fit; `fields["errors"]` lists each as {code, pointer, detail, hint}."""

    code = Code.REQUEST_INVALID


class Forbidden(DomainError):
    """The caller's role does not allow it."""

    code = Code.ACCESS_FORBIDDEN


class Unauthenticated(DomainError):
    """No valid credential."""

    code = Code.ACCESS_UNAUTHENTICATED


class PreconditionFailed(DomainError):
    """If-Match names another state than the present one."""

    code = Code.REQUEST_PRECONDITION_FAILED


class DatabaseUnreachable(DomainError):
    """The database cannot be reached or used; nothing was changed."""

    code = Code.SYSTEM_DATABASE_UNREACHABLE

    @property
    def public(self) -> str:
        """The message for whoever asks over the network, known or not: without host, user and name of the database."""
        return str(self.fields.get("public") or self.message)


class Starting(DatabaseUnreachable):
    """The process listens already, and still looks at modules and database; nothing was changed."""

    code = Code.SYSTEM_STARTING
