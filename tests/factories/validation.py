"""Contents of the pipeline of three stages, and what validation finds in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from factories.core import FakeRegistry, content, version_of
from switchgear.core.configuration_validation import Finding, Findings, Purpose, lock_of, validate
from switchgear.domain.configuration import (
    Content,
    FallbackPolicy,
    FallbackStep,
    Selection,
    StoredConfiguration,
    Terminal,
)

CREATE, ACTIVATE, ROLLBACK, STARTUP = Purpose.CREATE, Purpose.ACTIVATE, Purpose.ROLLBACK, Purpose.STARTUP


def check(registry: FakeRegistry, checked: Content, purpose: Purpose = CREATE, **options: Any) -> Findings:
    """What validation finds in this content while the registry knows what it knows now."""
    return validate(checked, registry.current(), purpose=purpose, **options)


def codes(findings: Sequence[Finding]) -> list[str]:
    """The codes of findings, in order."""
    return [str(finding.code) for finding in findings]


def only(findings: Findings) -> Finding:
    """The error; there must be exactly one."""
    [finding] = findings.errors
    return finding


def stored(held: Content, registry: FakeRegistry) -> StoredConfiguration:
    """The content as a version that was made now: its lock fits what is installed."""
    lock = lock_of(held.module_ids(), registry.current())
    return version_of(held, pipeline="threes", lock=lock)


def with_policy(*steps: FallbackStep, then: Terminal | None = None, stage: str = "extract", **more: Any) -> Content:
    """Good selections with one fallback policy, for *stage*."""
    plain = content(chain=(), then=None)
    return replace(plain, policies=(FallbackPolicy(stage, steps, then, **more),))


def step(name: str, *on: str, **more: Any) -> FallbackStep:
    """A step of a chain; without triggers it serves on errors."""
    return FallbackStep(name, on or ("error",), **more)


def selecting(*selections: Selection) -> Content:
    """Content of these selections, without any policy."""
    return Content(selections)


READ_A, EXTRACT_A = Selection("read", "read-a"), Selection("extract", "extract-a")
