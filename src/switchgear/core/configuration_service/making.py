"""Making versions and validating them. Source: T012, T020, T029, DESIGN 4."""

from __future__ import annotations

from dataclasses import dataclass, replace

from switchgear.core.configuration_service.content import ordered, over, portable
from switchgear.core.configuration_service.errors import ConfigurationInvalid
from switchgear.core.configuration_service.pointers import as_sent, as_stored
from switchgear.core.configuration_service.reading import Reading
from switchgear.core.configuration_validation import Findings, Purpose, content_errors, lock_of, stale_modules, validate
from switchgear.core.database import Statements
from switchgear.core.logging import get_logger
from switchgear.core.observability import EventName
from switchgear.core.unit_of_work import UnitOfWork
from switchgear.domain.access import Actor
from switchgear.domain.audit import AuditAction
from switchgear.domain.configuration import Action, Content, Lock, Status, StoredConfiguration, transition
from switchgear.domain.errors import Code
from switchgear.domain.ids import new_id
from switchgear.domain.stage import Snapshot

log = get_logger()


@dataclass(frozen=True, slots=True)
class Created:
    """A stored version; `created` is False when equal content was there already.

    `findings` have pointers into what was sent, those of the version into what is stored.
    """

    configuration: StoredConfiguration
    created: bool
    findings: Findings


