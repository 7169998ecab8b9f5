"""What the registry remembers about one module, and when it looks again. Source: DESIGN 3 (30 s, growing to 5 min)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from switchgear.core.module_registry.build import module_of
from switchgear.core.module_registry.discovery import Offer, Signature, code_signature
from switchgear.domain.errors import Code
from switchgear.domain.stage import Lack, ModuleDescription, ModuleStatus, PipelineDescription
from switchgear.sdk.module_code import code_digest

FIRST_LOOK_US: Final = 30_000_000
LONGEST_WAIT_US: Final = 300_000_000
#: A lack that only a validation asked about is forgotten after this time.
FORGOTTEN_AFTER_US: Final = 600_000_000
#: So many good answers in a row bring a module back.
GOOD_ANSWERS: Final = 2


@dataclass(frozen=True, slots=True)
class ModuleChange:
    """A module's status before and after; None where it was or is not installed. For audit, metrics and logs."""

    module_id: str
    before: ModuleStatus | None
    after: ModuleStatus | None
    lack: Lack | None


State = tuple[ModuleStatus, Lack | None]


def changes_between(
    before: Mapping[str, State], after: Mapping[str, State], also: Collection[str]
) -> list[ModuleChange]:
    """Return what changed, and the modules in *also* whether they did or not."""
    return [
        ModuleChange(
            name,
            before[name][0] if name in before else None,
            after[name][0] if name in after else None,
            after[name][1] if name in after else None,
        )
        for name in sorted({*before, *after})
        if _in_short(before.get(name)) != _in_short(after.get(name)) or name in also
    ]


def _in_short(state: State | None) -> tuple[ModuleStatus, Code | None] | None:
    """Status and reason code: another figure in the same sentence is no change."""
    return state and (state[0], state[1].code if state[1] else None)


@dataclass(slots=True)
class Trouble:
    """A lack that is looked at again, with growing pauses."""

    lack: Lack
    next_us: int
    wait_us: int = FIRST_LOOK_US
    good: int = 0

    def bad_again(self, lack: Lack, now_us: int) -> None:
        """Still not there: wait twice as long."""
        self.lack = lack
        self.good = 0
        self.wait_us = min(2 * self.wait_us, LONGEST_WAIT_US)
        self.next_us = now_us + self.wait_us

    def repaired(self, now_us: int) -> None:
        """A person says so: it is looked at now, and one good answer is enough."""
        self.good = GOOD_ANSWERS - 1
        self.next_us = now_us

    def good_answer(self, now_us: int) -> bool:
        """It is there; returns whether that was often enough."""
        self.good += 1
        self.wait_us = FIRST_LOOK_US
        self.next_us = now_us + self.wait_us
        return self.good >= GOOD_ANSWERS


@dataclass(slots=True)
class Known:
    """One installed module: its description as of the last scan, and what it lacks now.

    Attributes:
        offer: Who offers it.
        base: The description; its `lack` is a failed import.
        roots: Files and folders of its code.
        signature: State of those files when it was described.
        has_probe: Whether the module has a probe of its own.
        schema_decides: Whether the schema of its settings says all that its code checks of them.
        checked_us: When its requirements were last looked at.
        trouble: What it lacks, or None.
        turn: Number of the look that described it; a later one saw more.
        is_uncertain: Whether its code changed while it was described.
    """

    offer: Offer
    base: ModuleDescription
    roots: tuple[str, ...] = ()
    signature: Signature = ()
    has_probe: bool = False
    schema_decides: bool = True
    checked_us: int = 0
    trouble: Trouble | None = None
    turn: int = 0
    is_uncertain: bool = False

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of environment variables that its code asks for."""
        return tuple(self.base.requires.get("environment", ()))

    def changed_code(self) -> Lack | None:
        """Whether its code is another one than was described; stat first, digest only when that differs."""
        if not self.roots or self.offer.is_editable:
            return None
        signature = code_signature(self.roots)
        if signature == self.signature:
            return None
        try:
            digest = code_digest(self.roots)
        except OSError:
            digest = ""
        if digest == self.base.code_digest:
            self.signature = signature
            return None
        message = f"The code of module {self.offer.name} was changed or removed while the server runs."
        return Lack(Code.MODULE_VERSION_CHANGED, message, "switchgear modules rescan")


def known_of(offer: Offer, answer: Mapping[str, Any], pipeline: PipelineDescription, turn: int) -> Known:
    """What is known of a module from what a child said of it."""
    described = answer.get("description") or {}
    roots = tuple(described.get("code_roots", ()))
    is_uncertain = bool(answer.get("is_uncertain"))
    return Known(
        offer=offer,
        base=module_of(offer, answer, pipeline),
        roots=roots,
        signature=() if is_uncertain else code_signature(roots),  # without one the next look reads the code
        has_probe=bool(described.get("has_probe")),
        schema_decides=bool(described.get("schema_decides", True)),
        turn=turn,
        is_uncertain=is_uncertain,
    )


@dataclass(slots=True)
class RunTimeTrouble:
    """A lack of a module with certain settings, from a probe or seen by a worker.

    Attributes:
        trouble: What it lacks, and when to look again.
        settings: For the next probe; None when only their digest is known.
        expires_us: When it is forgotten unless somebody asks again; None for what a worker saw.
    """

    trouble: Trouble
    settings: Mapping[str, Any] | None = None
    expires_us: int | None = None

    def is_over(self, now_us: int) -> bool:
        """Whether it is to be forgotten."""
        return self.expires_us is not None and self.expires_us <= now_us
