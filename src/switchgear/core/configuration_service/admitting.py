"""Whether a version may be activated now, and what stands in the way. Source: T012, T022, T028, DESIGN 4."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from switchgear.core.activation_queue import relocked
from switchgear.core.activation_queue.decision import ASK_AGAIN
from switchgear.core.configuration_service.differences import undone
from switchgear.core.configuration_service.errors import (
    ActivationPending,
    AlreadyActive,
    BaseMoved,
    ConfigurationInvalid,
    DigestBlocked,
)
from switchgear.core.configuration_validation import Findings, Purpose, Validate
from switchgear.core.unit_of_work import UnitOfWork
from switchgear.domain.access import Actor
from switchgear.domain.activation import ActivationRequest, Kind, StoredActivation
from switchgear.domain.configuration import Action, IllegalTransition, StoredConfiguration, transition
from switchgear.domain.errors import DomainError, NextAction, PreconditionFailed
from switchgear.domain.stage import Snapshot

_PURPOSES: Final = {Kind.ROLLBACK: Purpose.ROLLBACK}
#: How many earlier versions are looked at for one that a rollback would accept.
_LOOKED_AT: Final = 20
_MOST_CHANGES: Final = 50
#: What a request may accept in spite of a refusal; options of the command have the same names.
_ACCEPTED: Final = ("replace_pending", "accept_degraded", "accept_base_moved", "unblock")


@dataclass(frozen=True, slots=True)
class Admitting:
    """One request, inside its transaction, with the switch lock held.

    Attributes:
        unit: The transaction.
        validate: The one validation.
        snapshot: What is installed and available.
        kind: Activation, rollback, relock.
        request: What the caller asks.
        by: The verified caller.
    """

    unit: UnitOfWork
    validate: Validate
    snapshot: Snapshot
    kind: Kind
    request: ActivationRequest
    by: Actor

    async def check(
        self, configuration: StoredConfiguration, active: StoredConfiguration | None, pending: StoredActivation | None
    ) -> Findings:
        """Return the warnings of a request that is admitted.

        Raises:
            AlreadyActive, IllegalTransition, ActivationPending, DigestBlocked, BaseMoved, ConfigurationInvalid: It is
                not, for the first reason that applies.
        """
        self._check_status(configuration, active, pending)
        self._check_pending(pending)
        if self.kind is Kind.ACTIVATE:
            await self._check_blocked(configuration)
            await self._check_base(configuration, active)
        purpose = _PURPOSES.get(self.kind, Purpose.ACTIVATE)
        findings = self.validate(configuration, self.snapshot, purpose, active, self.request.accept_degraded)
        if findings.errors:
            raise await self._invalid(configuration, findings, active)
        return findings

    async def relocked(
        self, configuration: StoredConfiguration, findings: Findings, now_us: int
    ) -> StoredConfiguration:
        """Return *configuration*, or its copy with a lock on the code that is installed now."""
        copy = await relocked(self.unit, configuration, self.snapshot, findings, now_us, self.by)
        return copy or configuration

    def _check_status(
        self, configuration: StoredConfiguration, active: StoredConfiguration | None, pending: StoredActivation | None
    ) -> None:
        if active is not None and configuration.id == active.id:
            what = "there is nothing to do"
            if pending is not None:
                what = f"v{pending.configuration_version} waits to replace it: cancel that activation to keep it"
            raise AlreadyActive(
                f"{configuration.label} is the active configuration; {what}.",
                configuration_id=configuration.id,
                **({"activation_id": pending.id} if pending is not None else {}),
            )
        transition(configuration.status, Action.ACTIVATE)
        if self.kind is Kind.ROLLBACK and configuration.activated_at is None:
            raise IllegalTransition(
                f"{configuration.label} was never active, so there is nothing to go back to. Activate it instead.",
                status=str(configuration.status),
            )

    def _check_pending(self, pending: StoredActivation | None) -> None:
        replaces = self.request.replace_pending
        if pending is None or (replaces if replaces is not None else self.kind is Kind.ROLLBACK):
            return
        raise ActivationPending(
            f"The activation of v{pending.configuration_version} is {pending.state}. "
            "Wait for it, cancel it, or ask again with replace_pending.",
            activation_id=pending.id,
            state=str(pending.state),
        )

    async def _check_blocked(self, configuration: StoredConfiguration) -> None:
        if not await self.unit.configurations.is_blocked(configuration.digest) or self.request.unblock:
            return
        raise DigestBlocked(
            f"A rollback left the content of {configuration.label}, so it is blocked. "
            "Make sure that the reason is gone, then ask again with unblock.",
            configuration_id=configuration.id,
            next_actions=[self._all_the_same("Unblock and activate it", configuration, "unblock")],
        )

    async def _check_base(self, configuration: StoredConfiguration, active: StoredConfiguration | None) -> None:
        if active is None or configuration.base_id in (None, active.id) or self.request.accept_base_moved:
            return
        # The numbers do not matter: after a rollback the base may be newer than the active version, and what the
        # rollback took out would come back unsaid. docs/adr/0001
        base = await self.unit.configurations.get(str(configuration.base_id))
        changes = undone(base.content, active.content, configuration.content)
        if changes:
            raise BaseMoved(
                f"{configuration.label} was made from {base.label}, but {active.label} is active now; activating it "
                f"would undo: {' '.join(change.message for change in changes[:5])} "
                f"Ask again with accept_base_moved if that is meant; else make the change again on {active.label}.",
                base_version=base.version,
                active_version=active.version,
                changes=[change.as_json() for change in changes[:_MOST_CHANGES]],
                next_actions=[
                    _compare(configuration),
                    self._all_the_same("Undo that and activate it", configuration, "accept_base_moved"),
                ],
            )

    def _all_the_same(self, label: str, configuration: StoredConfiguration, accepting: str) -> dict[str, Any]:
        """The same request, accepting one thing more."""
        accepted = [name for name in _ACCEPTED if name == accepting or getattr(self.request, name)]
        flags = "".join(f" --{name.replace('_', '-')}" for name in accepted)
        return NextAction(
            label,
            cli=f"switchgear config activate {configuration.label}{flags}",
            method="POST",
            path=f"/api/v1/configurations/{configuration.id}/activate",
            body=dict.fromkeys(accepted, True),
        ).as_json()

    async def _invalid(
        self, configuration: StoredConfiguration, findings: Findings, active: StoredConfiguration | None
    ) -> DomainError:
        words = f"{configuration.label} does not fit: {findings.errors[0].message}"
        if (
            self.kind is Kind.ACTIVATE
            and self.validate(configuration, self.snapshot, Purpose.ACTIVATE, active, True).is_valid
        ):
            again = self._all_the_same("Activate it all the same", configuration, "accept_degraded")
            return ConfigurationInvalid.of(findings, f"{words} {ASK_AGAIN}", [again])
        if self.kind is Kind.ROLLBACK:
            other = await self._accepted_instead(configuration, active)
            words += f" {other.label} would be accepted." if other else " No earlier version would be accepted either."
            if other is not None:
                hinted = (
                    replace(item, hint=" ".join(filter(None, (item.hint, f"Or go back to {other.label}."))))
                    for item in findings.errors
                )
                findings = Findings(tuple(hinted), findings.warnings)
        return ConfigurationInvalid.of(findings, words)

    async def _accepted_instead(
        self, refused: StoredConfiguration, active: StoredConfiguration | None
    ) -> StoredConfiguration | None:
        """The newest version that was active before and that a rollback would accept."""
        for earlier in await self.unit.configurations.once_active(_LOOKED_AT):
            if earlier.id == refused.id or (active is not None and earlier.digest == active.digest):
                continue
            if self.validate(earlier, self.snapshot, Purpose.ROLLBACK, active, False).is_valid:
                return earlier
        return None


def _compare(configuration: StoredConfiguration) -> dict[str, Any]:
    return NextAction(
        "See all that would change",
        role="viewer",
        cli=f"switchgear config diff active {configuration.label}",
        method="GET",
        path=f"/api/v1/configurations/{configuration.id}/diff?against=active",
    ).as_json()


def active_tag(active: StoredConfiguration, generation: int) -> str:
    """Return how the ETag of the active configuration begins: it changes with each switch, also back and forth."""
    return f"{active.id}.{generation}"


def check_match(if_match: str | None, active: StoredConfiguration | None, generation: int) -> None:
    """Compare If-Match with the active configuration; see `active_tag`.

    Raises:
        PreconditionFailed: Another version is active than the caller believes.
    """
    if if_match is None or if_match.strip() == "*":
        return
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in if_match.split(",")]
    expected = active_tag(active, generation) if active is not None else ""
    if active is None or not any(tag == expected or tag.startswith(f"{expected}.") for tag in tags):
        raise PreconditionFailed(
            "Another configuration is active now than the one that this request was made for. Read it again.",
            active=active.label if active is not None else None,
        )
