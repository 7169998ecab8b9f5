"""What the stage runner hands to a pool: which module, with what, and for how long. Source: DESIGN 5."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from switchgear.domain.errors import Code
from switchgear.domain.stage import Lack
from switchgear.sdk.pipeline import StageLimits
from switchgear.sdk.values import Blob, Decision, Earlier, Limits


@dataclass(frozen=True)
class ModuleUse:
    """A module with its settings and limits; equal uses share one pool.

    Attributes:
        module_id: Name of the entry point.
        settings_json: Canonical JSON of the settings; secrets are references.
        limits: Limits of the selection.
        level: `L0` runs in this process, `L1` in processes of its own, `L2` in processes that reach only what is named,
            `L3` in such that also see no other processes, network or shared memory.
        environment: Names of the variables that the module asked for; nothing else is handed over.
        secret_pointers: JSON pointers into the settings; `*` stands for every item.
        reads: Files that the module declared, as paths; programs, as names on PATH. Used from level L2 on.
        writes: Folders that it declared, as in `Requires.writes`. Used from level L2 on.
        network: Whether it declared to use the network.
        code_digest: Digest of the module's code: after an upgrade the same use gets processes of its own.
    """

    module_id: str
    settings_json: str
    limits: StageLimits
    level: Literal["L0", "L1", "L2", "L3"] = "L1"
    environment: tuple[str, ...] = ()
    secret_pointers: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    network: bool = False
    code_digest: str = ""
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        parts = (self.module_id, self.settings_json, self.level, self.environment, self.code_digest)
        object.__setattr__(self, "_hash", hash(parts))

    def __hash__(self) -> int:  # once, not per call: an inline stage takes microseconds
        return self._hash

    @property
    def is_enclosed(self) -> bool:
        """Whether its processes reach only what is named."""
        return self.level >= "L2"

    @property
    def level_in_words(self) -> str:
        """The level, and what of it the module's declaration leaves out."""
        return f"{self.level}, network open" if self.is_enclosed and self.network else self.level


@dataclass(frozen=True, slots=True)
class DocumentFile:
    """The stored original of a run."""

    path: Path
    sha256: str
    size_bytes: int
    media_type: str
    file_name: str


class StageValue:
    """One stage's output, as JSON bytes and as a model; each form is made at most once, when it is asked for."""

    __slots__ = ("_model", "_raw", "_type")

    def __init__(self, type_: type[BaseModel], *, raw: bytes | None = None, model: BaseModel | None = None) -> None:
        if raw is None and model is None:
            raise ValueError("a stage value needs raw or model")
        self._type = type_
        self._raw = raw
        self._model = model

    @property
    def raw(self) -> bytes:
        """The value as JSON bytes."""
        if self._raw is None:
            assert self._model is not None
            self._raw = self._model.model_dump_json(by_alias=True).encode()
        return self._raw

    @property
    def model(self) -> BaseModel:
        """The value as a model; raises `pydantic.ValidationError` when the bytes do not fit."""
        if self._model is None:
            assert self._raw is not None
            self._model = self._type.model_validate_json(self._raw)
        return self._model


@dataclass(slots=True)
class Call:
    """One attempt: `timeout_s` covers waiting for a free worker too."""

    run_id: str
    document_id: str
    attempt: int
    timeout_s: float
    document: DocumentFile
    inputs: Mapping[str, StageValue | None]
    decision: Decision | None = None
    earlier: Sequence[Earlier] = ()
    delivery_base: str = ""


#: Keeps a file of a module's scratch folder as an artifact of the given media type; may block.
KeepArtifact = Callable[[Path, str], Blob]
#: Gets a record {module, run_id, document_id, level, event, ...}; must not block.
Listener = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all pools of a server share."""

    folder: Path
    limits: Limits
    environment: Mapping[str, str]
    resolve_secret: Callable[[str], str | None]
    default_concurrency: int
    on_artifact: KeepArtifact | None
    on_log: Listener
    on_recycled: Callable[[str, str], None]
    import_timeout_s: float
    open_timeout_s: float
    private: tuple[Path, ...] = ()
    results: tuple[Path, ...] = ()


class StartRefused(Exception):
    """A module process cannot be made ready; *lack* says why and what to do."""

    def __init__(self, lack: Lack) -> None:
        super().__init__(lack.message)
        self.lack = lack


class PoolClosed(StartRefused):
    """The pool ends with its server: that says nothing about the module."""

    def __init__(self) -> None:
        super().__init__(Lack(Code.MODULE_PROBE_FAILED, "The server is stopping."))
