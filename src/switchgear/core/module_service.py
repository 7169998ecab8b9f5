"""What a maintainer does with modules: enable, disable, look again; each recorded. Source: T015, INTERFACES 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from switchgear.core.logging import get_logger
from switchgear.core.module_registry import ModuleChange, ModuleRegistry
from switchgear.core.observability import EventName
from switchgear.core.unit_of_work import Units
from switchgear.domain.access import Actor
from switchgear.domain.audit import AuditAction

log = get_logger()

#: Longest list of modules that an entry of the audit trail names as its subjects.
_MOST_SUBJECTS: Final = 200


class ModuleService:
    """Changes of what may be used, kept in the database and made known to this process.

    Args:
        units: Makes units of work.
        registry: What is installed here.
    """

    def __init__(self, units: Units, registry: ModuleRegistry) -> None:
        self._units = units
        self._registry = registry
        self._followed: frozenset[tuple[str, str]] = frozenset()

    async def set_enabled(self, module_id: str, enabled: bool, *, by: Actor, message: str = "") -> None:
        """Enable or disable a module; a disabled one is used by nobody, its fallback serves.

        This process knows at once; others of the instance follow within a second. Nothing is recorded when nothing
        changes.

        Args:
            module_id: An installed module.
            enabled: Whether it may be used.
            by: The verified caller.
            message: Why; stands in the audit trail.

        Raises:
            NotFound: No such module is installed.
            DatabaseUnreachable: Nothing was changed.
        """
        self._registry.current().module(module_id)
        async with self._units() as unit:
            is_new = await unit.catalogue.set_enabled(module_id, enabled, await unit.now_us())
            if is_new:
                await unit.audit.append(
                    AuditAction.MODULE_ENABLED if enabled else AuditAction.MODULE_DISABLED,
                    actor=by,
                    subjects=(module_id,),
                    message=message,
                    before={"enabled": not enabled},
                    after={"enabled": enabled},
                )
            await unit.commit()
        self._registry.set_enabled(module_id, enabled)
        if is_new:
            log.info(EventName.MODULE_SET, module=module_id, enabled=enabled, actor=by.name)

    async def rescan(self, *, by: Actor, message: str = "") -> Sequence[ModuleChange]:
        """Find newly installed, removed and changed modules without a restart, and keep them in the catalogue.

        Args:
            by: The verified caller.
            message: Why; stands in the audit trail.

        Returns:
            What is in another state than before.

        Raises:
            DatabaseUnreachable: This process knows what is installed, but it was not recorded.
        """
        changes = await self._registry.rescan()
        snapshot = self._registry.current()
        async with self._units() as unit:
            await unit.catalogue.save(snapshot, await unit.now_us())
            await unit.audit.append(
                AuditAction.MODULE_RESCANNED,
                actor=by,
                subjects=[change.module_id for change in changes[:_MOST_SUBJECTS]],
                message=message,
                after={change.module_id: change.after and str(change.after) for change in changes},
            )
            await unit.commit()
        changed = [change.module_id for change in changes]
        log.info(EventName.MODULES_RESCANNED, modules=len(snapshot.modules), changed=changed, actor=by.name)
        return changes

    async def follow(self) -> Sequence[ModuleChange]:
        """Take over what happened to modules through other processes; call it often.

        Modules that a maintainer disabled or enabled there are so here. Changed code, new and removed modules are
        looked at as soon as another process has: a maintainer looked again there, or it was started since.

        Returns:
            What is in another state than before.

        Raises:
            DatabaseUnreachable: Nothing was taken over.
        """
        modules = self._registry.current().modules
        async with self._units(write=False) as unit:
            disabled = await unit.catalogue.disabled_modules()
            digests = await unit.catalogue.code_digests()
        for module_id, module in modules.items():
            if module.enabled is (module_id in disabled):
                self._registry.set_enabled(module_id, module_id not in disabled)
        news = frozenset(
            (name, digest)
            for name, digest in digests.items()
            if name not in modules or (modules[name].outdated and modules[name].code_digest != digest)
        )
        if digests:  # else nobody has looked before, and this process just did
            news |= {(name, "") for name in modules.keys() - digests.keys()}
        is_known, self._followed = news <= self._followed, news  # it may be installed there alone
        return () if is_known else await self._registry.rescan(anew=False)
