"""Refusals of the configuration service; each is a record that survives JSON. Source: T023, DESIGN 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from switchgear.core.configuration_validation import Finding, Findings
from switchgear.domain.errors import Code, DomainError

#: Findings that travel with an error; `more` counts the rest.
MOST_FINDINGS: Final = 100


class ConfigurationInvalid(DomainError):
    """The content does not fit; `fields["errors"]` and `fields["warnings"]` list every finding."""

    code = Code.CONFIGURATION_INVALID

    @classmethod
    def of(cls, findings: Findings, words: str, next_actions: Sequence[Mapping[str, Any]] = ()) -> ConfigurationInvalid:
        """Build it from what validation found."""
        return cls(
            words,
            errors=[_item(finding) for finding in findings.errors[:MOST_FINDINGS]],
            warnings=[_item(finding) for finding in findings.warnings[:MOST_FINDINGS]],
            more=max(0, len(findings.errors) - MOST_FINDINGS),
            next_actions=list(next_actions),
        )

    @property
    def findings(self) -> Findings:
        """The findings."""
        return Findings(
            tuple(_finding(item) for item in self.fields.get("errors", ())),
            tuple(_finding(item) for item in self.fields.get("warnings", ())),
        )


class AlreadyActive(DomainError):
    """The configuration is the active one; there is nothing to do."""

    code = Code.CONFIGURATION_ALREADY_ACTIVE


class ActivationPending(DomainError):
    """Another activation waits; `fields["activation_id"]` names it."""

    code = Code.ACTIVATION_PENDING


class BaseMoved(DomainError):
    """The version was made from an older base; `fields["changes"]` lists what activating it would undo."""

    code = Code.CONFIGURATION_BASE_MOVED


class DigestBlocked(DomainError):
    """A rollback left this content."""

    code = Code.CONFIGURATION_DIGEST_BLOCKED


class PipelineMismatch(DomainError):
    """The database belongs to another pipeline."""

    code = Code.CONFIGURATION_INVALID


def _item(finding: Finding) -> dict[str, Any]:
    return {
        "code": str(finding.code),
        "pointer": finding.pointer,
        "stage_id": finding.stage_id,
        "detail": finding.message,
        "hint": finding.hint,
    }


def _finding(item: Mapping[str, Any]) -> Finding:
    return Finding(Code(item["code"]), item["pointer"], item["stage_id"], item["detail"], item["hint"])
