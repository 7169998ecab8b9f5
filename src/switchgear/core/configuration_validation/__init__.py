"""One validation for create, validate, activate, rollback, start-up and the command line. Pure. Source: T011, DESIGN 4.

Content and a snapshot go in, all findings come out at once. Inspection and probes happened before; so this may run
inside the transaction that switches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

from switchgear.core.configuration_validation.availability import (
    as_workers_see,
    check_lock,
    check_queues,
    is_covered,
    lock_of,
    served_by,
    stale_modules,
    without_stale,
)
from switchgear.core.configuration_validation.contracts import check_pipeline, disagreements
from switchgear.core.configuration_validation.findings import (
    Collector,
    Finding,
    Findings,
    Purpose,
    Severity,
    TooManyFindings,
    ValidationOptions,
    content_errors,
)
from switchgear.core.configuration_validation.soundness import check_uses, quiet_stages
from switchgear.core.configuration_validation.structure import Structure
from switchgear.domain.configuration import Content, LockEntry, StoredConfiguration
from switchgear.domain.stage import Snapshot

__all__ = [
    "Finding",
    "Findings",
    "Purpose",
    "Severity",
    "Validate",
    "ValidationOptions",
    "as_workers_see",
    "content_errors",
    "disagreements",
    "is_covered",
    "lock_of",
    "served_by",
    "stale_modules",
    "validate",
    "validator",
    "without_stale",
]

#: Validates a stored configuration: (configuration, snapshot, purpose, active configuration, accept_degraded).
Validate = Callable[[StoredConfiguration, Snapshot, Purpose, StoredConfiguration | None, bool], Findings]


def validate(
    content: Content,
    snapshot: Snapshot,
    *,
    purpose: Purpose,
    lock: Mapping[str, LockEntry] | None = None,
    active: StoredConfiguration | None = None,
    settings: ValidationOptions = ValidationOptions(),
    accept_degraded: bool = False,
    distributions: Mapping[str, str] | None = None,
) -> Findings:
    """Check content against what is installed and available.

    Args:
        content: Selections and policies.
        snapshot: What is installed and available, at most 10 s old when it decides about a switch.
        purpose: What for; decides between error and warning.
        lock: The module lock of a stored version; without one it is not checked.
        active: The active configuration; what it lacks already refuses nothing new.
        settings: See `ValidationOptions`.
        accept_degraded: Whether a covered unavailable module may be activated.
        distributions: Module id -> distribution, for modules that were installed once.

    Returns:
        Every finding at once; of more than a thousand the first ones.
    """
    to = Collector(purpose, settings, accept_degraded)
    with suppress(TooManyFindings):
        quiet = quiet_stages(content, snapshot) if lock is None else frozenset()
        uses = Structure(content, snapshot, to, distributions or {}, quiet).check()
        check_uses(uses, content, active.content if active is not None else None, snapshot, to)
        check_pipeline(snapshot.pipeline, to)
        check_queues(content, snapshot, to)
        if lock is not None:
            check_lock(lock, uses, snapshot, to)
    return to.findings()


def validator(options: ValidationOptions) -> Validate:
    """Return the same validation with *options* bound, for stored configurations."""

    def check(
        configuration: StoredConfiguration,
        snapshot: Snapshot,
        purpose: Purpose,
        active: StoredConfiguration | None,
        accept_degraded: bool,
    ) -> Findings:
        return validate(
            configuration.content,
            snapshot,
            purpose=purpose,
            lock=configuration.lock,
            active=active,
            settings=options,
            accept_degraded=accept_degraded,
        )

    return check
