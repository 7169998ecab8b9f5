"""What a module sees of the engine inside its process: context, log, and the document as a stream or a path.

Source: INTERFACES 4 (Context), DESIGN 5 (documents as open descriptors, never a hard link).
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from switchgear.sdk.errors import Unavailable
from switchgear.sdk.host import frames
from switchgear.sdk.values import Blob, Decision, Earlier, Limits, SecretRef

#: A module that logs more than this in one attempt loses the rest.
MAX_LOG_EVENTS: Final = 500
MAX_LOG_BYTES: Final = 64 * 1024
_SUFFIX: Final = re.compile(r"\.[A-Za-z0-9]{1,8}$")


class DocumentReader(io.RawIOBase):
    """Reads an open descriptor from the start, with a position of its own; never closes it."""

    def __init__(self, descriptor: int, size_bytes: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._size = size_bytes
        self._position = 0

    def readable(self) -> bool:
        """It is for reading only."""
        return True

    def seekable(self) -> bool:
        """The document is a plain file."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill *buffer* from the present position."""
        data = os.pread(self._descriptor, len(buffer), self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"negative seek position {start + offset}")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position


class Document:
    """The document of one call: an open descriptor, and a private copy when the module needs a path."""

    def __init__(self, descriptor: int, facts: Mapping[str, Any], inbox: Path) -> None:
        self._descriptor = descriptor
        self._inbox = inbox
        self._copy: Path | None = None
        self.blob = Blob(**facts).bound(self._open, self._path)

    def _open(self) -> BinaryIO:
        return cast(BinaryIO, io.BufferedReader(DocumentReader(self._descriptor, self.blob.size_bytes)))

    def _path(self) -> Path:
        if self._copy is None:
            suffix = _SUFFIX.search(self.blob.file_name)
            self._inbox.mkdir(exist_ok=True)
            copy = self._inbox / f"document{suffix[0].lower() if suffix else ''}"
            with copy.open("xb") as file, self._open() as stream:
                shutil.copyfileobj(stream, file, 1 << 20)
            copy.chmod(0o400)
            self._copy = copy
        return self._copy

    def close(self) -> None:
        """Give back the descriptor and remove the copy."""
        os.close(self._descriptor)
        if self._copy is not None:
            self._copy.unlink(missing_ok=True)


class PipeLog:
    """Sends events to the engine; bounded per attempt."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._events = 0
        self._bytes = 0

    def start(self) -> None:
        """A new attempt begins."""
        self._events = self._bytes = 0

    def debug(self, event: str, **fields: Any) -> None:
        """Log for developers."""
        self._send("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Log what is worth knowing."""
        self._send("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log what may need a look."""
        self._send("warning", event, fields)

    def _send(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        plain = {
            name: value if isinstance(value, int | float | bool | type(None)) else str(value)[:1000]
            for name, value in fields.items()
        }
        size = len(event) + sum(len(str(value)) for value in plain.values())
        self._events += 1
        self._bytes += size
        if self._events <= MAX_LOG_EVENTS and self._bytes <= MAX_LOG_BYTES:
            frames.send(self._connection, {"log": level, "event": str(event)[:200], "fields": plain})


class WorkerContext:
    """`WarmContext` for `open`; `begin` makes it the `Context` of one attempt."""

    def __init__(self, connection: socket.socket, scratch: Path, limits: Limits, secrets: Mapping[str, str]) -> None:
        self.log = PipeLog(connection)
        self.scratch = scratch
        self.limits = limits
        self._connection = connection
        self._secrets = secrets
        self.run_id = self.document_id = ""
        self.attempt = 0
        self.deadline = 0.0
        self.decision: Decision | None = None
        self.earlier: Sequence[Earlier] = ()
        self._delivery_base = ""

    def begin(self, call: Mapping[str, Any], earlier: Sequence[Any]) -> None:
        """Take over what the engine sent for one attempt."""
        self.log.start()
        self.run_id, self.document_id = call["run_id"], call["document_id"]
        self.attempt, self.deadline = call["attempt"], call["deadline"]
        decision = call.get("decision")
        self.decision = Decision.model_validate(decision) if decision else None
        self.earlier = tuple(Earlier.model_validate(item) for item in earlier)
        self._delivery_base = call.get("delivery_base", "")

    def secret(self, reference: SecretRef) -> str:
        """Return the secret's value; raises `Unavailable` when the engine could not resolve it."""
        value = self._secrets.get(reference.root)
        if value is None:
            raise Unavailable(f"secret {reference.root} is not there", fix=secret_fix(reference.root))
        return value

    def remaining_s(self) -> float:
        """Seconds left until the deadline; negative when it is over."""
        return self.deadline - time.monotonic()

    def save(self, path: Path, media_type: str = "application/octet-stream") -> Blob:
        """Keep a file of the scratch folder as an artifact; raises ValueError for a file elsewhere."""
        real = Path(path).resolve()
        if not real.is_relative_to(self.scratch.resolve()) or not real.is_file():
            raise ValueError(f"save takes a file below ctx.scratch, not {path}")
        frames.send(self._connection, {"save": str(real), "media_type": media_type})
        answer = frames.receive(self._connection)
        if answer is None:
            os._exit(0)
        if "blob" not in answer.header:
            raise OSError(f"the artifact was not kept: {answer.header.get('message', 'no reason given')}")
        return Blob.model_validate(answer.header["blob"])

    def idempotency_key(self, target: str) -> str:
        """The delivery key for *target*."""
        return delivery_key(self._delivery_base, target)

    def delivery_series(self, target: str) -> str:
        """What all deliveries of this document to *target* have in common."""
        return delivery_series(self._delivery_base, target)


def delivery_key(base: str, target: str) -> str:
    """Document, target and result in, key out: the same again gives the same key. DESIGN 5"""
    return hashlib.sha256(f"{base}\0{target}".encode()).hexdigest()


def delivery_series(base: str, target: str) -> str:
    """The same without the result: *base* begins with the document, up to a NUL."""
    return delivery_key(base.partition("\0")[0], target)


def secret_fix(reference: str) -> str:
    """The line that provides a missing secret."""
    kind, _, name = reference.partition(":")
    if kind == "env":
        return f"export {name}=..."
    return f"put the secret into a file named {name} in one of the secrets folders"
