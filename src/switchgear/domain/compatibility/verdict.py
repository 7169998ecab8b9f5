"""The three answers, and how answers about parts become the answer about the whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

#: More reasons than this help nobody; the rest is cut.
REASON_LIMIT: Final = 50


class Verdict(StrEnum):
    """What the comparison of two schemas found."""

    COMPATIBLE = "compatible"  #: every value the producer may send is accepted: proven
    INCOMPATIBLE = "incompatible"  #: the reasons name something that may be sent and is refused
    UNKNOWN = "unknown"  #: neither could be shown; the reasons say what stood in the way


@dataclass(frozen=True, slots=True)
class Reason:
    """One place where the two schemas do not, or may not, fit.

    Attributes:
        pointer: JSON pointer into the document that is sent; `*` stands for any array index or any free key.
        message: A full sentence: what the producer may send and what the consumer accepts.
    """

    pointer: str
    message: str


@dataclass(frozen=True, slots=True)
class Compatibility:
    """The verdict and its reasons; a compatible pair has none.

    Attributes:
        verdict: The answer.
        reasons: Why it is not `compatible`, at most `REASON_LIMIT` of them.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...] = ()

    def under(self, segment: str) -> Compatibility:
        """The same answer, seen from the parent that holds this value under *segment* (unescaped)."""
        if not self.reasons:
            return self
        prefix = "/" + segment.replace("~", "~0").replace("/", "~1")
        return Compatibility(self.verdict, tuple(Reason(prefix + r.pointer, r.message) for r in self.reasons))

    def doubted(self) -> Compatibility:
        """The same answer when what the producer sends is known only roughly: a refusal is no longer proven."""
        if self.verdict is Verdict.INCOMPATIBLE:
            return Compatibility(Verdict.UNKNOWN, self.reasons)
        return self


COMPATIBLE: Final = Compatibility(Verdict.COMPATIBLE)


def incompatible(message: str) -> Compatibility:
    """A refusal at this very place."""
    return Compatibility(Verdict.INCOMPATIBLE, (Reason("", message),))


def unknown(message: str) -> Compatibility:
    """A doubt at this very place."""
    return Compatibility(Verdict.UNKNOWN, (Reason("", message),))


def every(parts: Iterable[Compatibility]) -> Compatibility:
    """All parts must fit: the worst verdict, with the reasons that carry it."""
    found: dict[Verdict, dict[Reason, None]] = {Verdict.INCOMPATIBLE: {}, Verdict.UNKNOWN: {}}
    for part in parts:
        if part.verdict is not Verdict.COMPATIBLE:
            found[part.verdict].update(dict.fromkeys(part.reasons))
    for verdict, reasons in found.items():
        if reasons:
            return Compatibility(verdict, tuple(reasons)[:REASON_LIMIT])
    return COMPATIBLE
