"""Whether what content names can be used here now, and what serves when it cannot. Source: DESIGN 4."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from switchgear.core.configuration_validation.findings import Collector, Finding, Kind, pointer
from switchgear.core.configuration_validation.identity_cache import IdentityCache
from switchgear.core.configuration_validation.structure import Use
from switchgear.domain.configuration import Content, Lock, LockEntry, StoredConfiguration, Terminal, sha256_of
from switchgear.domain.errors import Code
from switchgear.domain.run import Outcome
from switchgear.domain.stage import Lack, ModuleDescription, Snapshot
from switchgear.sdk.pipeline import DEFAULT_QUEUE, QUEUE_NAME

_QUEUE_NAME: Final = re.compile(QUEUE_NAME)


def check_availability(use: Use, content: Content, active: Content | None, snapshot: Snapshot, to: Collector) -> None:
    """Report a module that cannot be used now: a selection by its row of the table, a fallback as a warning."""
    lack = snapshot.lack_of(use.module_id, sha256_of(dict(use.settings)))
    if lack is None or snapshot.mistakes.get((use.module_id, sha256_of(dict(use.settings)))):
        return  # settings that do not fit are an error of the content, and no lack of this machine
    if use.step is not None:
        message = f"The fallback for stage {use.stage.id} is not available: {lack.message}"
        to.add(Kind.NOTICE, _finding(Code.POLICY_UNAVAILABLE, use, message, lack))
        return
    kind = Kind.COVERED if is_covered(content, use.stage.id, snapshot) else Kind.NOT_COVERED
    then = _what_happens(content, use.stage.id, snapshot)
    finding = _finding(Code.SELECTION_UNAVAILABLE, use, f"{lack.message} {then}", lack)
    to.add(kind, finding, known_before=_lacks_already(active, use, snapshot))


def is_covered(content: Content, stage_id: str, snapshot: Snapshot) -> bool:
    """Whether something is there when the selected module is unavailable: a fallback, or an explicit park or skip."""
    return content.policy(stage_id).then in _WITHOUT_FALLBACK or _has_fallback(content, stage_id, snapshot)


def _has_fallback(content: Content, stage_id: str, snapshot: Snapshot) -> bool:
    return any(
        Outcome.UNAVAILABLE in step.on and snapshot.lack_of(step.module_id, sha256_of(dict(step.settings))) is None
        for step in content.policy(stage_id).chain
    )


#: What an explicit terminal action does where no fallback serves.
_WITHOUT_FALLBACK: Final[Mapping[Terminal | None, str]] = {
    Terminal.PARK: "No fallback serves: runs that reach the stage are put on hold.",
    Terminal.SKIP: "No fallback serves: the stage is skipped.",
}


def _what_happens(content: Content, stage_id: str, snapshot: Snapshot) -> str:
    """What runs meet at a stage whose selected module is unavailable, in a sentence."""
    if _has_fallback(content, stage_id, snapshot):
        return "Its fallback serves."
    return _WITHOUT_FALLBACK.get(content.policy(stage_id).then, "Nothing else serves the stage.")


def check_queues(content: Content, snapshot: Snapshot, to: Collector) -> None:
    """Report work queues that no live worker serves, each where it is named first: documents would wait there."""
    if snapshot.served is None:
        return
    stages, told = {stage.id: stage for stage in snapshot.pipeline.stages}, set(snapshot.served)
    for index, selection in enumerate(content.selections):
        stage = stages.get(selection.stage_id)
        queue = selection.limits.get("queue", stage.limits.get("queue", DEFAULT_QUEUE) if stage else None)
        if stage is None or not isinstance(queue, str) or not _QUEUE_NAME.fullmatch(queue) or queue in told:
            continue  # what is no name is an error of the content
        told.add(queue)
        place = pointer("selections", index, *(("limits", "queue") if "queue" in selection.limits else ()))
        message = f"No live worker serves the queue {queue}: runs wait there."
        hint = f"Start `switchgear worker --queues {queue}`."
        to.add(Kind.NOTICE, Finding(Code.WAITING_WORKER, place, stage.id, message, hint))


def check_deprecation(use: Use, module: ModuleDescription, to: Collector) -> None:
    """Report a module that its author wants replaced."""
    if module.deprecated:
        message = f"Module {module.id} is deprecated: {module.deprecated}"
        place = use.pointer + "/module_id"
        to.add(Kind.NOTICE, Finding(Code.SELECTION_DEPRECATED, place, use.stage.id, message))


def check_lock(lock: Mapping[str, LockEntry], uses: Iterable[Use], snapshot: Snapshot, to: Collector) -> None:
    """Report modules whose installed code is not the one that the version was made with."""
    stale = set(stale_modules(lock, snapshot))
    for use in uses:
        if use.module_id in stale:
            stale.discard(use.module_id)
            entry, now = lock[use.module_id], snapshot.modules[use.module_id]
            made = f"The version was made with {use.module_id} {entry.version}"
            message = f"{made}; installed is {now.version} with other code."
            to.add(
                Kind.STALE,
                Finding(
                    Code.CONFIGURATION_LOCK_STALE,
                    use.pointer + "/module_id",
                    use.stage.id,
                    message,
                    "Install the locked version again, or make a new version from this one.",
                ),
            )


def as_workers_see(snapshot: Snapshot, reports: Iterable[Mapping[str, Mapping[str, Any]]]) -> Snapshot:
    """Return the union of what workers can use: a module is available when it is to one of them. DESIGN 4

    Args:
        snapshot: What this process sees; it describes the modules.
        reports: Per live worker: module id -> {code, message, fix?} of what it cannot use. None of them leaves the
            snapshot as it is.
    """
    seen = list(reports)
    if not seen:
        return snapshot
    everywhere = set(seen[0]).intersection(*seen[1:])
    changed: dict[str, ModuleDescription] = {}
    for name, module in snapshot.modules.items():
        if name in everywhere and module.lack is None:
            changed[name] = replace(module, lack=_reported(seen[0][name]))
        elif name not in everywhere and module.lack is not None and module.stage_id:
            changed[name] = replace(module, lack=None)
    return replace(snapshot, modules={**snapshot.modules, **changed}) if changed else snapshot


def served_by(snapshot: Snapshot, workers: Sequence[Sequence[str]]) -> Snapshot:
    """Return *snapshot* with the queues that live workers serve; *workers* has those of each, none meaning all."""
    return replace(snapshot, served=frozenset().union(*workers)) if workers and all(workers) else snapshot


def _reported(report: Mapping[str, Any]) -> Lack:
    return Lack(Code(report["code"]), f"No worker can use it: {report['message']}", report.get("fix"))


def stale_modules(lock: Mapping[str, LockEntry], snapshot: Snapshot) -> list[str]:
    """Return ids of modules whose installed code is not the locked one; editable installs are not locked.

    What this process knows of a module whose files have changed since says nothing about any lock.
    """
    now = lock_of((name for name in lock if not _is_outdated(name, snapshot)), snapshot)
    return sorted(
        name
        for name, entry in now.items()
        if not (entry.editable or lock[name].editable)
        and (entry.version, entry.code_digest, entry.contract_digest)
        != (lock[name].version, lock[name].code_digest, lock[name].contract_digest)
    )


def without_stale(active: StoredConfiguration, snapshot: Snapshot) -> Snapshot:
    """Modules whose code is not the locked one are unavailable to the active version, with `hold` for long."""
    stale = {
        name: replace(
            snapshot.modules[name],
            lack=Lack(
                Code.MODULE_VERSION_CHANGED,
                f"{active.label} was made with {name} {active.lock[name].version}; other code is installed now. Make "
                "a version from it anew, or install the locked version again.",
                f"switchgear config export {active.label} > FILE && switchgear config create FILE --activate",
            ),
        )
        for name in stale_modules(active.lock, snapshot)
    }
    return replace(snapshot, modules={**snapshot.modules, **stale})


def _is_outdated(module_id: str, snapshot: Snapshot) -> bool:
    module = snapshot.modules.get(module_id)
    return module is not None and module.outdated


def lock_of(module_ids: Iterable[str], snapshot: Snapshot) -> Lock:
    """Return version and digests of each module that is installed and could be described."""
    found = [snapshot.modules[name] for name in sorted(module_ids) if name in snapshot.modules]
    return _locks.get(*found, make=lambda: _locked(found))


#: The same modules serve in version after version.
_locks: Final[IdentityCache[Lock]] = IdentityCache(64)


def _locked(modules: Iterable[ModuleDescription]) -> Lock:
    return Lock(
        (module.id, LockEntry(module.version, module.code_digest, module.contract_digest, module.editable))
        for module in modules
        if module.code_digest
    )


def _lacks_already(active: Content | None, use: Use, snapshot: Snapshot) -> bool:
    selection = active.selection(use.stage.id) if active is not None else None
    return (
        selection is not None
        and selection.module_id == use.module_id
        and snapshot.lack_of(selection.module_id, sha256_of(dict(selection.settings))) is not None
    )


def _finding(code: Code, use: Use, message: str, lack: Lack) -> Finding:
    return Finding(code, use.pointer + "/module_id", use.stage.id, message, lack.fix)
