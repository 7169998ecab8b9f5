"""The audit trail's rules: what is recorded, how entries are chained, and how the chain is checked.

Every entry's hash covers all of its fields and the hash before it, and the sequence has no gaps. So an edit, a
deletion, an insertion or a reordering shows in the chain itself; a cut-off tail shows only against a head that was
exported earlier. Source: DESIGN 6.6, RELIABILITY I26, I27.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

from switchgear.domain.configuration import canonical_json


class AuditAction(StrEnum):
    """What is recorded, as noun.past_participle."""

    CONFIGURATION_CREATED = "configuration.created"
    CONFIGURATION_CREATE_REFUSED = "configuration.create_refused"
    CONFIGURATION_VALIDATED = "configuration.validated"
    CONFIGURATION_REJECTED = "configuration.rejected"
    CONFIGURATION_ACTIVATED = "configuration.activated"
    CONFIGURATION_SUPERSEDED = "configuration.superseded"
    CONFIGURATION_ROLLED_BACK = "configuration.rolled_back"
    ACTIVATION_QUEUED = "activation.queued"
    ACTIVATION_REFUSED = "activation.refused"
    ACTIVATION_WARMING = "activation.warming"
    ACTIVATION_DRAINING = "activation.draining"
    ACTIVATION_APPLIED = "activation.applied"
    ACTIVATION_REJECTED = "activation.rejected"
    ACTIVATION_CANCELLED = "activation.cancelled"
    ACTIVATION_EXPIRED = "activation.expired"
    ACTIVATION_REPLACED = "activation.replaced"
    ACTIVATION_SWITCH_REQUESTED = "activation.switch_requested"
    DIGEST_BLOCKED = "digest.blocked"
    DIGEST_UNBLOCKED = "digest.unblocked"
    TOKEN_CREATED = "token.created"  # noqa: S105
    TOKEN_CREATE_REFUSED = "token.create_refused"  # noqa: S105
    TOKEN_CHANGED = "token.changed"  # noqa: S105
    TOKEN_REVOKED = "token.revoked"  # noqa: S105
    TOKEN_RESTORED = "token.restored"  # noqa: S105
    MODULE_ENABLED = "module.enabled"
    MODULE_DISABLED = "module.disabled"
    MODULE_BECAME_AVAILABLE = "module.became_available"
    MODULE_BECAME_UNAVAILABLE = "module.became_unavailable"
    MODULE_RESCANNED = "module.rescanned"
    BREAKER_OPENED = "breaker.opened"
    BREAKER_TRIED = "breaker.tried"
    BREAKER_CLOSED = "breaker.closed"
    BREAKER_SET = "breaker.set"
    RUN_RETRIED = "run.retried"
    RUN_CANCELLED = "run.cancelled"
    DOCUMENT_RELEASED = "document.released"
    DOCUMENT_REJECTED = "document.rejected"
    INSTANCE_PRUNED = "instance.pruned"
    INSTANCE_RESTORED = "instance.restored"
    ACCESS_REFUSED = "access.refused"
    ACCESS_UNAUTHENTICATED_COUNTED = "access.unauthenticated_counted"
    ACCESS_RATE_LIMITED_COUNTED = "access.rate_limited_counted"


AuditResult = Literal["done", "refused", "failed"]

#: The hash before the first entry.
GENESIS: Final = "0" * 64
#: Integers above this are written alike as number of either kind, because databases do not keep the difference.
_EXACT: Final = 2**53


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One entry of the trail. `at` is microseconds UTC; order is by sequence, never by time."""

    sequence: int
    id: str
    at: int
    actor: str
    actor_role: str
    action: str
    result: str
    subjects: tuple[str, ...]
    message: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    request_id: str | None
    previous_hash: str
    hash: str

    def hashed_fields(self) -> dict[str, Any]:
        """Everything that the hash covers besides the hash before."""
        return {name: getattr(self, name) for name in AuditEvent.__slots__ if name not in ("previous_hash", "hash")}

    @property
    def head(self) -> str:
        """The chain's end at this entry, to be exported and kept elsewhere: `SEQUENCE:HASH`."""
        return f"{self.sequence}:{self.hash}"


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Part of the trail; `next_cursor` goes on where it ends, None at the end."""

    items: tuple[AuditEvent, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What a check of the chain found. `head` is the end of what is there: keep it outside for the next check."""

    ok: bool
    checked: int
    first_bad_sequence: int | None
    reason: str | None
    head: str


