"""A module configuration: its content, its digest, and the table of its life. Source: DESIGN 4, T005, T012."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

from switchgear.domain.errors import Code, DomainError

#: Bound on selections and policies of one configuration. DESIGN 8.12
MAX_SELECTIONS: Final = 200
MAX_SETTINGS_BYTES: Final = 64 * 1024


class Status(StrEnum):
    """The states of a configuration."""

    DRAFT = "draft"  #: never used by a run
    VALIDATED = "validated"  #: every path through it fits its contracts
    ACTIVE = "active"  #: held by every run that starts from now on
    SUPERSEDED = "superseded"  #: was active; kept for rollback
    ROLLED_BACK = "rolled_back"  #: was active; left by a rollback
    REJECTED = "rejected"  #: findings say why


class Action(StrEnum):
    """What can be done to a configuration."""

    ACCEPT = "accept"
    REJECT = "reject"
    ACTIVATE = "activate"
    SUPERSEDE = "supersede"
    ROLL_BACK = "roll_back"


#: The whole life of a configuration; an absent pair is illegal. The diagram in the docs is drawn from this table.
TRANSITIONS: Final[Mapping[tuple[Status, Action], Status]] = {
    (Status.DRAFT, Action.ACCEPT): Status.VALIDATED,
    (Status.DRAFT, Action.REJECT): Status.REJECTED,
    (Status.VALIDATED, Action.REJECT): Status.REJECTED,
    (Status.VALIDATED, Action.ACTIVATE): Status.ACTIVE,
    (Status.ACTIVE, Action.SUPERSEDE): Status.SUPERSEDED,
    (Status.ACTIVE, Action.ROLL_BACK): Status.ROLLED_BACK,
    (Status.SUPERSEDED, Action.ACTIVATE): Status.ACTIVE,
    (Status.ROLLED_BACK, Action.ACTIVATE): Status.ACTIVE,
}


class IllegalTransition(DomainError):
    """The configuration's status does not allow the action."""

    code = Code.CONFIGURATION_ILLEGAL_TRANSITION


#: What to do instead of activating it.
_INSTEAD: Final[Mapping[Status, str]] = {
    Status.DRAFT: " Validate it first: that accepts or rejects it.",
    Status.REJECTED: " Make another version without what its findings name.",
}


def transition(status: Status, action: Action) -> Status:
    """Return the status after *action*.

    Raises:
        IllegalTransition: The table has no such pair; the message lists what is allowed now.
    """
    after = TRANSITIONS.get((status, action))
    if after is None:
        allowed = ", ".join(str(a) for s, a in TRANSITIONS if s is status) or "nothing"
        instead = _INSTEAD.get(status, "") if action is Action.ACTIVATE else ""
        raise IllegalTransition(
            f"A configuration that is {status} cannot {action}. Allowed now: {allowed}.{instead}",
            status=str(status),
            action=str(action),
        )
    return after


#: Made once: `json.dumps` with options makes a new encoder for each call.
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def canonical_json(value: Any) -> str:
    """Return *value* as JSON with sorted keys and no spaces: equal content gives equal text."""
    return _CANONICAL(value)


def sha256_of(value: Any) -> str:
    """SHA-256 over the canonical JSON of *value*, hexadecimal."""
    return _EMPTY_SHA256 if value == {} else _sha256(value)


def _sha256(value: Any) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


#: Most settings are empty, and each call of a module is known by the digest of its settings.
_EMPTY_SHA256: Final = _sha256({})


class Terminal(StrEnum):
    """What happens when no module of a stage gave an output."""

    FAIL = "fail"
    PARK = "park"
    SKIP = "skip"


@dataclass(frozen=True)
class Selection:
    """stage -> module + settings + limits. `limits` holds only what differs from the stage's defaults.

    Versions share those that they take over from their base, so what is worked out about one serves them all.
    """

    stage_id: str
    module_id: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the REST form."""
        return {
            "stage_id": self.stage_id,
            "module_id": self.module_id,
            "settings": dict(self.settings),
            "limits": dict(self.limits),
        }

    @cached_property
    def canonical(self) -> str:
        """The canonical JSON of the REST form."""
        return canonical_json(self.as_json())


@dataclass(frozen=True, slots=True)
class FallbackStep:
    """One further module of a chain, and the outcomes that lead to it; `threshold` belongs to `low_confidence`."""

    module_id: str
    on: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    threshold: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the REST form."""
        body: dict[str, Any] = {"module_id": self.module_id, "settings": dict(self.settings), "on": sorted(self.on)}
        if self.threshold is not None:
            body["threshold"] = self.threshold
        return body


