"""Capability contracts: what a stage receives, what it must return, and what must hold between them.

Source: DESIGN 3, INTERFACES 4, T010.
"""

import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from switchgear.sdk.errors import DeclarationError

#: Gets the inputs by name and the output; returns None when it holds, else one sentence. Pure and bounded.
Check = Callable[[Mapping[str, Any], Any], str | None]
#: Gets the inputs by name, never reads the document; returns None when the stage concerns it, else one sentence.
Applies = Callable[[Mapping[str, Any]], str | None]
#: Gets the output; gives sentences for whoever asks why a run ended as it did. Pure and bounded.
Notes = Callable[[Any], Iterable[str]]
Effects = Literal["none", "idempotent", "external"]

_NAME = re.compile(r"^[a-z][a-z0-9_-]{0,60}$")
_VERSION = re.compile(r"^(\d+)\.(\d+)(\.\d+)?$")
_REFERENCE = re.compile(r"^([a-z][a-z0-9_-]{0,60})@(\d+)(?:\.(\d+))?$")


def split_optional(annotation: Any) -> tuple[Any, bool]:
    """Split `X | None` into (X, True); anything else gives (annotation, False)."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        arguments = [item for item in typing.get_args(annotation) if item is not type(None)]
        if len(arguments) < len(typing.get_args(annotation)):
            inner = arguments[0] if len(arguments) == 1 else typing.Union[tuple(arguments)]  # noqa: UP007
            return inner, True
    return annotation, False


@dataclass(frozen=True, slots=True)
class Contract:
    """Name and semantic version, typed inputs, one typed output, guarantees, effects, confidence.

    Attributes:
        name: Such as `invoice-extract`.
        version: `major.minor`; a module that asks for `name@1` accepts every 1.y.
        inputs: Input name -> type; `X | None` makes it optional. `blob` is the document itself.
        any_of: Groups of input names; of each group at least one must exist.
        output_name: Under this name later stages receive the output; unique in a pipeline.
        output: The frozen model of the output.
        guarantees: Name -> check that the engine runs on every output.
        confidence: JSON pointer to a number 0..1 in the output, or None.
        applies: Says from the inputs alone whether the stage concerns the document. If not, the stage is
            `not_applicable` without a call, so that a missing OCR engine holds back scans only.
        notes: What of an output people are to read beside who served, such as warnings; kept with the attempt.
        effects: `external` stages are preceded by a checkpoint and get a delivery key.
    """

    name: str
    version: str
    inputs: Mapping[str, Any]
    output_name: str
    output: type[BaseModel]
    any_of: tuple[tuple[str, ...], ...] = ()
    guarantees: Mapping[str, Check] = field(default_factory=dict)
    confidence: str | None = None
    effects: Effects = "none"
    applies: Applies | None = None
    notes: Notes | None = None

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise DeclarationError(f"Contract name {self.name!r} is not a word of lower case letters and dashes.")
        if not _VERSION.match(self.version):
            raise DeclarationError(f"Contract {self.name}: version {self.version!r} is not of the form 1.0.")
        for group in self.any_of:
            unknown = [name for name in group if name not in self.inputs]
            if unknown:
                raise DeclarationError(f"Contract {self.name}: any_of names {unknown}, which are no inputs.")

    @property
    def id(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    def is_optional(self, name: str) -> bool:
        """Whether the input *name* may be absent (declared `X | None`)."""
        return split_optional(self.inputs[name])[1]

    def input_type(self, name: str) -> Any:
        """The type of the input *name*, without `None`."""
        return split_optional(self.inputs[name])[0]

    def satisfies(self, reference: str) -> bool:
        """Whether a module that asks for *reference* (`name@1` or `name@1.2`) is served by this contract."""
        name, major, minor = parse_reference(reference)
        match = _VERSION.match(self.version)
        assert match is not None
        own = (int(match[1]), int(match[2]))
        return name == self.name and major == own[0] and minor <= own[1]


def parse_reference(reference: str) -> tuple[str, int, int]:
    """Split `name@1` or `name@1.2` into name, major, least minor.

    Raises:
        DeclarationError: It is not of that form.
    """
    match = _REFERENCE.match(reference)
    if not match:
        raise DeclarationError(f"Contract reference {reference!r} is not of the form name@1 or name@1.2.")
    return match[1], int(match[2]), int(match[3] or 0)
