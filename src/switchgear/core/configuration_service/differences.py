"""What differs in meaning between two versions. Source: INTERFACES 2 (`diff`), DESIGN 4 (`base_moved`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from switchgear.domain.configuration import Content, StoredConfiguration

_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: in which stage, of what kind, where, from what to what; None stands for nothing."""

    stage_id: str
    kind: str  #: stage, module, settings, limits, fallback, then or budget
    path: str
    before: Any
    after: Any
    message: str

    def as_json(self) -> dict[str, Any]:
        """Return the REST form."""
        return {name: getattr(self, name) for name in Change.__slots__}


@dataclass(frozen=True, slots=True)
class Diff:
    """What changes on the way from one version to another; no changes mean the same content."""

    before: StoredConfiguration
    after: StoredConfiguration
    changes: tuple[Mapping[str, Any], ...]  #: `Change.as_json()` each

    @property
    def same(self) -> bool:
        """Whether the content is the same."""
        return not self.changes


def diff(before: StoredConfiguration, after: StoredConfiguration) -> Diff:
    """Return what changes from *before* to *after*."""
    return Diff(before, after, tuple(change.as_json() for change in changes(before.content, after.content)))


def undone(base: Content, active: Content, candidate: Content) -> list[Change]:
    """Return what *active* changed over *base* and *candidate* would take back."""
    lost = {(change.stage_id, change.path) for change in changes(active, candidate)}
    return [change for change in changes(base, active) if (change.stage_id, change.path) in lost]


def changes(before: Content, after: Content) -> Iterator[Change]:
    """Yield every difference, stage by stage."""
    stages = {item.stage_id for content in (before, after) for item in content.selections}
    stages |= {item.stage_id for content in (before, after) for item in content.policies}
    for stage_id in sorted(stages):
        yield from _selection(stage_id, before, after)
        yield from _policy(stage_id, before, after)


def _selection(stage_id: str, before: Content, after: Content) -> Iterator[Change]:
    old, new = before.selection(stage_id), after.selection(stage_id)
    if old is None or new is None:
        if old is not new:
            left = old.module_id if old is not None else None
            now = new.module_id if new is not None else None
            words = f"Stage {stage_id} is served by {now}." if now else f"Stage {stage_id} has no module any more."
            yield Change(stage_id, "stage", "/module_id", left, now, words)
        return
    if old.module_id != new.module_id:
        words = f"Stage {stage_id}: {old.module_id} is replaced by {new.module_id}."
        yield Change(stage_id, "module", "/module_id", old.module_id, new.module_id, words)
    for kind, was, now_is in (("settings", old.settings, new.settings), ("limits", old.limits, new.limits)):
        yield from _values(stage_id, kind, f"/{kind}", was, now_is)


def _values(
    stage_id: str, kind: str, path: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[Change]:
    for name in sorted({*before, *after}):
        old, new = before.get(name, _ABSENT), after.get(name, _ABSENT)
        if old == new and type(old) is type(new):
            continue
        where = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _values(stage_id, kind, where, old, new)
            continue
        verb = "is added" if old is _ABSENT else "is removed" if new is _ABSENT else "changes"
        words = f"Stage {stage_id}: {where.removeprefix('/').replace('/', '.')} {verb}."
        yield Change(stage_id, kind, where, _shown(old), _shown(new), words)


def _policy(stage_id: str, before: Content, after: Content) -> Iterator[Change]:
    old, new = before.policy(stage_id).as_json(), after.policy(stage_id).as_json()
    parts = (("fallback", "chain"), ("then", "then"), ("budget", "budget_s"))
    for kind, name in parts:
        if old.get(name) != new.get(name):
            words = f"Stage {stage_id}: {_WORDS[kind]} changes."
            yield Change(stage_id, kind, f"/fallback/{name}", old.get(name), new.get(name), words)


_WORDS: Final = {
    "fallback": "the chain of fallbacks",
    "then": "what happens when nothing serves",
    "budget": "the budget",
}


def _shown(value: Any) -> Any:
    return None if value is _ABSENT else value
