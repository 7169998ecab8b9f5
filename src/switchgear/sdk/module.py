"""The class that a module author writes, and the decorator that declares it. Source: INTERFACES 4, DESIGN 3.

A module's parameters are its inputs, its return type is its output:

    @module(stage="extract", contract="invoice-extract@1", version="1.0.0")
    class MyExtract(Module):
        def run(self, pages: Pages) -> InvoiceCandidate: ...
"""

import inspect
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel

from switchgear.sdk.context import Context, WarmContext
from switchgear.sdk.contract import parse_reference, split_optional
from switchgear.sdk.errors import DeclarationError
from switchgear.sdk.values import ModuleSettings, Requires

IsolationLevel = Literal["L0", "L1", "L2", "L3"]


@dataclass(frozen=True, slots=True)
class ModuleInput:
    """One declared input: its type without `None`, and whether it may be absent."""

    type: Any
    optional: bool


@dataclass(frozen=True, slots=True)
class ModuleSpec:
    """All that `@module` declared about a class."""

    stage: str
    contract: str
    version: str
    guarantees: frozenset[str]
    requires: Requires
    min_isolation: IsolationLevel
    deprecated: str | None
    inputs: Mapping[str, ModuleInput]
    output: type[BaseModel]
    wants_context: bool


class Module:
    """Base of every module; its id is the name of its entry point in the group `switchgear.modules`."""

    Settings: ClassVar[type[ModuleSettings]] = ModuleSettings
    spec: ClassVar[ModuleSpec]
    settings: Any  #: set by the engine; redeclare as `settings: Settings`

    @classmethod
    def probe(cls, settings: Any) -> None:
        """Look whether the module can work here with *settings*; no side effects. Raise `Unavailable` if not."""

    def open(self, ctx: WarmContext) -> None:
        """Prepare once per process: load models, make clients."""

    def close(self) -> None:
        """Give back what `open` took."""


M = TypeVar("M", bound=Module)


def module(
    *,
    stage: str,
    contract: str,
    version: str,
    guarantees: Collection[str] = (),
    requires: Requires = Requires(),
    min_isolation: IsolationLevel = "L1",
    deprecated: str | None = None,
) -> Callable[[type[M]], type[M]]:
    """Declare a class as a module of *stage*.

    Args:
        stage: Id of the processing stage.
        contract: `name@1` (any 1.y) or `name@1.2`.
        version: The module's own version; part of the module lock.
        guarantees: Names of contract guarantees that the module gives.
        requires: Packages, binaries, files, variables and memory that must be there.
        min_isolation: The least isolation it accepts; `L0` only for bounded pure Python.
        deprecated: A sentence naming the successor, or None.

    Raises:
        DeclarationError: An annotation is missing or the class has an `__init__`; the message says what to write.
    """

    def declare(cls: type[M]) -> type[M]:
        parse_reference(contract)
        inputs, output, wants_context = _signature(cls)
        cls.spec = ModuleSpec(
            stage=stage,
            contract=contract,
            version=version,
            guarantees=frozenset(guarantees),
            requires=requires,
            min_isolation=min_isolation,
            deprecated=deprecated,
            inputs=inputs,
            output=output,
            wants_context=wants_context,
        )
        return cls

    return declare


def _signature(cls: type[Module]) -> tuple[dict[str, ModuleInput], type[BaseModel], bool]:
    where = f"{cls.__module__}.{cls.__qualname__}"
    if "__init__" in vars(cls):
        raise DeclarationError(f"{where} defines __init__; the engine makes modules itself: prepare in open(ctx).")
    run = getattr(cls, "run", None)
    if run is None:
        raise DeclarationError(f"{where} has no run method; write: def run(self, <inputs>) -> Output: ...")
    if inspect.iscoroutinefunction(run):
        raise DeclarationError(f"{where}.run is async; modules are synchronous, one call at a time: write def run.")
    hints = _hints(run, where)
    if not (isinstance(hints.get("return"), type) and issubclass(hints["return"], BaseModel)):
        raise DeclarationError(f"{where}.run needs a return annotation that is a Pydantic model: -> Output.")
    inputs: dict[str, ModuleInput] = {}
    wants_context = False
    for name, parameter in list(inspect.signature(run).parameters.items())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise DeclarationError(f"{where}.run has *{name}; name each input with its type: {name}: Type.")
        if name not in hints:
            raise DeclarationError(f"{where}.run: parameter {name!r} has no annotation; write {name}: Type.")
        if name == "ctx" or hints[name] is Context:
            wants_context = wants_context or name == "ctx"
            continue
        kind, optional = split_optional(hints[name])
        inputs[name] = ModuleInput(kind, optional)
    return inputs, hints["return"], wants_context


def _hints(run: Callable[..., Any], where: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(run)
    except NameError as error:
        raise DeclarationError(
            f"{where}.run: {error}; import the type at module level, not under TYPE_CHECKING."
        ) from error
