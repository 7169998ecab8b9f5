"""Plain values that modules receive and return: settings, limits, documents, decisions. Source: INTERFACES 4."""

import io
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel, field_validator, model_validator

#: Names the folder for results, as an absolute path, in the environment of every module.
OUT_VARIABLE = "SWITCHGEAR_OUT"
_FOLDER = r"^(\$[A-Z][A-Z0-9_]*(/[^/\x00]+)*|settings:(/[^/\x00]+)+)$"
_SECRET_PATTERN = re.compile(r"^(env:SWITCHGEAR_SECRET_[A-Z0-9_]{1,100}|file:[A-Za-z0-9][A-Za-z0-9._-]{0,100})$")


class Frozen(BaseModel):
    """Base of immutable values that refuse unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModuleSettings(BaseModel):
    """Base of a module's settings: unknown names are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SecretRef(RootModel[str]):
    """The name of a secret, never the secret: `env:SWITCHGEAR_SECRET_NAME` or `file:NAME` under the secrets folders."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"format": "secret-reference"})

    @field_validator("root")
    @classmethod
    def _is_a_reference(cls, value: str) -> str:
        if not _SECRET_PATTERN.match(value):
            raise ValueError(
                "a secret is given by reference, never as text: write env:SWITCHGEAR_SECRET_NAME or file:NAME"
            )
        return value


class Limits(Frozen):
    """Bounds that every parser keeps; exceeding one rejects the document. Counts, pixels, bytes."""

    max_pages: int = Field(500, ge=1)
    max_pixels: int = Field(100_000_000, ge=1)
    max_unpacked_bytes: int = Field(256 * 1024 * 1024, ge=1)
    max_xml_depth: int = Field(256, ge=1)
    max_output_bytes: int = Field(64 * 1024 * 1024, ge=1)


class RequiredFile(Frozen):
    """A file that a module needs, e.g. a model: where, its SHA-256 when pinned, and the line that installs it."""

    path: str
    sha256: str | None = None
    install: str = ""


class Requires(Frozen):
    """What must be there before a module can work; a lack makes it unavailable with the reason and the fix.

    It is also what the module may reach: from isolation level L2 on it can read its packages, `files` and `binaries`,
    write its scratch folder and `writes`, and use sockets when `network` is not empty. Everything else is refused.
    """

    packages: tuple[str, ...] = ()  #: requirement strings such as "pypdfium2>=5"
    binaries: tuple[str, ...] = ()  #: names looked up on PATH
    files: tuple[RequiredFile, ...] = ()
    environment: tuple[str, ...] = ()  #: names of variables that must be set; they are handed to the worker
    memory_mb: int = 512  #: free memory needed to be available, in MiB
    #: Folders that it writes: "$NAME/below", where a variable that it is given names the folder, or "settings:/pointer"
    #: where a setting does. A folder that is missing is made; one that the setting leaves empty is none.
    writes: tuple[Annotated[str, Field(pattern=_FOLDER)], ...] = ()
    network: tuple[str, ...] = ()  #: "host:port"; not empty means that data leaves the host
    install: str = ""  #: the exact line that installs what is missing

    @model_validator(mode="after")
    def _variables_are_handed_over(self) -> Self:
        names = {item[1:].partition("/")[0] for item in self.writes if item.startswith("$")}
        unknown = names - {OUT_VARIABLE, *self.environment}
        if unknown:
            raise ValueError(f"writes names the variable {min(unknown)}: add it to environment, modules get no other")
        return self


class Decision(Frozen):
    """What a person decided about a document on hold; `facts` are those that the module gave with `NeedsReview`."""

    action: Literal["release", "reject"]
    actor: str
    message: str
    at: datetime | None = None
    facts: dict[str, Any] = {}


class Earlier(Frozen):
    """An earlier result with the same identity (same supplier and number, for invoices)."""

    document_id: str
    result: dict[str, Any]


class Blob(BaseModel):
    """A stored document or artifact: its digest and size, and a way to read it.

    Attributes:
        sha256: Hexadecimal digest of the bytes.
        size_bytes: Length in bytes.
        media_type: Type as declared by the sender; never trusted.
        file_name: Name as given by the sender; shown, never used as a path.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    sha256: str
    size_bytes: int
    media_type: str = "application/octet-stream"
    file_name: str = ""
    _opener: Callable[[], BinaryIO] | None = PrivateAttr(default=None)
    _path: Callable[[], Path] | None = PrivateAttr(default=None)

    def bound(self, opener: Callable[[], BinaryIO], path: Callable[[], Path]) -> "Blob":
        """Return a copy that reads through *opener* and names its read-only copy through *path* (for the engine)."""
        copy = self.model_copy()
        copy._opener = opener
        copy._path = path
        return copy

    @classmethod
    def from_bytes(cls, data: bytes, *, media_type: str = "application/octet-stream", file_name: str = "") -> "Blob":
        """Make a blob in memory; for tests and samples. Its `path` is a temporary file."""
        import hashlib
        import tempfile

        def path() -> Path:
            with tempfile.NamedTemporaryFile(delete=False, suffix=".blob") as file:
                file.write(data)
            return Path(file.name)

        digest = hashlib.sha256(data).hexdigest()
        blob = cls(sha256=digest, size_bytes=len(data), media_type=media_type, file_name=file_name)
        return blob.bound(lambda: io.BytesIO(data), path)

    def open(self) -> BinaryIO:
        """Open the bytes for reading, from the start."""
        if self._opener is None:
            raise RuntimeError("this blob is only a reference; the engine hands modules a readable one")
        return self._opener()

    @property
    def path(self) -> Path:
        """A read-only copy on disk, for libraries that cannot read from a stream."""
        if self._path is None:
            raise RuntimeError("this blob is only a reference; the engine hands modules a readable one")
        return self._path()
