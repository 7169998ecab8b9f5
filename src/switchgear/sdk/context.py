"""What the engine offers to a module while it warms and while it runs. Source: INTERFACES 4."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from switchgear.sdk.values import Blob, Decision, Earlier, Limits, SecretRef


class Log(Protocol):
    """A structured logger: an event name and plain fields; never document content."""

    def debug(self, event: str, **fields: Any) -> None:
        """Log for developers."""

    def info(self, event: str, **fields: Any) -> None:
        """Log what is worth knowing."""

    def warning(self, event: str, **fields: Any) -> None:
        """Log what may need a look."""


class WarmContext(Protocol):
    """Offered to `Module.open`, once per process."""

    @property
    def log(self) -> Log:
        """Structured log of this module."""

    @property
    def scratch(self) -> Path:
        """A private folder, emptied when the process ends."""

    @property
    def limits(self) -> Limits:
        """Bounds that the module must keep."""

    def secret(self, reference: SecretRef) -> str:
        """Return the secret's value; raises `Unavailable` when it is not there."""


class Context(WarmContext, Protocol):
    """Offered to `Module.run`, one per attempt."""

    @property
    def run_id(self) -> str:
        """Id of the run."""

    @property
    def document_id(self) -> str:
        """Id of the document."""

    @property
    def attempt(self) -> int:
        """Number of this try of this module on this stage, from 1."""

    @property
    def deadline(self) -> float:
        """When the attempt is killed, in seconds of `time.monotonic()`."""

    @property
    def decision(self) -> Decision | None:
        """What a person decided, when the run comes back from review."""

    @property
    def earlier(self) -> Sequence[Earlier]:
        """Earlier results with the same identity, newest first: accepted ones, and those of runs under way.

        Of two documents that are processed at the same time one sees the other. Empty before the result.
        """

    def remaining_s(self) -> float:
        """Seconds left until the deadline; negative when it is over."""

    def save(self, path: Path, media_type: str = "application/octet-stream") -> Blob:
        """Keep a file of the scratch folder as an artifact and return a reference to it for the output."""

    def idempotency_key(self, target: str) -> str:
        """The delivery key for *target*: the same document, target and result give the same key."""

    def delivery_series(self, target: str) -> str:
        """What all deliveries of this document to *target* have in common, whatever the result: who supersedes whom.

        Like the key it names the document by its bytes, so it stays when retention has removed the document's record.
        """