def hash_of(previous_hash: str, fields: Mapping[str, Any]) -> str:
    """Return the hash of an entry: SHA-256 over the hash before and the canonical JSON of *fields*."""
    return hashlib.sha256(f"{previous_hash}\n{canonical_json(_portable(fields))}".encode()).hexdigest()


def seal(event: AuditEvent) -> AuditEvent:
    """Return *event* with the hash that its fields and its `previous_hash` give."""
    values = {name: getattr(event, name) for name in AuditEvent.__slots__}
    values["hash"] = hash_of(event.previous_hash, event.hashed_fields())
    return AuditEvent(**values)


@dataclass(slots=True)
class Verifier:
    """Checks a chain piece by piece, so that a long one needs no memory.

    Args:
        expected_head: A head exported earlier, `SEQUENCE:HASH` or the hash alone; it must still be in the chain.
    """

    expected_head: str | None = None
    _sequence: int = field(default=0, init=False)
    _hash: str = field(default=GENESIS, init=False)
    _head_seen: bool = field(default=False, init=False)
    _bad: tuple[int, str] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._look_for_head()

    def add(self, event: AuditEvent) -> bool:
        """Check the next entry; False when it is bad, and then nothing after it counts."""
        if self._bad is not None:
            return False
        reason = self._fault_of(event)
        if reason is not None:
            self._bad = (self._sequence + 1, reason)
            return False
        self._sequence, self._hash = event.sequence, event.hash
        self._look_for_head()
        return True

    def result(self) -> VerifyResult:
        """What was found so far."""
        head = f"{self._sequence}:{self._hash}"
        if self._bad is not None:
            return VerifyResult(False, self._sequence, self._bad[0], self._bad[1], head)
        if self.expected_head is not None and not self._head_seen:
            first_missing = self._sequence + 1
            wanted, separator, _ = self.expected_head.partition(":")
            if separator and wanted.isdigit() and int(wanted) <= self._sequence:
                first_missing = int(wanted)
                reason = f"Entry {wanted} is not the one that was exported: the trail was written anew."
            else:
                reason = f"The trail ends at entry {self._sequence}, before the exported head: its end was cut off."
            return VerifyResult(False, self._sequence, first_missing, reason, head)
        return VerifyResult(True, self._sequence, None, None, head)

    def _fault_of(self, event: AuditEvent) -> str | None:
        expected = self._sequence + 1
        if event.sequence > expected:
            return f"Entry {expected} is missing; the next one there is {event.sequence}: an entry was deleted."
        if event.sequence < expected:
            return f"Entry {event.sequence} stands where {expected} should: an entry was inserted or moved."
        if event.previous_hash != self._hash:
            return f"Entry {expected} does not follow the one before it: one of them was replaced, inserted or moved."
        if event.hash != hash_of(event.previous_hash, event.hashed_fields()):
            return f"Entry {expected} does not match its hash: it was changed after it was written."
        return None

    def _look_for_head(self) -> None:
        if self.expected_head in (f"{self._sequence}:{self._hash}", self._hash):
            self._head_seen = True


def verify(events: Iterable[AuditEvent], expected_head: str | None = None) -> VerifyResult:
    """Check *events*, in the order of their sequence, as a whole chain; see `Verifier`."""
    verifier = Verifier(expected_head)
    for event in events:
        if not verifier.add(event):
            break
    return verifier.result()


def _portable(value: Any) -> Any:
    """Write numbers as every database gives them back: 1.0 and 1 are the same there."""
    if isinstance(value, Mapping):
        return {str(key): _portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if abs(value) <= _EXACT:
        return int(value) if value == int(value) else value
    try:
        return repr(float(value))
    except OverflowError:
        return str(value)