class Making(Reading):
    """The part of the service that makes versions."""

    async def create(
        self,
        content: Content,
        *,
        by: Actor,
        base: str | None = None,
        partial: bool = False,
        message: str = "",
        draft: bool = False,
    ) -> Created:
        """Store a new version, validated at once.

        Args:
            content: Selections and policies.
            by: The verified caller.
            base: The version that it was made from: id, `vN`, `active`.
            partial: Whether *content* only holds what differs from the base, stage by stage.
            message: Why.
            draft: Keep it although it has errors.

        Returns:
            The version; an earlier one when its content is equal.

        Raises:
            NotFound: There is no such base.
            ConfigurationInvalid: It has errors and is no draft, or holds a secret as text; recorded, not stored.
        """
        sent = portable(content)
        origin = await self.get(base) if partial and base not in (None, "active") else None
        snapshot = await self._looked_at(over(origin.content, sent) if origin is not None else sent, probe=False)
        async with self._units() as unit:
            await unit.lock_switch()
            active = await self._active_now(unit.statements)
            origin = await self._origin(unit, base, active) if base is not None else None
            whole = over(origin.content, sent) if origin is not None and partial else sent
            found = await self._check(unit.statements, whole, snapshot, active)
            findings = (
                as_sent(found, whole, sent, origin, snapshot.pipeline) if origin is not None and partial else found
            )
            if findings.errors and not (draft and findings.is_storable):
                await self._refuse_creation(unit, findings, origin, message, by)
                raise ConfigurationInvalid.of(findings, _not_stored(findings))
            kept = as_stored(found, whole)
            created = await self._store(unit, whole, snapshot, kept, origin, message, by, draft=draft)
            await unit.commit()
        stored = created.configuration
        log.info(
            EventName.CONFIGURATION_CREATED,
            configuration_version=stored.version,
            status=str(stored.status),
            is_new=created.created,
        )
        return replace(created, findings=findings)

    @staticmethod
    async def _origin(unit: UnitOfWork, base: str, active: StoredConfiguration | None) -> StoredConfiguration:
        """The base; of the active one what never changes is known already. Raises `NotFound`."""
        return active if active is not None and base == "active" else await unit.configurations.get(base)

    async def _store(
        self,
        unit: UnitOfWork,
        content: Content,
        snapshot: Snapshot,
        findings: Findings,
        origin: StoredConfiguration | None,
        message: str,
        by: Actor,
        *,
        draft: bool,
    ) -> Created:
        digest = content.digest
        known = await unit.configurations.by_digest(digest)
        if known is not None and not self._waits_for_a_person(known, snapshot):
            if known.status is Status.DRAFT and findings.is_valid and not draft:
                known = await self._decide_draft(unit, known, findings, by, message)
            return Created(known, False, findings)
        stored = await self._new(unit, content, digest, snapshot, findings, origin, message, by, draft=draft)
        await unit.configurations.add(stored)
        after = {"version": stored.version, "status": str(stored.status), "digest": stored.digest}
        await unit.audit.append(
            AuditAction.CONFIGURATION_CREATED,
            actor=by,
            subjects=[stored.id],
            message=message,
            after={**after, "base_id": stored.base_id},
        )
        return Created(stored, True, findings)

    def _waits_for_a_person(self, known: StoredConfiguration, snapshot: Snapshot) -> bool:
        """Whether `hold` keeps changed code from serving in a version: making it anew is how a person lets it."""
        return self._options.on_module_change == "hold" and bool(stale_modules(known.lock, snapshot))

    @staticmethod
    async def _new(
        unit: UnitOfWork,
        content: Content,
        digest: str,
        snapshot: Snapshot,
        findings: Findings,
        origin: StoredConfiguration | None,
        message: str,
        by: Actor,
        *,
        draft: bool,
    ) -> StoredConfiguration:
        lock = lock_of(content.module_ids(), snapshot)
        return StoredConfiguration(
            id=new_id("cfg"),
            version=await unit.configurations.next_version(),
            pipeline=snapshot.pipeline.name,
            status=Status.DRAFT if draft else Status.VALIDATED,
            content=ordered(content),
            lock=lock,
            digest=digest,
            lock_digest=lock.digest,
            base_id=origin.id if origin is not None else None,
            message=message,
            created_by=by.name,
            created_at=await unit.now_us(),
            findings=findings.stored(),
        )

    async def validate_content(self, content: Content, *, base: str | None = None, probe: bool = False) -> Findings:
        """Return what validation finds, storing nothing; with *base*, content is laid over that version.

        Raises:
            NotFound: There is no such base.
        """
        sent = portable(content)
        origin = await self.get(base) if base is not None else None
        whole = over(origin.content, sent) if origin is not None else sent
        snapshot = await self._looked_at(whole, probe=probe)
        narrow = self._units.database.narrow
        findings = await self._check(narrow, whole, snapshot, await self._active_now(narrow))
        self._count(findings)
        return as_sent(findings, whole, sent, origin, snapshot.pipeline) if origin is not None else findings

    async def validate_stored(self, ref: str, *, by: Actor, probe: bool = False, message: str = "") -> Findings:
        """Validate a stored version; a draft becomes `validated`, or `rejected` when its content does not fit.

        Args:
            ref: Id, `vN`, or an alias.
            by: The verified caller.
            probe: Whether modules are asked as well.
            message: Why; written to the audit trail when the version's status changes.

        Raises:
            NotFound: There is no such version.
        """
        seen = await self.get(ref)
        snapshot = await self._looked_at(seen.content, probe=probe)
        async with self._units() as unit:
            await unit.lock_switch()
            stored = await unit.configurations.get(seen.id)
            active = await self._active_now(unit.statements)
            findings = await self._check(unit.statements, stored.content, snapshot, active, stored.lock)
            if stored.status in (Status.DRAFT, Status.VALIDATED):
                await self._decide_draft(unit, stored, findings, by, message)
            await unit.commit()
        self._count(findings)
        return findings

    async def _decide_draft(
        self, unit: UnitOfWork, stored: StoredConfiguration, findings: Findings, by: Actor, message: str
    ) -> StoredConfiguration:
        """Accept or reject by content; what is only unavailable now decides nothing."""
        await unit.configurations.set_findings(stored.id, findings.stored())
        is_draft = stored.status is Status.DRAFT
        wrong = [f for f in content_errors(findings) if is_draft or f.code is not Code.SELECTION_UNKNOWN_MODULE]
        if not wrong and not (is_draft and findings.is_valid):
            return replace(stored, findings=findings.stored())
        after = transition(stored.status, Action.REJECT if wrong else Action.ACCEPT)
        await unit.configurations.set_status(stored.id, stored.status, after)
        await unit.audit.append(
            AuditAction.CONFIGURATION_REJECTED if wrong else AuditAction.CONFIGURATION_VALIDATED,
            actor=by,
            subjects=[stored.id],
            message=message,
            before={"status": str(stored.status)},
            after={"status": str(after), "findings": [str(finding.code) for finding in findings.errors[:20]]},
        )
        return replace(stored, status=after, findings=findings.stored())

    async def _check(
        self,
        statements: Statements,
        content: Content,
        snapshot: Snapshot,
        active: StoredConfiguration | None,
        lock: Lock | None = None,
    ) -> Findings:
        return validate(
            content,
            await self._queue.as_workers_see(statements, snapshot),
            purpose=Purpose.CREATE,
            lock=lock,
            active=active,
            settings=self._options,
            distributions=await self._distributions(content, snapshot),
        )

    async def _refuse_creation(
        self, unit: UnitOfWork, findings: Findings, origin: StoredConfiguration | None, message: str, by: Actor
    ) -> None:
        await unit.audit.append(
            AuditAction.CONFIGURATION_CREATE_REFUSED,
            actor=by,
            subjects=[origin.id] if origin is not None else [],
            message=message,
            after={"findings": [str(finding.code) for finding in findings.errors[:20]]},
            result="refused",
        )
        await unit.commit()
        log.info(EventName.CONFIGURATION_REFUSED, errors=len(findings.errors), warnings=len(findings.warnings))
        self._count(findings)


def _not_stored(findings: Findings) -> str:
    more = f" ({len(findings.errors) - 1} more.)" if len(findings.errors) > 1 else ""
    return f"The configuration does not fit and was not stored: {findings.errors[0].message}{more}"
