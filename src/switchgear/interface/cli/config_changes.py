"""`config set`: changes written as `extract=acme-extract extract.settings.languages=de,en extract.limits.timeout_s=20`.

Pure: assignments, the active configuration and the settings schemas go in, the REST body comes out.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from switchgear.interface.cli.errors import WrongUse

#: What leads to a fallback when the command names a module only: every way in which a module can be at fault.
FAULTS: Final = ("error", "timeout", "crash", "contract_violation", "unavailable", "breaker_open")
_HOW: Final = (
    "Write STAGE=MODULE, STAGE.settings.NAME=VALUE, STAGE.limits.NAME=VALUE, STAGE.fallback=MODULE,MODULE, "
    "STAGE.then=park or STAGE.budget_s=60."
)

#: What happens when no module of a stage served, by the terminal action of its policy.
_ENDINGS: Final = {
    "park": "the run waits on hold for a person (then=park)",
    "fail": "the run fails (then=fail)",
    "skip": "the run goes on without it (then=skip)",
    None: "the run waits on hold when nothing could be tried, and fails when something was",
}

#: module id -> its settings schema
SchemaOf = Callable[[str], Mapping[str, Any]]
#: stage id -> whether an earlier module of its chain never stands in for a later one
IsOrdered = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Assignment:
    """One `path=value`: `("extract", "settings", "languages")` and `de,en`."""

    path: tuple[str, ...]
    value: str


@dataclass(frozen=True, slots=True)
class Change:
    """The partial body to post, and sentences about what was done beside what was asked."""

    selections: list[dict[str, Any]]
    fallback_policies: list[dict[str, Any]]
    notes: list[str]


def parse(words: Sequence[str]) -> list[Assignment]:
    """Split `path=value` words.

    Raises:
        WrongUse: A word is none.
    """
    found: list[Assignment] = []
    for word in words:
        path, separator, value = word.partition("=")
        parts = tuple(path.split("."))
        if not separator or not all(parts):
            raise WrongUse(f"{word!r} is no change. {_HOW}")
        if any(parts == earlier.path for earlier in found):
            raise WrongUse(f"{path} is given twice. Which one counts would be a guess: write it once.")
        found.append(Assignment(parts, value))
    return found


def apply(
    active: Mapping[str, Any], assignments: Sequence[Assignment], schema_of: SchemaOf, is_ordered: IsOrdered
) -> Change:
    """Return what has to be posted on top of *active* so that the assignments hold.

    A stage that gets another module loses the settings and limits of the old one. When that module is in the stage's
    fallback chain, the two change places: a chain must not name the selected module. Where the chain is ordered, what
    came after the module stays instead; for a module that has no place in it, only the last one. ADR 0017

    Raises:
        WrongUse: An assignment names something that cannot be set.
    """
    work = _Work(active, schema_of, is_ordered)
    for assignment in sorted(assignments, key=lambda one: len(one.path) > 1):  # modules first, then their settings
        work.assign(assignment)
    return Change(list(work.selections.values()), list(work.policies.values()), [*work.notes, *work.notes_of_left()])


class _Work:
    def __init__(self, active: Mapping[str, Any], schema_of: SchemaOf, is_ordered: IsOrdered) -> None:
        self._selected = {item["stage_id"]: item for item in active.get("selections") or ()}
        self._chained = {item["stage_id"]: item for item in active.get("fallback_policies") or ()}
        self._schema_of = schema_of
        self._is_ordered = is_ordered
        self._left: dict[str, tuple[list[dict[str, Any]], str]] = {}  # stage id -> who left its ordered chain, and why
        self.selections: dict[str, dict[str, Any]] = {}
        self.policies: dict[str, dict[str, Any]] = {}
        self.notes: list[str] = []

    def assign(self, assignment: Assignment) -> None:
        stage_id, *rest = assignment.path
        match rest:
            case []:
                self._select(stage_id, assignment.value)
            case ["settings", *names] if names:
                self._set(stage_id, names, assignment.value)
            case ["limits", name]:
                self._selection(stage_id)["limits"][name] = scalar(assignment.value)
            case ["fallback"]:
                self._chain(stage_id, [part.strip() for part in assignment.value.split(",") if part.strip()])
            case ["then"]:
                self._policy(stage_id)["then"] = assignment.value
            case ["budget_s"]:
                self._policy(stage_id)["budget_s"] = scalar(assignment.value)
            case _:
                raise WrongUse(f"{'.'.join(assignment.path)!r} cannot be set. {_HOW}")

    def _select(self, stage_id: str, module_id: str) -> None:
        before = self._selected.get(stage_id)
        if before is None:
            self.selections[stage_id] = {"stage_id": stage_id, "module_id": module_id, "settings": {}, "limits": {}}
            return
        selection = self._selection(stage_id)
        if selection["module_id"] == module_id:
            return
        self._make_room(stage_id, dict(before), module_id)
        for name in ("settings", "limits"):
            if selection[name]:
                self.notes.append(f"{stage_id}: the {name} of {selection['module_id']} are left: {selection[name]}.")
        selection.update(module_id=module_id, settings={}, limits={})
        for step in (self._chained.get(stage_id) or {}).get("chain") or ():
            if step["module_id"] == module_id:
                selection["settings"] = copy.deepcopy(dict(step.get("settings") or {}))

    def _make_room(self, stage_id: str, before: dict[str, Any], module_id: str) -> None:
        stored = (self._chained.get(stage_id) or {}).get("chain") or ()
        place = next((place for place, step in enumerate(stored) if step["module_id"] == module_id), None)
        if place is None:
            if len(stored) > 1 and self._is_ordered(stage_id):
                self._keep_last(stage_id, module_id)
            return
        chain = self._policy(stage_id)["chain"]
        chain[place]["module_id"] = before["module_id"]
        chain[place]["settings"] = copy.deepcopy(dict(before.get("settings") or {}))
        if self._is_ordered(stage_id):
            left = [chain[place], *chain[:place]]
            self._left[stage_id] = left, "an earlier module never stands in for a later one"
            del chain[: place + 1]
        else:
            self.notes.append(f"{stage_id}: {module_id} was its fallback; {before['module_id']} takes that place.")

    def _keep_last(self, stage_id: str, module_id: str) -> None:
        """Nobody knows where the module would stand; the last one of an ordered chain may stand in for any."""
        chain = self._policy(stage_id)["chain"]
        they = "it" if len(chain) == 2 else "they"
        self._left[stage_id] = chain[:-1], f"nobody said that {they} may stand in for {module_id}"
        del chain[:-1]

    def notes_of_left(self) -> Iterator[str]:
        """Say which modules left an ordered chain, how it ends now, and what puts one back."""
        for stage_id, (steps, reason) in self._left.items():
            left = [step["module_id"] for step in steps]
            policy = self.policies[stage_id]
            back = ",".join([left[-1], *(step["module_id"] for step in policy["chain"])])
            then = policy.get("then")
            yield (
                f"{stage_id}: {', '.join(left)} {'leaves' if len(left) == 1 else 'leave'} the chain: {reason}. "
                f"When nobody serves, {_ENDINGS.get(then, f'then={then}')}. "
                f"To put one back, add {stage_id}.fallback={back}."
            )

    def _set(self, stage_id: str, names: list[str], text: str) -> None:
        selection = self._selection(stage_id)
        schema = self._schema_of(selection["module_id"])
        inner = selection["settings"]
        for name in names[:-1]:
            inner = inner.setdefault(name, {})
            schema = _property(schema, name)
            if not isinstance(inner, dict):
                raise WrongUse(f"{stage_id}.settings.{'.'.join(names)}: {name} holds a value, not names.")
        inner[names[-1]] = value_for(text, _property(schema, names[-1]))

    def _chain(self, stage_id: str, module_ids: list[str]) -> None:
        policy = self._policy(stage_id)
        known = {step["module_id"]: step for step in [*self._left.pop(stage_id, ([], ""))[0], *policy["chain"]]}
        policy["chain"] = [
            known.get(module_id, {"module_id": module_id, "settings": {}, "on": list(FAULTS)})
            for module_id in module_ids
        ]

    def _selection(self, stage_id: str) -> dict[str, Any]:
        if stage_id not in self.selections:
            if stage_id not in self._selected:
                known = ", ".join(self._selected) or "none"
                raise WrongUse(
                    f"No module is selected for {stage_id!r}. Select one with STAGE=MODULE; stages: {known}."
                )
            self.selections[stage_id] = copy.deepcopy(dict(self._selected[stage_id]))
            self.selections[stage_id].setdefault("settings", {})
            self.selections[stage_id].setdefault("limits", {})
        return self.selections[stage_id]

    def _policy(self, stage_id: str) -> dict[str, Any]:
        if stage_id not in self.policies:
            stored = self._chained.get(stage_id) or {"stage_id": stage_id, "chain": []}
            policy = {name: value for name, value in copy.deepcopy(dict(stored)).items() if value is not None}
            policy["chain"] = [{k: v for k, v in step.items() if v is not None} for step in policy.get("chain") or ()]
            self.policies[stage_id] = policy
        return self.policies[stage_id]


def scalar(text: str) -> Any:
    """Return a number, true, false, null or JSON value when *text* is one, else the text.

    Raises:
        WrongUse: It holds a number that is too large, or has no end.
    """
    try:
        value = json.loads(text, parse_constant=lambda name: name)
        json.dumps(value, allow_nan=False)
    except RecursionError:
        raise WrongUse("A value is nested too deeply. Write a flatter one.") from None
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError):
            return text
        raise WrongUse(f"{text[:40]} has a number that is too large. Write a smaller one.") from None
    return value


def value_for(text: str, schema: Mapping[str, Any]) -> Any:
    """Return *text* as the value that the schema of a setting asks for; validation has the last word."""
    types = _types(schema)
    if "array" in types and not text.lstrip().startswith("["):
        inner = schema.get("items") if isinstance(schema.get("items"), Mapping) else {}
        return [value_for(part.strip(), inner or {"type": "string"}) for part in text.split(",") if part.strip()]
    if types == {"string"}:
        return text
    return scalar(text)


def _types(schema: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    kind = schema.get("type")
    found.update([kind] if isinstance(kind, str) else kind or ())
    for key in ("anyOf", "oneOf", "allOf"):
        for part in schema.get(key) or ():
            found |= _types(part)
    if "enum" in schema and all(isinstance(one, str) for one in schema["enum"]):
        found.add("string")
    return found


def _property(schema: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = (schema.get("properties") or {}).get(name) or {}
    reference = found.get("$ref")
    if isinstance(reference, str):
        return dict((schema.get("$defs") or {}).get(reference.rpartition("/")[2]) or {})
    definitions = schema.get("$defs")
    return {**found, "$defs": definitions} if definitions else found