@dataclass(frozen=True)
class FallbackPolicy:
    """Per stage: an ordered chain, a terminal action (None = not said), a budget in seconds (None = 3 x timeout)."""

    stage_id: str
    chain: tuple[FallbackStep, ...] = ()
    then: Terminal | None = None
    budget_s: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the REST form."""
        body: dict[str, Any] = {"stage_id": self.stage_id, "chain": [step.as_json() for step in self.chain]}
        if self.then is not None:
            body["then"] = str(self.then)
        if self.budget_s is not None:
            body["budget_s"] = self.budget_s
        return body

    @cached_property
    def canonical(self) -> str:
        """The canonical JSON of the REST form."""
        return canonical_json(self.as_json())


@dataclass(frozen=True, slots=True)
class LockEntry:
    """What code a module had when the version was made; an editable install is not locked."""

    version: str
    code_digest: str
    contract_digest: str
    editable: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {
            "version": self.version,
            "code_digest": self.code_digest,
            "contract_digest": self.contract_digest,
            "editable": self.editable,
        }


class Lock(dict[str, LockEntry]):
    """module id -> what code it had. Never changed: versions that were made with the same code share it."""

    @cached_property
    def canonical(self) -> str:
        """The canonical JSON: the stored form, and what the digest is of."""
        return canonical_json({name: entry.as_json() for name, entry in self.items()})

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON, hexadecimal."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()


def _stage_of(item: Selection | FallbackPolicy) -> str:
    return item.stage_id


@dataclass(frozen=True, slots=True)
class Content:
    """What never changes after creation: selections and policies."""

    selections: tuple[Selection, ...]
    policies: tuple[FallbackPolicy, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the REST form, ordered by stage id so that equal content is equal text."""
        selections, policies = self.in_order()
        return {
            "selections": [item.as_json() for item in selections],
            "fallback_policies": [item.as_json() for item in policies],
        }

    def in_order(self) -> tuple[list[Selection], list[FallbackPolicy]]:
        """Return selections and policies, ordered by stage id."""
        return sorted(self.selections, key=_stage_of), sorted(self.policies, key=_stage_of)

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of selections and policies."""
        selections, policies = (",".join([item.canonical for item in items]) for items in self.in_order())
        canonical = f'{{"fallback_policies":[{policies}],"selections":[{selections}]}}'
        return hashlib.sha256(canonical.encode()).hexdigest()

    def selection(self, stage_id: str) -> Selection | None:
        """Return the selection of a stage, or None."""
        return next((item for item in self.selections if item.stage_id == stage_id), None)

    def policy(self, stage_id: str) -> FallbackPolicy:
        """Return the policy of a stage; without one, an empty chain and no explicit terminal action."""
        return next((item for item in self.policies if item.stage_id == stage_id), FallbackPolicy(stage_id))

    def module_ids(self) -> frozenset[str]:
        """Every module that is named anywhere."""
        chain = {step.module_id for policy in self.policies for step in policy.chain}
        return frozenset(chain | {item.module_id for item in self.selections})


def content_from_json(body: Mapping[str, Any]) -> Content:
    """Build content from a checked REST body or a stored row."""
    selections = tuple(
        Selection(item["stage_id"], item["module_id"], item.get("settings") or {}, item.get("limits") or {})
        for item in body.get("selections", ())
    )
    policies = tuple(
        FallbackPolicy(
            stage_id=item["stage_id"],
            chain=tuple(
                FallbackStep(
                    step["module_id"], tuple(step.get("on", ())), step.get("settings") or {}, step.get("threshold")
                )
                for step in item.get("chain", ())
            ),
            then=Terminal(item["then"]) if item.get("then") else None,
            budget_s=item.get("budget_s"),
        )
        for item in body.get("fallback_policies") or ()
    )
    return Content(selections, policies)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationSummary:
    """One line of the history: a version without its content. Times are microseconds UTC."""

    id: str
    version: int
    pipeline: str
    status: Status
    digest: str
    lock_digest: str
    base_id: str | None
    message: str
    created_by: str
    created_at: int
    activated_at: int | None = None
    left_at: int | None = None

    @property
    def label(self) -> str:
        """`v12`."""
        return f"v{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredConfiguration(ConfigurationSummary):
    """A configuration as it stands in the database.

    Everything but `status`, `activated_at`, `left_at` and `findings` is immutable.
    """

    content: Content
    lock: Lock
    findings: tuple[Mapping[str, Any], ...] = ()
